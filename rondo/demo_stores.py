"""Where the demo's processes keep content: one directory for all, or two Kubo nodes that know nobody but each other.

With Kubo the organization has a node of its own and the clients share another one, so every model and every update goes
from one node to the other as it would between two machines; and at the end the nodes' own counters say that nothing came
from anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from network.kubo_node import KuboNode, new_network_key
from protocol.errors import StoreUnavailable

Kind = Literal["embedded", "kubo"]


class Stores(Protocol):
    """The content stores of a demo."""

    @property
    def title(self) -> str:
        """What the demo says of them at its start."""
        ...

    @property
    def verdict(self) -> str:
        """What the demo's last line says of them where all is well, with a comma after it."""
        ...

    def of(self, name: str) -> str:
        """Return the setting ``store`` of the process ``name``; the demo's own is "demo"."""
        ...

    def watch(self) -> None:
        """Look whether all is well; called again and again. Raises: StoreUnavailable."""
        ...

    def conclude(self) -> tuple[dict[str, Any], list[str]]:
        """Return what the demo's JSON says of them, and what went wrong, in words."""
        ...


@contextmanager
def open_stores(kind: Kind, directory: Path) -> Iterator[Stores]:
    """Make the stores below ``directory`` and end what runs for them afterwards.

    Raises:
        StoreUnavailable: There is no Kubo, or a node of it does not start.
    """
    if kind == "embedded":
        yield OneDirectory(directory / "store")
        return
    with ExitStack() as stack:
        key = new_network_key()
        nodes = {
            name: stack.enter_context(KuboNode(directory / "ipfs" / name, network_key=key, gateway=True))
            for name in ("organization", "clients")
        }
        nodes["organization"].peer_with(nodes["clients"])
        yield TwoNodes(directory, nodes["organization"], nodes["clients"])


@dataclass(frozen=True)
class OneDirectory:
    """One embedded store for everybody."""

    root: Path

    @property
    def title(self) -> str:
        """As `Stores`."""
        return f"Content: one embedded store, {self.root}"

    @property
    def verdict(self) -> str:
        """As `Stores`."""
        return ""

    def of(self, name: str) -> str:
        """As `Stores`."""
        return f"dir:{self.root}"

    def watch(self) -> None:
        """Nothing runs."""

    def conclude(self) -> tuple[dict[str, Any], list[str]]:
        """As `Stores`."""
        return {"kind": "embedded"}, []


@dataclass
class TwoNodes:
    """The organization's Kubo node and the clients'; the auditor keeps its own copy and reads both through gateways."""

    directory: Path
    organization: KuboNode
    clients: KuboNode
    _seen: dict[str, set[str]] = field(default_factory=lambda: {"organization": set(), "clients": set()})

    @property
    def title(self) -> str:
        """As `Stores`."""
        return (
            f"Content: Kubo {self.organization.version}, a private network of two nodes: the organization's "
            f"{self.organization.addresses[0]}, the clients' {self.clients.addresses[0]}"
        )

    @property
    def verdict(self) -> str:
        """As `Stores`."""
        return "each Kubo node had all content from its only peer, "

    @property
    def _nodes(self) -> dict[str, tuple[KuboNode, KuboNode]]:
        """Each node by its name, and its only peer."""
        return {
            "organization": (self.organization, self.clients),
            "clients": (self.clients, self.organization),
        }

    def of(self, name: str) -> str:
        """As `Stores`."""
        if name == "auditor":
            gateways = f"gateway:{self.organization.gateway_url},gateway:{self.clients.gateway_url}"
            return f"dir:{self.directory / 'ipfs' / 'auditor'},{gateways}"
        return self.organization.store if name in ("organization", "demo") else self.clients.store

    def watch(self) -> None:
        """Note whom the nodes are connected to; raises StoreUnavailable where one does not answer."""
        for name, (node, _) in self._nodes.items():
            self._seen[name] |= node.connected_peers()

    def conclude(self) -> tuple[dict[str, Any], list[str]]:
        """As `Stores`: each node had one peer at most all the time, has it now, and had every block from it."""
        document: dict[str, Any] = {"kind": "kubo", "daemons": []}
        problems: list[str] = []
        for name, (node, peer) in self._nodes.items():
            try:
                row = self._look(name, node, peer)
            except StoreUnavailable as error:
                problems.append(f"ipfs: {error}")
                continue
            document["daemons"].append(row)
            problems += _problems(row, peer)
        return document, problems

    def _look(self, name: str, node: KuboNode, peer: KuboNode) -> dict[str, Any]:
        connected = node.connected_peers()
        return {
            "name": name,
            "version": node.version,
            "peer_id": node.peer_id,
            "addresses": list(node.addresses),
            "api": node.api_address,
            "gateway": node.gateway_url,
            "peers": sorted(connected),
            "peers_ever_seen": sorted(self._seen[name] | connected),
            "received_bytes": node.received(),
            "received_from_peer_bytes": node.received(peer.peer_id),
        }


def _problems(row: dict[str, Any], peer: KuboNode) -> list[str]:
    """What in a node's row is not as it must be."""
    name, only = row["name"], [peer.peer_id]
    found = []
    if row["peers"] != only:
        found.append(f"ipfs: the {name} node is connected to {row['peers'] or 'nobody'}, not to {only} alone")
    if row["peers_ever_seen"] != only:
        found.append(f"ipfs: the {name} node was connected to {row['peers_ever_seen']}, not to {only} alone")
    elsewhere = row["received_bytes"] - row["received_from_peer_bytes"]
    if elsewhere:
        found.append(f"ipfs: the {name} node received {elsewhere} bytes from elsewhere")
    if not row["received_from_peer_bytes"]:
        found.append(f"ipfs: the {name} node received nothing from its peer, so nothing was shown")
    return found
