"""Where the ``ipfs`` command of Kubo is: the one that RONDO_IPFS names, on PATH, or built by ``make kubo``.

Nothing but Python's standard library is imported here, so that ``make kubo`` runs before anything is set up.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from protocol.errors import StoreUnavailable

BUILT_VERSION = "0.40.1"  # what `make kubo` builds, and what was tried
# The first release that knows the import profile unixfs-v1-2025, whose CIDs ours are.
OLDEST = (0, 40)
VARIABLE = "RONDO_IPFS"
_VERSION_SECONDS = 30


def cache_directory() -> Path:
    """Return where ``make kubo`` leaves its build, outside of every checkout."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "rondo" / f"kubo-{BUILT_VERSION}"


def find_ipfs() -> Path:
    """Return the path of an ``ipfs`` that is Kubo of a supported version.

    Raises:
        StoreUnavailable: There is none, or RONDO_IPFS names something else.
    """
    named = os.environ.get(VARIABLE)
    if named:
        place = shutil.which(Path(named).expanduser())
        trouble = _trouble(Path(place)) if place else f"{named} is no program."
        if place is None or trouble:
            raise StoreUnavailable(f"{VARIABLE} names no Kubo that can be used.", trouble, _advice(f"Unset {VARIABLE}"))
        return Path(place)
    troubles = []
    for place_ in _places():
        trouble = _trouble(place_)
        if not trouble:
            return place_
        troubles.append(trouble)
    why = " ".join(troubles) or f"It is neither on PATH nor in {cache_directory()}."
    raise StoreUnavailable("There is no Kubo, the IPFS node.", why, _advice("Run `make kubo`"))


def kubo_version(ipfs: Path) -> str | None:
    """Return the version that the command says, such as ``0.40.1``; None where it is no Kubo."""
    try:
        said = subprocess.run(
            [str(ipfs), "version", "--number"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_VERSION_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    number = said.stdout.strip()
    return number if said.returncode == 0 and _numbers(number) else None


def is_supported(version: str) -> bool:
    """Say whether Rondo was made for this version of Kubo, such as ``0.40.1`` or ``0.41.0-rc1``."""
    return _numbers(version) >= OLDEST


def _places() -> Iterator[Path]:
    on_path = shutil.which("ipfs")
    if on_path:
        yield Path(on_path)
    built = cache_directory() / "ipfs"
    if built.is_file():
        yield built


def _trouble(ipfs: Path) -> str:
    """Why this one cannot be used; empty where it can."""
    version = kubo_version(ipfs)
    if version is None:
        return f"{ipfs} does not say its version as Kubo does."
    return "" if is_supported(version) else f"{ipfs} is version {version}."


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return tuple(int(number) for number in found.groups()) if found else ()


def _advice(first: str) -> str:
    oldest = ".".join(map(str, OLDEST))
    return f"{first}, or install Kubo {oldest} or later and put `ipfs` on PATH, or its path into {VARIABLE}."
