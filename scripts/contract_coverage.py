"""Measure how much of contracts/ forge's tests reach: lines and branches, file by file.

    python scripts/contract_coverage.py

Exit code 1 where less than 98 % of all lines or of all branches is reached. Two measurements count together: the
libraries by themselves, compiled as they are written, and everything compiled via IR, without which the contract does
not compile, and in which the lines of an assembly block cannot be told apart. Doubles in contracts/testing do not count,
nor does the hunt for the laws: what is reached must not hang on luck. A branch is the way into an `if`, and into its
`else` where there is one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "coverage"
LEAST = 98  # per cent
WIDTH = 240  # of a line of forge's: its counterexamples have no end
FORGE = ["node", "scripts/forge.mjs", "coverage", "--report", "lcov", "--exclude-tests"]
MEASUREMENTS = {
    "libraries": (["--match-path", "tests/contracts/libraries/*"], {"FOUNDRY_PROFILE": "libraries"}),
    "contracts": (["--ir-minimum", "--no-match-contract", "Laws"], {}),
}

Reached = dict[str, dict[str, bool]]  # of each file, by line or branch


def measure(name: str) -> str:
    """Run forge's tests once; return its lcov report."""
    options, settings = MEASUREMENTS[name]
    report = BUILD / f"{name}.lcov"
    environment = {**os.environ, "FOUNDRY_FUZZ_RUNS": "64", "FOUNDRY_FUZZ_SEED": "0x1", **settings}
    command = [*FORGE, *options, "--report-file", str(report)]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        said = "\n".join(line[:WIDTH] for line in (done.stdout + done.stderr).splitlines())
        raise SystemExit(f"{said}\nforge coverage failed; nothing was measured.")
    return report.read_text()


def read(report: str, lines: Reached, branches: Reached) -> None:
    """Add what an lcov report says of contracts/ to ``lines`` and ``branches``."""
    file = ""
    for record in report.splitlines():
        kind, _, rest = record.partition(":")
        if kind == "SF":
            file = rest if rest.startswith("contracts/") and not rest.startswith("contracts/testing/") else ""
        elif kind == "DA" and file:
            number, count = rest.split(",")[:2]
            lines[file][number] = lines[file].get(number, False) or int(count) > 0
        elif kind == "BRDA" and file:
            place, count = re.fullmatch(r"(.*),(-|\d+)", rest).groups()  # type: ignore[union-attr]
            branches[file][place] = branches[file].get(place, False) or count not in ("-", "0")


def share(reached: dict[str, bool]) -> str:
    """Return, for example, "  97.50 % (39/40)"."""
    hit, total = sum(reached.values()), len(reached)
    return f"{100 * hit / total if total else 100:7.2f} % ({hit}/{total})"


def whole(parts: Reached) -> dict[str, bool]:
    return {f"{file}:{place}": hit for file, places in parts.items() for place, hit in places.items()}


def main() -> int:
    BUILD.mkdir(parents=True, exist_ok=True)
    lines: Reached = defaultdict(dict)
    branches: Reached = defaultdict(dict)
    for name in MEASUREMENTS:
        read(measure(name), lines, branches)
    totals = whole(lines), whole(branches)
    table = [f"{'file':42}{'lines':>22}{'branches':>22}"]
    table += [f"{file:42}{share(lines[file]):>22}{share(branches[file]):>22}" for file in sorted(lines)]
    table.append(f"{'all':42}{share(totals[0]):>22}{share(totals[1]):>22}")
    (BUILD / "table.txt").write_text("\n".join(table) + "\n")
    print("\n".join(table))
    missed = [place for total in totals for place, hit in total.items() if not hit]
    for place in missed:
        print(f"not reached: {place}")
    if any(100 * sum(total.values()) < LEAST * len(total) for total in totals):
        print(f"Less than {LEAST} % is reached. Test what is listed above, in tests/contracts/*.t.sol.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
