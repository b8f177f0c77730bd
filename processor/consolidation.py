"""What a merged model holds its next clients by: an importance, and the weights that it is anchored at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from processor import ewc
from processor.blocks import Member
from processor.engine import Merged
from processor.fedcurv import curvature
from processor.runs import Run, serial
from protocol.cid import Cid
from protocol.content import Content, open_stream
from protocol.model import Model, weights_cid, weights_content
from protocol.task import Task
from protocol.unixfs import import_file


@dataclass(frozen=True)
class Renewed:
    """A new importance and its anchor.

    Args:
        importance: uint32 with 16 fraction bits by trainable tensor. anchor: CID of a ``weights.safetensors`` file.
        file: That file, where it is not the base's, which is published already.
    """

    importance: Mapping[str, NDArray[np.uint32]]
    anchor: Cid
    file: Content | None = None


def renew(
    task: Task, consolidate: bool, base: Model, merged: Merged, members: Sequence[Member], run: Run = serial
) -> Renewed | None:
    """Return what the round renews, None where the model goes on with what the base has.

    "fedcurv" renews after every merge, whatever the round's terms say (processor.fedcurv); under all other rules rounds
    that ``consolidate`` do (processor.ewc), if they have enough updates.

    Args:
        members: Those that the merge was planned for; who was left out of it is left out here too.
    """
    if task.merge.rule == "fedcurv":
        found = curvature(base, members, run)
        anchor = weights_content(replace(base, mantissas={**merged.mantissas, **found.anchor}))
        return Renewed(found.importance, import_file(open_stream(anchor), lambda block: None).cid, anchor)
    heard = [member for member in members if merged.weights[member.accepted.client]]  # as the rule chose
    importance = ewc.consolidate(task.consolidation, base, heard, run) if consolidate else None
    return None if importance is None else Renewed(importance, weights_cid(base))
