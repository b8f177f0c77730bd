"""Which `ipfs` is taken, and how `make kubo` comes to one where there is none."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from network.kubo_binary import BUILT_VERSION, cache_directory, find_ipfs, is_supported, kubo_version
from protocol.errors import StoreUnavailable

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "kubo.py"
SAYS = "#!/bin/sh\necho {}\n"


def program(place: Path, script: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(script)
    place.chmod(0o755)
    return place


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing but a shell: its PATH is ``bin``, its cache ``cache``."""
    monkeypatch.delenv("RONDO_IPFS", raising=False)
    (tmp_path / "bin").mkdir()
    for tool in ("sleep", "chmod"):  # and not what else lies beside them, which may be an ipfs or a Go
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


# --- finding ---


def test_there_is_none(machine: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"no Kubo.*kubo-0\.40\.1.*make kubo") as refusal:
        find_ipfs()
    assert refusal.value.exit_code == 69


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (SAYS.format("0.39.0"), "version 0.39.0"),
        (SAYS.format("0.9.1"), "version 0.9.1"),
        (SAYS.format("hello"), "does not say its version"),
        ("#!/bin/sh\nexit 1\n", "does not say its version"),
        ("#!/bin/sh\necho 0.40.1; exit 1\n", "does not say its version"),
        ("#!/bin/sh\nprintf '\\377\\376'\n", "does not say its version"),
        ("#!/nowhere/sh\n", "does not say its version"),
    ],
)
def test_what_is_no_kubo_or_too_old_is_named_and_not_taken(script: str, said: str, machine: Path) -> None:
    place = program(machine / "bin" / "ipfs", script)
    with pytest.raises(StoreUnavailable, match=f"{place} .*{said}"):
        find_ipfs()
    built = program(cache_directory() / "ipfs", SAYS.format("0.40.1"))
    assert find_ipfs() == built


def test_the_one_that_is_named_goes_before_path_and_path_before_our_build(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = program(cache_directory() / "ipfs", SAYS.format("0.40.1"))
    assert find_ipfs() == built and machine in built.parents
    on_path = program(machine / "bin" / "ipfs", SAYS.format("0.41.0"))
    assert find_ipfs() == on_path
    named = program(machine / "mine", SAYS.format("1.0.0-rc1"))
    monkeypatch.setenv("RONDO_IPFS", str(named))
    assert find_ipfs() == named


@pytest.mark.parametrize("named", ["absent", "/nowhere/ipfs", "old"])
def test_a_choice_that_does_not_work_is_not_replaced_silently(
    named: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(machine / "bin" / "ipfs", SAYS.format("0.41.0"))
    program(machine / "bin" / "old", SAYS.format("0.8.0"))
    monkeypatch.setenv("RONDO_IPFS", named)
    with pytest.raises(StoreUnavailable, match=r"RONDO_IPFS.*Unset RONDO_IPFS"):
        find_ipfs()


@pytest.mark.parametrize(
    ("version", "supported"),
    [("0.40.0", True), ("0.40.1", True), ("0.100.0", True), ("1.0.0", True), ("0.39.9", False)],
)
def test_versions_are_numbers(version: str, supported: bool) -> None:
    assert is_supported(version) is supported


# --- building: a stand-in for Go, since the real build takes minutes ---

GO = """#!/bin/sh
case "$1 $2" in
"env GOVERSION") echo {version} ;;
"mod download") {download}
    echo '{{"Dir": "{sources}"}}' ;;
"build -v") while [ "$1" != -o ]; do shift; done; {build}
    printf '#!/bin/sh\\necho {made}\\n' > "$2"; chmod +x "$2"; echo built >> {sources}/builds ;;
esac
"""


def install_go(machine: Path, **parts: str) -> None:
    (machine / "sources").mkdir(exist_ok=True)
    words = {"version": "go1.25.0", "download": "", "build": "", "made": BUILT_VERSION, **parts}
    program(machine / "bin" / "go", GO.format(sources=machine / "sources", **words))


def make_kubo(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    stdout, stderr = process.communicate(timeout=60)
    assert "Traceback" not in stderr
    return process.returncode, stdout + stderr


def builds(machine: Path) -> int:
    record = machine / "sources" / "builds"
    return record.read_text().count("built") if record.exists() else 0


def left_behind() -> list[str]:
    return sorted(place.name for place in cache_directory().glob("*"))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (None, "no Go 1.25 or later on PATH"),
        ({"version": "go1.24.9"}, "is go1.24.9, and Kubo needs Go 1.25"),
        ({"version": "devel"}, "is devel"),
        ({"download": "echo no such host >&2; exit 1"}, "download of Kubo's sources failed: no such host"),
        ({"build": "echo undefined: x >&2; exit 2"}, "compiling Kubo failed: undefined: x"),
        ({"made": "0.40.0"}, "does not say that it is version 0.40.1"),
    ],
)
def test_where_it_cannot_be_built_one_says_why_and_what_to_do(
    parts: dict[str, str] | None, said: str, machine: Path
) -> None:
    if parts is not None:
        install_go(machine, **parts)
    code, printed = finish(make_kubo())
    assert code == 69 and said in printed and "  do: " in printed
    assert left_behind() in ([], ["build.lock"])
    code, printed = finish(make_kubo("--best-effort"))
    assert code == 0 and said in printed and printed.splitlines()[-1].endswith("Tests that need it are skipped.")


def test_a_build_that_takes_too_long_is_ended_with_all_that_it_started(machine: Path) -> None:
    install_go(machine, build=f"echo $$ > {machine}/pid; sleep 60")
    started = time.monotonic()
    code, printed = finish(make_kubo("--best-effort", "--seconds", "1"))
    assert code == 0 and "took longer than 1 s" in printed
    assert time.monotonic() - started < 20
    with pytest.raises(ProcessLookupError):
        os.kill(int((machine / "pid").read_text()), 0)


def test_it_is_built_once_for_two_at_the_same_time_and_found_ever_after(machine: Path) -> None:
    install_go(machine, build="sleep 2")
    outcomes = [finish(process) for process in [make_kubo(), make_kubo()]]
    assert [code for code, _ in outcomes] == [0, 0]
    assert builds(machine) == 1
    assert find_ipfs() == cache_directory() / "ipfs" and kubo_version(find_ipfs()) == BUILT_VERSION
    code, printed = finish(make_kubo())
    assert (code, builds(machine)) == (0, 1) and printed == f"Kubo {BUILT_VERSION}: {find_ipfs()}\n"
    assert left_behind() == ["build.lock", "ipfs"]


def test_one_that_was_killed_leaves_nothing_in_the_way(machine: Path) -> None:
    install_go(machine, build=f"echo x > $2; : > {machine}/building; sleep 3")
    killed = make_kubo()
    deadline = time.monotonic() + 20
    while not (machine / "building").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    with pytest.raises(StoreUnavailable):
        find_ipfs()
    [lock, half] = sorted(left_behind(), reverse=True)  # and no half of a program at the final place
    assert lock == "build.lock" and half.startswith("build-")
    install_go(machine)
    assert finish(make_kubo())[0] == 0
    assert left_behind() == ["build.lock", "ipfs"]


def test_one_that_is_named_is_never_built_over(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_go(machine)
    monkeypatch.setenv("RONDO_IPFS", "/nowhere/ipfs")
    code, printed = finish(make_kubo())
    assert code == 69 and "/nowhere/ipfs" in printed and builds(machine) == 0
