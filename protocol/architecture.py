"""``architecture.json`` is untrusted: what it may name is decided here, before Keras ever sees it.

Keras turns a configuration into objects by importing what the file names; its safe mode alone has been bypassed in
public (CVE-2024-3660, CVE-2025-1550, CVE-2025-8747, CVE-2025-9905). So this is an allow-list over the *parsed* document:
every object is one of a few built-in classes at its public path, every string that Keras resolves is a known name, and
whoever builds a model hands Keras the value returned here, never the bytes, so that two parsers cannot disagree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from protocol.canonical_json import is_nested_deeper
from protocol.errors import UnsafeArchitecture

MAX_BYTES = 1 << 20
MAX_DEPTH = 48  # brackets; a sequence model inside a functional one needs about 12
MAX_INTEGER = 1 << 31


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LAYERS = _words("""
    InputLayer Dense EinsumDense Embedding Activation Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose
    DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D MaxPooling1D MaxPooling2D MaxPooling3D
    AveragePooling1D AveragePooling2D AveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D Flatten Reshape Permute RepeatVector
    ZeroPadding1D ZeroPadding2D ZeroPadding3D Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D
    Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianNoise GaussianDropout BatchNormalization
    LayerNormalization GroupNormalization UnitNormalization LSTM GRU SimpleRNN Bidirectional TimeDistributed Masking
    ReLU LeakyReLU PReLU ELU Softmax Add Subtract Multiply Average Maximum Minimum Concatenate Dot Rescaling Identity
    Attention AdditiveAttention MultiHeadAttention
""")
INITIALIZERS = _words("""
    Zeros Ones Constant Identity Orthogonal GlorotUniform GlorotNormal HeUniform HeNormal LecunUniform LecunNormal
    RandomUniform RandomNormal TruncatedNormal VarianceScaling
""")
REGULARIZERS = frozenset(["L1", "L2", "L1L2"])
CONSTRAINTS = frozenset(["MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"])
ACTIVATIONS = _words("""
    linear relu relu6 leaky_relu elu selu celu gelu silu swish mish softplus softsign softmax log_softmax sigmoid
    hard_sigmoid hard_silu hard_swish hard_tanh tanh exponential
""")
DTYPES = _words("float32 int8 int16 int32 int64 uint8 uint16 uint32 bool")
POLICIES = frozenset(["float32", "mixed_float16", "mixed_bfloat16"])  # all keep their variables in float32

# Options of the layers above, as Keras 3 writes them; an unknown one is refused unless it is null, which means unset.
_PLAIN_OPTIONS = _words("""
    name trainable sparse ragged optional batch_shape units use_bias filters kernel_size strides padding data_format
    dilation_rate groups depth_multiplier output_padding pool_size keepdims target_shape dims n size interpolation
    cropping rate noise_shape seed stddev axis momentum epsilon center scale synchronized renorm renorm_clipping
    renorm_momentum rms_scaling input_dim output_dim mask_zero mask_value merge_mode return_sequences return_state
    go_backwards stateful unroll zero_output_for_mask unit_forget_bias reset_after dropout recurrent_dropout
    max_value negative_slope threshold alpha shared_axes normalize offset equation output_shape bias_axes
    use_scale score_mode num_heads key_dim value_dim attention_axes flash_attention use_gate implementation
    input_length
""")
_ENVELOPE = frozenset(["module", "class_name", "config", "registered_name", "build_config", "shared_object_id"])
_TEXT = re.compile(r"[A-Za-z0-9_./,>\- ]{0,200}")  # names, paddings and einsum equations
_BY_NAME = {
    "initializer": ("keras.initializers", INITIALIZERS),
    "regularizer": ("keras.regularizers", REGULARIZERS),
    "constraint": ("keras.constraints", CONSTRAINTS),
}


def check_architecture(data: bytes) -> dict[str, Any]:
    """Parse ``architecture.json`` and return it where everything in it is on the allow-list.

    Args:
        data: The file's bytes, at most 1 MiB, as ``keras.Model.to_json`` of a Sequential or Functional model writes them.

    Returns:
        The parsed configuration, to be given to ``keras.saving.deserialize_keras_object(..., safe_mode=True)``.

    Raises:
        UnsafeArchitecture: It is no JSON, too large or too deep, or names a class, function, module or option outside
            the list: Lambda, custom objects, byte code, foreign modules.
    """
    config = _parse(data)
    _model(config, "the model")
    return config


def _refuse(what: str, why: str, do: str = "") -> NoReturn:
    do = do or "Build the model from the built-in layers listed in protocol/architecture.py."
    raise UnsafeArchitecture(f"architecture.json: {what}.", why, do)


# --- parsing ---


def _parse(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        _refuse(f"{len(data)} bytes", f"At most {MAX_BYTES} are read.")
    if is_nested_deeper(data, MAX_DEPTH):
        _refuse("nested too deeply", f"At most {MAX_DEPTH} levels are read.")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except ValueError as error:
        raise UnsafeArchitecture(
            "architecture.json is not JSON.", str(error)[:200], "Write it with to_json()."
        ) from None
    if not isinstance(value, dict):
        _refuse("not an object", "A model is a JSON object.")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        _refuse("a key stands twice in one object", "Two readers could see two models.")
    return value


def _no_constant(text: str) -> NoReturn:
    _refuse(f"the number {text}", "JSON has no NaN and no infinity.")


# --- objects ---


def _envelope(value: Any, where: str, extra: frozenset[str] = frozenset()) -> tuple[str, str, Mapping[str, Any]]:
    """Return (module, class name, config) of a serialised object after checking what stands around them."""
    if not isinstance(value, dict):
        _refuse(f"{where} is not an object", "A built-in class with module, class_name and config was expected.")
    unknown = set(value) - _ENVELOPE - extra
    if unknown:
        _refuse(f"{where} has the key {min(unknown)!r}", "Only Keras's own keys are read.")
    module, name, config = value.get("module"), value.get("class_name"), value.get("config")
    if not isinstance(module, str) or not isinstance(name, str) or not isinstance(config, dict):
        _refuse(f"{where} lacks module, class_name or config", "Older and foreign formats are not read.")
    registered = value.get("registered_name")
    if registered is not None and not (name == "Functional" and registered == "Functional"):
        _refuse(f"{where} has registered_name {registered!r}", "Custom objects run their author's code.")
    _plain(value.get("shared_object_id"), f"{where}, shared_object_id")
    _shapes(value.get("build_config"), f"{where}, build_config")
    return module, name, config


def _model(value: Any, where: str, extra: frozenset[str] = frozenset()) -> None:
    module, name, config = _envelope(value, where, extra | {"compile_config"})
    if value.get("compile_config"):
        _refuse(f"{where} has a compile_config", "Optimizer and loss are the task's.", "Save the model uncompiled.")
    if (module, name) == ("keras", "Sequential"):
        keys, inner = {"name", "trainable", "dtype", "layers", "build_input_shape"}, frozenset[str]()
    elif name == "Functional" and module in ("keras", "keras.models", "keras.src.models.functional"):
        keys = {"name", "trainable", "dtype", "layers", "input_layers", "output_layers"}
        inner = frozenset(["name", "inbound_nodes"])
    else:
        _refuse(f"{where} is {module}.{name}", "Only Sequential and Functional models are built.")
    for key in config:
        if key not in keys:
            _refuse(f"{where} has the option {key!r}", "It is not an option of a Sequential or Functional model.")
    _options({key: item for key, item in config.items() if key in ("name", "trainable", "dtype")}, where)
    for key in ("build_input_shape", "input_layers", "output_layers"):
        _shapes(config.get(key), f"{where}, {key}")
    layers = config.get("layers")
    if not isinstance(layers, list) or not layers:
        _refuse(f"{where} has no layers", "A model has at least one.")
    for position, layer in enumerate(layers):
        _layer(layer, f"{where}, layer {position}", inner)


def _layer(value: Any, where: str, extra: frozenset[str]) -> None:
    if isinstance(value, dict) and value.get("class_name") in ("Sequential", "Functional"):
        _model(value, where, extra)
    else:
        module, name, config = _envelope(value, where, extra)
        if module != "keras.layers" or name not in LAYERS:
            _refuse(f"{where} is {module}.{name}", "It is not a listed built-in layer.")
        _options(config, f"{where} ({name})")
    if "name" in value:
        _plain(value["name"], f"{where}, name")
    for node in _list(value.get("inbound_nodes"), f"{where}, inbound_nodes"):
        _node(node, f"{where}, inbound_nodes")


def _node(node: Any, where: str) -> None:
    """One call of a layer in a Functional model: tensors and plain values only."""
    if not isinstance(node, dict) or set(node) != {"args", "kwargs"} or not isinstance(node["kwargs"], dict):
        _refuse(f"{where} is not args and kwargs", "Older formats are not read.")
    unknown = set(node["kwargs"]) - {"mask", "training", "initial_state", "query", "key", "value", "inputs"}
    if unknown:
        _refuse(f"{where} passes {min(unknown)!r}", "Only inputs, masks, states and training are passed to layers.")
    _walk([node["args"], *node["kwargs"].values()], where, _tensor)


def _tensor(value: Mapping[str, Any], where: str) -> None:
    config = value.get("config")
    if value.get("class_name") != "__keras_tensor__" or set(value) != {"class_name", "config"}:
        _refuse(f"{where} holds {value.get('class_name')!r}", "Only symbolic tensors connect layers.")
    if not isinstance(config, dict) or not set(config) <= {"shape", "dtype", "keras_history", "name"}:
        _refuse(f"{where} holds a malformed tensor", "Expected shape, dtype and keras_history.")
    _walk(list(config.values()), where, _no_object)


# --- options ---


def _options(config: Mapping[str, Any], where: str) -> None:
    for key, value in config.items():
        _option(key, value, f"{where}, option {key!r}")


def _option(key: str, value: Any, where: str) -> None:
    if value is None:
        return
    kind = _BY_NAME.get(key.rpartition("_")[2])
    if key == "dtype":
        _dtype(value, where)
    elif kind is not None and "_" in key:
        _named(value, where, *kind)
    elif key in ("activation", "recurrent_activation"):
        if not isinstance(value, str) or value not in ACTIVATIONS:
            _refuse(f"{where} is {str(value)[:60]!r}", "Activations are listed built-in functions, by name.")
    elif key in ("layer", "backward_layer"):  # Bidirectional, TimeDistributed
        _layer(value, where, frozenset())
    elif key in _PLAIN_OPTIONS:
        _plain(value, where)
    else:
        _refuse(f"{where} is not known", "Only the listed layers' own options are read.")


def _named(value: Any, where: str, module: str, names: frozenset[str]) -> None:
    """An initializer, regularizer or constraint: an object of a listed class, or that class's name."""
    if isinstance(value, str):
        if value.replace("_", "").lower() not in {name.lower() for name in names}:
            _refuse(f"{where} is {value[:60]!r}", f"It is not a listed name of {module}.")
        return
    found, name, config = _envelope(value, where)
    if found != module or name not in names:
        _refuse(f"{where} is {found}.{name}", f"It is not a listed class of {module}.")
    _walk(list(config.values()), where, _no_object)


def _dtype(value: Any, where: str) -> None:
    if isinstance(value, str):
        if value not in DTYPES | POLICIES:
            _refuse(f"{where} is {value[:60]!r}", "It is not a listed dtype.")
        return
    module, name, config = _envelope(value, where)
    if (module, name) != ("keras", "DTypePolicy") or set(config) != {"name"} or config["name"] not in POLICIES:
        _refuse(f"{where} is {module}.{name}", "Variables are float32: float32 or a mixed policy.")


# --- plain values ---


def _list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        _refuse(f"{where} is not a list", "A list was expected.")
    return value


def _plain(value: Any, where: str) -> None:
    _walk(value, where, _no_object)


def _shapes(value: Any, where: str) -> None:
    """Shapes and layer references: numbers, names, lists, and objects of those that name no class."""
    _walk(value, where, _shape_object)


def _shape_object(value: Mapping[str, Any], where: str) -> None:
    if {"class_name", "module", "registered_name"} & set(value):
        _no_object(value, where)
    for item in value.values():
        _shapes(item, where)


def _no_object(value: Mapping[str, Any], where: str) -> None:
    _refuse(f"{where} holds an object ({str(value.get('class_name'))[:60]})", "Plain values only stand here.")


def _walk(value: Any, where: str, on_object: Callable[[Mapping[str, Any], str], None]) -> None:
    """Visit lists down to their values; strings must be harmless names, numbers bounded, objects are ``on_object``'s."""
    if isinstance(value, list):
        for item in value:
            _walk(item, where, on_object)
    elif isinstance(value, dict):
        on_object(value, where)
    elif isinstance(value, str):
        if not _TEXT.fullmatch(value):
            _refuse(f"{where} holds the text {value[:60]!r}", "Names have letters, digits and . , _ / - > only.")
    elif isinstance(value, int | float) and not abs(value) <= MAX_INTEGER:
        _refuse(f"{where} holds a number beyond {MAX_INTEGER}", "No size and no factor of a layer is that large.")
