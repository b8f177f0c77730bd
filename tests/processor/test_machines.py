"""Another machine gives the same bytes: every way to merge, in processes with other instructions, loops and thread counts.

A process prints the witness of each merge; what numpy, BLAS and Numba may choose by themselves is taken from it.
"""

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
from processor.runs import Threads
from tests.processor.factory import TinyRound, tiny_model, tiny_specs, tiny_task, tiny_terms

for delta_type in ("int8", "int16", "int32"):
    base = tiny_model(5, tiny_specs((301, 97)), consolidated=True)
    ring = TinyRound(tiny_task(delta_type=delta_type), tiny_terms(consolidate=True), base)
    ring.post_all(["alice", "bob", "carol", "dave", "erin"])
    for run in (Threads(1), Threads(3)):
        derivation = ring.derive(run=run)
        print(derivation.result_hash.hex(), derivation.merge_digest.hex())
"""

# All ways to merge, on bases of {kernel} weights: large enough for the compiled loops, or with all loops compiled.
MERGES = """
from pkgutil import iter_modules

import processor
from processor.kernels import compiled
from tests.processor.merge_cases import cases, merged_digest, split

loops = [module.name for module in iter_modules(processor.__path__) if module.name.startswith("compiled")]
assert len(loops) > 1 and all(compiled(name) is not None for name in loops)
with split(compiled={compiled}):
    for case in cases():
        if case.step in ("plain", "adam") and case.bound != "fixed":
            print(case, merged_digest(case, {kernel}).hex())
"""
LARGE = MERGES.format(compiled=None, kernel=(301, 97))
SMALL = MERGES.format(compiled=True, kernel=(37, 5))
PLAIN = MERGES.format(compiled=False, kernel=(37, 5))


def dispatched_features() -> str:
    """The vector instructions that numpy chooses at run time on this machine."""
    core: Any = import_module("numpy._core._multiarray_umath")  # numpy tells it nowhere else
    return " ".join(name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name))


def printed(program: str, **environment: str) -> list[str]:
    """What ``program`` prints in a process with ``environment``."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.mark.slow
def test_no_vector_instruction_and_no_thread_count_changes_a_round() -> None:
    plain = printed(ROUND)

    assert len(plain) == 6
    assert len(set(" ".join(plain).split())) == 6  # three delta types, each the same over one thread and over three
    assert printed(ROUND, NPY_DISABLE_CPU_FEATURES=dispatched_features()) == plain
    assert printed(ROUND, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="1") == plain


@pytest.mark.slow
def test_no_vector_instruction_and_no_blas_changes_a_merge() -> None:
    """OpenBLAS takes another kernel for each processor, and splits its sums among threads."""
    plain = printed(LARGE)

    assert len(plain) > 80
    assert printed(LARGE, NPY_DISABLE_CPU_FEATURES=dispatched_features(), OPENBLAS_CORETYPE="Prescott") == plain
    for threads in ("1", "2", "5"):
        several = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        assert printed(LARGE, **several, PYTHONHASHSEED=threads) == plain


@pytest.mark.slow
def test_no_compiled_loop_changes_a_merge(tmp_path: Path) -> None:
    """As numpy alone has it, as Numba compiles for this processor and for any, and as the same loops run interpreted."""
    plain = printed(PLAIN)

    assert len(plain) > 80
    assert printed(SMALL) == plain
    assert printed(SMALL, NUMBA_DISABLE_JIT="1") == plain
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    assert printed(SMALL, **generic) == plain
