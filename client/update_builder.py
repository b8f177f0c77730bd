"""From a training to an update artifact, checked as the organization will check it before anything is committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numpy.typing import NDArray

from client.feedback import Residual, encode_residual
from client.quantise import quantise, quantise_importance
from client.trainer import Trained
from protocol.errors import TooLarge
from protocol.model import Model
from protocol.state import RoundState
from protocol.task import Task
from protocol.types import Address, Digest
from protocol.unixfs import directory_digest
from protocol.update import Update, check_update, encode_update


@dataclass(frozen=True)
class BuiltUpdate:
    """An update's files and digest, the bytes of its residual, and how many coordinates it could not hold."""

    files: Mapping[str, bytes]
    digest: Digest
    residual: bytes
    clipped: int


def build_update(
    round_: RoundState, account: Address, base: Model, task: Task, trained: Trained, kept: Residual | None
) -> BuiltUpdate:
    """Quantise ``trained`` against ``base`` and encode it.

    Args:
        kept: The residual that earlier rounds left over, None for none.

    Raises:
        ArtifactRefused: NotFinite where training diverged, EmptyImportance where the data say nothing, TooLarge where
            the task's limit is below what the model needs.
    """
    quantised = quantise(base, trained.weights, task.delta_type, kept)
    importance, exponents = _importance(trained.importance)
    update = Update(
        federation=round_.federation,
        round=round_.id,
        author=account,
        base=round_.base,
        examples=trained.examples,
        steps=trained.steps,
        software=software(),
        exponents=quantised.exponents,
        deltas=quantised.deltas,
        importance=importance,
        importance_exponents=exponents,
    )
    check_update(
        update, base=base, delta_type=task.delta_type, importance=task.needs_importance(round_.terms.consolidate)
    )
    files = encode_update(update)
    size = sum(map(len, files.values()))
    if size > task.limits.update_bytes:
        raise TooLarge(
            f"The update has {size} bytes.",
            f"The task takes {task.limits.update_bytes}.",
            "Tell the organization: its limit is too low for its model.",
        )
    residual = encode_residual(round_.index, quantised.residual, task.feedback)
    return BuiltUpdate(files, directory_digest(files), residual, quantised.clipped)


def software() -> str:
    """What an update says it was made with; nobody relies on it."""
    names = (("rondo", "rondo-fl"), ("tensorflow", "tensorflow"), ("keras", "keras"))
    return " ".join(f"{name} {_version(package)}" for name, package in names)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout
        return "unreleased"


def _importance(
    measured: Mapping[str, NDArray[np.float32]] | None,
) -> tuple[dict[str, NDArray[np.uint8]] | None, dict[str, int] | None]:
    if measured is None:
        return None, None
    quantised = {name: quantise_importance(value) for name, value in measured.items()}
    return {name: value for name, (value, _) in quantised.items()}, {name: e for name, (_, e) in quantised.items()}
