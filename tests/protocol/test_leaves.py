"""Leaves hashed side by side: the CIDs of slicing, whoever hashes which group."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.runs import Threads
from protocol import leaves, sha256_lanes
from protocol.cid import RAW, block_cid
from protocol.content import Held, held
from protocol.errors import BlockMissing, InvalidInput
from protocol.leaves import PIECE, leaf_cids
from protocol.runs import Run, serial
from protocol.sha256_lanes import MOST_LANES, description, most_together, together
from protocol.unixfs import CHUNK, MAX_ENTRIES, directory_digest, import_directory

LARGE = 65_536  # bytes of leaves that are worth hashing side by side
RUNS: list[Run] = [serial, Threads(2), Threads(3)]


@pytest.fixture(params=["lanes", "hashlib"])
def _hasher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash side by side where the machine can, and one by one."""
    if request.param == "hashlib":
        monkeypatch.setattr(sha256_lanes, "_ENGINE", sha256_lanes._Engine())
    else:
        description()


def data_of(size: int, seed: int = 0) -> bytes:
    """Bytes of which no two stretches of 4096 are alike."""
    return b"".join(bytes([seed]) + number.to_bytes(4, "big") * 1024 for number in range(size // 4096 + 1))[:size]


def sliced(data: bytes, size: int) -> list[tuple[object, int]]:
    parts = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    return [(block_cid(RAW, part), len(part)) for part in parts]


@given(st.dictionaries(st.sampled_from("abcd"), st.binary(max_size=700)), st.sampled_from([64, 128, 192]))
def test_leaves_are_those_of_slicing(files: dict[str, bytes], size: int) -> None:
    expected = {name: sliced(data, size) for name, data in files.items()}
    for run in RUNS:
        assert leaf_cids(held(files), size, run) == expected


@pytest.mark.usefixtures("_hasher")
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 16, 17, 22, 24, 25, 32, 33, 41])
@pytest.mark.parametrize("rest", [0, 1, 64, LARGE - 1])
def test_any_number_of_large_leaves_is_those_of_slicing(count: int, rest: int, run: Run) -> None:
    first, second = data_of(count // 2 * LARGE + rest), data_of((count - count // 2) * LARGE, 1)
    found = leaf_cids(held({"first": first, "second": second}), LARGE, run)
    assert found == {"first": sliced(first, LARGE), "second": sliced(second, LARGE)}


@pytest.mark.usefixtures("_hasher")
@pytest.mark.parametrize("size", [PIECE - 64, PIECE, PIECE + 64, 2 * PIECE, 2 * PIECE + 128])
def test_leaves_of_any_number_of_pieces_are_those_of_slicing(size: int) -> None:
    data = data_of(4 * size + 5)
    assert leaf_cids(held({"it": data}), size, Threads(2)) == {"it": sliced(data, size)}


@pytest.mark.usefixtures("_hasher")
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 18 * CHUNK + 77])
def test_a_directory_has_one_digest_whoever_hashes_it(size: int) -> None:
    files = {"weights": data_of(size), "importance": data_of(size // 2, 1), "manifest": b"{}"}
    expected = import_directory(files, lambda _: None).cid.digest
    for run in RUNS:
        assert directory_digest(files, run) == expected
        assert directory_digest(held(files), run=run) == expected


def test_files_that_make_no_artifact_are_refused_before_one_is_read() -> None:
    class Unread(Held):
        def read_into(self, start: int, out: memoryview) -> None:
            raise AssertionError

    for names in (["a/b"], [""], [".."], [str(number) for number in range(MAX_ENTRIES + 1)]):
        with pytest.raises(InvalidInput):
            directory_digest({name: Unread(b"x") for name in names}, serial)


@pytest.mark.parametrize("run", RUNS)
def test_what_reading_raises_comes_through(run: Run) -> None:
    class Gone(Held):
        def read_into(self, start: int, out: memoryview) -> None:
            raise BlockMissing("bafy", "the content store")

    with pytest.raises(BlockMissing):
        leaf_cids({"a": Gone(bytes(10 * LARGE)), "b": Held(b"")}, LARGE, run)


def test_little_is_held_however_large_the_files_are() -> None:
    widest = 0

    class Watched(Held):
        def read_into(self, start: int, out: memoryview) -> None:
            nonlocal widest
            widest = max(widest, len(out))
            super().read_into(start, out)

    before = threading.active_count()
    leaves._ROOMS.clear()
    leaf_cids({"a": Watched(bytes(40 * CHUNK))}, CHUNK, Threads(2))
    assert widest == PIECE
    assert sum(room.size for room in leaves._ROOMS) <= 2 * MOST_LANES * PIECE
    assert threading.active_count() == before


def test_leaves_come_in_groups_that_fill_all_lanes() -> None:
    description()
    if together(CHUNK) == 1:
        pytest.skip("this processor has no lanes")
    most, least = most_together(CHUNK), together(CHUNK)
    for count in range(70):
        whole = [leaves._Leaf("a", at, at + CHUNK) for at in range(0, count * CHUNK, CHUNK)]
        groups = leaves._groups(whole, CHUNK)
        assert [leaf for group in groups for leaf in group] == whole
        assert all(len(group) in (most, least) for group in groups[:-1])
        assert not groups or 1 <= len(groups[-1]) <= least
