"""What a measurement was made on, from the machine itself: no clock of the repository, no name of a host."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

CPU_FACTS = Path("/proc/cpuinfo")


def machine_facts(*packages: str) -> dict[str, object]:
    """Return system, processor, cores, memory and Python, and the installed version of each of ``packages``."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def _processor() -> str:
    if CPU_FACTS.exists():
        for line in CPU_FACTS.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
