"""Whole artifacts in and out of a store: what is refused, what is relied on meanwhile, and what comes side by side."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.directory_store import DirectoryStore
from network.memory_store import MemoryStore
from network.reader import WORKERS
from network.transfer import fetch, fetch_file, publish, publish_file, publish_path
from protocol import unixfs
from protocol.artifact import load_directory
from protocol.cid import DAG_PB, Cid, block_cid, directory_cid
from protocol.dag_pb import Kind, Node, PbLink, encode_node
from protocol.errors import ArtifactRefused, BlockMissing, InvalidInput, NotCanonical, StoreUnavailable, TooLarge
from protocol.unixfs import CHUNK, Block, directory_digest, file_leaves, import_directory
from tests.network.counting import HOURS, CountingSource

NO_LIMIT = 2**62


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311


FILES = {"delta.safetensors": content(9 * CHUNK + 5), "empty": b"", "update.json": b"{}"}
SIZE = sum(map(len, FILES.values()))


class CountingStore(CountingSource, MemoryStore):
    """A store in memory that counts, and that notes what is leased when it is asked."""

    name, searches = "counting:", True  # of the source, not of the store

    def __init__(self, delay: float = 0.0) -> None:
        self.source = MemoryStore()
        MemoryStore.__init__(self)
        CountingSource.__init__(self, self.source, delay)
        self.leased: list[tuple[Cid, ...]] = []
        self.unleased = 0

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        self.unleased += not self.leased
        return CountingSource.get_block(self, cid, seconds)

    def has_block(self, cid: Cid) -> bool:
        return self.source.has_block(cid)

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        self.unleased += not self.leased
        self.source.put_blocks(blocks)

    def keep(self, cid: Cid) -> None:
        self.unleased += not self.leased
        self.source.keep(cid)

    @contextmanager
    def lease(self, *roots: Cid) -> Iterator[None]:
        self.leased.append(roots)
        yield
        self.leased.pop()


# What is refused


def test_an_artifact_over_the_limit_is_refused_before_any_leaf_is_asked_for() -> None:
    store = CountingStore()
    digest, cid = publish(store, FILES), publish_file(store, FILES["delta.safetensors"])
    with pytest.raises(TooLarge):
        fetch(store, digest, SIZE - 1)
    with pytest.raises(TooLarge):
        fetch_file(store, cid, 9 * CHUNK)
    assert not store.leaves


def test_a_missing_block_is_named_and_the_lease_ends() -> None:
    store = CountingStore()
    digest = publish(store, FILES)
    last = directory_last_leaf(store, digest)
    store.withheld = {last}
    with pytest.raises(BlockMissing) as caught:
        fetch(store, digest, SIZE)
    assert caught.value.cid == str(last)


def directory_last_leaf(store: MemoryStore, digest: bytes) -> Cid:
    links = unixfs.list_directory(directory_cid(unixfs.Digest(digest)), store.get_block, NO_LIMIT)
    return list(file_leaves(links["delta.safetensors"].cid, store.get_block, NO_LIMIT))[-1].cid


def test_time_over_is_said() -> None:
    store = CountingStore()
    digest = publish(store, FILES)
    store.delays, store.obeys = {directory_last_leaf(store, digest): HOURS}, False
    with pytest.raises(StoreUnavailable, match=r"within 0\.3 seconds"):
        fetch(store, digest, SIZE, seconds=0.3)


def test_a_second_tree_of_the_same_files_is_refused() -> None:
    store = MemoryStore()
    leaf = publish_file(store, b"{}")
    for link in (PbLink(leaf, "update.json", 3), PbLink(leaf, "update.json", 1)):
        data = encode_node(Node(Kind.DIRECTORY, (link,)))
        store.put_block(Block(block_cid(DAG_PB, data), data))
        with pytest.raises(NotCanonical):
            fetch(store, block_cid(DAG_PB, data).digest, NO_LIMIT)


def test_a_store_that_verifies_nothing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every store hashes what it gives; should one fail to, then importing the files again shows it."""
    store = MemoryStore()
    digest = publish(store, FILES)
    wrong = directory_last_leaf(store, digest)
    honest = store.get_block
    monkeypatch.setattr(
        store, "get_block", lambda cid, _=None: bytes(len(honest(cid))) if cid == wrong else honest(cid)
    )
    with pytest.raises(NotCanonical, match=str(directory_cid(digest))):
        fetch(store, digest, NO_LIMIT)


def file_of_two_levels(draw: st.DrawFn, store: MemoryStore) -> PbLink:
    """A file of at most three leaves of 4 bytes, honest or wrong in one way."""
    data = draw(st.binary(min_size=5, max_size=12))
    leaves = [data[at : at + 4] for at in range(0, len(data), 4)]
    sizes = [len(leaf) for leaf in leaves]
    totals, where = list(sizes), draw(st.integers(0, len(leaves) - 1))
    wrong = draw(st.sampled_from(["nothing", "a leaf", "a size", "a total", "a missing leaf", "Tsize"]))
    if wrong == "a leaf":
        leaves[where] = draw(st.binary(max_size=6))
    sizes[where] += wrong == "a size"
    totals[where] += wrong == "a total"
    cids = [publish_file(store, leaf) for leaf in leaves]
    links = tuple(PbLink(cid, "", total) for cid, total in zip(cids, totals, strict=True))
    node = encode_node(Node(Kind.FILE, links[: len(links) - (wrong == "a missing leaf")], tuple(sizes)))
    store.put_block(Block(block_cid(DAG_PB, node), node))
    return PbLink(block_cid(DAG_PB, node), "a", len(node) + sum(totals) + (wrong == "Tsize"))


def test_refuses_whatever_the_reference_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unixfs, "CHUNK", 4)
    monkeypatch.setattr(unixfs, "WIDTH", 3)
    verdicts: set[str] = set()

    @given(st.data())
    def check(data: st.DataObject) -> None:
        store = MemoryStore()
        node = encode_node(Node(Kind.DIRECTORY, (data.draw(st.composite(file_of_two_levels)(store)),)))
        root = Block(block_cid(DAG_PB, node), node)
        store.put_block(root)
        limit = data.draw(st.sampled_from([8, NO_LIMIT]))

        def outcome(read: object) -> object:
            try:
                return read()  # type: ignore[operator]
            except ArtifactRefused as refusal:
                return refusal.rule

        ours = outcome(lambda: fetch(store, root.cid.digest, limit))
        assert ours == outcome(lambda: load_directory(root.cid.digest, store.get_block, limit))
        verdicts.add(str(ours) if isinstance(ours, str) else "read")

    check()
    assert verdicts == {"not-canonical", "too-large", "read"}


def test_what_is_no_artifact_is_not_put(tmp_path: Path) -> None:
    store = CountingStore()
    (tmp_path / "nine").mkdir()
    for number in range(9):
        (tmp_path / "nine" / str(number)).touch()
    (tmp_path / "nested" / "folder").mkdir(parents=True)
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "modèle").touch()
    for name, said in (("nine", "make no artifact"), ("nested", "is no file"), ("named", "make no artifact")):
        with pytest.raises(InvalidInput, match=said):
            publish_path(store, tmp_path / name)
    with pytest.raises(InvalidInput, match="cannot be read"):
        publish_path(store, tmp_path / "absent")
    assert not store.source.blocks


# What is fetched and put


@pytest.mark.parametrize("files", [FILES, {}, {"a": b""}, {"a": bytes(2 * CHUNK), "b": bytes(2 * CHUNK)}])
def test_gives_what_was_published(files: dict[str, bytes]) -> None:
    store = CountingStore()
    digest = publish(store, files)
    assert fetch(store, digest, NO_LIMIT) == files == load_directory(digest, store.source.get_block, NO_LIMIT)


def test_leaves_come_side_by_side_and_every_block_once() -> None:
    store = CountingStore(delay=0.02)
    digest = publish(store, FILES)
    assert fetch(store, digest, SIZE) == FILES
    assert 1 < store.most_busy <= WORKERS
    assert set(store.asked.values()) == {1} and len(store.asked) == len(store.source.blocks)


def test_everything_happens_under_a_lease(tmp_path: Path) -> None:
    store = CountingStore()
    (tmp_path / "file").write_bytes(content(3 * CHUNK))
    digest, cid = publish(store, FILES), publish_file(store, content(2 * CHUNK))
    publish_path(store, tmp_path / "file")
    fetch(store, digest, SIZE)
    fetch_file(store, cid, SIZE)
    assert store.unleased == 0 and not store.leased


def test_progress_is_told_up_to_the_end(tmp_path: Path) -> None:
    store, told = MemoryStore(), list[tuple[int, int]]()
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    publish_path(store, tmp_path, lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1] == (SIZE, SIZE) and len(told) == 12
    told.clear()
    fetch(store, directory_digest(FILES), SIZE, on_progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1] == (SIZE, SIZE) and len(told) == 12


def test_a_path_is_put_as_its_files_are(tmp_path: Path) -> None:
    store, blocks = MemoryStore(), list[Block]()
    for name, data in {**FILES, ".hidden": b"kept too"}.items():
        (tmp_path / name).write_bytes(data)
    root = import_directory({**FILES, ".hidden": b"kept too"}, blocks.append)
    assert publish_path(store, tmp_path) == root
    assert store.blocks == {block.cid: block.data for block in blocks} and store.kept() == {root.cid}
    file = publish_path(store, tmp_path / "update.json")
    assert fetch_file(store, file.cid, 2) == b"{}" and file.size == 2


def test_a_large_file_is_put_with_memory_of_a_few_blocks(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        for seed in range(100):
            file.write(content(CHUNK, seed))
    store = DirectoryStore(tmp_path / "store")
    tracemalloc.start()
    root = publish_path(store, tmp_path / "file")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert root.size == 100 * CHUNK and peak < 45 * CHUNK  # two batches of 16, and what is hashed meanwhile
