"""A private IPFS node: Kubo as a child process, for demos, benchmarks and tests; it can talk to nobody but its own kind.

Three walls: it knows nobody to ask (no bootstrap list, no routing, no local discovery, no relay, nothing over HTTP), it
listens on 127.0.0.1 alone, and it speaks only to nodes that hold the same network key
(https://github.com/libp2p/specs/blob/master/pnet/Private-Networks-PSK-V1.md).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from network.files import write_atomic
from network.guarded import kill_guarded, start_guarded, stop_guarded
from network.kubo_binary import find_ipfs
from network.kubo_config import ANY_PORT, ENVIRONMENT, PRIVATE, configure, new_network_key, read_config
from protocol.errors import InvalidInput, StoreUnavailable

__all__ = ["KuboNode", "find_ipfs", "new_network_key"]

LOG = "kubo.log"
CALL_SECONDS = 20


class KuboNode:
    """A running Kubo node; use it as a context manager, or call `start` and `stop`.

    Its ports are free ones at the first start and the same ever after, so that whoever knows it finds it again.

    Args:
        directory: Keeps its repository and what it says (``kubo.log``); created where it is missing.
        network_key: The key of its private network, the same for nodes that shall meet; None makes one of its own.
        gateway: Whether it also serves verifiable blocks and CARs over HTTP (https://specs.ipfs.tech/http-gateways/trustless-gateway/).
        settings: More of Kubo's settings by their dotted names, such as ``{"Datastore.StorageMax": "1GB"}``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        network_key: str | None = None,
        gateway: bool = False,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.directory, self.repository, self.gateway = directory, directory / "repository", gateway
        self.peer_id, self.version, self.api_address, self.gateway_url = "", "", "", ""
        self.addresses: tuple[str, ...] = ()  # where other nodes reach it, its id included
        self._network_key = network_key or new_network_key()
        self._settings = dict(settings or {})
        self._log_start = 0  # where in the log this start begins
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def store(self) -> str:
        """What the setting ``store`` says to use this node."""
        return f"kubo:{self.api_address}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which an ``ipfs`` command works on this node."""
        return {**ENVIRONMENT, "IPFS_PATH": str(self.repository)}

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    # --- starting and stopping ---

    def initialise(self) -> None:
        """Make the repository where there is none; `start` does so by itself.

        Raises:
            StoreUnavailable: There is no Kubo, or it did not make one.
        """
        if self.repository.exists():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        unfinished = self.directory / "repository.new"  # of a process that was killed in between
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            self._ipfs("init", "--empty-repo", "--profile=test", repository=unfinished)
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip()
            raise self._unavailable("has no repository", said[-500:]) from error
        configure(unfinished, PRIVATE | self._settings)
        if self.gateway:
            configure(unfinished, {"Addresses.Gateway": [ANY_PORT]})
        write_atomic(unfinished / "swarm.key", self._network_key.encode(), mode=0o600)
        unfinished.rename(self.repository)

    def start(self, patience: float = 60) -> Self:
        """Start it and return once it answers and has looked for its peers.

        Raises:
            StoreUnavailable: There is no Kubo, or it ended or did not answer within ``patience`` seconds.
        """
        if self._process is not None:
            return self
        self.initialise()
        with contextlib.suppress(FileNotFoundError):  # the node says so itself
            self._network_key = (self.repository / "swarm.key").read_text()
        for left in ("api", "gateway"):  # by a killed one; the new one writes its own
            (self.repository / left).unlink(missing_ok=True)
        # Whatever version made the repository: one that is not ours must not fetch programs to convert it.
        command, log = [str(find_ipfs()), "daemon", "--migrate=false"], self.directory / LOG
        self._log_start = log.stat().st_size if log.exists() else 0
        self._process = start_guarded(command, log, self.environment)
        self._await(patience)
        self._keep_ports()
        # Peering alone would wait some ten seconds before it calls.
        for peer in read_config(self.repository)["Peering"]["Peers"] or ():
            for address in peer["Addrs"]:
                with contextlib.suppress(StoreUnavailable):  # it does not run, and will call us when it does
                    self.rpc("swarm/connect", arg=f"{address}/p2p/{peer['ID']}")
        return self

    def stop(self) -> None:
        """Stop it and wait until it has ended; nothing happens where it does not run."""
        process, self._process = self._process, None
        if process is not None:
            stop_guarded(process)

    def kill(self) -> None:
        """Kill it at once, as a crash would; `start` starts it again."""
        process, self._process = self._process, None
        if process is not None:
            kill_guarded(process)

    def check(self) -> None:
        """Raise StoreUnavailable if it has ended by itself."""
        if not self.is_running:
            raise self._unavailable("has ended", self._last_words())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _await(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while self.is_running and time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError, StoreUnavailable):
                self.api_address = (self.repository / "api").read_text().strip()
                if self.gateway:
                    self.gateway_url = (self.repository / "gateway").read_text().strip()
                about = self.rpc("id")
                self.peer_id, self.addresses = about["ID"], tuple(about["Addresses"] or ())
                self.version = self.rpc("version")["Version"]
                if self.is_running and self.api_address and (self.gateway_url or not self.gateway) and self.addresses:
                    return
            time.sleep(0.05)
        why = self._last_words() or ("It does not answer." if self.is_running else "It ended.")
        self.kill()
        raise self._unavailable("did not start", why)

    def _keep_ports(self) -> None:
        listening = {
            "Addresses.API": self.api_address,
            "Addresses.Swarm": [_bare(address) for address in self.addresses],
        }
        if self.gateway:
            listening["Addresses.Gateway"] = [f"/ip4/127.0.0.1/tcp/{httpx.URL(self.gateway_url).port}"]
        configure(self.repository, listening)

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            return (self.directory / LOG).read_bytes()[self._log_start :].decode(errors="replace").strip()[-500:]
        return ""

    def _unavailable(self, what: str, why: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"The Kubo node in {self.directory} {what}.", why, f"Look into {self.directory / LOG}, and start it again."
        )

    # --- others ---

    def peer_with(self, other: KuboNode) -> None:
        """Connect the two now, and again whenever one of them starts; both run.

        Raises:
            InvalidInput: They are of different private networks.
            StoreUnavailable: One of them does not answer, or they cannot reach each other.
        """
        if self._network_key != other._network_key:
            raise InvalidInput(
                f"{self.directory} and {other.directory} are of different private networks.",
                "Their network keys differ.",
                "Give both the same network_key.",
            )
        for node, peer in ((self, other), (other, self)):
            known = [one for one in read_config(node.repository)["Peering"]["Peers"] or () if one["ID"] != peer.peer_id]
            configure(
                node.repository,
                {"Peering.Peers": [*known, {"ID": peer.peer_id, "Addrs": [_bare(one) for one in peer.addresses]}]},
            )
            for address in peer.addresses:
                node.rpc("swarm/peering/add", arg=address)
        for address in other.addresses:
            self.rpc("swarm/connect", arg=address)

    def connected_peers(self) -> frozenset[str]:
        """Return the peer ids of all nodes that it is connected to now; raises StoreUnavailable."""
        return frozenset(one["Peer"] for one in self.rpc("swarm/peers")["Peers"] or ())

    def received(self, peer_id: str | None = None) -> int:
        """Return the bytes of blocks that came from other nodes, or from one of them, since it was started.

        Raises:
            StoreUnavailable: It does not answer.
        """
        if peer_id is None:
            return int(self.rpc("bitswap/stat")["DataReceived"])
        return int(self.rpc("bitswap/ledger", arg=peer_id)["Recv"])

    # --- its API and its command ---

    def rpc(self, method: str, **options: str) -> Any:
        """Return the answer of one call to its API (https://docs.ipfs.tech/reference/kubo/rpc/), such as ``"id"``.

        Raises:
            StoreUnavailable: It does not answer, or answers with an error.
        """
        host, port = self.api_address.split("/")[2::2] if self.api_address else ("127.0.0.1", "0")
        try:
            # Loopback is nobody's proxy's business.
            with httpx.Client(timeout=CALL_SECONDS, trust_env=False) as client:
                answer = client.post(f"http://{host}:{port}/api/v0/{method}", params=options)
                document = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise self._unavailable(f"does not answer {method}", f"{type(error).__name__}: {error}") from error
        if answer.status_code != httpx.codes.OK:
            raise self._unavailable(f"refused {method}", str(document.get("Message")))
        return document

    def run(self, *words: str, stdin: bytes = b"") -> bytes:
        """Run one ``ipfs`` command on this node and return what it prints.

        Raises:
            StoreUnavailable: There is no Kubo.
            subprocess.CalledProcessError: The command failed.
        """
        return self._ipfs(*words, stdin=stdin, repository=self.repository)

    def _ipfs(self, *words: str, repository: Path, stdin: bytes = b"") -> bytes:
        environment = {**os.environ, **self.environment, "IPFS_PATH": str(repository)}
        command = (str(find_ipfs()), *words)
        return subprocess.run(command, env=environment, input=stdin, capture_output=True, check=True).stdout


def _bare(address: str) -> str:
    """An address without the peer's id, as the setting Peering.Peers holds it."""
    return address.rsplit("/p2p/", 1)[0]
