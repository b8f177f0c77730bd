"""What a tensor of a model is: its name, shape, class and grid; and the check that arrays are those that specs name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np

from protocol.errors import WrongTensor
from protocol.fields import Field
from protocol.grid import MAX_EXPONENT, MIN_EXPONENT
from protocol.tensors import DTYPES, MAX_DIMENSION, MAX_RANK, MAX_TENSORS, Tensor

_NAME = re.compile(r"[0-9]{5}\.[ !#-\[\]-~]{1,200}")


class TensorClass(StrEnum):
    """What merging does with a tensor."""

    TRAINABLE = "trainable"  # merged by the task's rule; has importance
    STATISTIC = "statistic"  # weighted mean whatever the rule; no importance
    CONSTANT = "constant"  # own dtype, copied


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a model. ``name`` is ``%05d.<path>``, given once at creation."""

    name: str
    shape: tuple[int, ...]
    kind: TensorClass
    exponent: int | None  # E of the grid; None for constants
    dtype: str = "float32"  # numpy's name of a constant's own dtype ("int64", "bool"), "float32" otherwise
    non_negative: bool = False  # a statistic that must not become negative (a variance)

    @property
    def grid(self) -> int:
        """E of a trainable or statistic tensor.

        Raises:
            WrongTensor: The tensor is a constant, or nobody gave it a grid.
        """
        if self.exponent is None:
            raise WrongTensor(f"Tensor {self.name} has no exponent.", "Constants have no grid.", "Leave it out.")
        return self.exponent


def merged_specs(specs: Iterable[TensorSpec]) -> list[TensorSpec]:
    """Return the tensors that updates change: trainables and statistics, in the order given."""
    return [spec for spec in specs if spec.kind is not TensorClass.CONSTANT]


def trainable_specs(specs: Iterable[TensorSpec]) -> list[TensorSpec]:
    """Return the tensors that have importance, in the order given."""
    return [spec for spec in specs if spec.kind is TensorClass.TRAINABLE]


def specs_to_json(specs: Sequence[TensorSpec]) -> list[dict[str, object]]:
    """Return the ``tensors`` of ``model.json``."""
    return [
        {
            "class": str(spec.kind),
            "dtype": spec.dtype,
            "exponent": spec.exponent,
            "name": spec.name,
            "non_negative": spec.non_negative,
            "shape": list(spec.shape),
        }
        for spec in specs
    ]


def read_specs(field: Field) -> tuple[TensorSpec, ...]:
    """Return the specs that ``tensors`` of ``model.json`` holds.

    Raises:
        WrongField: A field is not what it must be, the names are not strictly ascending, or no tensor is trainable.
    """
    specs = tuple(_read_spec(item) for item in field.array(MAX_TENSORS))
    if any(earlier.name >= later.name for earlier, later in pairwise(specs)):
        raise field.refusal("tensors in strictly ascending order of name")
    if not trainable_specs(specs):
        raise field.refusal("at least one trainable tensor, or there is nothing to train and to merge")
    return specs


def _read_spec(item: Field) -> TensorSpec:
    fields = item.object(("class", "dtype", "exponent", "name", "non_negative", "shape"))
    kind = TensorClass(fields["class"].choice(list(TensorClass)))
    constant = kind is TensorClass.CONSTANT
    name = fields["name"].ascii(256)
    if not _NAME.fullmatch(name):
        raise fields["name"].refusal('five digits, a dot and a path, such as "00000.dense/kernel"')
    if constant and fields["exponent"].value is not None:
        raise fields["exponent"].refusal("null for a constant")
    non_negative = fields["non_negative"].flag()
    if non_negative and kind is not TensorClass.STATISTIC:
        raise fields["non_negative"].refusal("false for all but statistics")
    return TensorSpec(
        name=name,
        shape=tuple(length.integer(1, MAX_DIMENSION) for length in fields["shape"].array(MAX_RANK)),
        kind=kind,
        exponent=None if constant else fields["exponent"].integer(MIN_EXPONENT, MAX_EXPONENT),
        dtype=fields["dtype"].choice(sorted(DTYPES) if constant else ["float32"]),
        non_negative=non_negative,
    )


def check_arrays(
    arrays: Mapping[str, Tensor], specs: Iterable[TensorSpec], subject: str, dtype: str | None = None
) -> None:
    """Refuse ``arrays`` unless they are exactly the tensors of ``specs``, by name, shape and dtype.

    Args:
        subject: What holds them, for the error, such as "delta.safetensors".
        dtype: numpy's name of the dtype of all, or None for each spec's own.

    Raises:
        WrongTensor: One is missing, unknown, or has another shape or dtype.
    """
    of_all = None if dtype is None else np.dtype(dtype)
    expected = {spec.name: (np.dtype(spec.dtype) if of_all is None else of_all, spec.shape) for spec in specs}
    for name in sorted(expected.keys() ^ arrays.keys()):
        state = "lacks" if name in expected else "has the unknown"
        raise _mismatch(f"{subject} {state} tensor {name[:100]!a}.", "It has exactly the tensors that its model names.")
    for name, (wanted, shape) in expected.items():
        array = arrays[name]
        if array.dtype != wanted or array.shape != shape:
            found = f"{array.dtype.name} {list(array.shape)}"
            raise _mismatch(f"{subject}: tensor {name} is {found}.", f"It must be {wanted.name} {list(shape)}.")


def _mismatch(what: str, why: str) -> WrongTensor:
    return WrongTensor(what, why, "Start from the base model's own tensors.")
