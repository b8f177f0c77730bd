"""Many messages side by side: the digests are those of hashlib, whoever calculated them."""

from __future__ import annotations

import hashlib
import random
import sys
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import sha256_lanes
from protocol.sha256_lanes import COMPILE_AT, MOST_LANES, description, prepare, sha256_each, side_by_side

MIB = 1024 * 1024
LENGTHS = (0, 55, 56, 63, 64, 65, 119, 128, 4096, 65_536)
DIGESTS = {  # FIPS 180-4 refers to these examples: csrc.nist.gov, "SHA256.pdf" and "SHA2_Additional.pdf"
    b"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": (
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
    b"": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    b"\xbd": "68325720aabd7c82f30f554b313d0570c95accbb7dc4b5aae11204c08ffe732b",
    bytes(1_000_000): "d29751f2649b32ff572b5e0a9f541ea660a50f94ff0beedfb0b692b924cc8025",
    b"a" * 1_000_000: "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
}


def content(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311


def expected(buffers: list[Any]) -> list[bytes]:
    return [hashlib.sha256(buffer).digest() for buffer in buffers]


@pytest.fixture(scope="module", autouse=True)
def lanes() -> str:
    return description()


@pytest.fixture(params=["lanes", "hashlib"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the machine has, and hashlib alone."""
    if request.param == "hashlib":
        monkeypatch.setattr(sha256_lanes, "_ENGINE", sha256_lanes._Engine())
    return str(request.param)


@pytest.fixture
def every_message_in_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sha256_lanes, "_LEAST_BYTES", 0)
    monkeypatch.setattr(sha256_lanes, "_LEAST_MESSAGES", 1)


def test_this_machine_uses_what_it_has(lanes: str) -> None:
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    if features.get("sha") or not features.get("avx2"):
        assert lanes.startswith("hashlib")
    else:
        assert "lanes of AVX" in lanes and "hashlib" not in lanes


@pytest.mark.usefixtures("engine", "every_message_in_lanes")
@pytest.mark.parametrize("message", DIGESTS, ids=lambda message: f"{message[:8]!r}x{len(message)}")
@pytest.mark.parametrize("count", [1, 3, 17])
def test_the_vectors_of_the_standard(message: bytes, count: int) -> None:
    assert [digest.hex() for digest in sha256_each([message] * count)] == [DIGESTS[message]] * count


@pytest.mark.usefixtures("every_message_in_lanes")
@given(
    sizes=st.lists(st.sampled_from(LENGTHS) | st.integers(0, 300), max_size=40),
    seed=st.integers(0, 2**32),
    shift=st.integers(0, 63),
)
def test_equals_hashlib_for_any_counts_lengths_and_alignments(sizes: list[int], seed: int, shift: int) -> None:
    whole = memoryview(content(shift + sum(sizes), seed))
    ends = [shift + sum(sizes[: number + 1]) for number in range(len(sizes))]
    buffers = [whole[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    assert sha256_each(buffers) == expected(buffers)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 16, 19])
def test_leaves_of_any_number(count: int) -> None:
    whole = memoryview(content(count * MIB + 1, count))
    buffers: list[Any] = [whole[1 + at * MIB : 1 + (at + 1) * MIB] for at in range(count)]
    buffers += [bytearray(b"the last"), whole[:MIB]]
    assert sha256_each(buffers) == expected(buffers)


@pytest.mark.usefixtures("engine")
def test_pieces_in_the_same_buffers_are_what_they_hold_each_time() -> None:
    messages = [content(5 * 65_536 + 100, seed) for seed in range(11)]
    buffers = [bytearray(65_536) for _ in messages]
    hashing = side_by_side(len(messages), len(messages[0]))
    for at in range(0, 5 * 65_536, 65_536):
        for buffer, message in zip(buffers, messages, strict=True):
            buffer[:] = message[at : at + 65_536]
        hashing.update(buffers)
    assert hashing.finish([message[5 * 65_536 :] for message in messages]) == expected(messages)


def test_pieces_by_compiled_code_and_by_python_are_one_message() -> None:
    """Whoever asks for the lanes points them elsewhere, also between the same buffers filled again."""
    if not sha256_lanes._ENGINE.kernels(0):
        pytest.skip("this machine hashes with hashlib, which has no lanes")
    import ctypes

    import numpy as np

    messages = [content(3 * 65_536 + 9, seed) for seed in range(8)]
    hashing, buffers = side_by_side(8, len(messages[0])), [bytearray(65_536) for _ in messages]

    def fill(at: int) -> None:
        for buffer, message in zip(buffers, messages, strict=True):
            buffer[:] = message[at : at + 65_536]

    fill(0)
    hashing.update(buffers)
    lanes = hashing.lanes
    assert lanes is not None and lanes.width == 8
    held = [np.frombuffer(message, np.uint8, 65_536, 65_536).copy() for message in messages]
    pointers = (ctypes.c_uint64 * lanes.width).from_address(lanes.pointers)
    pointers[:] = [row.ctypes.data for row in held]
    ctypes.CFUNCTYPE(None, *[ctypes.c_uint64] * 3)(lanes.kernel)(lanes.state, lanes.pointers, 1024)
    fill(2 * 65_536)
    hashing.update(buffers)
    assert hashing.finish([message[3 * 65_536 :] for message in messages]) == expected(messages)


def test_hashlib_has_no_lanes_to_fill() -> None:
    assert side_by_side(1, MIB).lanes is None


def test_pieces_that_are_no_whole_blocks_are_refused() -> None:
    if not sha256_lanes._ENGINE.kernels(0):
        pytest.skip("this machine hashes with hashlib, which takes any")
    for pieces in ([bytes(64)] * 15, [bytes(63)] * 16, [bytes(64)] * 15 + [bytes(128)]):
        with pytest.raises(ValueError, match="multiple of 64"):
            side_by_side(16, MIB).update(pieces)
    with pytest.raises(ValueError, match="multiple of 64"):
        side_by_side(16, MIB).finish([bytes(10)] * 15 + [bytes(74)])


@pytest.mark.usefixtures("engine")
def test_threads_do_not_disturb_each_other() -> None:
    found: dict[int, bool] = {}

    def run(number: int) -> None:
        buffers = [content(131_072, 100 * number + at) for at in range(MOST_LANES)]
        wanted = expected(buffers)
        found[number] = all(sha256_each(buffers) == wanted for _ in range(20))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), True)


# When the lanes are compiled, and when they are not


def test_nothing_is_compiled_before_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[int] = []
    monkeypatch.setattr(sha256_lanes, "_ENGINE", sha256_lanes._Engine())
    monkeypatch.setattr(sha256_lanes, "_compile", lambda: (compiled.append(1), ({}, "none"))[1])
    side_by_side(16, MIB)
    prepare(COMPILE_AT - 16 * MIB - 1)
    assert not compiled
    prepare(1)
    prepare(COMPILE_AT)
    assert compiled == [1]


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"avx2": True, "avx512f": True, "avx512bw": True, "avx512vl": True, "sha": True}, "has instructions"),
        ({"sha2": True, "neon": True}, "has instructions"),
        ({"sse4.2": True}, "neither AVX2 nor AVX-512"),
    ],
)
def test_processors_that_have_no_use_for_lanes(
    features: dict[str, bool], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llvmlite import binding

    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: features)
    assert_hashlib(said, monkeypatch)


def test_without_llvmlite_hashlib_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    assert_hashlib("no lanes (ModuleNotFoundError", monkeypatch)


def test_lanes_that_err_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sha256_lanes, "_widths", lambda _: ((8,), "8 lanes of clay"))
    monkeypatch.setattr(sha256_lanes, "_load", lambda *_: {8: lambda state, pointers, blocks: None})
    assert_hashlib("8 lanes of clay gave another digest", monkeypatch)


def assert_hashlib(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sha256_lanes, "_ENGINE", sha256_lanes._Engine())
    assert said in description() and description().startswith("hashlib")
    buffers: list[Any] = [content(65_536, seed) for seed in range(5)]
    assert sha256_each(buffers) == expected(buffers)
    assert isinstance(side_by_side(16, MIB), sha256_lanes._OneByOne)


def test_registers_of_256_bits_say_the_same() -> None:
    """What a processor with AVX2 alone would run."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    if not features.get("avx2"):
        pytest.skip("this machine has no AVX2")
    for name in features:
        features[name] = bool(features[name]) and not name.startswith("avx512")
    assert sha256_lanes._widths(without(features, "sha")) == ((8,), "8 lanes of AVX2")
    kernels = sha256_lanes._load(binding, (8,), features)
    assert sha256_lanes._agrees(kernels[8], 8)


def without(features: Mapping[str, bool], name: str) -> dict[str, bool]:
    return {one: has for one, has in features.items() if one != name}
