"""Verified files read from the blocks of a store: what they say, and what they do when a block is not what it was."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from network.arrival import open_file
from network.directory_store import DirectoryStore
from network.layered_store import LayeredStore
from network.memory_store import MemoryStore
from network.store import ContentStore
from network.stored_content import LeafContent
from network.transfer import publish_file
from protocol.cid import Cid
from protocol.errors import BlockCorrupt, BlockMissing
from protocol.unixfs import CHUNK, file_leaves

NO_LIMIT = 2**62
SIZE = 3 * CHUNK + 77
DATA = random.Random(4).randbytes(SIZE)  # noqa: S311
EDGES = [0, 1, 76, 77, 4096, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 1, 3 * CHUNK, SIZE - 1, SIZE]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> DirectoryStore:
    """A store that no test damages."""
    return DirectoryStore(tmp_path_factory.mktemp("store"))


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


def stored(store: ContentStore, data: bytes = DATA) -> LeafContent:
    content = open_file(store, publish_file(store, data), NO_LIMIT)
    assert isinstance(content, LeafContent)
    return content


def second_leaf(store: DirectoryStore) -> Path:
    leaves = list(file_leaves(file_cid(store), store.get_block, NO_LIMIT))
    return store.path(leaves[1].cid)


def file_cid(store: DirectoryStore) -> Cid:
    (cid,) = store.kept()
    return cid


def change(path: Path) -> None:
    """Change one bit in place, as somebody else's program or a disk would."""
    with path.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([byte ^ 1]))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# What it says


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1])
def test_sizes_around_the_ends_of_leaves(shared: DirectoryStore, size: int) -> None:
    content = stored(shared, DATA[:size])
    assert content.size == size and content.read(0, size) == DATA[:size]
    out = bytearray(size)
    content.read_into(0, memoryview(out))
    assert out == DATA[:size]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    start=st.sampled_from(EDGES) | st.integers(0, SIZE),
    length=st.sampled_from([0, 1, 2, CHUNK, CHUNK + 1, SIZE]) | st.integers(0, SIZE),
)
def test_any_range_is_what_slicing_gives(shared: DirectoryStore, start: int, length: int) -> None:
    content = stored(shared) if not CONTENT else CONTENT[0]
    CONTENT[:] = [content]
    stop = min(start + length, SIZE)
    assert content.read(start, stop) == DATA[start:stop]
    out = bytearray(b"?" * (stop - start + 2))
    content.read_into(start, memoryview(out)[1:-1])
    assert out == b"?" + DATA[start:stop] + b"?"


CONTENT: list[LeafContent] = []  # opened once


def test_ranges_that_leave_the_file_are_refused(shared: DirectoryStore) -> None:
    content = stored(shared)
    for start, stop in ((-1, 1), (2, 1), (0, SIZE + 1), (SIZE + 1, SIZE + 1)):
        with pytest.raises(ValueError, match="are not within"):
            content.read(start, stop)
    with pytest.raises(ValueError, match="are not within"):
        content.read_into(SIZE - 1, memoryview(bytearray(2)))


def test_buffers_of_wide_numbers_are_filled_byte_by_byte(shared: DirectoryStore) -> None:
    import numpy as np

    numbers = np.zeros(2000, np.int16)
    stored(shared).read_into(CHUNK - 1000, memoryview(numbers))
    assert numbers.tobytes() == DATA[CHUNK - 1000 : CHUNK + 3000]


def test_many_threads_read_at_once_and_leave_no_file_open(shared: DirectoryStore) -> None:
    content = stored(shared)
    wrong: list[int] = []

    def read(seed: int) -> None:
        draw = random.Random(seed)  # noqa: S311
        for _ in range(100):
            start = draw.randrange(SIZE)
            stop = min(start + draw.randrange(2 * CHUNK), SIZE)
            if content.read(start, stop) != DATA[start:stop]:
                wrong.append(start)

    before = open_files()
    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and open_files() == before


# When a block is not what it was


def test_a_leaf_that_was_changed_is_not_handed_out(store: DirectoryStore) -> None:
    content = stored(store)
    change(second_leaf(store))
    with pytest.raises(BlockCorrupt):
        content.read(CHUNK - 1, CHUNK + 1)
    assert content.read(0, CHUNK) == DATA[:CHUNK] and content.read(2 * CHUNK, SIZE) == DATA[2 * CHUNK :]


def test_a_leaf_that_was_cut_short_is_not_handed_out(store: DirectoryStore) -> None:
    content = stored(store)
    os.truncate(second_leaf(store), 5000)
    with pytest.raises(BlockCorrupt):
        content.read(CHUNK, 2 * CHUNK)
    with pytest.raises(BlockCorrupt):
        content.read(CHUNK, CHUNK + 1)


def test_a_leaf_that_is_gone_is_missing(store: DirectoryStore) -> None:
    content, leaf = stored(store), second_leaf(store)
    leaf.unlink()
    with pytest.raises(BlockMissing) as caught:
        content.read(0, SIZE)
    assert caught.value.cid == leaf.name


def test_a_leaf_that_was_written_again_is_read_and_verified_once(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, leaf = stored(store), second_leaf(store)
    leaf.unlink()
    publish_file(store, DATA)
    asked: list[Cid] = []
    honest = store.get_block
    monkeypatch.setattr(store, "get_block", lambda cid, _=None: (asked.append(cid), honest(cid))[1])
    for _ in range(3):
        assert content.read(0, SIZE) == DATA
    assert len(set(asked)) == len(asked) and leaf.name in map(str, asked)


@pytest.mark.parametrize("harm", [change, Path.unlink])
def test_another_source_mends_it(tmp_path: Path, harm: object) -> None:
    local, source = DirectoryStore(tmp_path), MemoryStore()
    layered = LayeredStore([local, source])
    content, leaf = stored(layered), second_leaf(local)
    harm(leaf)  # type: ignore[operator]
    assert content.read(0, SIZE) == DATA
    source.blocks.clear()
    assert content.read(0, SIZE) == DATA and leaf.stat().st_size == CHUNK


def test_bytes_written_while_they_are_read_are_not_handed_out(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from network import stored_content

    content, leaf, honest = stored(store), second_leaf(store), stored_content.fill

    def racing(file: int, start: int, out: memoryview) -> bool:
        change(leaf)
        return honest(file, start, out)

    monkeypatch.setattr(stored_content, "fill", racing)
    with pytest.raises(BlockCorrupt):
        content.read(CHUNK, 2 * CHUNK)
