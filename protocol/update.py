"""An update: the quantised change of one client's weights, optional importance, and metadata.

Files: ``update.json``, ``delta.safetensors`` (one signed integer dtype) and, in consolidation rounds only,
``importance.safetensors`` (uint8). Everything in it is a stranger's: it is bounded before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protocol import canonical_json, tensors
from protocol.cid import directory_cid
from protocol.content import Files, read_text
from protocol.errors import (
    EmptyImportance,
    NegativeStatistic,
    OutsideWindow,
    UnexpectedImportance,
    WrongFiles,
    WrongTensor,
)
from protocol.fields import Field
from protocol.model import Model
from protocol.specs import TensorSpec, check_arrays, merged_specs, trainable_specs
from protocol.types import Address, Digest, FederationId, RoundId, hex32

MANIFEST, DELTA, IMPORTANCE = "update.json", "delta.safetensors", "importance.safetensors"

# dtype -> (largest e - E, largest |q|). Each product |q| * 2^(e - E) stays below 2^22, on which the merge's overflow
# bound rests (protocol.bounds.check_bounds): 127 * 2^15 and 32767 * 2^7 are below 2^22, as is 2^22 - 1.
WINDOW = {"int8": (15, 127), "int16": (7, 32767), "int32": (0, (1 << 22) - 1)}
# dtype -> largest |q|, and whether the dtype holds larger ones than that: int8 and int16 do only below 0
_LIMITS = {np.dtype(name): (limit, limit < np.iinfo(name).max) for name, (_, limit) in WINDOW.items()}

LOOKED_AT = 1 << 17  # coordinates at once: what was just read is still in the nearer caches

# Wide enough for any float64 Fisher value, narrow enough that 2^(e - e') is a small integer (under 260 bytes).
MIN_IMPORTANCE_EXPONENT, MAX_IMPORTANCE_EXPONENT = -1022, 1023
MAX_SOFTWARE = 200

_FIELDS = (
    "author", "base", "examples", "exponents", "federation", "importance_exponents", "round", "software", "steps",
    "version",
)  # fmt: skip


@dataclass(frozen=True)
class Update:
    """An update artifact in memory.

    Args:
        federation, round, author, base: What it belongs to; ``author`` is the account that commits it on chain.
        examples: Examples trained on. steps: Optimizer steps done.
        software: Free text, at most 200 ASCII characters.
        exponents: e of each trainable and statistic tensor; change = delta * 2^e, 0 <= e - E <= the dtype's window.
        deltas: int8, int16 or int32, one for each trainable and statistic tensor of the base.
        importance: uint8 for each trainable tensor, or None. importance_exponents: value = u8 * 2^exponent.
    """

    federation: FederationId
    round: RoundId
    author: Address
    base: Digest
    examples: int
    steps: int
    software: str
    exponents: Mapping[str, int]
    deltas: Mapping[str, tensors.Tensor]
    importance: Mapping[str, tensors.Tensor] | None = None
    importance_exponents: Mapping[str, int] | None = None


def encode_update(update: Update) -> dict[str, bytes]:
    """Return the files of ``update``: one value, one set of bytes.

    Raises:
        ArtifactRefused: It is not an update, as ``decode_update`` says.
    """
    files = {MANIFEST: canonical_json.dumps(_manifest(update)), DELTA: _dumps(update.deltas)}
    if update.importance is not None:
        files[IMPORTANCE] = _dumps(update.importance)
    decode_update(files)  # refuses what nobody could read; views, so it costs little
    return files


def decode_update(files: Mapping[str, bytes] | Files) -> Update:
    """Return the update that ``files`` are the encoding of: of bytes its arrays are read-only views, of contents tensors
    that are read when asked for.

    What can be known only with the base model and the round is left to ``check_update``.

    Raises:
        ArtifactRefused: WrongFiles, TooLarge, NotCanonical, WrongField or WrongTensor, by what is wrong.
    """
    if files.keys() - {IMPORTANCE} != {MANIFEST, DELTA}:
        raise WrongFiles(
            f"An update directory has {', '.join(sorted(map(ascii, files)))}.",
            f"It has {MANIFEST}, {DELTA} and, where the round consolidates, {IMPORTANCE}.",
            "Publish it with encode_update.",
        )
    deltas = tensors.open_file(files[DELTA])
    importance = tensors.open_file(files[IMPORTANCE]) if IMPORTANCE in files else None
    fields = Field(canonical_json.loads(read_text(files[MANIFEST], canonical_json.MAX_BYTES)), MANIFEST).object(_FIELDS)
    fields["version"].integer(1, 1)
    return Update(
        federation=FederationId(fields["federation"].hash()),
        round=RoundId(fields["round"].hash()),
        author=fields["author"].address(),
        base=fields["base"].digest(),
        examples=fields["examples"].integer(1),
        steps=fields["steps"].integer(1),
        software=fields["software"].ascii(MAX_SOFTWARE),
        exponents=_exponents(fields["exponents"], deltas),
        deltas=deltas,
        importance=importance,
        importance_exponents=_importance_exponents(fields["importance_exponents"], importance),
    )


def _dumps(values: Mapping[str, tensors.Tensor]) -> bytes:
    return tensors.dumps({name: tensors.whole(tensor) for name, tensor in values.items()})


@dataclass(frozen=True, slots=True)
class Guarded(tensors.Stored):
    """A delta whose mantissas are checked whenever they are read: its reader raises OutsideWindow, which names ``subject``."""

    name: str = ""
    subject: str = ""

    def check(self, values: tensors.Array) -> None:
        """Raise OutsideWindow where one of ``values`` is no mantissa of their dtype's window."""
        _require_within(self.name, values, self.subject)


def guarded(update: Update, subject: str) -> Update:
    """Return ``update`` with its stored deltas `Guarded`, for `check_update` without ``mantissas``."""
    deltas = {
        name: Guarded(one.content, one.start, one.shape, one.dtype, name, subject)
        if isinstance(one, tensors.Stored)
        else one
        for name, one in update.deltas.items()
    }
    return replace(update, deltas=deltas)


def check_update(update: Update, *, base: Model, delta_type: str, importance: bool, mantissas: bool = True) -> None:
    """Refuse an update that does not fit ``base`` and its round; the first problem in a fixed order decides the rule.

    Args:
        delta_type: The task's, "int8", "int16" or "int32". importance: Whether the round needs it (Task.needs_importance).
        mantissas: Whether to look at every one of them; without, they have to be read `guarded`.

    Raises:
        WrongTensor: A tensor is missing, unknown, or has another shape or dtype.
        OutsideWindow: An exponent or a mantissa lies outside its dtype's window.
        UnexpectedImportance: Importance is missing where the round needs it, or present where it does not.
        EmptyImportance: The importance is zero everywhere.
        NegativeStatistic: Applied alone, it would make a non-negative statistic negative.
    """
    merged = merged_specs(base.specs)
    check_arrays(update.deltas, merged, DELTA, delta_type)
    for spec in merged:
        _check_exponent(spec, update.exponents[spec.name], delta_type)
        delta = update.deltas[spec.name]
        if mantissas or not isinstance(delta, tensors.Stored):
            for _, part in tensors.spans_of(delta, LOOKED_AT):
                _require_within(spec.name, part)
    _check_importance(update.importance, base, importance)
    for spec in merged:
        if spec.non_negative:
            _check_non_negative(spec, base.mantissas[spec.name], update)


def _manifest(update: Update) -> dict[str, object]:
    extra = update.importance_exponents
    return {
        "author": update.author,
        "base": str(directory_cid(update.base)),
        "examples": update.examples,
        "exponents": dict(update.exponents),
        "federation": hex32(update.federation),
        "importance_exponents": None if extra is None else dict(extra),
        "round": hex32(update.round),
        "software": update.software,
        "steps": update.steps,
        "version": 1,
    }


def _exponents(field: Field, arrays: Mapping[str, tensors.Tensor]) -> dict[str, int]:
    """Return an exponent from -1022 to 1023 for each of ``arrays`` and nothing else."""
    low, high = MIN_IMPORTANCE_EXPONENT, MAX_IMPORTANCE_EXPONENT
    plain = field.value
    if (
        isinstance(plain, dict)
        and plain.keys() == arrays.keys()
        and all(type(value) is int and low <= value <= high for value in plain.values())
    ):
        return dict(sorted(plain.items()))
    # something is amiss, and the fields say what
    found = field.mapping(tensors.MAX_TENSORS)
    if found.keys() != arrays.keys():
        raise WrongTensor(
            f"{field.path} names other tensors than the file it belongs to.",
            "Each tensor has one exponent.",
            "Publish it with encode_update.",
        )
    return {name: value.integer(low, high) for name, value in sorted(found.items())}


def _importance_exponents(field: Field, importance: Mapping[str, tensors.Tensor] | None) -> dict[str, int] | None:
    if importance is None:
        if field.value is not None:
            raise field.refusal(f"null without {IMPORTANCE}")
        return None
    return _exponents(field, importance)


def _check_exponent(spec: TensorSpec, exponent: int, delta_type: str) -> None:
    shift_limit, _ = WINDOW[delta_type]
    if not 0 <= exponent - spec.grid <= shift_limit:
        raise OutsideWindow(
            f"The change of {spec.name} has exponent {exponent}.",
            f"On its grid of exponent {spec.grid}, {delta_type} takes {spec.grid} to {spec.grid + shift_limit}.",
            "Quantise it again.",
        )


def _require_within(name: str, part: tensors.Array, subject: str = "") -> None:
    limit, can_be_above = _LIMITS[part.dtype]
    if int(part.min()) < -limit or (can_be_above and int(part.max()) > limit):
        raise OutsideWindow(
            f"{subject}The change of {name} has a mantissa outside ±{limit}.",
            f"That is the window of {part.dtype.name}.",
            "Quantise it again.",
        )


def _check_importance(importance: Mapping[str, tensors.Tensor] | None, base: Model, needed: bool) -> None:
    if (importance is not None) != needed:
        state = "lacks" if needed else "has"
        raise UnexpectedImportance(
            f"The update {state} importance.",
            "Rounds whose terms say `consolidate`, and rules that weigh by it, need it; others refuse it.",
            "Read the round's terms and the task again.",
        )
    if importance is not None:
        check_arrays(importance, trainable_specs(base.specs), IMPORTANCE, "uint8")
        if not any(part.any() for tensor in importance.values() for _, part in tensors.spans_of(tensor)):
            raise EmptyImportance(
                "The importance is zero everywhere.", "It cannot be rescaled to mean 1.", "Measure it on more examples."
            )


def _check_non_negative(spec: TensorSpec, mantissas: NDArray[np.int32], update: Update) -> None:
    # |q| < 2^24 and |delta * 2^shift| < 2^22, so int32 holds the sum.
    shift, before = update.exponents[spec.name] - spec.grid, mantissas.reshape(-1)
    for start, part in tensors.spans_of(update.deltas[spec.name]):
        changed = before[start : start + part.size] + (part.astype(np.int32) << shift)
        if changed.min() < 0:
            raise NegativeStatistic(
                f"Applied alone, the update would make {spec.name} negative.",
                "It is a variance or a count.",
                "Clip the change so that the statistic stays at 0 or above.",
            )
