"""A model on an integer grid: per tensor int32 mantissas |q| < 2^24 on a power-of-two exponent, so float32 = q * 2^E is exact.

Files: ``architecture.json`` (opaque), ``weights.safetensors`` (float32 for trainables and statistics, own dtype for
constants), ``model.json`` and, after the first consolidation, ``importance.safetensors`` (uint32 for trainables).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from protocol import canonical_json, tensors
from protocol.cid import Cid, directory_cid
from protocol.content import Content, Files, Held, materialise, open_stream, read_text
from protocol.encoding import Encoding, Source
from protocol.errors import NegativeStatistic, OutsideWindow, TooLarge, WrongFiles
from protocol.fields import Field
from protocol.grid import (
    MANTISSA_LIMIT,
    check_exponent,
    check_finite,
    grid_exponent,
    snap,
    to_float32,
    to_float32_into,
    unsnap,
)
from protocol.mantissas import outside, read_mantissas
from protocol.runs import Run, serial
from protocol.specs import (
    TensorClass,
    TensorSpec,
    check_arrays,
    merged_specs,
    read_specs,
    specs_to_json,
    trainable_specs,
)
from protocol.types import Digest
from protocol.unixfs import import_file

__all__ = [
    "ARCHITECTURE",
    "IMPORTANCE",
    "MANIFEST",
    "MANTISSA_LIMIT",
    "WEIGHTS",
    "Model",
    "TensorClass",
    "TensorSpec",
    "decode_model",
    "decode_weights",
    "encode_model",
    "grid_exponent",
    "model_contents",
    "snap",
    "to_float32",
    "unsnap",
    "weights_bytes",
    "weights_cid",
    "weights_content",
]

ARCHITECTURE, WEIGHTS = "architecture.json", "weights.safetensors"
MANIFEST, IMPORTANCE = "model.json", "importance.safetensors"
MAX_ARCHITECTURE_BYTES = 8 * 1024 * 1024
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
MAX_PARENTS = 8
MANIFEST_FIELDS = ("anchor", "committee", "parents", "round", "server_state", "tensors", "version")
VERSION = 2


@dataclass(frozen=True)
class Model:
    """A model artifact in memory.

    Args:
        architecture: The bytes of ``architecture.json``, opaque, copied unchanged for ever.
        round: Index of the round that made it; 0 at creation.
        parents: Digest of the base model; empty at creation.
        specs: All tensors in name order.
        mantissas: int32, C order, |q| < 2^24, for every trainable and statistic tensor.
        constants: The constant tensors, own dtype.
        importance: uint32 fixed-point (16 fraction bits) for every trainable tensor, or None before the first consolidation.
        anchor: CID of the ``weights.safetensors`` *file* that the importance is anchored at, or None.
        server_state: The moments that the server's step goes on from (protocol.server_state), None for a plain step.
        committee: The ensemble kept beside it (protocol.committee), or None.
    """

    architecture: bytes
    round: int
    parents: tuple[Digest, ...]
    specs: tuple[TensorSpec, ...]
    mantissas: Mapping[str, NDArray[np.int32]]
    constants: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    importance: Mapping[str, NDArray[np.uint32]] | None = None
    anchor: str | None = None
    server_state: Digest | None = None
    committee: Digest | None = None


def encode_model(model: Model) -> dict[str, bytes]:
    """Return the files of ``model``: one value, one set of bytes.

    Raises:
        ArtifactRefused: It is not a model: WrongFiles, TooLarge, WrongField, WrongTensor, NotFinite, OutsideWindow or
            NegativeStatistic, by what is wrong.
    """
    return materialise(model_contents(model))


def model_contents(model: Model, run: Run = serial) -> dict[str, Content]:
    """Return the files of ``model`` as contents that are encoded when they are read: nothing is held twice.

    Args:
        run: Who looks at the mantissas, in this process.

    Raises:
        ArtifactRefused: As `encode_model`.
    """
    weights, manifest = weights_content(model, run), canonical_json.dumps(_manifest(model))
    _read_manifest(manifest)  # refuses what nobody could read
    files: dict[str, Content] = {ARCHITECTURE: Held(model.architecture), WEIGHTS: weights, MANIFEST: Held(manifest)}
    _check_architecture(model.architecture)
    _check_non_negative(model.mantissas, model.specs)
    _check_presence(model.importance is not None, model.anchor)
    if model.importance is not None:
        check_arrays(model.importance, trainable_specs(model.specs), IMPORTANCE, "uint32")
        files[IMPORTANCE] = Encoding({name: _as_it_is(array) for name, array in model.importance.items()})
    return files


def decode_model(files: Mapping[str, bytes] | Files, run: Run = serial) -> Model:
    """Return the model that ``files`` are the encoding of; arrays are read-only.

    Args:
        run: Who reads the pieces of weights and importance, in this process.

    Raises:
        ArtifactRefused: WrongFiles, TooLarge, NotCanonical, WrongField, WrongTensor, NotFinite, OutsideWindow or
            NegativeStatistic, by what is wrong.
        BlockMissing, BlockCorrupt, StoreUnavailable: From the contents.
    """
    if files.keys() - {IMPORTANCE} != {ARCHITECTURE, WEIGHTS, MANIFEST}:
        raise _wrong_files(f"It has {', '.join(sorted(map(ascii, files)))}.")
    architecture = read_text(files[ARCHITECTURE], MAX_ARCHITECTURE_BYTES)
    _check_architecture(architecture)
    model = _read_manifest(read_text(files[MANIFEST], MAX_MANIFEST_BYTES))
    _check_presence(IMPORTANCE in files, model.anchor)
    weights = _load_weights(files[WEIGHTS], model.specs)
    mantissas = read_mantissas(weights, merged_specs(model.specs), run)
    _check_non_negative(mantissas, model.specs)
    importance = None
    if IMPORTANCE in files:
        opened = tensors.open_file(files[IMPORTANCE])
        check_arrays(opened, trainable_specs(model.specs), IMPORTANCE, "uint32")
        importance = tensors.whole_each(opened, np.dtype("<u4"), run)
    constants = {name: tensors.whole(tensor) for name, tensor in weights.items() if name not in mantissas}
    return replace(model, architecture=architecture, mantissas=mantissas, constants=constants, importance=importance)


def weights_bytes(model: Model) -> bytes:
    """Return the ``weights.safetensors`` of ``model``; raises as `weights_content`."""
    content = weights_content(model)
    return bytes(content.read(0, content.size))


def weights_content(model: Model, run: Run = serial) -> Content:
    """Return the ``weights.safetensors`` of ``model``, encoded when it is read.

    Raises:
        WrongTensor: An array is missing, unknown, or has another shape or dtype than its spec.
        OutsideWindow: A mantissa is 2^24 or more, or an exponent is no grid's. NotFinite: A constant is NaN or infinite.
    """
    merged = merged_specs(model.specs)
    constants = [spec for spec in model.specs if spec.kind is TensorClass.CONSTANT]
    check_arrays(model.mantissas, merged, "The mantissas", "int32")
    check_arrays(model.constants, constants, "The constants")
    _check_constants(model.constants)
    weights = {name: _as_it_is(array) for name, array in model.constants.items()}
    too_large = outside(model.mantissas, run)
    for spec in merged:
        if spec.name in too_large:
            raise OutsideWindow(f"Tensor {spec.name} leaves its grid.", "|q| must stay below 2^24.", "Saturate it.")
        check_exponent(spec.grid, f"Tensor {spec.name}")
        weights[spec.name] = _as_float32(model.mantissas[spec.name], spec.grid)
    return Encoding(weights)


def _as_it_is(array: tensors.Array) -> Source:
    tensors.check_bool("A constant", array)
    return Source(array.dtype.name, array.shape, partial(tensors.read_span_into, array.reshape(-1)))


def _as_float32(mantissas: NDArray[np.int32], exponent: int) -> Source:
    flat = np.ascontiguousarray(mantissas).reshape(-1)

    def fill(start: int, out: tensors.Array) -> None:
        to_float32_into(flat[start : start + out.size], exponent, out)

    return Source("float32", mantissas.shape, fill)


def weights_cid(model: Model) -> Cid:
    """Return the CID of the ``weights.safetensors`` *file* of ``model``, by which an anchor is named."""
    return import_file(open_stream(weights_content(model)), lambda block: None).cid


def decode_weights(data: bytes | Content, specs: Sequence[TensorSpec]) -> dict[str, NDArray[np.int32]]:
    """Return the mantissas in the ``weights.safetensors`` of a model with ``specs``: for an anchor, which is one file.

    Raises:
        ArtifactRefused: NotCanonical, WrongTensor, NotFinite or OutsideWindow, by what is wrong.
    """
    return read_mantissas(_load_weights(data, specs), merged_specs(specs))


def _manifest(model: Model) -> dict[str, object]:
    return {
        "anchor": model.anchor,
        "committee": _named(model.committee),
        "parents": [str(directory_cid(parent)) for parent in model.parents],
        "round": model.round,
        "server_state": _named(model.server_state),
        "tensors": specs_to_json(model.specs),
        "version": VERSION,
    }


def _named(digest: Digest | None) -> str | None:
    return None if digest is None else str(directory_cid(digest))


def _read_named(field: Field) -> Digest | None:
    return None if field.value is None else field.digest()


def _read_manifest(data: bytes) -> Model:
    """Return the model of ``model.json``, without what the other files hold."""
    root = Field(canonical_json.loads(data, MAX_MANIFEST_BYTES), MANIFEST)
    fields = root.object(MANIFEST_FIELDS)
    fields["version"].integer(VERSION, VERSION)
    return Model(
        architecture=b"",
        round=fields["round"].integer(),
        parents=tuple(parent.digest() for parent in fields["parents"].array(MAX_PARENTS)),
        specs=read_specs(fields["tensors"]),
        mantissas={},
        anchor=None if fields["anchor"].value is None else fields["anchor"].cid(),
        server_state=_read_named(fields["server_state"]),
        committee=_read_named(fields["committee"]),
    )


def _load_weights(file: bytes | Content, specs: Sequence[TensorSpec]) -> Mapping[str, tensors.Tensor]:
    weights = tensors.open_file(file)
    check_arrays(weights, specs, WEIGHTS)
    constants = (spec.name for spec in specs if spec.kind is TensorClass.CONSTANT)
    _check_constants({name: tensors.whole(weights[name]) for name in constants})
    return weights


def _check_constants(constants: Mapping[str, tensors.Array]) -> None:
    for name, array in constants.items():
        if array.dtype.kind == "f":
            check_finite(array, f"Constant {name}")


def _check_non_negative(mantissas: Mapping[str, NDArray[np.int32]], specs: Sequence[TensorSpec]) -> None:
    for spec in specs:
        if spec.non_negative and mantissas[spec.name].min() < 0:
            raise NegativeStatistic(
                f"Statistic {spec.name} is negative.", "It is a variance or a count.", "Clip it at 0."
            )


def _check_architecture(data: bytes) -> None:
    if len(data) > MAX_ARCHITECTURE_BYTES:
        raise TooLarge(f"{ARCHITECTURE} has {len(data)} bytes.", f"At most {MAX_ARCHITECTURE_BYTES}.", "Shorten it.")


def _check_presence(importance: bool, anchor: str | None) -> None:
    if importance != (anchor is not None):
        raise _wrong_files("It has importance without an anchor, or an anchor without importance.")


def _wrong_files(what: str) -> WrongFiles:
    return WrongFiles(
        f"A model directory is not one. {what}",
        f"It has {ARCHITECTURE}, {WEIGHTS} and {MANIFEST}, and {IMPORTANCE} where it has an anchor.",
        "Publish it with encode_model.",
    )
