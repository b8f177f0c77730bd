"""A store keeps what its federations need and lets go of the rest: of real rounds, in every kind of store."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from network.directory_store import DirectoryStore
from network.garbage import collect_garbage
from network.layered_store import LayeredStore
from network.memory_store import MemoryStore
from network.pins import Keeper, Pin, Standing, embedded_part
from network.store import ContentStore
from network.transfer import fetch, fetch_file, publish, publish_file
from protocol.cid import RAW, Cid, block_cid, directory_cid
from protocol.errors import BlockMissing, StoreUnavailable
from protocol.model import decode_model, weights_cid
from protocol.retention import Kind
from protocol.task import Committee, ServerStep, Task
from protocol.tensors import dumps
from protocol.types import Digest
from protocol.unixfs import Block
from tests.network.kubo import IPFS, NO_IPFS, KuboNode
from tests.organization.world import World
from tests.processor.factory import account, tiny_task

TASK = tiny_task(publication_seconds=60, rederivation_margin_seconds=60, retention_seconds=1)
STORES = ["memory", "directory", pytest.param("kubo", marks=pytest.mark.skipif(IPFS is None, reason=NO_IPFS))]


@pytest.fixture(scope="module")
def kubo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    with KuboNode(tmp_path_factory.mktemp("kubo")) as node:
        yield node


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ContentStore:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "directory":
        return DirectoryStore(tmp_path / "store")
    from network.ipfs import KuboStore

    kubo = KuboStore(request.getfixturevalue("kubo").address, find_seconds=0.5)
    for root in kubo.kept():
        kubo.release(root)
    return kubo


class Acme:
    """Rounds of acme's federation whose bytes are in ``store``; the worker settles but lets go of nothing by itself."""

    def __init__(self, store: ContentStore, home: Path, rounds_kept: int = 1, task: Task = TASK) -> None:
        self.world = World(task)
        self.world.store = store  # type: ignore[assignment]
        self.world.found(home)
        self.store, self.keeper = store, Keeper(store, rounds_kept)

    def round(self, *names: str, consolidate: bool = False) -> None:
        """A whole round with updates of ``names``."""
        world = self.world
        world.launch(consolidate=consolidate)
        world.ledger.advance(30)
        for name in names:
            world.post(name)
        world.close_training()
        world.worker().settle(world.round.id)
        world.attest()

    def survey(self, **options: bool) -> list[Pin]:
        return self.keeper.survey(self.world.state, [self.world.federation_id], **options)

    def standings(self, **options: bool) -> dict[Cid, Standing]:
        return {pin.cid: pin.standing for pin in self.survey(**options)}

    def repair(self, fetch: bool = True) -> list[Pin]:
        return self.keeper.repair(self.survey(), fetch=fetch)

    def release(self) -> set[Cid]:
        return {pin.cid for pin in self.keeper.release(self.survey())}


@pytest.fixture
def acme(store: ContentStore, tmp_path: Path) -> Acme:
    return Acme(store, tmp_path)


def update_of(acme: Acme, name: str, index: int) -> Cid:
    state = acme.world.state
    update = state.rounds[acme.world.federation.rounds[index - 1]].update_of(account(name))
    assert update is not None
    return directory_cid(update.digest)


def without(source: ContentStore, *gone: Cid) -> MemoryStore:
    """What a machine has that lost ``gone``."""
    assert isinstance(source, MemoryStore)
    left = MemoryStore()
    left.blocks.update({cid: data for cid, data in source.blocks.items() if cid not in gone})
    return left


# --- every kind of store ---


def test_after_two_rounds_all_is_kept_that_was_settled_and_the_oldest_can_go(acme: Acme) -> None:
    for _ in range(2):
        acme.round("alice", "bob")
    acme.world.ledger.advance(3600)
    standings = acme.standings(deep=True)
    assert {standings[update_of(acme, name, 2)] for name in ("alice", "bob")} == {Standing.KEPT}
    assert {standings[update_of(acme, name, 1)] for name in ("alice", "bob")} == {Standing.RELEASABLE}
    first = directory_cid(acme.world.federation.terms.model)
    assert standings[first] is Standing.RELEASABLE
    assert set(standings.values()) == {Standing.KEPT, Standing.RELEASABLE}

    assert acme.release() == {update_of(acme, "alice", 1), update_of(acme, "bob", 1), first}
    assert set(acme.standings(deep=True).values()) == {Standing.KEPT}
    assert acme.release() == set()


def test_a_lost_pin_is_found_and_mended(acme: Acme) -> None:
    acme.round("alice")
    mine, head = update_of(acme, "alice", 1), directory_cid(acme.world.federation.head)
    for cid in (mine, head):
        acme.store.release(cid)
    standings = acme.standings()
    assert standings[mine] is standings[head] is Standing.UNPINNED
    repaired = acme.repair(fetch=False)
    assert {pin.standing for pin in repaired} == {Standing.KEPT} and not any(pin.is_fault for pin in repaired)
    assert {mine, head} <= acme.store.kept()
    assert acme.repair() == acme.survey()


def test_what_the_log_does_not_name_is_nobodys_to_let_go(acme: Acme) -> None:
    foreign = publish_file(acme.store, b"a pin of another application")
    acme.round("alice")
    acme.repair()
    acme.release()
    assert foreign in acme.store.kept() and foreign not in acme.standings()


def test_a_foreign_pin_is_not_let_go_for_an_update_of_its_name(acme: Acme) -> None:
    """mallory puts the root of acme's website on chain as her update, and waits for it to be released."""
    website = publish(acme.store, {"index.html": b"<h1>acme</h1>"})
    world = acme.world
    world.launch()
    world.ledger.advance(30)
    world.post("alice")
    world.chain("mallory").submit_update(world.round.id, website, 10)
    world.close_training()
    world.worker().settle(world.round.id)
    world.attest()
    acme.round("alice")
    world.ledger.advance(3600)
    found = {pin.cid: pin for pin in acme.survey()}
    assert found[directory_cid(website)].standing is Standing.UNKNOWN
    assert directory_cid(website) not in acme.release()
    assert directory_cid(website) in acme.store.kept()


def test_an_update_that_never_came_is_nobodys_fault(acme: Acme) -> None:
    world = acme.world
    world.launch()
    world.ledger.advance(30)
    world.post("alice")
    withheld = directory_cid(world.post("bob", world.update("bob", examples=17), withhold=True))
    assert acme.standings()[withheld] is Standing.ABSENT
    assert not any(pin.is_fault for pin in acme.repair())
    world.close_training()
    world.ledger.advance(61)
    world.worker().settle(world.round.id)
    assert acme.standings()[withheld] is Standing.ABSENT
    world.attest()
    assert withheld not in acme.standings()


# --- content that is gone ---


def test_missing_content_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    whole = Acme(MemoryStore(), tmp_path)
    whole.round("alice")
    report = whole.world.round.settled
    assert report is not None
    lost = directory_cid(report.settlement.report)
    keeper = Keeper(without(whole.store, lost), 1)
    found = {pin.cid: pin for pin in keeper.survey(whole.world.state, [whole.world.federation_id])}
    assert found[lost].standing is Standing.MISSING and found[lost].is_fault
    assert str(lost) in found[lost].why and "memory" in found[lost].why
    again = keeper.repair(found.values(), fetch=True)
    assert {pin.cid for pin in again if pin.is_fault} == {lost}


def test_a_damaged_block_below_a_pin_shows_in_a_deep_look_only(tmp_path: Path) -> None:
    acme = Acme(MemoryStore(), tmp_path)
    acme.round("alice")
    assert isinstance(acme.store, MemoryStore)
    mine = update_of(acme, "alice", 1)
    below = next(cid for cid in acme.store.blocks if cid.codec == RAW and cid not in acme.store.kept())
    kept_by = {pin.cid for pin in acme.survey(deep=True)}
    del acme.store.blocks[below]
    assert acme.standings()[mine] is Standing.KEPT
    hurt = {cid for cid, standing in acme.standings(deep=True).items() if standing is Standing.MISSING}
    assert hurt and hurt <= kept_by
    mended = acme.keeper.mend(acme.world.state, [acme.world.federation_id], fetch=False, deep=True)
    assert {pin.cid for pin in mended if pin.is_fault} == hurt


class Fetching(MemoryStore):
    """A store that passes on what another has, without taking it, as one behind a gateway."""

    def __init__(self, other: MemoryStore) -> None:
        super().__init__()
        self.other, self.asked = other, 0

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        try:
            return super().get_block(cid)
        except BlockMissing:
            self.asked += 1
            return self.other.get_block(cid)


def test_missing_content_is_fetched_whole_and_kept(tmp_path: Path) -> None:
    whole = Acme(MemoryStore(), tmp_path)
    whole.round("alice", "bob")
    assert isinstance(whole.store, MemoryStore)
    here = Fetching(whole.store)
    keeper, state, mine = Keeper(here, 1), whole.world.state, [whole.world.federation_id]
    said: list[str] = []
    assert here.asked == 0
    keeper.mend(state, mine, fetch=True, say=said.append)
    assert here.kept() == {pin.cid for pin in keeper.survey(state, mine, deep=True)}
    assert {pin.standing for pin in keeper.survey(state, mine, deep=True)} == {Standing.KEPT}
    assert any("head model" in line for line in said)
    asked = here.asked
    keeper.mend(state, mine, fetch=True)
    assert here.asked == asked


def test_nothing_is_fetched_that_is_larger_than_the_task_allows(tmp_path: Path) -> None:
    """mallory's update is a tree of 3 MiB where the task allows one: no leaf of it is asked for."""
    world = World(replace(TASK, limits=replace(TASK.limits, update_bytes=1 << 20)))
    world.found(tmp_path)
    world.launch()
    world.ledger.advance(30)
    elsewhere = MemoryStore()
    large = publish(elsewhere, {"delta.safetensors": bytes(3 << 20), "update.json": b"{}"})
    world.chain("mallory").submit_update(world.round.id, large, 10)
    elsewhere.blocks.update(world.store.blocks)
    here = Fetching(elsewhere)
    keeper = Keeper(here, 1)
    pins = keeper.mend(world.state, [world.federation_id], fetch=True)
    found = {pin.cid: pin for pin in pins}[directory_cid(large)]
    assert found.standing is Standing.REFUSED and "3145730" in found.why and not found.is_fault
    assert sum(map(len, here.blocks.values())) < 1 << 20
    assert directory_cid(large) not in here.kept()


def test_a_source_that_fails_for_one_thing_keeps_no_other_from_being_kept(tmp_path: Path) -> None:
    acme = Acme(MemoryStore(), tmp_path)
    acme.round("alice", "bob")
    mine, pins = update_of(acme, "alice", 1), acme.survey()
    for pin in pins:
        acme.store.release(pin.cid)

    class Moody(MemoryStore):
        def keep(self, cid: Cid) -> None:
            if cid == mine:
                raise StoreUnavailable("not today")
            super().keep(cid)

    store = Moody()
    assert isinstance(acme.store, MemoryStore)
    store.blocks = acme.store.blocks
    mended = Keeper(store, 1).mend(acme.world.state, [acme.world.federation_id], fetch=True)
    assert [(pin.cid, pin.standing, pin.why) for pin in mended if pin.is_fault] == [
        (mine, Standing.UNPINNED, "not today")
    ]
    assert store.kept() == {pin.cid for pin in pins} - {mine}


def test_a_cache_before_a_gateway_is_filled_and_collected(tmp_path: Path) -> None:
    whole = Acme(MemoryStore(), tmp_path)
    whole.round("alice", "bob")
    cache = DirectoryStore(tmp_path / "cache")

    class Gateway:
        """A source that only gives."""

        name, searches = "gateway", True
        get_block, has_block = whole.store.get_block, whole.store.has_block

    layered = LayeredStore([cache, Gateway()])
    keeper, mine = Keeper(layered, 1), [whole.world.federation_id]
    assert any(pin.is_fault for pin in keeper.survey(whole.world.state, mine))
    assert not any(pin.is_fault for pin in keeper.mend(whole.world.state, mine, fetch=True, deep=True))
    assert cache.kept() == {pin.cid for pin in keeper.survey(whole.world.state, mine)}
    assert embedded_part(layered) is cache and embedded_part(MemoryStore()) is None
    lost = directory_cid(whole.world.federation.head)
    cache.release(lost)
    cache.path(lost).unlink()
    del whole.store.blocks[lost]  # type: ignore[attr-defined]
    (fault,) = (pin for pin in keeper.mend(whole.world.state, mine, fetch=True) if pin.is_fault)
    assert fault.cid == lost and "gateway" in fault.why and str(cache.root) in fault.why


def test_a_store_that_fails_says_so(tmp_path: Path) -> None:
    acme = Acme(MemoryStore(), tmp_path)

    class Down(MemoryStore):
        def has_block(self, cid: Cid) -> bool:
            raise StoreUnavailable("down")

    with pytest.raises(StoreUnavailable):
        Keeper(Down(), 1).survey(acme.world.state, [acme.world.federation_id])


# --- anchors, records, other federations ---


def test_the_anchor_is_kept_as_a_file_and_let_go_with_the_last_model_that_names_it(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    acme = Acme(store, tmp_path, rounds_kept=0)

    def weights(model: Digest) -> Cid:
        return weights_cid(decode_model(fetch(store, model, 1 << 20)))

    first = weights(acme.world.federation.head)
    acme.round("alice", consolidate=True)
    assert acme.standings()[first] is Standing.KEPT
    store.release(first)
    assert acme.standings()[first] is Standing.UNPINNED  # it is here as a part of the first model
    assert {pin.reason.text for pin in acme.survey() if pin.cid == first and pin.reason} == {"anchor of head model"}
    acme.repair()
    acme.round("alice")  # the next model carries it on
    acme.world.ledger.advance(3600)
    acme.release()
    collect_garbage(store, grace_seconds=0)
    assert not store.has_block(directory_cid(acme.world.federation.terms.model))
    assert len(fetch_file(store, first, 1 << 20)) > 0

    second = weights(acme.world.federation.head)
    acme.round("alice", consolidate=True)
    acme.world.ledger.advance(3600)
    standings = acme.standings()
    assert (standings[first], standings[second]) == (Standing.RELEASABLE, Standing.KEPT)
    gone = [pin.cid for pin in acme.keeper.release(acme.survey())]
    assert gone[0] == first and len(gone) > 1  # before the models that name it


def test_an_anchor_stays_while_a_needed_model_that_may_name_it_is_not_here(tmp_path: Path) -> None:
    store = MemoryStore()
    acme = Acme(store, tmp_path, rounds_kept=0)
    anchor = weights_cid(decode_model(fetch(store, acme.world.federation.head, 1 << 20)))
    acme.round("alice", consolidate=True)
    acme.round("alice")  # the head carries the anchor on, as the model before it did
    acme.repair()
    acme.world.ledger.advance(3600)
    head = directory_cid(acme.world.federation.head)
    acme.keeper = Keeper(store, 0)  # which has read nothing yet
    lost = store.blocks.pop(head)
    assert acme.standings()[anchor] is Standing.UNKNOWN and anchor not in acme.release()
    store.blocks[head] = lost
    assert {pin.standing for pin in acme.survey() if pin.cid == anchor} == {Standing.KEPT}


def test_the_state_of_the_heads_step_is_kept_and_let_go_with_the_last_model_that_names_it(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    acme = Acme(store, tmp_path, rounds_kept=0, task=replace(TASK, server=ServerStep("adam", rate=Fraction(1, 100))))

    def state() -> Cid:
        named = decode_model(fetch(store, acme.world.federation.head, 1 << 20)).server_state
        assert named is not None
        return directory_cid(named)

    states = []
    for _ in range(5):
        acme.round("alice")
        states.append(state())
        assert acme.standings()[states[-1]] is Standing.KEPT
    first, *_, last = states
    acme.world.ledger.advance(3600)
    standings = acme.standings()
    assert len(set(states)) == 5 and standings[last] is Standing.KEPT
    assert {standings[cid] for cid in states[:-1]} == {Standing.RELEASABLE}
    gone = [pin.cid for pin in acme.keeper.release(acme.survey())]
    assert set(gone[:4]) == set(states[:-1]) and len(gone) > 4  # before the models that name them
    collect_garbage(store, grace_seconds=0)
    assert not store.has_block(first)
    acme.round("alice")  # from what was kept


def test_a_state_stays_while_a_needed_model_that_may_name_it_is_not_here(tmp_path: Path) -> None:
    store = MemoryStore()
    acme = Acme(store, tmp_path, rounds_kept=0, task=replace(TASK, server=ServerStep("momentum")))
    acme.round("alice")
    acme.round("alice")
    acme.world.ledger.advance(3600)
    head = directory_cid(acme.world.federation.head)
    older = next(pin.cid for pin in acme.survey() if pin.kind is Kind.STATE and pin.standing is Standing.RELEASABLE)
    acme.keeper = Keeper(store, 0)  # which has read nothing yet
    lost = store.blocks.pop(head)
    assert acme.standings()[older] is Standing.UNKNOWN and older not in acme.release()
    store.blocks[head] = lost
    assert acme.standings()[older] is Standing.RELEASABLE


def test_what_the_heads_committee_is_made_of_outlives_the_tasks_promise(tmp_path: Path) -> None:
    store, task = MemoryStore(), replace(TASK, committee=Committee("soft", rounds=2))
    acme = Acme(store, tmp_path, rounds_kept=0, task=task)
    for _ in range(3):
        acme.round("alice")
    acme.world.ledger.advance(3600)  # retained for a second
    committee = decode_model(fetch(store, acme.world.federation.head, 1 << 20)).committee
    assert committee is not None
    standings = acme.standings()
    assert standings[directory_cid(committee)] is Standing.KEPT
    assert standings[update_of(acme, "alice", 1)] is Standing.RELEASABLE
    for index in (2, 3):
        update, base = (
            update_of(acme, "alice", index),
            acme.world.state.rounds[acme.world.federation.rounds[index - 1]].base,
        )
        assert standings[update] is standings[directory_cid(base)] is Standing.KEPT
    lost = store.blocks.pop(directory_cid(committee))
    acme.keeper = Keeper(store, 0)  # which has read nothing yet
    assert acme.standings()[update_of(acme, "alice", 2)] is Standing.UNKNOWN
    assert not acme.release() & {update_of(acme, "alice", index) for index in (1, 2, 3)}
    store.blocks[directory_cid(committee)] = lost
    assert acme.release() >= {update_of(acme, "alice", 1)}


def test_weights_of_other_programs_are_no_anchor() -> None:
    """mallory's model names as its anchor what another application of this node has pinned."""
    from network.recognition import is_recognized
    from protocol.retention import Mention
    from protocol.types import FederationId

    federation, store = FederationId(b"\x11" * 32), MemoryStore()
    header = b'{"__metadata__":{"format":"pt"},"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    data = len(header).to_bytes(8, "little") + header + b"\x01"
    theirs, ours = publish_file(store, data), publish_file(store, dumps({"w": np.ones(1, np.uint8)}))
    mention = [Mention(Kind.ANCHOR, federation)]
    assert is_recognized(store, ours, mention, {federation})
    assert not is_recognized(store, theirs, mention, {federation})


def test_a_revealed_record_is_recognized_by_its_federation(tmp_path: Path) -> None:
    from network.recognition import is_recognized
    from protocol.retention import Mention
    from protocol.types import FederationId

    store = MemoryStore()
    data = b'{"federation":"0x' + b"11" * 32 + b'"}'
    block = Block(block_cid(RAW, data), data)
    store.put_block(block)
    ours, other = FederationId(b"\x11" * 32), FederationId(b"\x22" * 32)
    mention = [Mention(Kind.RECORD, ours)]
    assert is_recognized(store, block.cid, mention, {ours})
    assert not is_recognized(store, block.cid, mention, {other})
    assert not is_recognized(store, block.cid, [Mention(Kind.ANCHOR, ours)], {ours})
    assert not is_recognized(store, Cid(RAW, Digest(bytes(32))), mention, {ours})


def test_what_another_federation_of_the_contract_needs_is_not_let_go(tmp_path: Path) -> None:
    acme = Acme(MemoryStore(), tmp_path)
    for _ in range(2):
        acme.round("alice")
    acme.world.ledger.advance(3600)
    first = acme.world.federation.terms.model
    assert acme.standings()[directory_cid(first)] is Standing.RELEASABLE
    terms = replace(acme.world.federation.terms, quorum=0, auditors=())
    acme.world.chain("mallory").create_federation(b"\x01" * 32, terms)  # type: ignore[arg-type]
    ours = next(id for id in acme.world.state.federations if acme.world.state.federations[id].rounds)
    pins = acme.keeper.survey(acme.world.state, [ours])
    assert directory_cid(first) not in {pin.cid for pin in pins}
    assert directory_cid(first) not in {pin.cid for pin in acme.keeper.release(pins)}
    both = acme.keeper.survey(acme.world.state, list(acme.world.state.federations))
    assert {pin.cid: pin.standing for pin in both}[directory_cid(first)] is Standing.KEPT


# --- with the collector, and kill -9 ---


def test_collection_after_release_leaves_a_round_that_can_be_audited(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    acme = Acme(store, tmp_path)
    for _ in range(2):
        acme.round("alice", "bob")
    acme.world.ledger.advance(3600)
    state, gone = acme.world.state, update_of(acme, "alice", 1)
    acme.release()
    collected = collect_garbage(store, grace_seconds=0)
    assert collected.blocks > 0 and not store.has_block(gone)

    from auditor.rederive import Verdict, audit_round

    first, last = acme.world.federation.rounds
    assert audit_round(acme.world.chain(), store, last).verdict is Verdict.MATCH
    undecided = audit_round(acme.world.chain(), store, first)
    assert undecided.verdict is Verdict.UNDECIDED and str(state.rounds[first].base.hex()) not in undecided.reason
    assert not any(pin.is_fault for pin in acme.survey(deep=True))


def test_the_lease_spares_what_no_pin_can_hold(tmp_path: Path) -> None:
    """An update that is refused because its tree is none: the blocks that prove it outlive a collection."""
    store = DirectoryStore(tmp_path / "store")
    acme = Acme(store, tmp_path)
    world = acme.world
    world.launch()
    world.ledger.advance(30)
    world.post("alice")
    junk = b"\x12\x00 no node at all"
    block = Block(Cid(0x70, block_cid(RAW, junk).digest), junk)
    store.put_block(block)
    world.chain("mallory").submit_update(world.round.id, block.cid.digest, 10)
    world.close_training()
    world.worker().settle(world.round.id)
    assert acme.standings()[block.cid] is Standing.REFUSED
    with acme.keeper.lease(world.state, [world.federation_id]):
        collect_garbage(store, grace_seconds=0)
    assert store.has_block(block.cid)
    collect_garbage(store, grace_seconds=0)
    assert not store.has_block(block.cid)


_REPAIRER = """
import sys
from pathlib import Path
from network.directory_store import DirectoryStore
from protocol.cid import parse_cid

store = DirectoryStore(Path(sys.argv[1]))
for number, line in enumerate(sys.stdin):
    store.keep(parse_cid(line.strip()))
    print(number, flush=True)
"""


def test_a_repair_that_is_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    acme = Acme(store, tmp_path)
    acme.round("alice", "bob")
    wanted = [pin.cid for pin in acme.survey()]
    for cid in wanted:
        store.release(cid)
    child = subprocess.Popen(
        [sys.executable, "-c", _REPAIRER, str(store.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write("\n".join(map(str, wanted[:2])).encode() + b"\n")
    child.stdin.flush()
    child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdin.close()
    child.stdout.close()
    assert any(pin.standing is Standing.UNPINNED for pin in acme.survey())
    assert {pin.standing for pin in acme.repair()} == {Standing.KEPT}
    assert store.kept() == set(wanted)
