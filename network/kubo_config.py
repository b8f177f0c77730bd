"""The settings that make a Kubo node private (named as in its own docs/config.md), and its file of them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from network.files import write_atomic

ANY_PORT = "/ip4/127.0.0.1/tcp/0"
ENVIRONMENT = {
    "LIBP2P_FORCE_PNET": "1",  # without the network key the node does not start at all
    "IPFS_TELEMETRY": "off",
}
PRIVATE: dict[str, object] = {
    "Bootstrap": [],
    "AutoConf.Enabled": False,
    "Routing.Type": "none",
    "Routing.DelegatedRouters": [],
    "Ipns.DelegatedPublishers": [],
    "DNS.Resolvers": {},
    "Discovery.MDNS.Enabled": False,
    "Provide.Enabled": False,
    "HTTPRetrieval.Enabled": False,
    "AutoNAT.ServiceMode": "disabled",
    "AutoTLS.Enabled": False,
    "Swarm.DisableNatPortMap": True,
    "Swarm.EnableHolePunching": False,
    "Swarm.RelayClient.Enabled": False,
    "Swarm.RelayService.Enabled": False,
    # TCP alone: the others do not know network keys.
    "Swarm.Transports.Network": {
        "QUIC": False,
        "Relay": False,
        "WebRTCDirect": False,
        "WebTransport": False,
        "Websocket": False,
    },
    "Plugins.Plugins": {"telemetry": {"Disabled": True}},
    "Version.SwarmCheckEnabled": False,
    # A gateway that serves what the node has, and fetches nothing on a stranger's word.
    "Gateway.NoFetch": True,
    "Gateway.NoDNSLink": True,
    "Gateway.DeserializedResponses": False,
    "Addresses.API": ANY_PORT,
    "Addresses.Swarm": [ANY_PORT],
    "Addresses.Gateway": [],
}


def new_network_key() -> str:
    """Return a fresh key of a private network, as Kubo's file ``swarm.key`` holds it."""
    return f"/key/swarm/psk/1.0.0/\n/base16/\n{secrets.token_hex(32)}\n"


def read_config(repository: Path) -> dict[str, Any]:
    """Return all settings of a repository."""
    return dict(json.loads((repository / "config").read_text()))


def configure(repository: Path, settings: Mapping[str, object]) -> None:
    """Set some of the repository's settings, each by its dotted name; a running node reads them at its next start."""
    config = read_config(repository)
    for name, value in settings.items():
        *sections, last = name.split(".")
        place = config
        for section in sections:
            if not isinstance(place.get(section), dict):
                place[section] = {}
            place = place[section]
        place[last] = value
    write_atomic(repository / "config", json.dumps(config, indent=2).encode(), mode=0o600)
