"""A real Kubo node for tests: private, on loopback only, in a repository of its own."""

from __future__ import annotations

import network.kubo_node
from network.kubo_binary import find_ipfs
from protocol.errors import StoreUnavailable

try:
    IPFS: str | None = str(find_ipfs())
    NO_IPFS = ""
except StoreUnavailable as error:
    IPFS, NO_IPFS = None, str(error)


class KuboNode(network.kubo_node.KuboNode):
    """``with KuboNode(place) as node``: a daemon in the directory ``place``, its API at ``node.address``."""

    @property
    def address(self) -> str:
        """The API's multiaddress."""
        return self.api_address

    def output(self, *words: str, stdin: bytes = b"") -> bytes:
        """Run one ipfs command on the repository and return what it prints."""
        return self.run(*words, stdin=stdin)

    def command(self, *words: str, stdin: bytes = b"") -> str:
        """As ``output``, for commands that print a line of text."""
        return self.output(*words, stdin=stdin).decode().strip()
