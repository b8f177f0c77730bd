"""A first model: from a Keras model to integers on a grid, with the headroom that training needs."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from network.keras_loader import import_keras
from organization.keras_bridge import build, canonical_architecture, require_built
from protocol.architecture import MAX_BYTES, check_architecture
from protocol.errors import InvalidInput, UnsafeArchitecture, WrongTensor
from protocol.model import Model, TensorClass, TensorSpec, grid_exponent, snap

if TYPE_CHECKING:
    import keras

# The largest weight may grow at least 2^bits / 2 times before it saturates; see protocol.grid.grid_exponent.
TRAINABLE_HEADROOM_BITS = 5
STATISTIC_HEADROOM_BITS = 10

# Statistics that cannot be negative, by the names that Keras gives them.
_VARIANCES = frozenset(["moving_variance", "variance"])


def load_model(path: Path, seed: int | None = None) -> Model:
    """Make a first model of ``path``.

    Args:
        path: A model saved by Keras (``.keras``), or an architecture as ``to_json()`` writes it (``.json``).
        seed: For an architecture: draws the same initial weights again; None draws others each time.

    Raises:
        UnsafeArchitecture: It has a layer or option outside the allow-list, named in the error.
        InvalidInput: The file cannot be read, or Keras cannot build it.
        WrongTensor, NotFinite, OutsideWindow: A weight cannot stand on a grid.
    """
    if path.suffix == ".json":
        return _from_architecture(_read(path), seed)
    if path.suffix == ".keras":
        return from_keras(_load_keras_file(path))
    raise InvalidInput(f"{path} is no model file.", "Its name ends in neither .keras nor .json.", "Save it with Keras.")


def from_keras(model: keras.Model) -> Model:
    """Make a first model of a Keras model in memory, with the weights it has.

    Trainable weights and float statistics (such as batch normalization's) are snapped to grids; all else is constant.

    Raises:
        UnsafeArchitecture: It has a layer or option outside the allow-list, named in the error.
        InvalidInput: It has no weights yet, or Keras cannot build it again from its own description.
        WrongTensor, NotFinite, OutsideWindow: A weight cannot stand on a grid.
    """
    architecture = canonical_architecture(require_built(model).to_json())
    again = build(architecture)
    _check_same_weights(model, again)
    specs: list[TensorSpec] = []
    mantissas: dict[str, NDArray[np.int32]] = {}
    constants: dict[str, NDArray[np.generic]] = {}
    # Named as everybody else's Keras names them: a path also tells in how many steps a model was put together.
    for position, (weight, named) in enumerate(zip(model.weights, again.weights, strict=True)):
        values = np.asarray(weight.numpy())
        spec = _spec(f"{position:05d}.{named.path}", weight, values)
        specs.append(spec)
        if spec.kind is TensorClass.CONSTANT:
            constants[spec.name] = values
        else:
            mantissas[spec.name] = snap(values, spec.grid)
    return Model(architecture, 0, (), tuple(specs), mantissas, constants)


def _spec(name: str, weight: Any, values: NDArray[Any]) -> TensorSpec:
    if values.dtype.kind in "iub":
        if weight.trainable:
            raise _refused(name, values)
        return TensorSpec(name, values.shape, TensorClass.CONSTANT, None, values.dtype.name)
    if values.dtype != np.float32:
        raise _refused(name, values)
    if weight.trainable:
        exponent = grid_exponent(values, TRAINABLE_HEADROOM_BITS)
        return TensorSpec(name, values.shape, TensorClass.TRAINABLE, exponent)
    exponent = grid_exponent(values, STATISTIC_HEADROOM_BITS)
    variance = weight.path.rpartition("/")[2] in _VARIANCES
    return TensorSpec(name, values.shape, TensorClass.STATISTIC, exponent, non_negative=variance)


def _refused(name: str, values: NDArray[Any]) -> WrongTensor:
    return WrongTensor(
        f"Weight {name} has dtype {values.dtype}.",
        "Weights that training changes are float32; constants are integers or booleans.",
        "Build the model with the dtype policy float32.",
    )


def _check_same_weights(model: keras.Model, again: keras.Model) -> None:
    """Clients build the model from its description: what they build must have these weights, in this order."""
    ours, theirs = ([(tuple(w.shape), str(w.dtype), bool(w.trainable)) for w in m.weights] for m in (model, again))
    if ours != theirs:
        raise InvalidInput(
            "Keras does not build this model again from its own to_json().",
            f"It has {len(ours)} weights, the copy {len(theirs)}, or of other shapes or dtypes.",
            "Build it as a Sequential or Functional model.",
        )


def _from_architecture(data: bytes, seed: int | None) -> Model:
    try:
        architecture = canonical_architecture(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UnsafeArchitecture(
            "The architecture is not UTF-8 text.", str(error), "Write it with to_json()."
        ) from None
    if seed is not None:
        import_keras().utils.set_random_seed(seed)
    return from_keras(build(architecture))


def _load_keras_file(path: Path) -> keras.Model:
    """Open a ``.keras`` file; its description is checked before Keras reads any of it."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > MAX_BYTES:
                raise UnsafeArchitecture(f"{path}: config.json is too large.", f"At most {MAX_BYTES} bytes are read.")
            config = json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InvalidInput(
            f"{path} cannot be read as a .keras file.",
            str(error)[:200],
            "Save the model with model.save('NAME.keras').",
        ) from None
    if isinstance(config, dict):
        config.pop("compile_config", None)
    check_architecture(json.dumps(_without_object_ids(config)).encode())
    try:
        return import_keras().saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its layers raise
        raise InvalidInput(f"Keras cannot load {path}.", str(error)[:300], "Save it again.") from error


def _without_object_ids(value: Any) -> Any:
    """``value`` without the memory addresses by which a ``.keras`` file marks objects that it shares."""
    if isinstance(value, list):
        return [_without_object_ids(item) for item in value]
    if isinstance(value, dict):
        marks = [key for key, item in value.items() if key == "shared_object_id" and type(item) is int]
        return {key: _without_object_ids(item) for key, item in value.items() if key not in marks}
    return value


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)  # one more than is accepted, so that a longer file is refused as such
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read.", str(error.strerror), "Check --model.") from None
