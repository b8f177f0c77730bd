from __future__ import annotations

from collections.abc import Iterator

import pytest

from network.node import LocalNode
from tests.network.chain_world import EvmWorld, MemoryWorld, World


@pytest.fixture(scope="session")
def node() -> Iterator[LocalNode]:
    """A node that mines on transactions alone, so that time stands still unless a test moves it."""
    with LocalNode(block_time=None) as running:
        yield running


@pytest.fixture(params=["memory", pytest.param("evm", marks=pytest.mark.node)])
def world(request: pytest.FixtureRequest) -> World:
    """Each test runs on the twin and on the contract itself."""
    if request.param == "memory":
        return MemoryWorld()
    return EvmWorld(request.getfixturevalue("node"))
