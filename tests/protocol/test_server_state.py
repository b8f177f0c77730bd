"""The state of the server's step as an artifact: one encoding, and anything else is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import canonical_json, tensors
from protocol.content import held, materialise
from protocol.errors import ArtifactRefused, NotCanonical, OutsideWindow, WrongField, WrongFiles, WrongTensor
from protocol.merge_terms import ServerStep, Step
from protocol.model import Model, encode_model
from protocol.past import Moments
from protocol.server_state import (
    FILES,
    FIRST_LIMIT,
    MOMENTS,
    SECOND_LIMIT,
    STATE,
    decode_state,
    encode_state,
    state_contents,
    state_limit,
)
from protocol.specs import trainable_specs
from protocol.task import Limits
from tests.processor.contents import files_on_disk
from tests.processor.factory import BIAS, KERNEL, MEAN, tiny_model

STEPS: tuple[Step, ...] = ("momentum", "adam", "yogi")
BASE = replace(tiny_model(), round=7)


def moments_of(step: str, seed: int = 0, model: Model = BASE) -> Moments:
    random = np.random.default_rng(seed)
    bounds = ((-FIRST_LIMIT, FIRST_LIMIT + 1), (0, SECOND_LIMIT))[: MOMENTS[step]]
    return {
        spec.name: tuple(random.integers(low, high, spec.shape, dtype=np.int64) for low, high in bounds)
        for spec in trainable_specs(model.specs)
    }


def files_of(step: Step = "adam", **changes: bytes) -> dict[str, bytes]:
    files = encode_state(step, BASE.round, moments_of(step), BASE.specs)
    return files | {name.replace("_", "."): data for name, data in changes.items()}


def with_tensor(file: str, name: str, value: np.ndarray[Any, Any]) -> dict[str, bytes]:
    files = files_of()
    return files | {file: tensors.dumps({**tensors.loads(files[file]), name: value})}


def manifest(**changes: object) -> dict[str, bytes]:
    return files_of() | {STATE: canonical_json.dumps({"round": BASE.round, "step": "adam", "version": 1, **changes})}


def without(name: str) -> dict[str, bytes]:
    return {other: data for other, data in files_of().items() if other != name}


# --- refusals ---

FIRST, SECOND = FILES
SHAPES = tensors.loads(files_of()[FIRST])
KERNEL_ZEROS = np.zeros(SHAPES[KERNEL].shape, np.int64)


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({}, WrongFiles),
        (without(STATE), WrongFiles),
        (without(FIRST), WrongFiles),
        (without(SECOND), WrongFiles),
        (files_of() | {"third.safetensors": b""}, WrongFiles),
        (files_of("momentum"), WrongFiles),  # another step's, by its files
        (files_of("yogi"), WrongField),  # another step's, by its name
        (manifest(step="plain"), WrongField),
        (manifest(step="sgd"), WrongField),
        (manifest(round=6), WrongField),
        (manifest(round=8), WrongField),
        (manifest(round=-1), WrongField),
        (manifest(version=2), WrongField),
        (manifest(more=1), WrongField),
        (files_of() | {STATE: b'{"round":7, "step":"adam","version":1}'}, NotCanonical),
        (files_of() | {FIRST: files_of()[FIRST] + b"\0"}, NotCanonical),
        (files_of() | {FIRST: files_of()[FIRST][:-1]}, NotCanonical),
        (files_of() | {SECOND: b""}, ArtifactRefused),
        (with_tensor(FIRST, KERNEL, KERNEL_ZEROS.astype(np.int32)), WrongTensor),
        (with_tensor(FIRST, KERNEL, KERNEL_ZEROS.reshape(-1)), WrongTensor),
        (with_tensor(FIRST, MEAN, np.zeros(3, np.int64)), WrongTensor),  # statistics have no moments
        (files_of() | {FIRST: tensors.dumps({KERNEL: KERNEL_ZEROS})}, WrongTensor),
        (with_tensor(FIRST, KERNEL, KERNEL_ZEROS - FIRST_LIMIT - 1), OutsideWindow),
        (with_tensor(FIRST, KERNEL, KERNEL_ZEROS + FIRST_LIMIT + 1), OutsideWindow),
        (with_tensor(SECOND, KERNEL, KERNEL_ZEROS - 1), OutsideWindow),
        (with_tensor(SECOND, KERNEL, KERNEL_ZEROS + SECOND_LIMIT), OutsideWindow),
    ],
)
@pytest.mark.parametrize("where", ["bytes", "contents"])
def test_refuses_what_is_not_the_state(files: Mapping[str, bytes], error: type[Exception], where: str) -> None:
    with pytest.raises(error):
        decode_state(files if where == "bytes" else held(files), ServerStep("adam"), BASE)


def test_a_plain_step_takes_no_state() -> None:
    with pytest.raises(WrongFiles, match="plain"):
        decode_state(files_of(), ServerStep(), BASE)


def test_refuses_to_encode_what_nobody_could_read() -> None:
    moments = moments_of("adam")
    outside = {**moments, BIAS: (moments[BIAS][0], np.full((3,), -1, np.int64))}
    for wrong, error in ((outside, OutsideWindow), ({KERNEL: moments[KERNEL]}, WrongTensor)):
        with pytest.raises(error):
            encode_state("adam", 7, wrong, BASE.specs)
    with pytest.raises(WrongField):
        encode_state("adam", -1, moments, BASE.specs)
    with pytest.raises(WrongField):
        encode_state("plain", 7, {}, BASE.specs)


# --- round trips ---


@pytest.mark.parametrize("step", STEPS)
@given(seed=st.integers(0, 1 << 32))
def test_there_and_back(step: Step, seed: int) -> None:
    moments = moments_of(step, seed)
    files = encode_state(step, BASE.round, moments, BASE.specs)
    assert set(files) == {STATE, *FILES[: MOMENTS[step]]}
    found = decode_state(files, ServerStep(step), BASE)
    assert list(found) == list(moments)
    for name, values in moments.items():
        assert [np.asarray(one).tolist() for one in found[name]] == [np.asarray(one).tolist() for one in values]
    assert encode_state(step, BASE.round, found, BASE.specs) == files


@pytest.mark.parametrize("step", STEPS)
def test_what_is_read_when_asked_for_is_the_same(step: Step, tmp_path: Path) -> None:
    files = encode_state(step, BASE.round, moments_of(step), BASE.specs)
    assert materialise(state_contents(step, BASE.round, moments_of(step), BASE.specs)) == files
    found = decode_state(files_on_disk(files, tmp_path), ServerStep(step), BASE)
    for name, values in moments_of(step).items():
        for one, other in zip(found[name], values, strict=True):
            assert isinstance(one, tensors.Stored)
            assert tensors.whole(one).tolist() == np.asarray(other).tolist()
    assert encode_state(step, BASE.round, found, BASE.specs) == files


@pytest.mark.parametrize("kernel", [(1, 1), (300, 20)])
def test_no_state_is_larger_than_its_limit(kernel: tuple[int, int]) -> None:
    from tests.processor.factory import tiny_specs

    model = tiny_model(specs=tiny_specs(kernel))
    size = sum(map(len, encode_model(model).values()))
    state = encode_state("adam", 0, moments_of("adam", model=model), model.specs)
    assert sum(map(len, state.values())) <= state_limit(size) <= state_limit(Limits().model_bytes)
