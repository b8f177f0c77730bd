"""FedCurv: every client is held near what the others learnt, where it matters to them (Shoham et al., *Overcoming
Forgetting in Federated Learning on Non-IID Data*, 2019, the loss of FedCurv).

The merge itself is FedAvg's. In the next round client s trains with the penalty

    lambda sum_{k != s} sum_i F_ki (theta_i - theta_ki)^2

theta_k the weights that client k reached and F_k the diagonal Fisher of its data there. A sum of parabolas is one parabola:

    sum_k F_ki (theta_i - theta_ki)^2 = (sum_k F_ki) (theta_i - anchor_i)^2 + const,
    anchor_i = sum_k F_ki theta_ki / sum_k F_ki

so the merged model carries F and the anchor, and clients apply the penalty as they do for EWC (client.penalty). F is the
mean of the F_k, each rescaled to mean 1 (processor.importance), and not their sum, so that a strength means the same for
any number of clients: the task's ``consolidation.strength`` is 2 K times the paper's lambda.

The client's own term is in the sum, which the paper leaves out: one model goes to all. It holds a client near the weights
that it reached itself, by 1/K of the penalty on the average; with one client alone nothing else is left of it.

Rounds whose terms say ``consolidate`` are as all others: F and the anchor are new after every merge and have no decay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor.blocks import Block, Member, Span, block_width, read_block, spans
from processor.importance import rescaled_rows, rescaling
from processor.merge import Part, moved
from processor.runs import Run, serial
from protocol.fixed_point import UINT32_MAX
from protocol.model import Model
from protocol.specs import trainable_specs

LARGEST_TOTAL = 1 << 41  # of all importances of a coordinate: times 2^22, the largest change, it stays below 2^63


@dataclass(frozen=True)
class Curvature:
    """What the clients of the next round are held by.

    Args:
        importance: F, uint32 with 16 fraction bits, by trainable tensor. anchor: int32 mantissas of the same tensors.
    """

    importance: dict[str, NDArray[np.uint32]]
    anchor: dict[str, NDArray[np.int32]]


def curvature(base: Model, members: Sequence[Member], run: Run = serial) -> Curvature:
    """Return floor(mean of the F_k), and the anchor rounded once, half to even, and saturated as a merge is.

    Where all F_k of a coordinate are 0, the anchor is the base. Memory is the result and a bounded block for each piece of
    work under way.

    Args:
        members: The merged updates, at least one; each has importance that is not zero everywhere.

    Raises:
        EmptyImportance: An update's importance is zero everywhere; screening refuses such updates.
    """
    trainable = trainable_specs(base.specs)
    pieces = [part for span in spans(trainable) for part in span.cut(block_width(len(members), 8))]
    tables = rescaling(members, pieces, run)

    def work(span: Span) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
        importance, part = _combined(read_block(span, members), rescaled_rows(span, members, tables))
        return importance, moved(base.mantissas[span.name].reshape(-1)[span.start : span.stop], part)[0]

    found = Curvature(
        {spec.name: np.empty(spec.shape, np.uint32) for spec in trainable},
        {spec.name: np.empty(spec.shape, np.int32) for spec in trainable},
    )
    for span, (importance, anchor) in zip(pieces, run(work, pieces), strict=True):
        found.importance[span.name].reshape(-1)[span.start : span.stop] = importance
        found.anchor[span.name].reshape(-1)[span.start : span.stop] = anchor
    return found


def _combined(block: Block, importance: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], Part]:
    """Return the mean importance, and the change from the base to the anchor.

    Importances lose the fewest low bits s for which K * ((2^32 - 1) >> s) < 2^41, none of them up to 512 clients: then
    every partial sum of (F_k >> s) |delta_k| is below 2^63.
    """
    clients, shift = len(importance), _shift(len(importance))
    mean = importance.sum(axis=0, dtype=np.uint64) // np.uint64(clients)  # of less than 2^31 clients x 2^32
    numerators = np.zeros(block.rows.shape[1], dtype=np.int64)
    total = np.zeros(block.rows.shape[1], dtype=np.int64)
    for row, own, grid_shift in zip(block.rows, importance, block.shifts, strict=True):
        factor = own.astype(np.int64) >> np.int64(shift)
        total += factor
        factor *= row.astype(np.int64) << np.int64(grid_shift)
        numerators += factor
    return mean.astype(np.uint32), Part(numerators, np.maximum(total, 1))


def _shift(clients: int) -> int:
    shift = 0
    while clients * (UINT32_MAX >> shift) >= LARGEST_TOTAL:
        shift += 1
    return shift
