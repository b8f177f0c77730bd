"""A benchmark's client owes what a real client owes, and its federation merges what the processor merges."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from benchmarks.learners import (
    Assignment,
    Learner,
    first_model,
    learners,
    pull_of,
    round_id_of,
    seed_for,
    train_locally,
    weights_of,
)
from benchmarks.merging import merge_encoded, merge_round
from benchmarks.methods import METHODS, Campaign
from client.data import Dataset
from client.feedback import decode_residual, encode_residual
from client.quantise import quantise
from protocol.task import Consolidation, Feedback, Task, Training

SIZES = (20, 6, 4)
TASK = Task(
    "people",
    training=Training(learning_rate=Fraction(1, 4), batch_size=10, epochs=1),
    consolidation=Consolidation(strength=Fraction(1, 10), examples=16),
)


def shares(many: int) -> list[Dataset]:
    """Data of ``many`` clients."""
    generator = np.random.default_rng(3)
    return [Dataset(generator.random((30, 20)).astype(np.float32), generator.integers(0, 4, 30)) for _ in range(many)]


def campaign(method: str, task: Task = TASK) -> Campaign:
    """Three clients at the beginning."""
    return Campaign("test", task, first_model(SIZES, 1), learners(shares(3)), METHODS[method])


def test_what_rounding_left_is_added_to_the_next_update() -> None:
    alice = learners(shares(1))[0]
    base, task = first_model(SIZES, 1), replace(TASK, delta_type="int8")
    trained = train_locally(base, task, alice.data, 5, Assignment())
    once = alice.update(base, task, trained, round_id_of("a", 1), 1)
    left = alice.residual(2, task)
    assert left is not None
    assert any(value.any() for value in left.values())
    again = alice.update(base, task, trained, round_id_of("a", 2), 2)
    expected = quantise(base, trained.weights, "int8", left)
    for name, delta in again.deltas.items():
        assert np.array_equal(delta, expected.deltas[name])
    assert any(not np.array_equal(once.deltas[name], again.deltas[name]) for name in once.deltas)


def test_what_is_kept_is_what_the_clients_file_keeps() -> None:
    alice, base = learners(shares(1))[0], first_model(SIZES, 1)
    task = replace(TASK, delta_type="int8", feedback=Feedback(clip_steps=3))
    trained = train_locally(base, task, alice.data, 5, Assignment())
    alice.update(base, task, trained, round_id_of("a", 7), 7)
    left = quantise(base, trained.weights, "int8").residual
    index, filed = decode_residual(encode_residual(7, left, task.feedback))
    assert max(abs(value).max() for value in left.values()) > 3
    assert alice.kept is not None
    assert alice.kept[0] == index
    assert all(np.array_equal(alice.kept[1][name], filed[name]) for name in filed)


def test_what_is_owed_is_dropped_after_missed_rounds() -> None:
    alice = learners(shares(1))[0]
    base = first_model(SIZES, 1)
    alice.update(base, TASK, train_locally(base, TASK, alice.data, 5, Assignment()), round_id_of("a", 4), 4)
    assert alice.residual(4 + TASK.feedback.drop_after, TASK) is not None
    assert alice.residual(5 + TASK.feedback.drop_after, TASK) is None


def test_seeds_differ_between_rounds_and_clients() -> None:
    alice, bob = learners(shares(2))
    seeds = {seed_for(round_id_of(name, index), who) for name in "ab" for index in (1, 2) for who in (alice, bob)}
    assert len(seeds) == 8


@pytest.mark.parametrize("consolidate", [False, True])
def test_the_merge_in_memory_is_that_of_encoded_updates(consolidate: bool) -> None:
    base, updates = first_model(SIZES, 1), []
    posts = Assignment(importance="at_base" if consolidate else "none")
    for number, who in enumerate(learners(shares(3))):
        trained = train_locally(base, TASK, who.data, number, posts)
        updates.append(who.update(base, TASK, trained, round_id_of("a", 1), 1))
    ours = merge_round(TASK, base, updates, consolidate)
    other = merge_encoded(TASK, base, list(reversed(updates)), consolidate)
    assert ours.same(other)
    assert other.same(ours)
    assert not ours.same(replace(ours, mantissas=base.mantissas))
    assert (ours.importance is not None) == consolidate
    assert ours.same(replace(ours, importance=None)) == (not consolidate)


def test_a_consolidation_anchors_at_the_rounds_base() -> None:
    ours = campaign("rondo")
    ours.play_round(range(3))
    assert (ours.model.importance, ours.model.anchor, ours.anchor) == (None, None, None)
    before = ours.model.mantissas
    ours.play_round(range(3), consolidate=True)
    assert ours.anchor is before
    assert ours.model.importance is not None
    values = np.concatenate([value.reshape(-1) for value in ours.model.importance.values()])
    assert 0 < values.mean() <= 2**16 < values.max()


def test_a_flat_importance_is_one_everywhere() -> None:
    flat = campaign("l2")
    flat.play_round(range(3), consolidate=True)
    assert flat.model.importance is not None
    assert all((value == 2**16).all() for value in flat.model.importance.values())


def distance(method: str, strength: Fraction) -> float:
    """How far two rounds after a consolidation end from where the penalty pulls."""
    task = replace(TASK, consolidation=replace(TASK.consolidation, strength=strength))
    one = campaign(method, task)
    anchor = weights_of(one.model)
    one.play_round(range(3), consolidate=True)
    if method in ("ewc_moving_base", "fedcurv"):
        anchor = weights_of(one.model)
    for _ in range(2):
        one.play_round(range(3))
    assert one.proved
    return float(sum(np.square(a - b).sum() for a, b in zip(weights_of(one.model), anchor, strict=True)))


@pytest.mark.parametrize("method", ["l2", "ewc_moving_base", "rondo", "fedcurv"])
def test_every_penalty_holds_the_weights(method: str) -> None:
    assert distance(method, Fraction(100)) < 0.5 * distance(method, Fraction(0))


def test_fedavg_consolidates_nothing() -> None:
    plain = campaign("fedavg")
    plain.play_round(range(3), consolidate=True)
    assert plain.model.importance is None
    assert pull_of(plain.model, plain.anchor, TASK) is None


def test_a_client_that_is_left_out_owes_nothing() -> None:
    some = campaign("fedavg")
    some.play_round([0, 2])
    kept: list[Learner] = [who for who in some.learners if who.kept is not None]
    assert kept == [some.learners[0], some.learners[2]]
