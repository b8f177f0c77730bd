"""The allow-list in front of Keras: what ``to_json`` writes passes, whatever else a file could name does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.architecture import LAYERS, MAX_BYTES, check_architecture
from protocol.errors import UnsafeArchitecture


def dense(**options: Any) -> dict[str, Any]:
    config = {"name": "dense", "units": 3, "activation": "softmax", "dtype": policy("float32"), **options}
    return {"module": "keras.layers", "class_name": "Dense", "config": config, "registered_name": None}


def policy(name: str) -> dict[str, Any]:
    return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": name}, "registered_name": None}


def sequential(*layers: Any) -> dict[str, Any]:
    config = {"name": "m", "trainable": True, "dtype": policy("float32"), "layers": list(layers)}
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {**config, "build_input_shape": [None, 4]},
        "registered_name": None,
        "build_config": {"input_shape": [None, 4]},
        "compile_config": {},
    }


def check(value: Any) -> dict[str, Any]:
    return check_architecture(json.dumps(value).encode())


def zeros(**change: Any) -> dict[str, Any]:
    return {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None, **change}


# --- refusals ---


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff{}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"class_name": "A", "class_name": "B"}',
    ],
)
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(UnsafeArchitecture):
        check_architecture(data)


def test_a_large_file_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(UnsafeArchitecture, match="bytes"):
        check_architecture(b" " * (MAX_BYTES + 1))


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_refused_before_it_is_parsed(opening: bytes) -> None:
    with pytest.raises(UnsafeArchitecture, match="deeply"):
        check_architecture(opening * 100_000)


def test_brackets_inside_strings_are_not_nesting() -> None:
    with pytest.raises(UnsafeArchitecture, match="holds the text"):
        check(sequential(dense(name="[" * 100)))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"class_name": "Lambda"}, "keras.layers.Lambda"),
        ({"class_name": "TFSMLayer"}, "TFSMLayer"),
        ({"class_name": "TextVectorization"}, "TextVectorization"),
        ({"class_name": "RNN"}, "RNN"),
        ({"module": "os", "class_name": "system"}, "os.system"),
        ({"module": "keras.src.layers"}, "keras.src.layers.Dense"),
        ({"module": None}, "module"),
        ({"class_name": "function", "config": "exec"}, "config"),
        ({"registered_name": "mallory>Dense"}, "mallory>Dense"),
        ({"registered_name": "Functional"}, "registered_name"),
        ({"compile_config": {"loss": "x"}}, "compile_config"),
        ({"fn": "x"}, "fn"),
        ({"build_config": {"input_shape": zeros()}}, "Zeros"),
    ],
)
def test_a_layer_that_is_not_listed_is_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsafeArchitecture, match=named):
        check(sequential({**dense(), **change}))


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "mallory"},
        {"activation": {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "exec"}},
        {"activation": {"class_name": "__lambda__", "config": {"value": "4wEAAA=="}}},
        {"kernel_initializer": zeros(module="subprocess", class_name="Popen")},
        {"kernel_initializer": zeros(config={"value": {"class_name": "__lambda__", "config": {}}})},
        {"kernel_initializer": "mallory"},
        {"kernel_regularizer": zeros()},
        {"kernel_constraint": {"module": "keras.constraints", "class_name": "Mine", "config": {}}},
        {"dtype": {"module": "keras", "class_name": "QuantizedDTypePolicy", "config": {"name": "float32"}}},
        {"dtype": policy("float64")},
        {"dtype": "float64"},
        {"units": {"class_name": "__lambda__", "config": {"value": "4wEAAA=="}}},
        {"units": 1 << 40},
        {"units": float("1e300")},
        {"name": "__import__('os')"},
        {"layer": {"module": "os", "class_name": "system", "config": {}}},
        {"quantization_config": {"module": "keras.quantizers", "class_name": "Int8QuantizationConfig", "config": {}}},
        {"weights": [[1.0]]},
        {"vocabulary": "/etc/passwd"},
    ],
)
def test_an_option_that_is_not_listed_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UnsafeArchitecture):
        check(sequential(dense(**options)))


def test_a_nested_layer_is_held_to_the_same_list() -> None:
    inner = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "x"}, "registered_name": None}
    wrapper = {
        "module": "keras.layers",
        "class_name": "TimeDistributed",
        "config": {"layer": inner},
        "registered_name": None,
    }
    with pytest.raises(UnsafeArchitecture, match="Lambda"):
        check(sequential(wrapper))
    with pytest.raises(UnsafeArchitecture, match="Lambda"):
        check(sequential(sequential(inner)))


def test_a_bare_layer_is_no_model() -> None:
    with pytest.raises(UnsafeArchitecture, match="Sequential and Functional"):
        check(dense())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["module", "class_name", "config", "layers", "registered_name"]) | st.text(), inner
            )
        ),
    )
)
def test_nothing_but_the_named_error_ever_leaves(value: Any) -> None:
    for document in (value, sequential(value), sequential(dense(kernel_initializer=value))):
        try:
            check(document)
        except UnsafeArchitecture as error:
            assert error.rule == "unsafe-architecture"


# --- what passes ---


def test_a_listed_model_comes_back_parsed() -> None:
    model = sequential(dense(kernel_initializer="glorot_uniform", quantization_config=None, some_new_option=None))
    assert check(model) == model


@pytest.mark.slow
@pytest.mark.parametrize("build", ["sequential_image", "functional", "recurrent", "attention", "nested"])
def test_what_keras_writes_passes_and_builds_the_same_weights(build: str) -> None:
    import keras

    layers = keras.layers
    builders: dict[str, Callable[[], Any]] = {
        "sequential_image": lambda: keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Rescaling(1 / 255),
                layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2", kernel_constraint="max_norm"),
                layers.BatchNormalization(),
                layers.SeparableConv2D(4, 3, padding="same"),
                layers.PReLU(),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dropout(0.2),
                layers.Dense(3, activation="softmax", bias_initializer=keras.initializers.Constant(0.1)),
            ]
        ),
        "functional": lambda: _functional(keras),
        "recurrent": lambda: keras.Sequential(
            [
                keras.Input((5,), dtype="int32"),
                layers.Embedding(10, 4, mask_zero=True),
                layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
                layers.TimeDistributed(layers.Dense(4)),
                layers.GRU(3),
                layers.Dense(2),
            ]
        ),
        "attention": lambda: _attention(keras),
        "nested": lambda: keras.Sequential(
            [keras.Input((4,)), keras.Sequential([layers.Dense(3)]), _functional(keras, 3)]
        ),
    }
    model = builders[build]()
    config = check_architecture(model.to_json().encode())
    rebuilt = keras.saving.deserialize_keras_object(config, safe_mode=True)
    # Keras may root the paths elsewhere; order, shape and own name are what a model file relies on.
    assert [(w.name, w.shape) for w in rebuilt.weights] == [(w.name, w.shape) for w in model.weights]


def _functional(keras: Any, size: int = 4) -> Any:
    start = keras.Input((size,))
    hidden = keras.layers.Dense(size, activation="gelu")(start)
    joined = keras.layers.Concatenate()(
        [keras.layers.Add()([hidden, start]), keras.layers.LayerNormalization()(hidden)]
    )
    return keras.Model(start, keras.layers.Softmax()(keras.layers.Dense(2)(joined)))


def _attention(keras: Any) -> Any:
    start = keras.Input((6, 4))
    hidden = keras.layers.MultiHeadAttention(2, 3, dropout=0.1)(start, start)
    return keras.Model(start, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(hidden)))


@pytest.mark.slow
def test_every_listed_layer_is_kerass_own() -> None:
    import keras

    assert {name for name in LAYERS if not hasattr(keras.layers, name)} == set()
