"""Merges of updates that are verified while they are merged: the one CID, or the one block or author that is at fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from network.directory_store import DirectoryStore
from network.layered_store import LayeredStore
from network.memory_store import MemoryStore
from network.store import ContentStore
from network.transfer import fetch, publish
from processor import ewc
from processor.engine import merge_updates
from processor.runs import Threads
from protocol import sha256_lanes, tensors
from protocol.cid import Cid, directory_cid, parse_cid
from protocol.errors import ArtifactRefused, BlockCorrupt, BlockMissing, DuplicateDelta, OutsideWindow, StoreUnavailable
from protocol.merge_terms import MAX_EXAMPLES_CAP, MergeRule
from protocol.model import decode_model, encode_model, weights_cid
from protocol.sha256_lanes import description
from protocol.specs import TensorClass, TensorSpec
from protocol.task import Task
from protocol.types import Digest
from protocol.unixfs import Leaf, directory_digest, file_leaves, list_directory
from protocol.update import DELTA, IMPORTANCE, Update, encode_update
from rondo import merge_session
from rondo.merge_session import MergeSession, Outcome
from tests.network.counting import CountingSource
from tests.network.test_stored_content import few_open_files
from tests.processor.factory import TinyRound, account, member, tiny_model, tiny_terms

NO_LIMIT = 2**62
PEOPLE = [f"client {k}" for k in range(16)]  # one leaf of each fills the lanes of sha-256
KERNEL, HEAD, BIAS, VARIANCE = "00000.kernel", "00001.head", "00002.bias", "00003.variance"
PLAIN = (  # int16: two leaves, the second of which begins in the first tensor and ends with the last
    TensorSpec(KERNEL, (600, 1000), TensorClass.TRAINABLE, -20),
    TensorSpec(HEAD, (99_990,), TensorClass.TRAINABLE, -22),
    TensorSpec(BIAS, (10,), TensorClass.TRAINABLE, -24),
)
WIDE = (  # int16: three leaves, of importance two
    TensorSpec(KERNEL, (1000, 1000), TensorClass.TRAINABLE, -20),
    TensorSpec(HEAD, (99_999,), TensorClass.TRAINABLE, -22),
    TensorSpec(VARIANCE, (40,), TensorClass.STATISTIC, -16, non_negative=True),
)
RULES: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "median": {"rule": "median"},
    "multi-krum": {"rule": "multi-krum", "byzantine": 3, "keep": 5},
    "bounded": {"bound": "median"},
    "bounded trimmed mean": {"rule": "trimmed-mean", "trim": 2, "bound": "fixed", "bound_norm": Fraction(1, 2)},
}


@dataclass
class World:
    """A base and one update of each in a directory, and in memory."""

    root: Path
    specs: tuple[TensorSpec, ...]
    consolidate: bool = False

    def __post_init__(self) -> None:
        terms = tiny_terms(consolidate=self.consolidate)
        self.round = TinyRound(base=tiny_model(specs=self.specs), terms=terms)
        self.people = PEOPLE[: 12 if self.consolidate else 16]
        self.memory = [self.round.update(name, examples=10 + 61 * k) for k, name in enumerate(self.people)]
        store = DirectoryStore(self.root)
        self.base = publish(store, encode_model(self.round.base))
        self.updates = [publish(store, encode_update(update)) for update in self.memory]

    @property
    def store(self) -> DirectoryStore:
        """The directory, of which this process remembers nothing."""
        return DirectoryStore(self.root)

    def merge(
        self, store: ContentStore | None = None, *, threads: int = 1, rule: str = "fedavg", **asked: Any
    ) -> Outcome:
        """Merge as ``rondo merge`` does."""
        session = MergeSession(store or self.store, Threads(threads), threads=threads)
        words = {"consolidate": self.consolidate, "index": None, "publish": False, "updates": self.updates} | asked
        return session.merge(self.base, words.pop("updates"), None, RULES[rule], **words)

    def expected(self, rule: str = "fedavg") -> Digest:
        """The model that the processor makes of the updates in memory."""
        merge = MergeRule(examples_cap=MAX_EXAMPLES_CAP // len(self.memory), **RULES[rule])
        task, members = Task("merge", merge=merge, delta_type="int16"), [member(one) for one in self.memory]
        base = self.round.base
        merged = merge_updates(task, base, members)
        model = replace(base, round=1, parents=(self.base,), mantissas=merged.mantissas)
        if self.consolidate:
            importance = ewc.consolidate(task.consolidation, base, members)
            model = replace(model, importance=importance, anchor=str(weights_cid(base)))
        return directory_digest(encode_model(model))

    def leaves(self, number: int, name: str = DELTA) -> list[Leaf]:
        """The leaves of a file of an update."""
        store = self.store
        links = list_directory(directory_cid(self.updates[number]), store.get_block, NO_LIMIT)
        return list(file_leaves(links[name].cid, store.get_block, NO_LIMIT))

    def whole(self) -> CountingSource:
        """Another source of all that is in the directory now."""
        memory, store = MemoryStore(), self.store
        for path in store.blocks.rglob("baf*"):
            memory.blocks[parse_cid(path.name)] = path.read_bytes()
        return CountingSource(memory)


@pytest.fixture(scope="module", autouse=True)
def lanes() -> None:
    description()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("plain"), PLAIN)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("wide"), WIDE, consolidate=True)


@contextmanager
def harmed(world: World, cid: Cid, harm: Callable[[Path], object]) -> Iterator[Path]:
    """The file of ``cid`` after ``harm``, and whole again in the end."""
    path = world.store.path(cid)
    data = path.read_bytes()
    harm(path)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(data)


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


def outside(path: Path) -> None:
    """What no author may write: -32768, here and there."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 4 * 2
    data[middle : middle + 2] = data[-2:] = b"\x00\x80"
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-64])


HARMS = [flipped, outside, cut, Path.unlink]


# What comes out


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rule", RULES)
def test_the_cid_is_that_of_the_updates_in_memory(plain: World, rule: str, threads: int) -> None:
    outcome = plain.merge(rule=rule, threads=threads)
    assert outcome.digest == plain.expected(rule)
    left_out = [client for client, weight in outcome.weights.items() if not weight]
    assert len(left_out) == (11 if rule == "multi-krum" else 0)
    assert len(plain.leaves(0)) == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_a_consolidation_is_that_of_the_updates_in_memory(wide: World, threads: int) -> None:
    assert (len(wide.leaves(0)), len(wide.leaves(0, IMPORTANCE))) == (3, 2)
    outcome = wide.merge(threads=threads)
    assert outcome.digest == wide.expected() and outcome.consolidated


def test_fewer_updates_are_verified_before_they_are_merged(plain: World) -> None:
    few = replace(plain)
    few.memory, few.updates = plain.memory[:5], plain.updates[:5]
    assert few.merge().digest == few.expected()


def test_where_hashlib_hashes_the_cid_is_the_same(plain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = plain.expected()
    monkeypatch.setattr(sha256_lanes, "_ENGINE", sha256_lanes._Engine())
    assert plain.merge().digest == wanted


def test_what_is_elsewhere_is_fetched_first(plain: World, tmp_path: Path) -> None:
    local = DirectoryStore(tmp_path)
    assert plain.merge(LayeredStore([local, plain.whole()])).digest == plain.expected()
    assert plain.merge(local).digest == plain.expected()


def test_where_there_is_no_directory_updates_are_held(plain: World) -> None:
    memory = plain.whole().inner
    assert isinstance(memory, MemoryStore)
    assert plain.merge(memory, threads=2).digest == plain.expected()


def test_a_published_model_is_there(plain: World, tmp_path: Path) -> None:
    local = DirectoryStore(tmp_path)
    outcome = plain.merge(LayeredStore([local, plain.whole()]), publish=True)
    model = decode_model(fetch(local, outcome.digest, NO_LIMIT))
    assert (model.round, model.parents) == (1, (plain.base,))
    assert directory_cid(outcome.digest) in local.kept()


# Damage


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("rule", ["fedavg", "multi-krum", "bounded"])
def test_a_damaged_leaf_is_named_and_nothing_is_published(
    plain: World, harm: Callable[[Path], object], number: int, rule: str
) -> None:
    store = plain.store
    kept = store.kept()
    with harmed(plain, plain.leaves(7)[number].cid, harm) as path:
        with pytest.raises(BlockMissing if harm is Path.unlink else BlockCorrupt) as caught:
            plain.merge(store, rule=rule, publish=True, threads=2)
        assert caught.value.cid == path.name
    assert store.kept() == kept
    assert not store.has_block(directory_cid(plain.expected(rule)))


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_damaged_leaf_is_mended_from_another_source(
    plain: World, harm: Callable[[Path], object], number: int, threads: int
) -> None:
    source, leaf = plain.whole(), plain.leaves(7)[number]
    with harmed(plain, leaf.cid, harm) as path:
        assert plain.merge(LayeredStore([plain.store, source]), threads=threads).digest == plain.expected()
        assert set(source.asked) == {leaf.cid}
        assert path.read_bytes() == source.inner.get_block(leaf.cid)
        assert plain.merge().digest == plain.expected()


@pytest.mark.parametrize("rule", RULES)
def test_many_damaged_leaves_are_mended(plain: World, rule: str) -> None:
    source = plain.whole()
    for number in range(16):
        flipped(plain.store.path(plain.leaves(number)[number % 2].cid))
    assert plain.merge(LayeredStore([plain.store, source]), rule=rule, threads=2).digest == plain.expected(rule)
    assert len(source.asked) == 16


@pytest.mark.parametrize("harm", [flipped, cut])
@pytest.mark.parametrize(("name", "number"), [(DELTA, 1), (DELTA, 2), (IMPORTANCE, 0), (IMPORTANCE, 1)])
def test_a_consolidation_names_a_damaged_leaf_or_has_it_mended(
    wide: World, harm: Callable[[Path], object], name: str, number: int
) -> None:
    source, leaf = wide.whole(), wide.leaves(5, name)[number]
    with harmed(wide, leaf.cid, harm) as path:
        with pytest.raises(BlockCorrupt) as caught:
            wide.merge()
        assert caught.value.cid == path.name
        assert wide.merge(LayeredStore([wide.store, source]), threads=2).digest == wide.expected()
        assert set(source.asked) == {leaf.cid}


def test_a_leaf_that_no_merge_reads_is_verified_nevertheless(plain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a rule leaves unread: all that was named has to be there."""
    base = plain.round.base

    def lazy(*_: object, **__: object) -> Any:
        merged = merge_updates(Task("merge"), base, [member(one) for one in plain.memory])
        return base, merged

    monkeypatch.setattr(merge_session, "merge_model", lazy)
    plain.merge()
    with harmed(plain, plain.leaves(3)[1].cid, flipped) as path:
        with pytest.raises(BlockCorrupt) as caught:
            plain.merge(publish=True)
        assert caught.value.cid == path.name


def test_where_the_directory_takes_no_more_the_cid_is_the_same(plain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    source, store = plain.whole(), plain.store

    def full(blocks: object) -> None:
        raise StoreUnavailable("The disk is full.")

    monkeypatch.setattr(store, "put_blocks", full)
    with harmed(plain, plain.leaves(2)[1].cid, flipped):
        assert plain.merge(LayeredStore([store, source]), threads=2).digest == plain.expected()


def test_where_few_files_may_be_open_the_cid_is_the_same(plain: World) -> None:
    session = MergeSession(plain.store, Threads(4), threads=1)
    with few_open_files(40):  # two threads' leaves
        outcome = session.merge(
            plain.base, plain.updates, None, {"rule": "median"}, consolidate=False, index=None, publish=False
        )
    assert outcome.digest == plain.expected("median")


# Who is refused


def put(world: World, update: Update) -> Digest:
    return publish(world.store, encode_update(update))


def loud(update: Update, name: str, at: int) -> Update:
    changed = {key: np.array(tensors.whole(delta)) for key, delta in update.deltas.items()}
    changed[name].reshape(-1)[at] = -32_768
    return replace(update, deltas=changed)


@pytest.mark.parametrize(("name", "at"), [(KERNEL, 0), (KERNEL, 599_999), (HEAD, 50_000), (BIAS, 9)])
@pytest.mark.parametrize("rule", ["fedavg", "multi-krum"])
def test_a_mantissa_outside_its_window_is_refused_with_its_author(plain: World, name: str, at: int, rule: str) -> None:
    mallory = put(plain, loud(plain.round.update("mallory"), name, at))
    before = plain.store.kept()
    for threads in (1, 2):
        with pytest.raises(OutsideWindow, match=name) as caught:
            plain.merge(updates=[*plain.updates[1:], mallory], rule=rule, threads=threads, publish=True)
        assert account("mallory") in str(caught.value)
        assert not any(account(client) in str(caught.value) for client in PEOPLE)
    assert plain.store.kept() == before


def test_the_same_change_twice_is_refused_by_name(plain: World) -> None:
    copied = plain.round.update("mallory", deltas=plain.memory[4].deltas, exponents=plain.memory[4].exponents)
    with pytest.raises(DuplicateDelta) as caught:
        plain.merge(updates=[*plain.updates, put(plain, copied)])
    assert all(account(name) in str(caught.value) for name in ("mallory", PEOPLE[4]))


def test_the_same_deltas_of_other_exponents_are_another_change(plain: World) -> None:
    before = plain.memory[4].exponents
    exponents = {spec.name: spec.grid + (0 if before[spec.name] > spec.grid else 1) for spec in PLAIN}
    doubled = plain.round.update("mallory", deltas=plain.memory[4].deltas, exponents=exponents)
    assert len(plain.merge(updates=[*plain.updates, put(plain, doubled)]).weights) == 17


@pytest.mark.parametrize("count", [0, 15])
@pytest.mark.parametrize("kind", ["no tensors", "floats"])
def test_an_update_of_other_tensors_is_refused_by_name(plain: World, count: int, kind: str) -> None:
    floats = {spec.name: np.zeros(spec.shape, np.float32) for spec in PLAIN} if kind == "floats" else {}
    empty = put(plain, plain.round.update("mallory", deltas=floats, exponents=dict.fromkeys(floats, -20)))
    with pytest.raises(ArtifactRefused) as caught:
        plain.merge(updates=[*plain.updates[:count], empty])
    assert account("mallory") in str(caught.value)


def test_updates_of_several_types_are_refused(plain: World) -> None:
    narrow: Mapping[str, Any] = {
        name: np.asarray(tensors.whole(delta)).astype(np.int8) for name, delta in plain.memory[0].deltas.items()
    }
    mixed = put(plain, plain.round.update("mallory", deltas={**plain.memory[0].deltas, BIAS: narrow[BIAS]}))
    for updates in ([mixed], [*plain.updates[:15], mixed]):
        with pytest.raises(ArtifactRefused) as caught:
            plain.merge(updates=updates)
        assert account("mallory") in str(caught.value)
