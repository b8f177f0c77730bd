"""Artifacts opened where they arrived: refused as a fetch refuses them, each leaf hashed once, none of them held."""

from __future__ import annotations

import random
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeGuard

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from network import arrival, leaf_verifier
from network.arrival import Arrived, await_artifacts, open_artifact, open_artifacts, open_file
from network.directory_store import DirectoryStore
from network.hashed_files import Hashed, hash_files
from network.layered_store import LayeredStore
from network.memory_store import MemoryStore
from network.store import ContentStore
from network.stored_content import LeafContent
from network.transfer import fetch, fetch_file, publish, publish_file
from protocol import unixfs
from protocol.artifact import load_directory
from protocol.cid import DAG_PB, RAW, Cid, block_cid, directory_cid
from protocol.content import Content, Held, ReadAgain, read_together
from protocol.dag_pb import Kind, Node, PbLink, encode_node
from protocol.errors import (
    BlockCorrupt,
    BlockMissing,
    InvalidInput,
    NotCanonical,
    RondoError,
    StoreUnavailable,
    TooLarge,
)
from protocol.sha256_lanes import MOST_LANES, description
from protocol.types import Digest
from protocol.unixfs import CHUNK, Block, file_leaves, import_directory
from tests.network.counting import HOURS, CountingSource
from tests.network.test_transfer import file_of_two_levels

NO_LIMIT = 2**62


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311


FILES = {"delta.safetensors": content(20 * CHUNK + 5), "empty": b"", "update.json": b"{}"}
SIZE = sum(map(len, FILES.values()))


@pytest.fixture(scope="module", autouse=True)
def lanes() -> None:
    description()


@pytest.fixture
def local(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were hashed in place."""
    names: list[str] = []

    def noting(paths: Sequence[str], size: int) -> list[Hashed | None]:
        assert len(paths) <= MOST_LANES
        names.extend(Path(path).name for path in paths)
        return hash_files(paths, size)

    monkeypatch.setattr(leaf_verifier, "hash_files", noting)
    return names


def bytes_of(files: Mapping[str, Content]) -> dict[str, bytes]:
    return {name: bytes(file.read(0, file.size)) for name, file in files.items()}


def blocks_of(files: Mapping[str, bytes]) -> list[Block]:
    blocks: list[Block] = []
    import_directory(files, blocks.append)
    return blocks


def leaves_of(store: ContentStore, digest: Digest, name: str = "delta.safetensors") -> list[Cid]:
    links = unixfs.list_directory(directory_cid(digest), store.get_block, NO_LIMIT)
    return [leaf.cid for leaf in file_leaves(links[name].cid, store.get_block, NO_LIMIT)]


def damage(store: DirectoryStore, cid: Cid) -> None:
    data = bytearray(store.path(cid).read_bytes())
    data[-1] ^= 1
    store.path(cid).write_bytes(data)


# What it gives


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize(
    "files",
    [FILES, {}, {"a": b""}, {"a": bytes(3 * CHUNK), "b": bytes(2 * CHUNK)}, {"a": b"1", "b": content(CHUNK + 1)}],
)
def test_gives_what_was_published(local: DirectoryStore, files: dict[str, bytes], workers: int) -> None:
    digest = publish(local, files)
    opened = open_artifact(local, digest, NO_LIMIT, workers=workers)
    assert bytes_of(opened) == files == fetch(local, digest, NO_LIMIT)
    assert list(opened) == sorted(files) and all(isinstance(file, LeafContent) for file in opened.values())


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 17 * CHUNK])
def test_gives_one_file(local: DirectoryStore, size: int) -> None:
    cid = publish_file(local, FILES["delta.safetensors"][:size])
    file = open_file(local, cid, size)
    assert isinstance(file, LeafContent) and file.size == size
    assert file.read(0, size) == fetch_file(local, cid, size)


def test_what_is_missing_is_fetched_and_stays(local: DirectoryStore, hashed: list[str]) -> None:
    source = CountingSource(MemoryStore())
    digest = publish(source.inner, FILES)  # type: ignore[arg-type]
    store = LayeredStore([local, source])
    present = leaves_of(source.inner, digest)[3:9]  # type: ignore[arg-type]
    for cid in present:
        local.put_block(Block(cid, source.inner.get_block(cid)))
    assert bytes_of(open_artifact(store, digest, SIZE)) == FILES
    assert not set(source.asked) & set(present) and set(source.asked.values()) == {1}
    assert sorted(hashed) == sorted(map(str, present))  # the others were verified when they came
    source.asked.clear()
    assert bytes_of(open_artifact(store, digest, SIZE)) == bytes_of(open_artifact(local, digest, SIZE)) == FILES
    assert not source.asked


def test_a_file_of_its_own_is_fetched_and_stays(local: DirectoryStore) -> None:
    source = MemoryStore()
    for data in (FILES["delta.safetensors"], b"small"):
        cid = publish_file(source, data)
        assert open_file(LayeredStore([local, source]), cid, SIZE).read(0, len(data)) == data
        assert open_file(local, cid, SIZE).read(0, len(data)) == data


def test_without_a_directory_the_files_are_held() -> None:
    memory = MemoryStore()
    digest, cid = publish(memory, FILES), publish_file(memory, FILES["delta.safetensors"])
    for store in (memory, LayeredStore([memory, CountingSource(MemoryStore())])):
        opened = open_artifact(store, digest, SIZE)
        assert opened == {name: Held(data) for name, data in FILES.items()}
        assert open_file(store, cid, SIZE) == Held(FILES["delta.safetensors"])


def test_where_the_disk_is_full_the_files_are_held(local: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    source = MemoryStore()
    digest, cid = publish(source, FILES), publish_file(source, FILES["delta.safetensors"])

    def full(blocks: Sequence[Block]) -> None:
        raise StoreUnavailable("The disk is full.")

    monkeypatch.setattr(local, "put_blocks", full)
    store = LayeredStore([local, source])
    assert open_artifact(store, digest, SIZE) == {name: Held(data) for name, data in FILES.items()}
    assert open_file(store, cid, SIZE) == Held(FILES["delta.safetensors"])


# Several at once

SEVERAL = [{**FILES, "update.json": b"%d" % number, "noise": content(19 * CHUNK, 100 + number)} for number in range(3)]


def test_several_are_what_each_is(local: DirectoryStore) -> None:
    source = MemoryStore()
    digests = [publish(source, files) for files in SEVERAL]
    publish(local, SEVERAL[1])
    for store in (LayeredStore([local, source]), local, source):
        assert list(map(bytes_of, open_artifacts(store, digests, NO_LIMIT))) == SEVERAL
    assert open_artifacts(local, [], NO_LIMIT) == []
    assert bytes_of(open_artifacts(local, digests[:1] * 2, NO_LIMIT)[1]) == SEVERAL[0]


def test_leaves_of_several_are_hashed_side_by_side_and_once(
    local: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[list[str]] = []
    digests = [publish(local, files) for files in SEVERAL]

    def noting(paths: Sequence[str], size: int) -> list[Hashed | None]:
        groups.append([Path(path).name for path in paths] if size == CHUNK else [])
        return hash_files(paths, size)

    monkeypatch.setattr(leaf_verifier, "hash_files", noting)
    open_artifacts(local, digests, NO_LIMIT)
    assert sorted(map(len, groups), reverse=True)[:6] == [16, 16, 16, 16, 13, 0]  # 20 that all share, and 19 of each
    assert len({name for group in groups for name in group}) == 77


def test_several_are_refused_where_one_is(local: DirectoryStore) -> None:
    digests = [publish(local, files) for files in SEVERAL]
    with pytest.raises(TooLarge):
        open_artifacts(local, digests, sum(map(len, SEVERAL[0].values())) - 1)
    leaf = leaves_of(local, digests[2], "noise")[-1]
    damage(local, leaf)
    with pytest.raises(BlockCorrupt, match=str(leaf)):
        open_artifacts(local, digests, NO_LIMIT)
    local.path(leaf).unlink()
    with pytest.raises(BlockMissing, match=str(leaf)):
        open_artifacts(local, digests, NO_LIMIT)
    node = encode_node(Node(Kind.DIRECTORY, (PbLink(publish_file(local, b"{}"), "update.json", 3),)))
    local.put_block(Block(block_cid(DAG_PB, node), node))
    with pytest.raises(NotCanonical):
        open_artifacts(local, [digests[0], block_cid(DAG_PB, node).digest], NO_LIMIT)


def test_several_are_held_where_the_disk_is_full(local: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    source = MemoryStore()
    digests = [publish(source, files) for files in SEVERAL[:2]]
    publish(local, SEVERAL[1])

    def full(blocks: Sequence[Block]) -> None:
        raise StoreUnavailable("The disk is full.")

    monkeypatch.setattr(local, "put_blocks", full)
    opened = open_artifacts(LayeredStore([local, source]), digests, NO_LIMIT)
    assert [type(files["noise"]) for files in opened] == [Held, LeafContent]
    assert list(map(bytes_of, opened)) == SEVERAL[:2]


def test_progress_of_several_is_told_up_to_the_end(local: DirectoryStore) -> None:
    source, told = MemoryStore(), list[tuple[int, int]]()
    digests = [publish(source, files) for files in SEVERAL]
    publish(local, SEVERAL[1])
    size = sum(len(data) for files in SEVERAL for data in files.values())
    store = LayeredStore([local, source])
    open_artifacts(store, digests, NO_LIMIT, on_progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1] == (size, size)


# Several that are verified while they are read

MANY = [
    {"delta.safetensors": content(2 * CHUNK + 9, 200 + number), "empty": b"", "update.json": b"%d" % number}
    for number in range(16)
]


def deltas(arrived: Arrived) -> list[LeafContent]:
    found = [files["delta.safetensors"] for files in arrived.files]
    assert all(isinstance(one, LeafContent) for one in found)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("count", [12, 16])
def test_of_many_only_first_leaves_are_hashed_before_they_are_read(
    local: DirectoryStore, hashed: list[str], count: int
) -> None:
    digests = [publish(local, files) for files in MANY[:count]]
    firsts = {str(leaves_of(local, digest, name)[0]) for digest in digests for name in MANY[0]}
    arrived = await_artifacts(local, digests, NO_LIMIT)
    assert sorted(hashed) == sorted(firsts)  # and the empty one once for all
    assert [len(one.unverified()) for one in deltas(arrived)] == [2] * count
    for at, rows in read_together(deltas(arrived), 0, 2 * CHUNK, 65_536):
        for row, files in zip(rows, MANY, strict=False):
            assert row.tobytes() == files["delta.safetensors"][at : at + row.size]
    assert [[leaf.size for leaf in one.unverified()] for one in deltas(arrived)] == [[9]] * count
    arrived.verify()
    lasts = {str(leaves_of(local, digest)[-1]) for digest in digests}
    assert sorted(hashed) == sorted(firsts | lasts)
    arrived.verify()
    assert len(hashed) == len(firsts | lasts)
    assert list(map(bytes_of, arrived.files)) == MANY[:count]


@pytest.mark.parametrize("count", [0, 1, 11, 17])
def test_others_are_verified_at_once(local: DirectoryStore, hashed: list[str], count: int) -> None:
    """One leaf of each would leave too many lanes empty."""
    digests = [publish(local, files) for files in [*MANY, FILES][:count]]
    arrived = await_artifacts(local, digests, NO_LIMIT)
    assert len(set(hashed)) == len(hashed) == len({leaf for digest in digests for leaf in raw_leaves(local, digest)})
    assert not any(file.unverified() for files in arrived.files for file in files.values() if is_leafy(file))
    arrived.verify()
    assert list(map(bytes_of, arrived.files)) == [*MANY, FILES][:count]


def raw_leaves(store: ContentStore, digest: Digest) -> list[Cid]:
    names = unixfs.list_directory(directory_cid(digest), store.get_block, NO_LIMIT)
    return [leaf for name in names for leaf in leaves_of(store, digest, name)]


def is_leafy(file: Content) -> TypeGuard[LeafContent]:
    return isinstance(file, LeafContent)


@pytest.mark.parametrize("harm", ["damaged", "cut", "gone"])
@pytest.mark.parametrize("number", [1, 2])
def test_what_nobody_read_is_verified_in_the_end(local: DirectoryStore, harm: str, number: int) -> None:
    source = MemoryStore()
    digests = [publish(local, files) for files in MANY]
    publish(source, MANY[5])
    store = LayeredStore([local, source])
    leaf = leaves_of(local, digests[5])[number]
    alone, mended = (await_artifacts(one, digests, NO_LIMIT) for one in (local, store))
    if harm == "damaged":
        damage(local, leaf)
    elif harm == "cut":
        local.path(leaf).write_bytes(b"short")
    else:
        local.path(leaf).unlink()
    with pytest.raises(BlockMissing if harm == "gone" else BlockCorrupt) as caught:
        alone.verify()
    assert caught.value.cid == str(leaf)
    mended.verify()
    source.blocks.clear()
    assert list(map(bytes_of, mended.files)) == MANY
    alone.verify()  # it is whole again


def test_what_was_damaged_before_is_said_or_mended_when_it_is_read(local: DirectoryStore) -> None:
    source = MemoryStore()
    digests = [publish(local, files) for files in MANY]
    publish(source, MANY[5])
    store = LayeredStore([local, source])
    first, last = leaves_of(local, digests[5])[0], leaves_of(local, digests[5])[-1]
    damage(local, last)
    alone, mended = (await_artifacts(one, digests, NO_LIMIT) for one in (local, store))
    with pytest.raises(BlockCorrupt):
        list(read_together(deltas(alone), 0, 2 * CHUNK + 9, 65_536))
    with pytest.raises(ReadAgain):
        list(read_together(deltas(mended), 0, 2 * CHUNK + 9, 65_536))
    assert bytes_of(mended.files[5]) == MANY[5]
    damage(local, first)
    with pytest.raises(BlockCorrupt):  # of first leaves it shows at once
        await_artifacts(local, digests, NO_LIMIT)
    await_artifacts(store, digests, NO_LIMIT)
    assert bytes_of(open_artifact(local, digests[5], NO_LIMIT)) == MANY[5]


def test_many_that_are_missing_are_fetched_and_stay(local: DirectoryStore, hashed: list[str]) -> None:
    source = CountingSource(MemoryStore())
    digests = [publish(source.inner, files) for files in MANY]  # type: ignore[arg-type]
    publish(local, MANY[3])
    arrived = await_artifacts(LayeredStore([local, source]), digests, NO_LIMIT)
    assert [len(one.unverified()) for one in deltas(arrived)] == [0] * 3 + [2] + [0] * 12
    assert len(hashed) == 3  # what came was verified when it came
    source.asked.clear()
    arrived.verify()
    assert list(map(bytes_of, arrived.files)) == MANY and not source.asked
    assert list(map(bytes_of, await_artifacts(local, digests, NO_LIMIT).files)) == MANY


def test_without_a_directory_many_are_held(local: DirectoryStore) -> None:
    memory = MemoryStore()
    arrived = await_artifacts(memory, [publish(memory, files) for files in MANY], NO_LIMIT)
    assert arrived.files == [{name: Held(data) for name, data in files.items()} for files in MANY]
    arrived.verify()


def test_many_are_held_where_the_disk_is_full(local: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    source = MemoryStore()
    digests = [publish(source, files) for files in MANY]
    for files in MANY[:15]:
        publish(local, files)

    def full(blocks: Sequence[Block]) -> None:
        raise StoreUnavailable("The disk is full.")

    monkeypatch.setattr(local, "put_blocks", full)
    arrived = await_artifacts(LayeredStore([local, source]), digests, NO_LIMIT)
    arrived.verify()
    assert list(map(bytes_of, arrived.files)) == MANY


@pytest.mark.parametrize("lie", ["size", "leaf", "names", "limit", "no directory"])
def test_many_are_refused_where_one_is(local: DirectoryStore, lie: str) -> None:
    digests = [publish(local, files) for files in MANY[:15]]
    forged, limit = publish(local, MANY[15]), NO_LIMIT
    if lie == "size":
        link = PbLink(publish_file(local, b"{}"), "update.json", 3)
        forged = put_node(local, Node(Kind.DIRECTORY, (link,)))
    elif lie == "leaf":  # a file of leaves of other lengths
        leaves = [Block(block_cid(RAW, data), data) for data in (content(CHUNK - 1, 1), content(CHUNK, 2))]
        local.put_blocks(leaves)
        sizes = tuple(len(leaf.data) for leaf in leaves)
        node = Node(Kind.FILE, tuple(PbLink(leaf.cid, "", len(leaf.data)) for leaf in leaves), sizes)
        file = block_cid(DAG_PB, encode_node(node))
        local.put_block(Block(file, encode_node(node)))
        whole = sum(sizes) + len(encode_node(node))
        forged = put_node(local, Node(Kind.DIRECTORY, (PbLink(file, "delta.safetensors", whole),)))
    elif lie == "names":
        links = [PbLink(publish_file(local, b"{}"), name, 2) for name in ("b", "a")]
        forged = put_node(local, Node(Kind.DIRECTORY, tuple(links)))
    elif lie == "limit":
        limit = 2 * CHUNK + 5
    else:
        forged = publish_file(local, MANY[15]["delta.safetensors"]).digest
    every = [*digests, forged]
    wanted = outcome(lambda: open_artifacts(local, every, limit))
    assert wanted in (NotCanonical, TooLarge)
    assert outcome(lambda: await_artifacts(local, every, limit)) == wanted


def put_node(store: DirectoryStore, node: Node) -> Digest:
    data = encode_node(node)
    store.put_block(Block(block_cid(DAG_PB, data), data))
    return block_cid(DAG_PB, data).digest


def test_progress_of_many_is_told_up_to_the_end(local: DirectoryStore) -> None:
    source, told = MemoryStore(), list[tuple[int, int]]()
    digests = [publish(source, files) for files in MANY]
    publish(local, MANY[1])
    size = sum(len(data) for files in MANY for data in files.values())
    store = LayeredStore([local, source])
    await_artifacts(store, digests, NO_LIMIT, on_progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1] == (size, size)


def test_somebody_must_hash(local: DirectoryStore) -> None:
    with pytest.raises(ValueError, match="hash nothing"):
        open_artifact(local, publish(local, FILES), NO_LIMIT, workers=0)


# How often, how much at once


def test_each_leaf_is_hashed_once_and_read_by_nobody_else(
    local: DirectoryStore, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = {"a": bytes(40 * CHUNK), "b": bytes(3 * CHUNK) + FILES["delta.safetensors"], "c": b"{}"}
    digest = publish(local, twice)
    asked: list[Cid] = []
    honest = local.get_block
    monkeypatch.setattr(local, "get_block", lambda cid, _=None: (asked.append(cid), honest(cid))[1])
    opened = open_artifact(local, digest, NO_LIMIT)
    assert sorted(hashed) == sorted({str(block.cid) for block in blocks_of(twice) if block.cid.codec == RAW})
    assert len(asked) == len(set(asked)) == 3 and all(cid.codec == DAG_PB for cid in asked)
    assert bytes_of(opened) == twice
    assert len(asked) == 3


def test_nothing_is_taken_for_verified_that_was_so_before(local: DirectoryStore, hashed: list[str]) -> None:
    """A disk that loses bits by itself changes no times."""
    digest = publish(local, FILES)
    for _ in range(2):
        hashed.clear()
        open_artifact(local, digest, SIZE)
        assert len(hashed) == 23


def test_no_artifact_is_held_in_memory(local: DirectoryStore) -> None:
    digest = publish(local, {"delta.safetensors": content(64 * CHUNK)})
    open_artifact(local, digest, NO_LIMIT)
    tracemalloc.start()
    opened = open_artifact(local, digest, NO_LIMIT)
    buffer = memoryview(bytearray(CHUNK))
    for start in range(0, 64 * CHUNK, CHUNK):
        opened["delta.safetensors"].read_into(start, buffer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * CHUNK


def test_a_lease_is_held_and_ends(local: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, leased = publish(local, FILES), list[Cid]()
    cid = publish_file(local, b"alice")
    honest, unleased = local.get_block, list[Cid]()

    @contextmanager
    def lease(*roots: Cid) -> Iterator[None]:
        leased.extend(roots)
        yield
        leased.clear()

    def get(cid: Cid, seconds: float | None = None) -> bytes:
        unleased.extend([] if leased else [cid])
        return honest(cid)

    monkeypatch.setattr(local, "lease", lease)
    monkeypatch.setattr(local, "get_block", get)
    open_artifact(local, digest, SIZE)
    open_file(local, cid, SIZE)
    for some in ([digest], [digest] * 16):
        open_artifacts(local, some, SIZE)
        await_artifacts(local, some, SIZE)
    assert not leased and not unleased


@pytest.mark.parametrize("present", [0, 7, 23])
def test_progress_is_told_up_to_the_end(local: DirectoryStore, present: int) -> None:
    source, told = MemoryStore(), list[tuple[int, int]]()
    digest, cid = publish(source, FILES), publish_file(source, FILES["delta.safetensors"])
    for block in blocks_of(FILES)[:present]:
        local.put_block(block)
    store = LayeredStore([local, source])
    open_artifact(store, digest, SIZE, on_progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1] == (SIZE, SIZE)
    told.clear()
    open_file(store, cid, SIZE, on_progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1] == (SIZE - 2, SIZE - 2)


def test_threads_may_open_side_by_side(local: DirectoryStore) -> None:
    files = [{**FILES, "update.json": b"%d" % number} for number in range(4)]
    digests = [publish(local, one) for one in files]
    found: dict[int, bool] = {}

    def run(number: int) -> None:
        found[number] = bytes_of(open_artifact(local, digests[number], NO_LIMIT)) == files[number]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), True)


# What is refused, and what fails


def outcome(read: Callable[[], object]) -> object:
    try:
        return read()
    except RondoError as error:
        return type(error)


def test_refuses_whatever_the_reference_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both where all of it is fetched, and then where all of it is here."""
    monkeypatch.setattr(unixfs, "CHUNK", 4)
    monkeypatch.setattr(arrival, "CHUNK", 4)
    monkeypatch.setattr(unixfs, "WIDTH", 3)
    local = DirectoryStore(tmp_path)
    verdicts: set[object] = set()

    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        memory = MemoryStore()
        node = encode_node(Node(Kind.DIRECTORY, (data.draw(st.composite(file_of_two_levels)(memory)),)))
        root = Block(block_cid(DAG_PB, node), node)
        memory.put_block(root)
        limit = data.draw(st.sampled_from([8, NO_LIMIT]))
        wanted = outcome(lambda: load_directory(root.cid.digest, memory.get_block, limit))
        for store in (LayeredStore([local, memory]), LayeredStore([local, memory]), local):
            found = outcome(lambda store=store: bytes_of(open_artifact(store, root.cid.digest, limit)))
            if store is local and not all(map(local.has_block, memory.blocks)):
                continue  # a refusal ended the fetch
            assert found == wanted
        verdicts.add("read" if isinstance(wanted, dict) else wanted)

    check()
    assert verdicts == {"read", NotCanonical, TooLarge}


def test_an_artifact_over_the_limit_is_refused_before_any_leaf_is_hashed(
    local: DirectoryStore, hashed: list[str]
) -> None:
    digest, cid = publish(local, FILES), publish_file(local, FILES["delta.safetensors"])
    with pytest.raises(TooLarge):
        open_artifact(local, digest, SIZE - 1)
    with pytest.raises(TooLarge):
        open_file(local, cid, 20 * CHUNK)
    with pytest.raises(TooLarge):
        open_file(local, publish_file(local, b"alice"), 4)
    assert not hashed


def test_a_digest_that_is_none_is_refused(local: DirectoryStore) -> None:
    with pytest.raises(InvalidInput):
        open_artifact(local, Digest(b"short"), SIZE)


@pytest.mark.parametrize("name", ["delta.safetensors", "update.json"])
def test_a_missing_leaf_is_named(local: DirectoryStore, name: str) -> None:
    digest = publish(local, FILES)
    last = leaves_of(local, digest, name)[-1]
    local.path(last).unlink()
    for store in (local, LayeredStore([local, MemoryStore()])):
        with pytest.raises(BlockMissing) as caught:
            open_artifact(store, digest, SIZE)
        assert caught.value.cid == str(last)


@pytest.mark.parametrize("name", ["delta.safetensors", "update.json"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_leaf_is_said_or_mended(local: DirectoryStore, name: str, workers: int) -> None:
    digest, source = publish(local, FILES), MemoryStore()
    publish(source, FILES)
    leaf = leaves_of(local, digest, name)[-1]
    damage(local, leaf)
    for store in (local, LayeredStore([local, MemoryStore()])):
        with pytest.raises(BlockCorrupt):
            open_artifact(store, digest, SIZE, workers=workers)
    assert bytes_of(open_artifact(LayeredStore([local, source]), digest, SIZE, workers=workers)) == FILES
    assert bytes_of(open_artifact(local, digest, SIZE)) == FILES


def test_a_leaf_that_was_cut_short_is_said_or_mended(local: DirectoryStore) -> None:
    digest, source = publish(local, FILES), MemoryStore()
    publish(source, FILES)
    leaf = local.path(leaves_of(local, digest)[7])
    leaf.write_bytes(leaf.read_bytes()[:-1])
    with pytest.raises(BlockCorrupt):
        open_artifact(local, digest, SIZE)
    assert bytes_of(open_artifact(LayeredStore([local, source]), digest, SIZE)) == FILES


def test_a_disk_that_fails_is_said(local: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = publish(local, FILES)

    def failing(paths: Sequence[str], size: int) -> list[Hashed | None]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(leaf_verifier, "hash_files", failing)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        open_artifact(local, digest, SIZE)


def test_time_over_is_said_where_blocks_do_not_come(local: DirectoryStore) -> None:
    source = MemoryStore()
    digest, cid = publish(source, FILES), publish_file(source, FILES["delta.safetensors"])
    slow = CountingSource(source, delays={leaves_of(source, digest)[-1]: HOURS}, obeys=False)
    with pytest.raises(StoreUnavailable, match=r"within 0\.3 seconds"):
        open_artifact(LayeredStore([local, slow]), digest, SIZE, seconds=0.3)
    with pytest.raises(StoreUnavailable, match=r"within 0\.3 seconds"):
        open_file(LayeredStore([local, slow]), cid, SIZE, seconds=0.3)


def test_time_over_is_said_where_the_disk_hangs(local: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, end = publish(local, FILES), threading.Event()

    def hanging(paths: Sequence[str], size: int) -> list[Hashed | None]:
        end.wait()
        return hash_files(paths, size)

    monkeypatch.setattr(leaf_verifier, "hash_files", hanging)
    with pytest.raises(StoreUnavailable, match=r"not verified within 0\.2 seconds"):
        open_artifact(local, digest, SIZE, seconds=0.2)
    end.set()
