"""The compression function in lanes, as LLVM compiles it for this machine, in every width that it is written for."""

from __future__ import annotations

import hashlib
import random

import pytest
from llvmlite import binding

from protocol import sha256_lanes
from protocol.sha256_kernel import initial_state, kernel_name, kernels_ir, round_constants


def test_the_constants_of_the_standard() -> None:
    """FIPS 180-4, sections 5.3.3 and 4.2.2: the first and the last ones."""
    state, constants = initial_state(), round_constants()
    assert (len(state), state[0], state[1], state[7]) == (8, 0x6A09E667, 0xBB67AE85, 0x5BE0CD19)
    assert (len(constants), constants[0], constants[15]) == (64, 0x428A2F98, 0xC19BF174)
    assert (constants[16], constants[63]) == (0xE49B69C1, 0xC67178F2)


@pytest.mark.parametrize("width", [4, 8, 16])
def test_every_width_is_right_on_any_processor(width: int) -> None:
    """LLVM divides vectors that are wider than the registers."""
    kernel = sha256_lanes._load(binding, (width,), binding.get_host_cpu_features())[width]
    draw = random.Random(width)  # noqa: S311
    for blocks in (0, 1, 2, 9):
        messages = [draw.randbytes(64 * blocks + 3) for _ in range(width)]
        hashing = sha256_lanes._InLanes(kernel, width, width, len(messages[0]))
        assert hashing.finish(messages) == [hashlib.sha256(message).digest() for message in messages]


def test_registers_are_as_wide_as_the_vectors() -> None:
    """LLVM takes half of them where it believes that full ones slow the clock down."""
    features = binding.get_host_cpu_features()
    if not features.get("avx512vl"):
        pytest.skip("this machine has no AVX-512")
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=features.flatten(), opt=2
    )
    assembly = machine.emit_assembly(binding.parse_assembly(kernels_ir((16,))))
    adding = [line for line in assembly.splitlines() if "vpaddd" in line]
    assert kernel_name(16) in assembly and len(adding) > 200 and all("%zmm" in line for line in adding)
    assert "vprold" in assembly and "vpternlogd" in assembly  # a rotation, and three operands, in one instruction
