"""First models from Keras: refusals by name, then tensors, classes, grids; and back again for evaluation."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from protocol.errors import InvalidInput, NotFinite, UnsafeArchitecture, WrongTensor
from protocol.model import TensorClass, decode_model, encode_model, to_float32

pytestmark = [
    pytest.mark.slow,
    # Keras converts TensorFlow's arrays in a way that NumPy 2 warns of
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def keras():
    from network.keras_loader import import_keras

    return import_keras()


@pytest.fixture(scope="module")
def network(keras):
    keras.utils.set_random_seed(7)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4,), name="in"),
            layers.Dense(5, name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, name="drop"),
            layers.Dense(3, name="out", activation="softmax"),
        ],
        name="small",
    )


@pytest.fixture
def builder():
    from organization import model_builder

    return model_builder


# --- refusals ---


def test_refuses_a_lambda_by_name(builder, keras):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x), keras.layers.Dense(1)])
    with pytest.raises(UnsafeArchitecture, match="Lambda"):
        builder.from_keras(model)


def test_refuses_a_saved_lambda_before_keras_reads_it(builder, keras, tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x), keras.layers.Dense(1)])
    model.save(tmp_path / "bad.keras")
    monkeypatch.setattr(keras.saving, "load_model", lambda *args, **kwargs: pytest.fail("Keras was asked"))
    with pytest.raises(UnsafeArchitecture, match="Lambda"):
        builder.load_model(tmp_path / "bad.keras")


def test_refuses_a_model_of_no_fixed_input(builder, keras):
    with pytest.raises(InvalidInput, match="no weights"):
        builder.from_keras(keras.Sequential([keras.layers.Dense(1)]))


def test_refuses_nan(builder, keras):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="d")])
    model.set_weights([np.full((2, 1), np.nan, np.float32), np.zeros(1, np.float32)])
    with pytest.raises(NotFinite):
        builder.from_keras(model)


def test_refuses_half_precision(builder, keras):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, dtype="float16")])
    with pytest.raises((UnsafeArchitecture, WrongTensor)):
        builder.from_keras(model)


@pytest.mark.parametrize("name", ["absent.keras", "absent.json", "model.h5"])
def test_refuses_files_that_are_not_there_or_no_models(builder, tmp_path, name):
    with pytest.raises(InvalidInput, match=name):
        builder.load_model(tmp_path / name)


def test_refuses_archives_that_are_no_models(builder, tmp_path):
    (tmp_path / "a.keras").write_bytes(b"PK?")
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
        archive.writestr("readme", "")
    with zipfile.ZipFile(tmp_path / "c.keras", "w") as archive:
        archive.writestr("config.json", b"\xff{")
    for name in ("a", "b", "c"):
        with pytest.raises(InvalidInput, match=f"{name}.keras"):
            builder.load_model(tmp_path / f"{name}.keras")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"class_name": "Sequential"}'])
def test_refuses_architectures_that_are_none(builder, tmp_path, data):
    (tmp_path / "model.json").write_bytes(data)
    with pytest.raises(UnsafeArchitecture):
        builder.load_model(tmp_path / "model.json")


# --- what is built ---


def test_tensors_are_the_weights_in_order_with_their_classes(builder, network):
    model = builder.from_keras(network)
    assert [spec.name for spec in model.specs][:3] == ["00000.hidden/kernel", "00001.hidden/bias", "00002.norm/gamma"]
    assert [spec.shape for spec in model.specs] == [tuple(weight.shape) for weight in network.weights]
    kinds = {spec.name.split("/")[-1]: (spec.kind, spec.non_negative) for spec in model.specs}
    assert kinds["kernel"] == kinds["gamma"] == (TensorClass.TRAINABLE, False)
    assert kinds["moving_mean"] == (TensorClass.STATISTIC, False)
    assert kinds["moving_variance"] == (TensorClass.STATISTIC, True)
    assert model.round == 0 and model.parents == () and model.importance is None


def test_weights_are_within_half_a_grid_step(builder, network):
    model = builder.from_keras(network)
    for spec, weight in zip(model.specs, network.weights, strict=True):
        difference = np.abs(to_float32(model.mantissas[spec.name], spec.grid) - weight.numpy())
        assert difference.max() <= 2.0 ** (spec.grid - 1)


def test_headroom_is_as_stated(builder, network):
    """Weights may grow at least 16-fold and statistics 512-fold before they saturate."""
    model = builder.from_keras(network)
    for spec, weight in zip(model.specs, network.weights, strict=True):
        room = 2.0 ** (24 + spec.grid) / max(float(np.abs(weight.numpy()).max()), 0.25)
        assert room >= (16 if spec.kind is TensorClass.TRAINABLE else 512)


def test_the_artifact_can_be_read_again(builder, network):
    files = encode_model(builder.from_keras(network))
    assert encode_model(decode_model(files)) == files


def test_integer_weights_are_constants(builder, keras):
    from organization.model_builder import _spec

    class Counter:
        trainable, path = False, "norm/count"

    spec = _spec("00000.norm/count", Counter(), np.zeros((), np.int64))
    assert spec.kind is TensorClass.CONSTANT and spec.dtype == "int64" and spec.exponent is None


def test_a_compiled_model_and_its_file_make_the_same_artifact(builder, keras, network, tmp_path):
    plain = encode_model(builder.from_keras(network))
    network.compile("adam", "sparse_categorical_crossentropy")
    network.save(tmp_path / "model.keras")
    assert encode_model(builder.from_keras(network)) == plain
    assert encode_model(builder.load_model(tmp_path / "model.keras")) == plain


def test_a_seed_makes_the_same_artifact(builder, network, tmp_path):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(network.to_json()), indent=1))
    first, again, other = (encode_model(builder.load_model(path, seed)) for seed in (7, 7, 8))
    assert first == again and first["weights.safetensors"] != other["weights.safetensors"]
    assert first["architecture.json"] == encode_model(builder.from_keras(network))["architecture.json"]


def test_keras_gets_back_what_the_artifact_holds(builder, network):
    from organization.keras_bridge import to_keras

    model = builder.from_keras(network)
    for spec, weight in zip(model.specs, to_keras(model).weights, strict=True):
        assert np.array_equal(weight.numpy(), to_float32(model.mantissas[spec.name], spec.grid))


def test_keras_refuses_tensors_of_another_architecture(builder, keras, network):
    from dataclasses import replace

    from organization.keras_bridge import to_keras

    other = builder.from_keras(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
    with pytest.raises(WrongTensor):
        to_keras(replace(builder.from_keras(network), architecture=other.architecture))


# --- evaluation ---


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"x": np.zeros((2, 4))},
        {"x": np.zeros((2, 4)), "y": np.zeros(3, int)},
        {"x": np.zeros((0, 4)), "y": np.zeros(0, int)},
        {"x": np.zeros((2, 4)), "y": np.zeros(2)},
        {"x": np.array(["a", "b"]), "y": np.zeros(2, int)},
        {"x": np.array([{}, {}]), "y": np.zeros(2, int)},
        {"x": np.zeros(()), "y": np.zeros((), int)},
    ],
)
def test_refuses_held_out_data_that_is_none(tmp_path, arrays):
    from organization.evaluation import load_held_out

    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(InvalidInput, match=r"data\.npz"):
        load_held_out(tmp_path / "data.npz")


def test_refuses_held_out_files_that_are_none(tmp_path):
    from organization.evaluation import load_held_out

    (tmp_path / "text.npz").write_text("x")
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name in ("absent.npz", "text.npz", "one.npy"):
        with pytest.raises(InvalidInput, match=name):
            load_held_out(tmp_path / name)


def test_refuses_held_out_examples_of_another_shape(builder, network, tmp_path):
    from organization.evaluation import accuracy, load_held_out

    np.savez(tmp_path / "data.npz", x=np.zeros((2, 5), np.float32), y=np.zeros(2, int))
    with pytest.raises(InvalidInput, match=r"\(5,\)"):
        accuracy(builder.from_keras(network), load_held_out(tmp_path / "data.npz"))


def test_accuracy_is_kerass_own(builder, network, tmp_path):
    from organization.evaluation import load_held_out

    random = np.random.default_rng(7)
    x, y = random.normal(size=(600, 4)).astype(np.float32), random.integers(0, 3, (600, 1))
    np.savez(tmp_path / "data.npz", x=x, y=y)
    expected = int((network.predict(x, verbose=0).argmax(-1) == y[:, 0]).sum())
    correct, total = load_held_out(tmp_path / "data.npz")(builder.from_keras(network))["accuracy"]
    assert total == 600 and abs(correct - expected) <= 1  # snapping to the grid may tip one near-tie
