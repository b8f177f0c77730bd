"""The committed results: one JSON file a benchmark, and the few figures that every one of them is made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, median_high
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def today() -> str:
    """Return the date, UTC, as a results file states it."""
    return datetime.now(UTC).date().isoformat()


def spread(values: Sequence[int]) -> dict[str, int]:
    """Return least, median (of an even number the higher of the middle two) and maximum of ``values``, and how many."""
    return {"min": min(values), "median": median_high(values), "max": max(values), "count": len(values)}


def ceil_div(total: int, parts: int) -> int:
    """Return ``total / parts``, rounded up: no share is made to look smaller than it is."""
    return -(-total // parts)


def upper_limit(limit: int, measured: int) -> dict[str, int | bool]:
    """Return the record of one limit that ``measured`` must not exceed."""
    return {"limit": limit, "measured": measured, "holds": measured <= limit}


def lower_limit(limit: float, measured: float) -> dict[str, float | bool]:
    """Return the record of one limit that ``measured`` must reach."""
    return {"limit": limit, "measured": measured, "holds": measured >= limit}


def rate_spread(seconds: Sequence[float], amount: float) -> dict[str, float]:
    """Return least, median and maximum of ``amount`` a second over runs of these ``seconds``, and how many there were."""
    rates = [amount / each for each in seconds]
    return {
        "min": round(min(rates), 1),
        "median": round(median(rates), 1),
        "max": round(max(rates), 1),
        "count": len(rates),
    }


def read_results(name: str) -> dict[str, Any]:
    """Return the committed results ``name``, such as "gas"."""
    document: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return document


def write_results(name: str, document: dict[str, Any]) -> Path:
    """Write ``document`` as the results ``name``; return the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(path)
    return path


def replace_line(path: Path, beginning: str, line: str) -> None:
    """Put ``line`` in the place of the one line of the text file ``path`` that begins so."""
    lines = path.read_text().splitlines()
    (place,) = [number for number, text in enumerate(lines) if text.startswith(beginning)]
    lines[place] = line
    path.write_text("\n".join(lines) + "\n")
