"""Run slither over contracts/ and hold its findings against slither.toml, which says why each is harmless.

    python scripts/run_slither.py

Exit code 1 where slither finds what slither.toml does not explain, where slither.toml explains what slither no longer
finds, and where slither could not read one of our functions: silence about it would look like health. A finding is
known by its words without line numbers, so that moving code does not unsettle it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "slither"
EXPLAINED = ROOT / "slither.toml"
FOREIGN = "node_modules|contracts/testing"
PLACE = re.compile(r" ?\((?:contracts|node_modules)/[^)]*\)")
UNREAD = re.compile(r"(?:Impossible|Failed) to (?:generate|convert) IR.*\(contracts/.*")

Finding = tuple[str, str]  # detector, words


def build() -> None:
    """Compile the contracts anew into BUILD: slither would take an earlier build where this one fails."""
    shutil.rmtree(BUILD, ignore_errors=True)
    folders = ["--build-info-path", BUILD / "info", "--out", BUILD / "out", "--cache-path", BUILD / "cache"]
    forge = ["node", "scripts/forge.mjs", "build", "contracts/TrainingRounds.sol", "--quiet", "--ast", "--build-info"]
    if subprocess.run([*forge, *folders], cwd=ROOT, check=False).returncode:
        raise SystemExit("The contracts do not compile, so slither was not asked. Mend that first.")


def ask() -> list[Finding]:
    """Return slither's findings about our own contracts, sorted."""
    command = [
        Path(sys.executable).parent / "slither",
        *(
            ".",
            "--compile-force-framework",
            "foundry",
            "--ignore-compile",
            "--fail-none",
            "--json",
            BUILD / "findings.json",
        ),
        *("--foundry-build-info-directory", BUILD / "info", "--foundry-out-directory", BUILD / "out"),
        *("--filter-paths", FOREIGN, "--exclude-dependencies"),
    ]
    path = os.pathsep.join((str(ROOT / "node_modules" / ".bin"), os.environ.get("PATH", "")))
    environment = {**os.environ, "PATH": path}  # it asks `forge config`
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    unread = UNREAD.findall(done.stdout + done.stderr)
    if unread:
        raise SystemExit("slither could not read, so has not checked:\n" + "\n".join(unread))
    if done.returncode:
        raise SystemExit(f"slither failed:\n{done.stdout}{done.stderr}")
    answer = json.loads((BUILD / "findings.json").read_text())
    return sorted((found["check"], words_of(found["description"])) for found in answer["results"].get("detectors", []))


def words_of(description: str) -> str:
    """Return a finding in one line without places; its details come in an order of slither's own, so they are sorted."""
    first, *details = [PLACE.sub("", line).strip() for line in description.strip().splitlines()]
    return "; ".join(
        [
            first.removesuffix(" It is used in:"),
            *sorted(detail.removeprefix("- ") for detail in details if not detail.endswith(":")),
        ]
    )


def explained() -> list[Finding]:
    """Return the findings that slither.toml names, each with a reason."""
    entries = tomllib.loads(EXPLAINED.read_text())["explained"]
    if any(not entry["why"].strip() for entry in entries):
        raise SystemExit("slither.toml has an explanation without a reason.")
    return sorted((entry["detector"], words) for entry in entries for words in entry["findings"])


def main() -> int:
    build()
    found, known = ask(), explained()
    fresh = [finding for finding in found if finding not in known]
    gone = [finding for finding in known if finding not in found]
    for detector, words in fresh:
        print(f"slither: {detector}: {words}")
    for detector, words in gone:
        print(f"slither.toml explains what slither does not find: {detector}: {words}")
    if fresh:
        print("Mend what is new, or say in slither.toml why it is harmless.")
    if not fresh and not gone:
        print(f"slither: {len(found)} findings, each explained in slither.toml")
    return 1 if fresh or gone else 0


if __name__ == "__main__":
    sys.exit(main())
