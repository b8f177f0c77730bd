"""Long experiments in short runs: each run's record is one file, so that a stopped benchmark goes on where it was."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Runs:
    """The records of one benchmark.

    Args:
        folder: Where records are kept; None keeps nothing and runs everything anew.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.seconds = 0.0  # of all runs that were asked for, whenever they ran

    def record(self, setting: Record, run: Callable[[], Record]) -> Record:
        """Return the record of the run with ``setting``, from its file where there is one.

        Args:
            setting: Everything that decides the outcome, as JSON holds it.
            run: Returns figures; they are kept with the setting and the seconds that the run took.
        """
        path = self._path(setting)
        if path is not None and path.exists():
            record: Record = json.loads(path.read_text())
        else:
            began = time.perf_counter()
            record = {"setting": setting, **run(), "seconds": round(time.perf_counter() - began, 1)}
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_suffix(".tmp")
                temporary.write_text(json.dumps(record) + "\n")
                temporary.replace(path)
        self.seconds += record["seconds"]
        return record

    def _path(self, setting: Record) -> Path | None:
        if self._folder is None:
            return None
        spelled = json.dumps(setting, sort_keys=True).encode("ascii")
        return self._folder / f"{hashlib.sha256(spelled).hexdigest()[:16]}.json"


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)
