"""Memory that is kept: temporaries after the first take no new pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from rondo.freed_memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def work():
    return np.ones(1 << 18, np.int64).sum() + np.ones(1 << 17, np.int64).sum()  # 2 MiB, and one
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    parts = [work(), np.ones(1 << 18, np.int64)]
    del parts
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this allocator is another one")
def test_temporaries_take_no_new_pages() -> None:
    faults = {
        how: int(
            subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True).stdout
        )
        for how in ("keep", "not")
    }
    assert faults["keep"] < 2_000, faults  # of 50 times 3 MiB, which are 38,400 pages of 4 KiB
