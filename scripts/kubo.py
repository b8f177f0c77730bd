"""Find Kubo, the IPFS node, or build it with Go: `make kubo`.

    python scripts/kubo.py                               # exit 0 where there is one in the end, else 69
    python scripts/kubo.py --best-effort --seconds 1200  # exit 0 in any case; one line says why there is none

The build goes to ~/.cache/rondo/kubo-VERSION/ipfs (below XDG_CACHE_HOME where that is set), once for all checkouts: there
`rondo demo --ipfs kubo` and the tests find it. Needs nothing but Python's standard library and Go.

Go itself checks every source against its public checksum database. The module is built as it was released, in its own
directory with its own go.sum, because `go install MODULE@VERSION` also asks for lists of versions, which not every
module proxy gives.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from network.kubo_binary import BUILT_VERSION, VARIABLE, cache_directory, find_ipfs, kubo_version  # noqa: E402
from protocol.errors import StoreUnavailable  # noqa: E402

MODULE = "github.com/ipfs/kubo"
OLDEST_GO = (1, 25)  # as its go.mod says
REPORT_SECONDS = 15
TAIL = 500  # characters of what Go said last
# No workspace around us, and no other Go than the one at hand.
GO_ENVIRONMENT = {"GOWORK": "off", "GOTOOLCHAIN": "local", "GO111MODULE": "on"}


class NotBuilt(Exception):
    """Why there is no build, in one line."""


def say(line: str) -> None:
    """Print one line of progress."""
    print(line, flush=True)


def find_go() -> str:
    """Return the `go` on PATH. Raises: NotBuilt where there is none, or one too old for Kubo."""
    go = shutil.which("go")
    oldest = ".".join(map(str, OLDEST_GO))
    if go is None:
        raise NotBuilt(f"there is no Go {oldest} or later on PATH to build it with")
    try:
        said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotBuilt(f"{go} does not run ({type(error).__name__})") from error
    found = re.match(r"go(\d+)\.(\d+)", said.strip())
    if not found or (int(found[1]), int(found[2])) < OLDEST_GO:
        raise NotBuilt(f"{go} is {said.strip() or 'of no known version'}, and Kubo needs Go {oldest} or later")
    return go


class Clock:
    """What is left of the time: seconds since it was made, against a limit."""

    def __init__(self, seconds: float) -> None:
        self._started, self._seconds = time.monotonic(), seconds

    @property
    def passed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds until the limit, not below 0."""
        return max(self._seconds - self.passed, 0.0)


def run_go(words: list[str], directory: Path, clock: Clock, what: str) -> str:
    """Run Go in ``directory``, with a line of progress now and then, and return its stdout.

    Raises:
        NotBuilt: It failed, or the time is over; then Go and all compilers that it started are ended.
    """
    environment = {**os.environ, **GO_ENVIRONMENT}
    process = subprocess.Popen(
        words,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines: list[str] = []  # with -v Go names each package that it has compiled
    output: list[str] = []
    readers = [
        threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True),
        threading.Thread(target=lambda: output.extend(process.stdout or ()), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        while True:
            try:
                process.wait(min(REPORT_SECONDS, clock.left))
                break
            except subprocess.TimeoutExpired:
                if not clock.left:
                    raise NotBuilt(f"{what} took longer than {clock.passed:.0f} s") from None
                packages = f", {len(lines)} packages" if "-v" in words else ""
                say(f"{what}: {clock.passed:.0f} s{packages}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # also where we end by Ctrl-C
        process.wait()
        for reader in readers:
            reader.join(5)
    if process.returncode != 0:
        # With -json Go writes its error into the document.
        last = " ".join(("".join(lines).strip() or "".join(output).strip())[-TAIL:].split())
        raise NotBuilt(f"{what} failed: {last or f'exit code {process.returncode}'}")
    return "".join(output)


@contextlib.contextmanager
def only_builder(cache: Path, clock: Clock) -> Iterator[None]:
    """Hold the cache directory; another build is waited for. A killed one lets go. Raises: NotBuilt."""
    with (cache / "build.lock").open("w") as lock:
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    say("Kubo: another build runs; waiting for it")
                    told = True
                if not clock.left:
                    raise NotBuilt(f"another build took longer than {clock.passed:.0f} s") from None
                time.sleep(min(1.0, clock.left))
        yield


def build(seconds: float) -> Path:
    """Build Kubo into the cache and return its path; where a build is there already, that one.

    Raises:
        NotBuilt: There is no Go, or it failed.
        OSError: The cache cannot be written.
    """
    clock, go, cache = Clock(seconds), find_go(), cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / "ipfs"
    with only_builder(cache, clock):
        if place.is_file() and kubo_version(place) == BUILT_VERSION:
            return place  # by whom we waited for
        for left in cache.glob("build-*"):  # by killed ones
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="build-", dir=cache) as scratch:
            say(f"Kubo {BUILT_VERSION}: getting its sources with Go")
            words = [go, "mod", "download", "-json", f"{MODULE}@v{BUILT_VERSION}"]
            sources = Path(json.loads(run_go(words, Path(scratch), clock, "download of Kubo's sources"))["Dir"])
            say(f"Kubo {BUILT_VERSION}: compiling it, once; this takes some minutes")
            made = Path(scratch) / "ipfs"
            words = [go, "build", "-v", "-mod=readonly", "-trimpath", "-o", str(made), "./cmd/ipfs"]
            run_go(words, sources, clock, "compiling Kubo")
            if kubo_version(made) != BUILT_VERSION:
                raise NotBuilt(f"what was built does not say that it is version {BUILT_VERSION}")
            made.replace(place)
    say(f"Kubo {BUILT_VERSION}: built in {clock.passed:.0f} s: {place}")
    return place


def main() -> int:
    """Find or build; the exit code."""
    parser = argparse.ArgumentParser(description="Find Kubo, the IPFS node, or build it with Go.")
    parser.add_argument("--best-effort", action="store_true", help="exit 0 also where there is none in the end")
    parser.add_argument("--seconds", type=float, default=3600, help="how long the build may take")
    arguments = parser.parse_args()
    try:
        found = find_ipfs()
        say(f"Kubo {kubo_version(found)}: {found}")
        return 0
    except StoreUnavailable as error:
        missing = error
    why, do = missing.why, missing.do
    if not os.environ.get(VARIABLE):  # a choice that was made is not overridden by a build
        try:
            build(arguments.seconds)
            return 0
        except (NotBuilt, OSError, ValueError, KeyError) as error:
            why = f"{missing.why} It was not built: {error}."
            do = do.replace(
                "Run `make kubo`",
                f"Have Go {'.'.join(map(str, OLDEST_GO))} or later and the network, and run this again",
            )
    if arguments.best_effort:
        say(f"No Kubo: {' '.join(why.split())} Tests that need it are skipped.")
        return 0
    print(f"error: {missing.what}\n  why: {why}\n  do: {do}", file=sys.stderr)
    return StoreUnavailable.exit_code


if __name__ == "__main__":
    sys.exit(main())
