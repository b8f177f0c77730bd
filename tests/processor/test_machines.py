"""Another machine gives the same bytes: the same round in processes with the CPU's vector instructions switched off."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

ROUND = """
from tests.processor.factory import TinyRound, tiny_model, tiny_specs, tiny_task, tiny_terms

for delta_type in ("int8", "int16", "int32"):
    base = tiny_model(5, tiny_specs((301, 97)), consolidated=True)
    ring = TinyRound(tiny_task(delta_type=delta_type), tiny_terms(consolidate=True), base)
    derivation = ring.post_all(["alice", "bob", "carol", "dave", "erin"]).derive()
    print(derivation.result_hash.hex(), derivation.merge_digest.hex())
"""


def dispatched_features() -> list[str]:
    """The vector instructions that numpy chooses at run time on this machine."""
    core: Any = import_module("numpy._core._multiarray_umath")  # numpy tells it nowhere else
    return [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]


def derive(**environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", ROUND],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_no_vector_instruction_and_no_thread_count_changes_a_bit() -> None:
    features = dispatched_features()
    plain = derive()

    assert len(set(plain.split())) == 6
    assert derive(NPY_DISABLE_CPU_FEATURES=" ".join(features)) == plain
    assert derive(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="1") == plain
