"""Verified files read from the blocks of a store: what they say, and what they do when a block is not what it was."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from network import leaf_rows
from network.arrival import open_file
from network.directory_store import DirectoryStore
from network.layered_store import LayeredStore
from network.memory_store import MemoryStore
from network.store import ContentStore
from network.stored_content import LeafContent
from network.transfer import publish_file
from protocol.cid import RAW, Cid
from protocol.content import Content, Held, ReadAgain, Rows, read_together
from protocol.errors import BlockCorrupt, BlockMissing, StoreUnavailable
from protocol.sha256_lanes import description
from protocol.unixfs import CHUNK, Block, Leaf, file_leaves
from tests.network.test_leaf_rows import Pouring

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


# Several side by side

FILES = 4  # enough for the lanes of sha-256
WIDE = 2 * CHUNK + 77  # bytes of each


@pytest.fixture(scope="module", autouse=True)
def lanes() -> None:
    description()


@cache
def other(number: int, size: int = WIDE) -> bytes:
    return random.Random(100 + number).randbytes(size)  # noqa: S311


def leaves_in(store: ContentStore, data: bytes) -> list[Leaf]:
    """The leaves of ``data``, which is published."""
    cid = publish_file(store, data)
    if cid.codec == RAW:
        return [Leaf(cid, 0, len(data))]
    return list(file_leaves(cid, store.get_block, NO_LIMIT))


def unverified(local: DirectoryStore, data: bytes, source: ContentStore | None = None) -> LeafContent:
    """``data`` in ``local``, of which nobody has read a leaf."""
    leaves = leaves_in(local, data)
    for leaf in leaves:
        local.verified.forget(leaf.cid)
    return LeafContent(leaves, {}, local, source or local, [local.path_text(leaf.cid) for leaf in leaves])


def several(local: DirectoryStore, source: ContentStore | None = None, size: int = WIDE) -> list[LeafContent]:
    return [unverified(local, other(number, size), source) for number in range(FILES)]


def read_all(
    contents: Sequence[Content], start: int = 0, stop: int = WIDE, width: int = 300_032
) -> tuple[list[bytes], int]:
    """What is read side by side of each, and how often it had to be read again."""
    for again in range(9):
        try:
            return read_once(contents, start, stop, width), again
        except ReadAgain:
            pass
    raise AssertionError("It is to be read again without end.")


def read_once(contents: Sequence[Content], start: int, stop: int, width: int) -> list[bytes]:
    found, expected = list[Rows](), start
    for at, rows in read_together(contents, start, stop, width):
        assert at == expected
        assert 0 < rows.shape[1] <= width and len(rows) == len(contents)
        expected += rows.shape[1]
        found.append(rows.copy())
    assert expected == max(start, stop)
    return [row.tobytes() for row in np.concatenate(found, axis=1)] if found else [b""] * len(contents)


def paths_of(content: LeafContent) -> list[Path]:
    return list(map(Path, content._paths))


ALL = [other(number) for number in range(FILES)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    start=st.sampled_from([0, 76, CHUNK - 1, CHUNK, 2 * CHUNK, WIDE - 1, WIDE]) | st.integers(0, WIDE),
    length=st.sampled_from([0, 1, 2, CHUNK, CHUNK + 1, WIDE]) | st.integers(0, WIDE),
    width=st.sampled_from([64, 4096, 300_032, CHUNK, 2 * CHUNK]),
    is_verified=st.booleans(),
)
def test_side_by_side_any_range_is_what_slicing_gives(
    shared: DirectoryStore, start: int, length: int, width: int, is_verified: bool
) -> None:
    if not SEVERAL:
        SEVERAL.extend(several(shared))
    contents = SEVERAL if is_verified else [fresh(one) for one in SEVERAL]
    stop = min(start + length, start + 200 * width, WIDE)
    assert read_once(contents, start, stop, width) == [data[start:stop] for data in ALL]


SEVERAL: list[LeafContent] = []  # opened once


def fresh(content: LeafContent) -> LeafContent:
    """The same, as if nobody had read any of it."""
    return LeafContent(content._leaves, {}, content._local, content._source, content._paths)


@pytest.mark.parametrize("size", [1, 63, 65, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 64])
@pytest.mark.parametrize("count", [1, 3, 17])
def test_side_by_side_sizes_around_the_ends_of_leaves(shared: DirectoryStore, size: int, count: int) -> None:
    contents = [unverified(shared, other(number, size)) for number in range(3)] * 6
    read, again = read_all(contents[:count], 0, size)
    assert read == [other(number % 3, size) for number in range(count)] and not again


@pytest.mark.parametrize(("start", "stop"), [(0, WIDE), (CHUNK - 1, 2 * CHUNK + 1), (5, 6), (2 * CHUNK, WIDE)])
@pytest.mark.parametrize("kind", ["unverified", "verified", "damaged", "alone", "changed"])
def test_a_sink_takes_what_is_read_once(store: DirectoryStore, start: int, stop: int, kind: str) -> None:
    source = MemoryStore()
    contents: list[Content] = list(several(store, LayeredStore([store, source])))
    if kind == "alone":  # which do not lie alike
        contents[2] = Held(other(2, WIDE))
    if kind in ("verified", "changed"):
        read_all(contents)
    if kind in ("damaged", "changed"):
        for data in ALL:
            publish_file(source, data)
        for number in (1, 2):
            change(paths_of(contents[number])[1])  # type: ignore[arg-type]
    for _ in range(3):
        pouring = Pouring(FILES, WIDE)
        try:
            for at, rows in read_together(contents, start, stop, 65_536, pouring.sink):
                assert pouring.bytes_between(at, at + rows.shape[1]) == [row.tobytes() for row in rows]
            break
        except ReadAgain:
            assert kind == "damaged"
    assert pouring.bytes_between(start, stop) == [data[start:stop] for data in ALL]
    assert (pouring.times[:, start:stop] == 1).all() and pouring.times.sum() == FILES * (stop - start)


def test_empty_files_side_by_side_have_nothing_to_read(shared: DirectoryStore) -> None:
    contents = [unverified(shared, b"") for _ in range(3)]
    assert read_all(contents, 0, 0) == ([b""] * 3, 0)
    with pytest.raises(ValueError, match="are not within"):
        contents[0].read_beside(contents, 0, 1, 64)


def test_side_by_side_ranges_that_leave_the_files_are_refused(shared: DirectoryStore) -> None:
    contents = several(shared)
    for start, stop in ((-1, 1), (2, 1), (0, WIDE + 1)):
        with pytest.raises(ValueError, match="are not within"):
            list(read_together(contents, start, stop, 64))


@pytest.mark.parametrize("stranger", [Held(bytes(WIDE)), "a file of another size"])
def test_files_that_do_not_lie_alike_are_read_one_by_one(shared: DirectoryStore, stranger: object) -> None:
    last = unverified(shared, other(9, WIDE + 1)) if isinstance(stranger, str) else stranger
    contents: list[Content] = [*several(shared)[:2], last]  # type: ignore[list-item]
    assert several(shared)[0].read_beside(contents, 0, WIDE, 64) is None
    assert read_all(contents)[0] == [bytes(one.read(0, WIDE)) for one in contents]


def test_the_pieces_of_a_file_are_its_leaves(shared: DirectoryStore) -> None:
    content = unverified(shared, DATA)
    assert content.piece == CHUNK
    assert content.digests == tuple(hashlib.sha256(DATA[at : at + CHUNK]).digest() for at in range(0, SIZE, CHUNK))


def test_no_file_stays_open_however_reading_ends(shared: DirectoryStore) -> None:
    contents, before = several(shared), open_files()
    for verified in (False, True):
        reading = read_together(contents, 0, WIDE, 4096)
        next(reading)
        assert open_files() == before + FILES
        del reading
        assert open_files() == before, verified
        read_all(contents)
        assert open_files() == before


@contextmanager
def few_open_files(count: int) -> Iterator[None]:
    """Let this process open ``count`` files more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    free = [number for number in range(len(taken) + count + 10) if number not in taken]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[count], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("is_verified", [False, True])
@pytest.mark.parametrize("is_whole", [False, True])
@pytest.mark.parametrize("is_counted", [False, True])
def test_more_files_than_may_be_open_are_read_one_by_one(
    store: DirectoryStore, is_verified: bool, is_whole: bool, is_counted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where somebody else has opened so many."""
    contents = several(store) * 10
    if is_verified:
        read_all(contents)
    if not is_whole:
        change(paths_of(contents[1])[1])
    if not is_counted:
        monkeypatch.setattr(leaf_rows._OPEN_FILES, "take", lambda _: True)
        monkeypatch.setattr(leaf_rows._OPEN_FILES, "give_back", lambda _: None)
    with few_open_files(10):
        if is_whole:
            assert read_all(contents, CHUNK - 1, WIDE)[0] == [data[CHUNK - 1 :] for data in ALL] * 10
        else:
            with pytest.raises(BlockCorrupt):
                read_all(contents, CHUNK - 1, WIDE)


def test_threads_share_the_files_that_may_be_open(store: DirectoryStore) -> None:
    contents, right = several(store) * 10, list[bool]()

    def run() -> None:
        for _ in range(3):
            right.append(read_all(contents, CHUNK - 1, WIDE)[0] == [data[CHUNK - 1 :] for data in ALL] * 10)

    threads = [threading.Thread(target=run) for _ in range(4)]
    with few_open_files(60):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert right == [True] * 12
    assert leaf_rows._OPEN_FILES._count == 0


def test_threads_read_side_by_side_at_once(shared: DirectoryStore) -> None:
    contents, right = [fresh(one) for one in several(shared)], list[bool]()

    def run(seed: int) -> None:
        draw = random.Random(seed)  # noqa: S311
        for _ in range(8):
            start = draw.randrange(WIDE)
            stop = draw.randint(start, min(start + 2 * CHUNK, WIDE))
            right.append(read_all(contents, start, stop)[0] == [data[start:stop] for data in ALL])

    before = open_files()
    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 40 and open_files() == before


# Leaves that nobody has verified


def test_what_is_read_whole_is_verified_and_remembered(store: DirectoryStore) -> None:
    contents = several(store)
    assert [len(one.unverified()) for one in contents] == [3] * FILES
    assert read_all(contents, CHUNK, WIDE) == ([data[CHUNK:] for data in ALL], 0)
    for one in contents:
        leaves = list(file_leaves_of(one))
        assert one.unverified() == [leaves[0]]
        known = [store.verified.is_unchanged(leaf.cid, store.path(leaf.cid)) for leaf in leaves]
        assert known == [False, True, True]


def file_leaves_of(content: LeafContent) -> Iterator[Leaf]:
    return map(content.leaf, range(len(content.digests)))


def test_what_is_read_in_part_is_verified_whole(store: DirectoryStore) -> None:
    contents = several(store)
    assert read_all(contents, CHUNK + 5, CHUNK + 6) == ([data[CHUNK + 5 : CHUNK + 6] for data in ALL], 0)
    assert [[leaf.offset for leaf in one.unverified()] for one in contents] == [[0, 2 * CHUNK]] * FILES


def test_what_is_read_alone_is_verified_whole(store: DirectoryStore) -> None:
    content = unverified(store, DATA)
    assert content.read(CHUNK + 5, CHUNK + 6) == DATA[CHUNK + 5 : CHUNK + 6]
    assert [leaf.offset for leaf in content.unverified()] == [0, 2 * CHUNK, 3 * CHUNK]
    change(paths_of(content)[2])
    with pytest.raises(BlockCorrupt):
        content.read(2 * CHUNK + 5, 2 * CHUNK + 6)


def test_what_was_verified_is_not_hashed_again(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = several(store)
    read_all(contents)
    monkeypatch.setattr("network.leaf_rows.LeafRows.hashed_pieces", lambda *_: pytest.fail("hashed again"))
    monkeypatch.setattr(store, "get_block", lambda *_: pytest.fail("got again"))
    assert read_all(contents) == (ALL, 0)


def cut(path: Path) -> None:
    os.truncate(path, 5000)


def prolonged(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"?")


HARMS: list[Callable[[Path], object]] = [change, cut, prolonged, Path.unlink]
RANGES = [(0, WIDE), (CHUNK - 1, CHUNK + 1)]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize(("start", "stop"), RANGES)
@pytest.mark.parametrize("is_verified", [False, True])
def test_damage_is_named_where_nobody_has_it_whole(
    store: DirectoryStore, harm: Callable[[Path], object], start: int, stop: int, is_verified: bool
) -> None:
    contents = several(store)
    if is_verified:
        read_all(contents)
    path = paths_of(contents[2])[1]
    harm(path)
    with pytest.raises(BlockMissing if harm is Path.unlink else BlockCorrupt) as caught:
        read_all(contents, start, stop)
    assert caught.value.cid == path.name
    others = [contents[0], contents[1], contents[3]]
    assert read_all(others, start, stop)[0] == [data[start:stop] for data in (ALL[0], ALL[1], ALL[3])]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize(("start", "stop"), RANGES)
@pytest.mark.parametrize("is_verified", [False, True])
def test_damage_is_mended_and_read_again(
    store: DirectoryStore, harm: Callable[[Path], object], start: int, stop: int, is_verified: bool
) -> None:
    source = MemoryStore()
    contents = several(store, LayeredStore([store, source]))
    for data in ALL:
        publish_file(source, data)
    if is_verified:
        read_all(contents)
    paths = [paths_of(contents[number])[1] for number in (0, 2, 3)]
    for path in paths:
        harm(path)
    read, again = read_all(contents, start, stop)
    assert read == [data[start:stop] for data in ALL]
    assert again == (not is_verified)
    source.blocks.clear()
    assert read_all(contents) == (ALL, 0)
    assert read_all([fresh(one) for one in contents]) == (ALL, 0)  # the files themselves are whole again
    assert not any(one.unverified() for one in contents)


def test_nothing_else_is_said_of_a_damaged_leaf_than_that_it_is_to_be_read_again(store: DirectoryStore) -> None:
    """What was handed out before the end of the leaf was wrong, and only the end says so."""
    source = MemoryStore()
    contents = several(store, LayeredStore([store, source]))
    publish_file(source, ALL[1])
    change(paths_of(contents[1])[0])
    reading, handed = read_together(contents, 0, CHUNK, 65_536), 0
    with pytest.raises(ReadAgain):
        for _, rows in reading:
            handed += rows.shape[1]
    assert handed == CHUNK


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize(("start", "stop"), RANGES)
def test_what_the_directory_cannot_keep_is_held(
    store: DirectoryStore, harm: Callable[[Path], object], start: int, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MemoryStore()
    contents = several(store, LayeredStore([store, source]))
    for data in ALL:
        publish_file(source, data)

    def full(blocks: Sequence[Block]) -> None:
        raise StoreUnavailable("The disk is full.")

    monkeypatch.setattr(store, "put_blocks", full)
    for number in (0, 2):
        harm(paths_of(contents[number])[1])
    read, again = read_all(contents, start, stop)
    assert read == [data[start:stop] for data in ALL] and again == 1
    source.blocks.clear()
    assert read_all(contents, start, stop) == (read, 0)
    assert contents[2].read(start, stop) == read[2]
    assert CHUNK not in [leaf.offset for leaf in contents[2].unverified()]  # held bytes were verified


def test_a_leaf_that_one_holds_and_another_has_not_verified(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MemoryStore()
    contents = several(store, LayeredStore([store, source]))
    for data in ALL:
        publish_file(source, data)
    monkeypatch.setattr(store, "put_blocks", lambda _: (_ for _ in ()).throw(StoreUnavailable("The disk is full.")))
    paths_of(contents[0])[0].unlink()
    assert read_all(contents[:1]) == (ALL[:1], 1)
    source.blocks.clear()
    assert read_all(contents)[0] == ALL
    assert read_all(contents) == (ALL, 0)


def test_a_source_before_the_directory_keeps_what_it_gives(store: DirectoryStore) -> None:
    source = MemoryStore()
    contents = several(store, LayeredStore([source, store]))
    for data in ALL:
        publish_file(source, data)
    change(paths_of(contents[1])[1])
    read, again = read_all(contents)
    assert read == ALL and again == 1
    assert read_all(contents) == (ALL, 0)


def test_a_file_that_changed_after_it_was_verified_is_verified_again(store: DirectoryStore) -> None:
    contents = several(store)
    read_all(contents)
    path = paths_of(contents[3])[1]
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole)  # the same bytes, of another file
    assert read_all(contents) == (ALL, 0)
    changed_at = None
    with pytest.raises(BlockCorrupt):
        for at, rows in read_together(contents, 0, WIDE, 65_536):  # and while it is read
            assert rows[3].tobytes() == ALL[3][at : at + rows.shape[1]] and changed_at is None
            if at > CHUNK:
                changed_at = at
                change(path)
    assert changed_at is not None


def test_a_leaf_that_changes_while_it_is_hashed_is_read_again_or_refused(store: DirectoryStore) -> None:
    source = MemoryStore()
    contents = several(store, LayeredStore([store, source]))
    publish_file(source, ALL[3])
    with pytest.raises(ReadAgain):
        for at, _ in read_together(contents, 0, WIDE, 65_536):
            if at == CHUNK:
                with paths_of(contents[3])[1].open("r+b") as file:
                    file.seek(CHUNK - 1)
                    file.write(bytes([ALL[3][2 * CHUNK - 1] ^ 1]))
    assert read_all(contents, CHUNK, 2 * CHUNK)[0] == [data[CHUNK : 2 * CHUNK] for data in ALL]


class Spoiling(Pouring):
    """A sink during whose first call a file is changed."""

    def __init__(self, path: Path) -> None:
        super().__init__(FILES, WIDE)
        self._path: Path | None = path

    def _take(self, context: int, rows: int, stride: int, first: int, count: int, at: int, size: int) -> None:
        super()._take(context, rows, stride, first, count, at, size)
        if self._path is not None:
            change(self._path)
            self._path = None


@pytest.mark.parametrize("has_source", [True, False])
@pytest.mark.parametrize("is_verified", [True, False])
def test_a_file_that_changes_while_a_sink_takes_it_counts_for_nothing(
    store: DirectoryStore, is_verified: bool, has_source: bool
) -> None:
    whole = MemoryStore()
    contents = several(store, LayeredStore([store, whole]))
    for data in ALL:
        publish_file(whole, data)
    if is_verified:
        read_all(contents)
    spoiling = Spoiling(paths_of(contents[2])[0])
    if not has_source:
        whole.blocks.clear()

    with pytest.raises(ReadAgain if has_source or is_verified else BlockCorrupt):
        for _ in read_together(contents, 0, WIDE, 65_536, spoiling.sink):
            pass
    if has_source:
        assert read_all(contents)[0] == ALL
    else:
        with pytest.raises(BlockCorrupt):
            read_all(contents)
