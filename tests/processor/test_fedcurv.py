"""FedCurv: the importance and the anchor that the next clients are held by, against exact fractions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import fedcurv
from processor.fedcurv import curvature
from processor.runs import Threads, serial
from protocol.content import materialise
from protocol.errors import EmptyImportance, WrongField
from protocol.model import decode_model, decode_weights
from protocol.specs import trainable_specs
from protocol.task import MergeRule, Task, decode_task, encode_task
from protocol.unixfs import import_file
from protocol.update import Update
from tests.processor import reference_importance
from tests.processor.contents import stored
from tests.processor.factory import KERNEL, MEAN, TinyRound, account, member, saturating_model, tiny_task, tiny_terms

PEOPLE = ("alice", "bob", "carol")


def curv_task(**changes: Any) -> Task:
    return tiny_task(merge=MergeRule("fedcurv", examples_cap=1000, **changes))


def ring(**changes: Any) -> TinyRound:
    return TinyRound(task=curv_task(), **changes)


def flat(values: dict[str, Any]) -> dict[str, list[int]]:
    return {name: array.reshape(-1).tolist() for name, array in values.items()}


# --- refusals ---


def test_importance_that_is_zero_everywhere_is_refused() -> None:
    one = ring()
    update = one.update("mallory")
    nothing = {name: np.zeros(tensor.shape, np.uint8) for name, tensor in (update.importance or {}).items()}
    with pytest.raises(EmptyImportance):
        curvature(one.base, [member(replace(update, importance=nothing))])


def test_norm_bounding_is_refused_where_the_anchor_is_made_of_the_weights_that_clients_reached() -> None:
    for bound in (MergeRule("fedcurv", bound="median"), MergeRule("fedcurv", bound="fixed", bound_norm=Fraction(1))):
        with pytest.raises(WrongField, match="fedcurv"):
            encode_task(tiny_task(merge=bound))
    assert decode_task(encode_task(curv_task())) == curv_task()


# --- against the reference ---


@settings(deadline=None)
@given(st.lists(st.integers(0, 1 << 30), min_size=1, max_size=6), st.sampled_from(["int8", "int16", "int32"]))
def test_is_mean_importance_and_weighted_mean_in_exact_fractions(seeds: list[int], delta_type: Any) -> None:
    one = TinyRound(task=replace(curv_task(), delta_type=delta_type))
    updates = [one.update(f"client {at}", seed) for at, seed in enumerate(seeds)]
    found = curvature(one.base, list(map(member, updates)))
    importance, anchor = reference_importance.fedcurv(one.base, updates)
    assert [value for values in flat(found.importance).values() for value in values] == importance
    assert flat(found.anchor) == anchor


def test_with_many_clients_importances_lose_low_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [fedcurv._shift(clients) for clients in (1, 512, 513, 1024, 1025, 100_000)] == [0, 0, 1, 1, 2, 8]
    one = ring()
    updates = [one.update(name) for name in PEOPLE]
    monkeypatch.setattr(fedcurv, "LARGEST_TOTAL", 1 << 30)
    expected = reference_importance.fedcurv(one.base, updates, largest_sum=1 << 30)
    assert fedcurv._shift(3) == 4
    assert flat(curvature(one.base, list(map(member, updates))).anchor) == expected[1]
    assert expected[1] != reference_importance.fedcurv(one.base, updates)[1]


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_sums_stay_inside_int64(sign: int) -> None:
    """512 clients, each with the largest importance and the largest change: just below 2^63."""
    clients, rows = 512, np.full((512, 2), sign * ((1 << 22) - 1), np.int32)
    block = fedcurv.Block(
        fedcurv.Span("00000.w", trainable_specs(ring().base.specs)[0].kind, -20, 0, 2), rows, (0,) * clients
    )
    importance, part = fedcurv._combined(block, np.full((clients, 2), (1 << 32) - 1, np.uint32))
    assert importance.tolist() == [(1 << 32) - 1] * 2
    assert part.numerators.tolist() == [clients * ((1 << 32) - 1) * sign * ((1 << 22) - 1)] * 2


def test_the_anchor_is_where_the_sum_of_parabolas_is_lowest() -> None:
    """F (t - anchor)^2 differs from the mean of F_k (t - theta_k)^2 by the same number for every t, up to rounding."""
    one = ring()
    updates = [one.update(name) for name in PEOPLE]
    found = curvature(one.base, list(map(member, updates)))
    base = np.concatenate([one.base.mantissas[spec.name].reshape(-1) for spec in trainable_specs(one.base.specs)])
    importances = [reference_importance.rescaled(update) for update in updates]
    reached = [base + reference_importance.changes(one.base, update) for update in updates]
    anchor = np.concatenate([found.anchor[name].reshape(-1) for name in found.anchor])
    importance = np.concatenate([found.importance[name].reshape(-1) for name in found.importance])
    for at in range(len(base)):

        def excess(t: int, at: int = at) -> Fraction:
            each = (f[at] * (t - int(theta[at])) ** 2 for f, theta in zip(importances, reached, strict=True))
            return Fraction(sum(each), len(updates)) - int(importance[at]) * (t - int(anchor[at])) ** 2

        near, far = excess(int(anchor[at])), excess(int(anchor[at]) + 100)
        assert abs(near - far) <= 100**2 + 100 * (int(importance[at]) + 1)  # F floored; the anchor within half a step


def test_a_coordinate_that_matters_to_nobody_is_held_nowhere() -> None:
    one = ring()
    updates: list[Update] = []
    for name in PEOPLE:
        update = one.update(name)
        importance = {key: np.array(tensor) for key, tensor in (update.importance or {}).items()}
        importance[KERNEL].reshape(-1)[0] = 0
        updates.append(replace(update, importance=importance))
    found = curvature(one.base, list(map(member, updates)))
    assert found.importance[KERNEL].reshape(-1)[0] == 0
    assert found.anchor[KERNEL].reshape(-1)[0] == one.base.mantissas[KERNEL].reshape(-1)[0]


def test_the_anchor_saturates_as_a_merge_does() -> None:
    one = ring(base=saturating_model())
    updates = [one.update(name) for name in PEOPLE]
    found = curvature(one.base, list(map(member, updates)))
    assert flat(found.anchor) == reference_importance.fedcurv(one.base, updates)[1]
    assert max(map(max, flat(found.anchor).values())) == (1 << 24) - 1


# --- that only the set counts ---


def test_only_the_set_of_updates_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = ring()
    updates = [one.update(name) for name in PEOPLE]
    expected = curvature(one.base, list(map(member, updates)))
    on_disk: Sequence[Update] = [stored(update, tmp_path / str(at)) for at, update in enumerate(updates)]
    for order in (*permutations(updates), on_disk):
        for width, run in ((1, serial), (5, Threads(3))):
            monkeypatch.setattr(fedcurv, "block_width", lambda members, size, width=width: width)
            found = curvature(one.base, list(map(member, order)), run)
            assert flat(found.importance) == flat(expected.importance)
            assert flat(found.anchor) == flat(expected.anchor)


# --- in a round ---


@pytest.mark.parametrize("consolidate", [False, True])
def test_every_round_renews_importance_and_anchor_whatever_its_terms_say(consolidate: bool) -> None:
    one = ring(terms=tiny_terms(consolidate=consolidate)).post_all(PEOPLE)
    derivation, plain = one.derive(), replace(one, task=tiny_task(), updates=[], terms=tiny_terms(consolidate=True))
    assert derivation.model is not None and derivation.model_files is not None
    assert derivation.derived.consolidated and derivation.derived.rule == "fedcurv"
    assert decode_model(derivation.model_files).importance is not None
    updates = [one.update(name) for name in PEOPLE]
    importance, anchor = reference_importance.fedcurv(one.base, updates)
    assert [
        value for values in flat(dict(derivation.model.importance or {})).values() for value in values
    ] == importance

    (file,) = derivation.anchors
    data = materialise({"anchor": file})["anchor"]
    assert str(import_file(io.BytesIO(data), lambda block: None).cid) == derivation.model.anchor
    found = decode_weights(data, one.base.specs)
    assert {name: found[name].reshape(-1).tolist() for name in anchor} == anchor
    assert found[MEAN].tolist() == derivation.model.mantissas[MEAN].tolist()

    for name in PEOPLE:
        plain.post(name)
    fedavg = plain.derive().model  # the merge itself is FedAvg's
    assert fedavg is not None
    assert flat(dict(derivation.model.mantissas)) == flat(dict(fedavg.mantissas))


def test_nothing_is_renewed_where_nothing_is_merged() -> None:
    one = TinyRound(task=replace(curv_task(), min_updates=4)).post_all(PEOPLE)
    derivation = one.derive()
    assert derivation.model is None and derivation.anchors == () and not derivation.derived.consolidated


def test_updates_without_importance_are_refused() -> None:
    one = ring().post_all(PEOPLE)
    one.post("mallory", replace(one.update("mallory"), importance=None, importance_exponents=None))
    refused = [update for update in one.derive().derived.updates if update.verdict == "refused"]
    assert [(update.client, update.rule) for update in refused] == [(account("mallory"), "unexpected-importance")]
