"""Attack: mallory's node has what is asked for, and sends it byte by byte, so that whoever fetches waits for ever.

Verdict: a block has its time and a download has its own; both end with an error that names what did not come, what came
in time is kept, and the honest blocks were not held up.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from network.download import download_file
from network.memory_store import MemoryStore
from network.reader import WINDOW
from network.transfer import fetch_file
from protocol.errors import ContentError, StoreUnavailable
from protocol.unixfs import CHUNK, file_leaves, import_file
from tests.attacks.hostile_node import HostileNode, trickling
from tests.network.counting import CountingSource

NO_LIMIT = 2**62
LEAVES = 30


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(random.Random(5).randbytes(LEAVES * CHUNK))  # noqa: S311
    return path


def test_a_download_ends_in_time_with_what_came(file: Path, tmp_path: Path) -> None:
    node, store = HostileNode(), MemoryStore()
    cid = node.add(file)
    with file.open("rb") as stream:
        import_file(stream, store.put_block)
    slow = [leaf.cid for leaf in file_leaves(cid, store.get_block, NO_LIMIT)][3]
    node.bent[str(slow)] = trickling
    began = time.monotonic()
    with node.serve() as hostile, pytest.raises(StoreUnavailable, match="within 3 seconds") as caught:
        download_file(hostile, cid, tmp_path / "got", limit=NO_LIMIT, seconds=3)
    assert 2.9 < time.monotonic() - began < 6
    assert str(cid) in caught.value.what and f"of {LEAVES * CHUNK} bytes came" in caught.value.why
    source = CountingSource(store)
    download_file(source, cid, tmp_path / "got", limit=NO_LIMIT)
    assert slow in source.leaves and source.leaves.total() <= LEAVES - WINDOW + 1


@pytest.mark.slow
def test_one_blocks_own_time_ends_the_fetch(file: Path) -> None:
    node = HostileNode()
    cid = node.add(file)
    node.bent[next(name for name in node.blocks if name != str(cid))] = trickling
    began = time.monotonic()
    with node.serve(find_seconds=0.5) as hostile, pytest.raises(ContentError):
        fetch_file(hostile, cid, NO_LIMIT)
    assert time.monotonic() - began < 20
