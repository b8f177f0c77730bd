"""Rounds in a row whose server steps have a state: each goes on from the artifact that the one before it left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from processor.round import Derivation
from processor.runs import Threads
from protocol.errors import TooLarge
from protocol.merge_terms import ServerStep, Step
from protocol.model import Model, decode_model
from protocol.past import Past
from protocol.server_state import decode_state
from protocol.specs import trainable_specs
from protocol.tensors import whole
from protocol.types import Digest
from protocol.unixfs import directory_digest
from protocol.update import Update
from tests.processor import reference, reference_steps
from tests.processor.factory import TinyRound, tiny_model, tiny_task

STEPS: tuple[Step, ...] = ("momentum", "adam", "yogi")
PEOPLE = ("alice", "bob", "carol")
TERMS = {
    "momentum": ServerStep("momentum", Fraction(1, 2)),
    "adam": ServerStep("adam", Fraction(1, 100)),
    "yogi": ServerStep("yogi", Fraction(1, 100), Fraction(1, 3), Fraction(6, 7)),
}


def play(terms: ServerStep, rounds: int, run: object = None) -> list[tuple[TinyRound, Derivation]]:
    """Rounds of the same three people, each from the model and the state before; all as artifacts."""
    base, artifacts = tiny_model(span=1 << 16), dict[Digest, Mapping[str, bytes]]()
    played = []
    for index in range(1, rounds + 1):
        ring = TinyRound(task=tiny_task(server=terms), base=base, index=index)
        for name, update in zip(PEOPLE, updates_of(ring), strict=True):
            ring.post(name, update)
        past = past_of(base, terms, artifacts)
        derivation = ring.derive(past=past, **({} if run is None else {"run": run}))  # type: ignore[arg-type]
        assert derivation.model_files is not None
        artifacts |= {directory_digest(files): files for files in derivation.artifacts}  # type: ignore[dict-item]
        base = decode_model(derivation.model_files)
        played.append((ring, derivation))
    return played


def updates_of(ring: TinyRound) -> list[Update]:
    """What the three post in that round: others in each, by 95, 96 and 97 examples."""
    return [ring.update(name, ring.index * 100 + at, 95 + at) for at, name in enumerate(PEOPLE)]


def past_of(base: Model, terms: ServerStep, artifacts: Mapping[Digest, Mapping[str, bytes]]) -> Past:
    if base.server_state is None:
        return Past()
    return Past(moments=decode_state(artifacts[base.server_state], terms, base))


def mean_changes(base: Model, updates: Sequence[Update]) -> dict[str, list[Fraction]]:
    """The exact mean change of every trainable coordinate, in grid steps."""
    total = sum(update.examples for update in updates)
    return {
        spec.name: [
            Fraction(sum(n * (q << shift) for n, q, shift in column), total)
            for column in zip(
                *(
                    [
                        (update.examples, q, update.exponents[spec.name] - spec.grid)
                        for q in whole(update.deltas[spec.name]).reshape(-1).tolist()
                    ]
                    for update in updates
                ),
                strict=True,
            )
        ]
        for spec in trainable_specs(base.specs)
    }


@pytest.mark.parametrize("step", STEPS)
def test_four_rounds_are_those_of_exact_fractions(step: Step) -> None:
    terms, moments = TERMS[step], dict[str, list[reference_steps.Moments]]()
    for ring, derivation in play(terms, 4):
        updates = updates_of(ring)
        assert derivation.model is not None and derivation.moments is not None
        for spec in trainable_specs(ring.base.specs):
            changes = mean_changes(ring.base, updates)[spec.name]
            before = moments.get(spec.name, [reference_steps.start(terms)] * len(changes))
            stepped = [
                reference_steps.step(terms, spec.grid, change, own) for change, own in zip(changes, before, strict=True)
            ]
            start = ring.base.mantissas[spec.name].reshape(-1).tolist()
            most = reference.MANTISSA_MOST
            expected = [max(-most, min(most, q + round(move))) for q, (move, _) in zip(start, stepped, strict=True)]
            assert derivation.model.mantissas[spec.name].reshape(-1).tolist() == expected
            moments[spec.name] = [own for _, own in stepped]
            found = zip(*(whole(one).reshape(-1).tolist() for one in derivation.moments[spec.name]), strict=True)
            assert list(found) == moments[spec.name]


@pytest.mark.parametrize("step", STEPS)
def test_the_model_names_the_state_that_it_left(step: Step) -> None:
    for ring, derivation in play(TERMS[step], 3):
        (state,) = derivation.artifacts
        assert derivation.model is not None and derivation.model.server_state == directory_digest(state)
        found = decode_state(state, TERMS[step], derivation.model)  # type: ignore[arg-type]
        assert derivation.moments is not None
        for name, moments in derivation.moments.items():
            assert [whole(one).tolist() for one in found[name]] == [whole(one).tolist() for one in moments]
        assert derivation.derived.rule == f"fedavg-{step}" and ring.index == derivation.model.round


@pytest.mark.parametrize("step", STEPS)
def test_threads_and_order_change_no_byte(step: Step) -> None:
    one, other = play(TERMS[step], 3), play(TERMS[step], 3, Threads(3))
    assert [each.result_hash for _, each in one] == [each.result_hash for _, each in other]


def test_the_state_counts() -> None:
    """From the same base and the same updates other moments lead to another model, and to another state."""
    (_, first), (ring, second) = play(TERMS["momentum"], 2)
    assert first.model is not None and first.moments is not None
    moments = {name: tuple(whole(one) + 256 for one in values) for name, values in first.moments.items()}
    assert ring.derive(past=Past(moments=moments)).derived.model != second.derived.model
    assert ring.derive(past=Past(moments=dict(first.moments))).result_hash == second.result_hash


def test_a_past_that_is_not_the_bases_is_an_error_and_no_verdict() -> None:
    (begin, first), (ring, _) = play(TERMS["adam"], 2)
    with pytest.raises(ValueError, match="server state"):
        ring.derive()
    with pytest.raises(ValueError, match="server state"):
        begin.derive(past=Past(moments=first.moments))


def test_a_plain_step_leaves_no_state() -> None:
    derivation = TinyRound().post_all(PEOPLE).derive()
    assert derivation.model is not None and derivation.model.server_state is None
    assert derivation.artifacts == () and derivation.moments is None


def test_where_nothing_is_merged_the_base_and_its_state_stay() -> None:
    ring = TinyRound(task=tiny_task(server=TERMS["adam"], min_updates=4)).post_all(PEOPLE)
    derivation = ring.derive()
    assert derivation.derived.model == ring.base_digest and derivation.artifacts == () and derivation.moments is None


def test_a_state_that_is_too_large_to_be_read_merges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise TooLarge("A safetensors header has too many bytes.")

    monkeypatch.setattr("processor.result.state_contents", refuse)
    ring = TinyRound(task=tiny_task(server=TERMS["adam"])).post_all(PEOPLE)
    assert ring.derive().derived.outcome == "too-large" and ring.derive().derived.model == ring.base_digest


@pytest.mark.parametrize("step", STEPS)
def test_what_the_witness_proves_is_the_merge_before_the_step(step: Step) -> None:
    """Whoever copies an attestation would have to hold the merged numerators, whatever is done with them."""
    plain, stepped = (
        TinyRound(task=tiny_task(server=terms)).post_all(PEOPLE).derive() for terms in (ServerStep(), TERMS[step])
    )
    assert plain.merge_digest == stepped.merge_digest and plain.result_hash != stepped.result_hash


def test_statistics_are_not_stepped() -> None:
    plain, stepped = (
        TinyRound(task=tiny_task(server=terms)).post_all(PEOPLE).derive().model
        for terms in (ServerStep(), TERMS["adam"])
    )
    assert plain is not None and stepped is not None
    trainable = {spec.name for spec in trainable_specs(plain.specs)}
    for name in plain.mantissas:
        assert np.array_equal(plain.mantissas[name], stepped.mantissas[name]) == (name not in trainable)


def test_a_smaller_rate_moves_less() -> None:
    whole_, half = (
        TinyRound(task=tiny_task(server=replace(ServerStep(), rate=rate))).post_all(PEOPLE).derive().model
        for rate in (Fraction(1), Fraction(1, 2))
    )
    assert whole_ is not None and half is not None
    base = tiny_model()
    for spec in trainable_specs(base.specs):
        full, less = (model.mantissas[spec.name] - base.mantissas[spec.name] for model in (whole_, half))
        assert (np.abs(full - 2 * less) <= 1 + (np.abs(half.mantissas[spec.name]) == (1 << 24) - 1) * (1 << 25)).all()
