"""Models: what is refused, by name, and what survives a round trip."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocol import tensors
from protocol.errors import (
    ArtifactRefused,
    NegativeStatistic,
    NotCanonical,
    NotFinite,
    OutsideWindow,
    TooLarge,
    WrongField,
    WrongFiles,
    WrongTensor,
)
from protocol.model import (
    ARCHITECTURE,
    IMPORTANCE,
    MANIFEST,
    MANTISSA_LIMIT,
    MAX_ARCHITECTURE_BYTES,
    WEIGHTS,
    Model,
    TensorClass,
    TensorSpec,
    decode_model,
    decode_weights,
    encode_model,
    weights_bytes,
    weights_cid,
)
from protocol.unixfs import import_file
from tests.protocol.samples import CONSOLIDATED, FILES, KERNEL, MODEL, SEED, SPECS, VARIANCE

PLAIN, FULL = FILES["model"], FILES["consolidated model"]


def with_weights(**changes: Any) -> dict[str, bytes]:
    """The model's files with tensors replaced, or removed where None."""
    arrays = {KERNEL: None, VARIANCE: None, SEED: None, **tensors.loads(PLAIN[WEIGHTS])}
    renamed = {"kernel": KERNEL, "variance": VARIANCE, "seed": SEED}
    arrays.update({renamed.get(name, name): array for name, array in changes.items()})
    return {**PLAIN, WEIGHTS: tensors.dumps({name: array for name, array in arrays.items() if array is not None})}


def with_text(old: str, new: str, files: Mapping[str, bytes] = PLAIN) -> dict[str, bytes]:
    """The model's files with ``old`` replaced in model.json."""
    assert old.encode() in files[MANIFEST]
    return {**files, MANIFEST: files[MANIFEST].replace(old.encode(), new.encode(), 1)}


def kernel(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32).reshape(2, 2) * np.float32(2.0**-20)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: {}, WrongFiles),
        (lambda: {name: data for name, data in PLAIN.items() if name != WEIGHTS}, WrongFiles),
        (lambda: {**PLAIN, "README.md": b""}, WrongFiles),
        (lambda: {**PLAIN, IMPORTANCE: FULL[IMPORTANCE]}, WrongFiles),
        (lambda: {name: data for name, data in FULL.items() if name != IMPORTANCE}, WrongFiles),
        (lambda: {**PLAIN, ARCHITECTURE: bytes(MAX_ARCHITECTURE_BYTES + 1)}, TooLarge),
        (lambda: with_weights(kernel=kernel(1, 2, 3, np.nan)), NotFinite),
        (lambda: with_weights(kernel=kernel(1, 2, 3, -np.inf)), NotFinite),
        (lambda: with_weights(kernel=kernel(1, 2, 3, 0.5)), OutsideWindow),
        (lambda: with_weights(kernel=kernel(1, 2, 3, MANTISSA_LIMIT)), OutsideWindow),
        (lambda: with_weights(kernel=kernel(1, 2, 3, -0.0)), NotCanonical),
        (lambda: with_weights(kernel=kernel(1, 2, 3, 4).ravel()), WrongTensor),
        (lambda: with_weights(kernel=kernel(1, 2, 3, 4).astype(np.float64)), WrongTensor),
        (lambda: with_weights(kernel=None), WrongTensor),
        (lambda: with_weights(seed=None), WrongTensor),
        (lambda: with_weights(mallory=np.zeros(1, np.float32)), WrongTensor),
        (lambda: with_weights(seed=np.zeros(2, np.uint64)), WrongTensor),
        (lambda: with_weights(variance=np.array([1, -1, 1], np.float32)), NegativeStatistic),
        (lambda: with_text('"version":2', '"version":1'), WrongField),
        (lambda: with_text('"server_state":null', '"server_state":""'), WrongField),
        (
            lambda: with_text('"server_state":null', '"server_state":"' + CONSOLIDATED.anchor + '"'),
            WrongField,
        ),  # a file
        (lambda: with_text('"server_state":null,', ""), WrongField),
        (lambda: with_text('"committee":null', '"committee":0'), WrongField),
        (lambda: with_text('"committee":null', '"committee":"' + CONSOLIDATED.anchor + '"'), WrongField),
        (lambda: with_text('"committee":null,', ""), WrongField),
        (lambda: with_text('"round":0', '"round":-1'), WrongField),
        (lambda: with_text('"round":0', '"round":"0"'), WrongField),
        (lambda: with_text('"parents":[]', '"parents":["x"]'), WrongField),
        (lambda: with_text('"anchor":null', '"anchor":""'), WrongField),
        (lambda: with_text('"exponent":-20', '"exponent":-127'), WrongField),
        (lambda: with_text('"exponent":-20', '"exponent":105'), WrongField),
        (lambda: with_text('"exponent":-20', '"exponent":null'), WrongField),
        (lambda: with_text('"exponent":null', '"exponent":0'), WrongField),
        (lambda: with_text('"trainable"', '"weights"'), WrongField),
        (lambda: with_text('"float32"', '"float64"'), WrongField),
        (lambda: with_text('"int64"', '"bfloat16"'), WrongField),
        (lambda: with_text('"non_negative":false', '"non_negative":true'), WrongField),
        (lambda: with_text('"00000.dense/kernel"', '"dense/kernel"'), WrongField),
        (lambda: with_text('"00000.dense/kernel"', '"00003.dense/kernel"'), WrongField),
        (lambda: with_text('"00000.dense/kernel"', '"00001.norm/variance"'), WrongField),
        (lambda: with_text('"shape":[2,2]', '"shape":[0,2]'), WrongField),
        (lambda: with_text('"shape":[2,2]', '"shape":[4]'), WrongTensor),
        (lambda: with_text('"round":0', '"round": 0'), NotCanonical),
        (lambda: {**FULL, IMPORTANCE: tensors.dumps({KERNEL: np.zeros((2, 2), np.int32)})}, WrongTensor),
        (lambda: {**FULL, IMPORTANCE: tensors.dumps({KERNEL: np.zeros((2, 1), np.uint32)})}, WrongTensor),
        (lambda: {**FULL, IMPORTANCE: tensors.dumps({})}, WrongTensor),
        (
            lambda: {**FULL, IMPORTANCE: tensors.dumps({name: np.zeros(2, np.uint32) for name in (KERNEL, VARIANCE)})},
            WrongTensor,
        ),
    ],
)
def test_decoding_refuses(make: Callable[[], Mapping[str, bytes]], error: type[ArtifactRefused]) -> None:
    with pytest.raises(error) as refused:
        decode_model(make())
    assert type(refused.value) is error


def model_with(**changes: Any) -> Model:
    return replace(MODEL, **changes)


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (model_with(mantissas={**MODEL.mantissas, KERNEL: np.full((2, 2), MANTISSA_LIMIT, np.int32)}), OutsideWindow),
        (model_with(mantissas={**MODEL.mantissas, KERNEL: np.full((2, 2), -MANTISSA_LIMIT, np.int32)}), OutsideWindow),
        (model_with(mantissas={**MODEL.mantissas, KERNEL: np.zeros((2, 2), np.int64)}), WrongTensor),
        (model_with(mantissas={**MODEL.mantissas, KERNEL: np.zeros(4, np.int32)}), WrongTensor),
        (model_with(mantissas={**MODEL.mantissas, VARIANCE: np.full(3, -1, np.int32)}), NegativeStatistic),
        (model_with(mantissas={KERNEL: MODEL.mantissas[KERNEL]}), WrongTensor),
        (model_with(constants={}), WrongTensor),
        (model_with(constants={**MODEL.constants, "00009.more": np.zeros(1)}), WrongTensor),
        (model_with(specs=(replace(SPECS[0], exponent=105), *SPECS[1:])), OutsideWindow),
        (model_with(specs=(replace(SPECS[0], exponent=None), *SPECS[1:])), WrongTensor),
        (model_with(specs=(SPECS[1], SPECS[0], SPECS[2])), WrongField),
        (model_with(round=-1), WrongField),
        (model_with(architecture=bytes(MAX_ARCHITECTURE_BYTES + 1)), TooLarge),
        (model_with(anchor=CONSOLIDATED.anchor), WrongFiles),
        (model_with(importance=CONSOLIDATED.importance), WrongFiles),
        (replace(CONSOLIDATED, anchor="bafy"), WrongField),
        (replace(CONSOLIDATED, importance={}), WrongTensor),
    ],
)
def test_encoding_refuses(model: Model, error: type[ArtifactRefused]) -> None:
    with pytest.raises(error) as refused:
        encode_model(model)
    assert type(refused.value) is error


def test_a_constant_that_is_not_finite_is_refused_both_ways() -> None:
    spec = TensorSpec("00000.rate", (1,), TensorClass.CONSTANT, None, dtype="float16")
    kernel_spec = TensorSpec("00001.kernel", (1,), TensorClass.TRAINABLE, -10)
    mantissas = {kernel_spec.name: np.array([3], np.int32)}
    model = Model(b"{}", 0, (), (spec, kernel_spec), mantissas, {spec.name: np.array([np.nan], np.float16)})
    with pytest.raises(NotFinite):
        encode_model(model)
    files = encode_model(replace(model, constants={spec.name: np.array([-0.0], np.float16)}))
    weights = {**tensors.loads(files[WEIGHTS]), spec.name: np.array([np.inf], np.float16)}
    damaged = {**files, WEIGHTS: tensors.dumps(weights)}
    with pytest.raises(NotFinite):
        decode_model(damaged)
    assert decode_model(files).constants[spec.name].tobytes() == np.float16(-0.0).tobytes()


def test_a_model_without_anything_to_train_is_none() -> None:
    spec = TensorSpec("00000.mean", (1,), TensorClass.STATISTIC, -10)
    with pytest.raises(WrongField, match="trainable"):
        encode_model(Model(b"{}", 0, (), (spec,), {spec.name: np.array([1], np.int32)}))
    with pytest.raises(WrongField, match="trainable"):
        encode_model(Model(b"{}", 0, (), (), {}))


def test_any_reader_of_safetensors_reads_the_weights_as_float32() -> None:
    weights = safetensors.numpy.load(PLAIN[WEIGHTS])
    np.testing.assert_array_equal(weights[KERNEL], kernel(1, -1, MANTISSA_LIMIT - 1, 0))
    np.testing.assert_array_equal(weights[SEED], [5, -6])


def test_round_trip() -> None:
    model = decode_model(FULL)
    assert (model.architecture, model.round, model.parents) == (CONSOLIDATED.architecture, 7, CONSOLIDATED.parents)
    assert (model.specs, model.anchor) == (SPECS, CONSOLIDATED.anchor)
    assert model.importance is not None
    assert CONSOLIDATED.importance is not None
    for found, expected in (
        (model.mantissas, CONSOLIDATED.mantissas),
        (model.constants, CONSOLIDATED.constants),
        (model.importance, CONSOLIDATED.importance),
    ):
        assert found.keys() == expected.keys()
        for name, array in found.items():
            assert array.dtype == expected[name].dtype
            assert not array.flags.writeable
            np.testing.assert_array_equal(array, expected[name])


def test_the_anchor_is_the_cid_of_the_weights_file() -> None:
    assert weights_bytes(MODEL) == PLAIN[WEIGHTS]
    assert weights_cid(MODEL) == import_file(BytesIO(PLAIN[WEIGHTS]), lambda block: None).cid


def test_an_anchor_alone_gives_its_mantissas() -> None:
    found = decode_weights(PLAIN[WEIGHTS], SPECS)
    assert found.keys() == MODEL.mantissas.keys()
    for name, mantissas in MODEL.mantissas.items():
        np.testing.assert_array_equal(found[name], mantissas)
    with pytest.raises(WrongTensor):
        decode_weights(PLAIN[WEIGHTS], SPECS[:2])


shapes = hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)
trainables = hnp.arrays(np.int32, shapes, elements=st.integers(1 - MANTISSA_LIMIT, MANTISSA_LIMIT - 1))


@given(
    st.lists(st.tuples(trainables, st.integers(-126, 104)), min_size=1, max_size=4),
    st.binary(max_size=9),
    st.integers(0, 2**53 - 1),
)
def test_any_model_round_trips(tensors_: list[tuple[Any, int]], architecture: bytes, round_: int) -> None:
    specs = tuple(
        TensorSpec(f"{index:05d}.w", array.shape, TensorClass.TRAINABLE, exponent)
        for index, (array, exponent) in enumerate(tensors_)
    )
    mantissas = {spec.name: array for spec, (array, _) in zip(specs, tensors_, strict=True)}
    model = Model(architecture, round_, (), specs, mantissas)
    files = encode_model(model)
    found = decode_model(files)
    assert (found.architecture, found.round, found.specs) == (architecture, round_, specs)
    for name, array in mantissas.items():
        np.testing.assert_array_equal(found.mantissas[name], array)
    assert encode_model(found) == files


def test_reading_takes_no_python_for_each_element() -> None:
    size = 1_000_000
    spec = TensorSpec("00000.w", (size,), TensorClass.TRAINABLE, -20)
    files = encode_model(Model(b"{}", 0, (), (spec,), {spec.name: np.arange(size, dtype=np.int32)}))
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        decode_model(files)
    finally:
        sys.setprofile(None)
    assert 0 < calls < 20_000
