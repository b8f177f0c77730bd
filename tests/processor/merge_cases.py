"""Every way to merge that a task can name, with updates for it; run as a program, the results of all of them.

A rule that is registered later comes in by itself: if it is nothing special it needs no more than its name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any, get_args

import pytest

from processor import blocks, engine
from processor.blocks import Member
from processor.engine import merge_updates
from processor.rules import RULES
from protocol.errors import WrongField
from protocol.merge_terms import BYZANTINE, NEEDS_IMPORTANCE, Bound, Committee, MergeRule, ServerStep, Step
from protocol.task import DeltaType, Task, decode_task, encode_task
from protocol.types import Hash
from tests.processor.factory import TinyRound, member, tiny_model, tiny_specs, tiny_task, tiny_terms

FEWEST = 6  # updates of a merge, at least


@dataclass(frozen=True)
class Case:
    """One way to merge."""

    rule: str
    delta_type: str
    bound: str
    step: str

    def __str__(self) -> str:
        """What a test is called by."""
        return "-".join((self.rule, self.delta_type, self.bound, self.step))

    @property
    def task(self) -> Task:
        """The task that names it."""
        words: Any = {"rule": self.rule, "bound": self.bound}
        merge = MergeRule(
            examples_cap=1000,
            trim=2 if self.rule == "trimmed-mean" else 0,
            byzantine=1 if self.rule in BYZANTINE else 0,
            keep=3 if self.rule == "multi-krum" else 0,
            bound_norm=Fraction(1, 100) if self.bound == "fixed" else Fraction(0),
            **words,
        )
        step: Any = self.step
        server = ServerStep(step=step, rate=Fraction(1) if step == "plain" else Fraction(1, 50))
        committee = Committee(vote="soft") if self.rule == "distilled" else Committee()
        return tiny_task(merge=merge, server=server, committee=committee, delta_type=self.delta_type)


def _allowed(case: Case) -> bool:
    try:
        return decode_task(encode_task(case.task)) == case.task
    except WrongField:  # this rule does not go with this delta type, or with this bound
        return False


def cases() -> list[Case]:
    """All that a task may name."""
    every = product(sorted(RULES), get_args(DeltaType), get_args(Bound), get_args(Step))
    return [case for case in (Case(*words) for words in every) if _allowed(case)]


@cache
def case_round(case: Case, kernel: tuple[int, ...] = (3, 2)) -> TinyRound:
    """A round of it on a small base, which the largest changes take out of its range here and there."""
    consolidate = case.rule in NEEDS_IMPORTANCE
    base = tiny_model(7, tiny_specs(kernel), span=1 << 24)
    return TinyRound(task=case.task, base=base, terms=tiny_terms(consolidate=consolidate))


@cache
def crowd(case: Case, kernel: tuple[int, ...] = (3, 2)) -> tuple[Member, ...]:
    """Its updates, in no particular order, of 1 to 1000 examples."""
    ring = case_round(case, kernel)
    count = max(FEWEST, ring.task.least_updates())
    posted = [ring.update(f"client {k}", examples=1 + 997 * (k + 1) % 1000) for k in range(count)]
    return tuple(member(update) for update in posted)


@contextmanager
def split(width: int | None = None, chunk: int | None = None, compiled: bool | None = None) -> Iterator[None]:
    """Merge in blocks of ``width`` coordinates, spans of ``chunk``, all in compiled loops or none, where they are given."""
    with pytest.MonkeyPatch.context() as patch:
        if width is not None:
            patch.setattr(blocks, "NARROWEST", width)
            patch.setattr(blocks, "ROOM", 0)
        if chunk is not None:
            patch.setattr(engine, "spans", lambda specs: blocks.spans(specs, chunk))
        if compiled is not None:
            for module in [module for name, module in sys.modules.items() if name.startswith("processor.")]:
                if hasattr(module, "COMPILED_FROM"):
                    patch.setattr(module, "COMPILED_FROM", 0 if compiled else 1 << 60)
        yield


def merged_digest(case: Case, kernel: tuple[int, ...]) -> Hash | None:
    """The witness of a merge of it."""
    ring = case_round(case, kernel)
    return merge_updates(ring.task, ring.base, crowd(case, kernel)).digest
