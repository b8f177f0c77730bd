"""A merge, span by span: the same function of the set of updates, whoever does which span, in whatever order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor import norm_bound
from processor.blocks import Block, Member, Span, block_width, spans
from processor.columns import Column, columns, deltas, read_column, until_whole
from processor.importance import Tables, rescaled_rows, rescaling
from processor.merge import Part, join, merge_digest, moved
from processor.rule import Measure, Measured, Plan
from processor.rules import rule_of
from processor.runs import Run, serial
from processor.server_step import ServerMoments
from processor.streams import streamed_sums
from processor.weighted_mean import WeightedMean
from protocol.model import Model
from protocol.past import Moments
from protocol.specs import TensorClass, trainable_specs
from protocol.task import Task
from protocol.tensors import empty_arrays
from protocol.types import Address, Hash

Reader = Callable[[Column], Iterator[Block]]
_Moved = tuple[
    Span, bytes, NDArray[np.int32] | None, int
]  # digest, mantissas where they are not in place, saturated ones
_WIDEST = 4  # bytes of a coordinate: norm bounding makes int32 of all


@dataclass(frozen=True)
class Merge:
    """A planned merge: everything that the result of a span follows from, beside base and updates.

    Args:
        plan: The rule's. statistics: The mean that statistics take over the updates that the rule did not leave out.
        factors: What norm bounding multiplies each member's change by, in 2^-16; None without.
        tables: Of the members' importances, where the rule reads them.
    """

    task: Task
    members: tuple[Member, ...]
    plan: Plan
    statistics: WeightedMean
    factors: tuple[int, ...] | None = None
    tables: Tables | None = None

    def part(self, span: Span) -> Part:
        """Return the change in ``span`` before the server's step."""
        return join([part for _, part in self._read((span,))])

    def parts(self, column: Column) -> Iterator[tuple[Span, Part]]:
        """Yield the change in one span of ``column`` after another before the server's step, each valid until the next one.

        Raises:
            ReadAgain: Nothing of it may be used (`processor.columns.until_whole`).
        """
        return self._streamed(column) or self._read(column)

    def _read(self, column: Column) -> Iterator[tuple[Span, Part]]:
        for block in reader(self.members, self.factors, self.tables)(column):
            yield block.span, self._plan(block.span).merge(block)

    def _streamed(self, column: Column) -> Iterator[tuple[Span, Part]] | None:
        """Return the parts that are weighted sums of the updates as they are, where these can be made while reading."""
        means = [plan for plan in map(self._plan, column) if isinstance(plan, WeightedMean)]
        if len(means) < len(column) or self.factors is not None:
            return None
        factors = [mean.factors(_shifts(span, self.members)) for span, mean in zip(column, means, strict=True)]
        sums = streamed_sums(column, deltas(self.members), factors)
        return (
            None if sums is None else ((span, mean.part(each)) for mean, (span, each) in zip(means, sums, strict=True))
        )

    def _plan(self, span: Span) -> Plan:
        return self.plan if span.kind is TensorClass.TRAINABLE else self.statistics


@dataclass(frozen=True)
class Merged:
    """What a merge made of a base.

    Args:
        mantissas: int32 by merged tensor, the base's shapes and order. saturated: Coordinates that left the grid's range.
        weights: Of each member by client; 0 where the rule left it out.
        digest: What an attestation's witness is made of; None where nobody asked for it.
        moments: The server step's new state, None for a plain step.
    """

    mantissas: Mapping[str, NDArray[np.int32]]
    saturated: int
    weights: Mapping[Address, int]
    digest: Hash | None
    moments: Moments | None = None


def merge_updates(
    task: Task, base: Model, members: Sequence[Member], moments: Moments | None = None, run: Run = serial
) -> Merged:
    """Merge ``members`` into ``base`` as ``task`` says: plan, then merge every span.

    Args:
        members: Every update has passed the screening against ``base``. Their order does not matter.
        moments: What the server's step goes on from; None at its beginning.

    Raises:
        TooFewUpdates: The rule needs more. ArithmeticRefused: A stated bound would be exceeded.
        WrongField: The task names an unknown rule.
        BlockMissing, BlockCorrupt, StoreUnavailable: An update's bytes, verified before, are gone.
    """
    merge = plan_merge(task, base, members, run)
    return apply_merge(merge, base, moments, run)


def plan_merge(task: Task, base: Model, members: Sequence[Member], run: Run = serial) -> Merge:
    """Return the plan of a merge: who takes part and by which weights; raises as `merge_updates`."""
    ordered = tuple(sorted(members, key=lambda member: member.accepted.client.lower()))  # by value
    rule, accepted = rule_of(task), [member.accepted for member in ordered]
    trainable = trainable_specs(base.specs)
    factors = None
    if task.merge.bound != "none":
        norms = _measure(norm_bound.Norms().measure, ordered, base, reader(ordered), run)
        factors = norm_bound.factors(task.merge, norms, min(spec.grid for spec in trainable))
    tables = rescaling(ordered, spans(trainable), run) if rule.reads_importance else None
    measured = None
    if rule.measure is not None:
        measured = _measure(rule.measure, ordered, base, reader(ordered, factors, tables), run)
    plan = rule.plan(accepted, measured)
    examples = [one.examples if weight else 0 for one, weight in zip(accepted, plan.weights, strict=True)]
    return Merge(task, ordered, plan, WeightedMean(tuple(examples)), factors, tables)


def apply_merge(
    merge: Merge,
    base: Model,
    moments: Moments | None = None,
    run: Run = serial,
    witness: bool = True,
    shares_memory: bool = False,
) -> Merged:
    """Merge every span and move ``base`` by it: one rounding a coordinate.

    Args:
        witness: Whether to hash the numerators, 8 bytes a coordinate, for `Merged.digest`.
        shares_memory: Whether ``run`` works in this process's memory alone, so that it may write the result there.
    """
    state = ServerMoments(merge.task.server, base.specs, moments)
    mantissas = empty_arrays({name: before.shape for name, before in base.mantissas.items()}, np.dtype(np.int32))
    shared = mantissas if shares_memory else None  # what other machines work with is shipped to them
    saturated, digests = 0, {name: list[bytes]() for name in mantissas}

    def move(span: Span, part: Part) -> _Moved:
        digest = part.digest() if witness else b""
        stepped = state.step(span, part) if span.kind is TensorClass.TRAINABLE else part
        place = None if shared is None else _place(shared, span)
        after, outside = moved(_place(base.mantissas, span), stepped, place)
        return span, digest, None if place is not None else after, outside

    def work(column: Column) -> list[_Moved]:
        if witness:
            return [move(column[0], merge.part(column[0]))]
        return [move(span, part) for span, part in merge.parts(column)]

    pieces = [(span,) for span in spans(base.specs)] if witness else columns(spans(base.specs), deltas(merge.members))
    for found in run(until_whole(work), pieces):
        for span, digest, after, outside in found:
            digests[span.name].append(digest)
            saturated += outside
            if after is not None:
                _place(mantissas, span)[:] = after
    clients = (member.accepted.client for member in merge.members)
    weights = dict(zip(clients, merge.plan.weights, strict=True))
    return Merged(mantissas, saturated, weights, merge_digest(digests) if witness else None, state.after)


def _place(mantissas: Mapping[str, NDArray[np.int32]], span: Span) -> NDArray[np.int32]:
    return mantissas[span.name].reshape(-1)[span.start : span.stop]


def reader(members: Sequence[Member], factors: tuple[int, ...] | None = None, tables: Tables | None = None) -> Reader:
    """Return what reads the members' blocks: bounded where there are ``factors``, with importance where ``tables``."""

    def prepared(block: Block) -> Block:
        if block.span.kind is not TensorClass.TRAINABLE:
            return block
        if factors is not None:
            block = norm_bound.bounded(block, factors)
        if tables is None:
            return block
        return Block(block.span, block.rows, block.shifts, rescaled_rows(block.span, members, tables))

    return lambda column: map(prepared, read_column(column, members, block_width(len(members), _WIDEST)))


def _shifts(span: Span, members: Sequence[Member]) -> list[int]:
    return [member.update.exponents[span.name] - span.grid for member in members]


def _measure(measure: Measure, members: Sequence[Member], base: Model, read: Reader, run: Run) -> Measured:
    """Sum the measures of all trainable blocks, exactly, so that no order and no size matters."""

    def work(column: Column) -> Measured:
        return _sum(map(measure, read(column)))

    return _sum(run(until_whole(work), columns(spans(trainable_specs(base.specs)), deltas(members))))


def _sum(measures: Iterator[Measured]) -> Measured:
    total = next(measures)  # a model has a trainable tensor, and a column a block
    for measured in measures:
        total += measured
    return total
