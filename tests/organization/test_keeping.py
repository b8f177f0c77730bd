"""The worker keeps what rounds need and lets go of the rest by itself, and no trouble with pins stops a round."""

from __future__ import annotations

from dataclasses import replace

from network.directory_store import DirectoryStore
from network.garbage import collect_garbage
from network.transfer import fetch, publish_file
from organization.members import MemberModels
from protocol.cid import directory_cid
from protocol.committee import decode_committee
from protocol.errors import BlockMissing, StoreUnavailable
from protocol.events import RoundSettled
from protocol.merge_terms import Committee
from protocol.model import decode_model, weights_cid
from protocol.terms import Phase
from tests.organization.world import World
from tests.processor.factory import tiny_task

TASK = tiny_task(publication_seconds=60, rederivation_margin_seconds=60, retention_seconds=1)


def founded(tmp_path, task=TASK):
    world = World(task)
    world.store = DirectoryStore(tmp_path / "store")
    world.found(tmp_path)
    return world


def settlements(world):
    return [logged.event.settlement for logged in world.ledger.logs if isinstance(logged.event, RoundSettled)]


def updates(world, index):
    round_ = world.state.rounds[world.federation.rounds[index - 1]]
    return {directory_cid(update.digest) for update in round_.updates}


def test_old_rounds_are_let_go_and_the_last_ones_kept(tmp_path):
    world = founded(tmp_path)
    worker = world.worker(rounds_kept=2)
    for rounds in (1, 2, 3, 4):
        worker.run(rounds, pause=world.live())
        world.ledger.advance(3600)
    kept = world.store.kept()
    reports = {directory_cid(one.report) for one in settlements(world)}
    models = [directory_cid(one.model) for one in settlements(world)]
    # What the fourth round pushed out goes when the fifth begins: a worker that is done has nothing to wait for.
    assert kept >= reports | updates(world, 3) | updates(world, 4) | set(models[1:])
    assert not kept & (updates(world, 1) | {directory_cid(world.federation.terms.model)})
    assert any("let go of" in line for line in world.said)


def test_the_heads_committee_outlives_what_the_task_promises_and_goes_with_the_head(tmp_path):
    """Its members are needed to ask it, and to distil from it, however old they are; those that left it are let go."""
    world = founded(tmp_path, replace(TASK, committee=Committee("majority", 2)))
    worker = world.worker(rounds_kept=0)
    for rounds in (1, 2, 3, 4):
        worker.run(rounds, pause=world.live())
        world.ledger.advance(3600)
    world.worker(rounds_kept=0).step(4)
    head = decode_model(fetch(world.store, world.federation.head, 1 << 20))
    committee = decode_committee(fetch(world.store, head.committee, 1 << 20))
    bases = [directory_cid(world.state.rounds[one].base) for one in world.federation.rounds]
    kept = world.store.kept()
    assert {member.round for member in committee.members} == {3, 4}
    assert kept >= updates(world, 3) | updates(world, 4) | {bases[2], bases[3], directory_cid(head.committee)}
    assert not kept & (updates(world, 1) | updates(world, 2) | {bases[0], bases[1]})
    collect_garbage(world.store, grace_seconds=0)
    models = MemberModels(world.store, model_bytes=1 << 20, update_bytes=1 << 20)
    assert [models(member).round for member in committee.members] == [2, 2, 2, 3, 3, 3]


def test_forever_is_forever(tmp_path):
    world = founded(tmp_path, tiny_task(publication_seconds=60, rederivation_margin_seconds=60))
    world.worker(rounds_kept=0).run(3, pause=world.live())
    world.ledger.advance(10**9)
    world.worker(rounds_kept=0).step(3)
    kept = world.store.kept()
    assert updates(world, 1) | updates(world, 2) | updates(world, 3) <= kept
    assert directory_cid(world.federation.terms.model) in kept
    assert directory_cid(settlements(world)[0].model) not in kept


def test_the_anchor_outlives_the_model_that_it_was_a_part_of(tmp_path):
    world = founded(tmp_path)
    worker = world.worker(rounds_kept=0)
    worker.run(1, consolidate={1}, pause=world.live())
    worker.run(2, pause=world.live())
    world.ledger.advance(3600)
    world.worker(rounds_kept=0).step(2)
    first = directory_cid(world.federation.terms.model)
    assert first not in world.store.kept()
    collect_garbage(world.store, grace_seconds=0)
    assert not world.store.has_block(first)
    anchors = {cid for cid in world.store.kept() if cid.codec != 0x70}
    assert len(anchors) == 1 and world.store.has_block(anchors.pop())


def consolidated(world):
    """A round that consolidates, with an update, training closed, and its base's weights."""
    round_id = world.launch(consolidate=True)
    world.ledger.advance(10)
    world.post("alice")
    world.close_training()
    return round_id, weights_cid(decode_model(fetch(world.store, world.round.base, 1 << 20)))


def test_the_anchor_is_kept_with_the_settlement(tmp_path):
    world = founded(tmp_path)
    round_id, anchor = consolidated(world)
    assert world.worker().settle(round_id)
    assert anchor in world.store.kept()


def test_an_anchor_that_is_lost_stops_no_settlement(tmp_path, monkeypatch):
    world = founded(tmp_path)
    round_id, anchor = consolidated(world)
    keep = world.store.keep

    def lost(cid):
        if cid == anchor:
            raise BlockMissing(str(cid))
        keep(cid)

    monkeypatch.setattr(world.store, "keep", lost)
    assert world.worker().settle(round_id)
    assert world.round.settled is not None and anchor not in world.store.kept()


def test_a_pin_that_was_lost_comes_back_with_the_next_round(tmp_path):
    world = founded(tmp_path)
    worker = world.worker()
    worker.run(1, pause=world.live())
    head = directory_cid(world.federation.head)
    world.store.release(head)
    worker.run(2, pause=world.live())
    assert head in world.store.kept()


def test_content_that_was_lost_is_said_and_stops_nothing(tmp_path):
    world = founded(tmp_path)
    worker = world.worker()
    worker.run(1, pause=world.live())
    (lost,) = (directory_cid(one.report) for one in settlements(world))
    world.store.release(lost)
    world.store.path(lost).unlink()
    worker.run(2, pause=world.live())
    assert world.round.phase is Phase.FINAL
    assert any("report of round 1" in line and str(lost) in line for line in world.said)


def test_a_store_whose_pins_fail_stops_no_round(tmp_path, monkeypatch):
    world = founded(tmp_path)

    def down(*arguments):
        raise StoreUnavailable("The pins are gone.")

    monkeypatch.setattr(DirectoryStore, "kept", down)
    monkeypatch.setattr(DirectoryStore, "release", down)
    world.worker().run(2, pause=world.live())
    assert world.round.index == 2 and world.round.phase is Phase.FINAL
    assert any("was not let go: The pins are gone." in line for line in world.said)


def test_a_foreign_pin_stays(tmp_path):
    world = founded(tmp_path)
    foreign = publish_file(world.store, b"not ours")
    world.worker(rounds_kept=0).run(2, pause=world.live())
    assert foreign in world.store.kept()
