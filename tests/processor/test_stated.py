"""A stated model is taken only where it is its round's in all but the weights; everything else is recomputed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from processor.round import Derivation, derive_round
from processor.stated import check_stated
from protocol.cid import RAW, Cid
from protocol.errors import ArtifactRefused
from protocol.merge_terms import Committee, MergeRule
from protocol.model import Model, encode_model
from protocol.past import Past
from protocol.specs import TensorSpec
from protocol.types import Digest
from protocol.unixfs import directory_digest
from tests.processor.factory import BIAS, COUNT, KERNEL, TinyRound, account, tiny_model, tiny_task, tiny_terms

TASK = tiny_task(merge=MergeRule("distilled", examples_cap=1000), committee=Committee("soft", 1))
MEAN_TASK = replace(TASK, merge=MergeRule(examples_cap=1000))
NAMES = ("alice", "bob", "carol")
OTHER = Digest(b"\x07" * 32)


def round_of(consolidate: bool = False) -> TinyRound:
    base = tiny_model(consolidated=consolidate)
    return TinyRound(task=TASK, base=base, terms=tiny_terms(consolidate=consolidate)).post_all(NAMES)


def derive(tiny: TinyRound, stated: Model | None = None) -> Derivation:
    pair = None if stated is None else (directory_digest(encode_model(stated)), stated)
    return derive_round(tiny.facts, tiny.task, tiny.base, tiny.fetch, frozenset(), Past(stated=pair))


def student(tiny: TinyRound) -> Model:
    """A model that fits, with weights of its own."""
    demand = derive(tiny).demand
    assert demand is not None
    mantissas = {name: np.abs(values // 2) for name, values in demand.mean.mantissas.items()}
    return replace(demand.mean, mantissas=mantissas)


def coarser(model: Model) -> Model:
    """The same weights on another grid."""
    first = model.specs[0]
    other = TensorSpec(first.name, first.shape, first.kind, first.grid + 1)
    return replace(model, specs=(other, *model.specs[1:]))


def reshaped(model: Model) -> Model:
    specs = tuple(replace(one, shape=(3, 4)) if one.name == KERNEL else one for one in model.specs)
    return replace(model, specs=specs, mantissas={**model.mantissas, KERNEL: model.mantissas[KERNEL].reshape(3, 4)})


UNFIT: dict[str, Callable[[Model], Model]] = {
    "architecture": lambda model: replace(model, architecture=b"{ }"),
    "round": lambda model: replace(model, round=model.round + 1),
    "no parents": lambda model: replace(model, parents=()),
    "other parents": lambda model: replace(model, parents=(OTHER,)),
    "grid": coarser,
    "shape": reshaped,
    "constants": lambda model: replace(model, constants={COUNT: model.constants[COUNT] + 1}),
    "committee": lambda model: replace(model, committee=OTHER),
    "no committee": lambda model: replace(model, committee=None),
    "server state": lambda model: replace(model, server_state=OTHER),
    "importance": lambda model: replace(
        model,
        importance={name: np.zeros_like(model.mantissas[name], np.uint32) for name in (KERNEL, BIAS)},
        anchor=str(Cid(RAW, OTHER)),
    ),
}


@pytest.mark.parametrize("change", UNFIT.values(), ids=UNFIT.keys())
def test_a_stated_model_that_does_not_fit_leaves_the_base(change: Callable[[Model], Model]) -> None:
    tiny = round_of()
    fitting = student(tiny)
    unfit = change(fitting)
    encode_model(unfit)  # it is a model, only not this round's
    demand = derive(tiny).demand
    assert demand is not None
    with pytest.raises(ArtifactRefused):
        check_stated(unfit, demand.mean)
    derivation = derive(tiny, unfit)
    derived = derivation.derived
    assert (derived.outcome, derived.stated, derived.model, derived.merged) == (
        "unfit-model",
        False,
        tiny.base_digest,
        0,
    )
    assert derivation.model is None and derivation.artifacts == () and derivation.model_files is None
    assert derivation == replace(derive(tiny), rewards=derivation.rewards, demand=derivation.demand)
    assert [one.reward > 0 for one in derived.updates] == [True] * 3  # clients are paid all the same


def test_another_importance_than_the_recomputed_one_does_not_fit() -> None:
    tiny = round_of(consolidate=True)
    fitting = student(tiny)
    assert fitting.importance is not None and fitting.anchor is not None
    assert derive(tiny, fitting).derived.consolidated
    louder = {name: values + np.uint32(1) for name, values in fitting.importance.items()}
    assert derive(tiny, replace(fitting, importance=louder)).derived.outcome == "unfit-model"
    assert derive(tiny, replace(fitting, anchor=str(Cid(RAW, OTHER)))).derived.outcome == "unfit-model"
    assert derive(tiny, replace(fitting, importance=None, anchor=None)).derived.outcome == "unfit-model"


def test_without_a_stated_model_the_base_stays_and_the_demand_says_what_would_fit() -> None:
    derivation = derive(round_of())
    assert derivation.derived.outcome == "unfit-model" and derivation.demand is not None
    mean = derive_round(*_arguments(MEAN_TASK)).model
    assert mean is not None
    assert encode_model(derivation.demand.mean) == encode_model(mean)
    assert [one.client for one in derivation.demand.committee.members] == sorted(map(account, NAMES), key=str.lower)


def _arguments(task: Any) -> tuple[Any, ...]:
    tiny = TinyRound(task=task, terms=tiny_terms()).post_all(NAMES)
    return tiny.facts, tiny.task, tiny.base, tiny.fetch, frozenset(), Past()


def test_a_fitting_model_is_taken_and_all_else_is_recomputed() -> None:
    tiny = round_of()
    fitting = student(tiny)
    derivation = derive(tiny, fitting)
    mean = derive_round(*_arguments(MEAN_TASK))
    derived = derivation.derived
    assert derived.stated and derived.outcome == "merged" and derived.rule == "distilled" and derived.merged == 3
    assert derived.model == directory_digest(encode_model(fitting)) != mean.derived.model
    assert not mean.derived.stated
    assert derivation.merge_digest == mean.merge_digest  # the witness is of the merge, which the auditor did
    assert derived.updates == mean.derived.updates and derived.rewards_root == mean.derived.rewards_root
    assert derivation.artifacts == mean.artifacts


def test_the_mean_itself_may_be_stated() -> None:
    tiny = round_of()
    demand = derive(tiny).demand
    assert demand is not None
    assert derive(tiny, demand.mean).derived.stated


def test_too_few_updates_ask_for_no_model() -> None:
    tiny = TinyRound(task=replace(TASK, min_updates=4)).post_all(NAMES)
    derivation = derive(tiny)
    assert derivation.derived.outcome == "too-few-updates" and derivation.demand is None
