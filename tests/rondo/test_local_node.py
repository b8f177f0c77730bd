"""The local node's directory."""

from pathlib import Path

import pytest
from filelock import FileLock

from protocol.errors import InvalidInput
from rondo.local_node import run_node


def test_a_second_node_in_a_directory_is_refused(tmp_path: Path) -> None:
    with FileLock(tmp_path / "node.lock"), pytest.raises(InvalidInput, match="runs in") as refusal:
        run_node(tmp_path, 0, json_mode=True)
    assert refusal.value.exit_code == 64
    assert not (tmp_path / "chain").exists()
