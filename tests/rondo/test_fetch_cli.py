"""``rondo fetch`` and ``rondo put`` as a user runs them: exit codes, what stands on stdout, and going on after a kill."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from network.directory_store import DirectoryStore
from network.memory_store import MemoryStore
from network.transfer import publish, publish_path
from protocol.cid import RAW, block_cid, directory_cid
from protocol.unixfs import CHUNK, directory_digest

ROOT = Path(__file__).resolve().parents[2]
NOBODYS = str(block_cid(RAW, b"nobody has this"))


def environment(cwd: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RONDO_")}
    return {**clean, "PYTHONPATH": str(ROOT), "HOME": str(cwd), "RONDO_STORE": f"dir:{cwd / 'store'}"}


def rondo(*words: object, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rondo", *map(str, words)]
    env = {**environment(cwd), **settings}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=120)


def randbytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)  # noqa: S311


# What is refused


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["fetch", "bafy", "out"], 64, "not a CID"),
        (["fetch", NOBODYS], 64, "path"),
        (["fetch", NOBODYS, "out", "--limit", "-1"], 64, "--limit"),
        (["fetch", NOBODYS, "out"], 69, NOBODYS),
        (["fetch", NOBODYS, "out", "--config", "absent.toml"], 78, "absent.toml"),
        (["put", "absent"], 64, "absent"),
        (["put", "store"], 64, "artifact"),
    ],
)
def test_wrong_words_have_a_code_and_an_explanation(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    for number in range(9):
        (tmp_path / "store" / f"file-{number}").touch()
    done = rondo(*words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr and done.stdout == ""
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("folder", [".", "/", ".."])
def test_a_folder_is_no_name_for_what_is_fetched(folder: str, tmp_path: Path) -> None:
    done = rondo("fetch", block_cid(RAW, b"x"), folder, cwd=tmp_path)
    assert done.returncode == 64 and "names no file" in done.stderr


def test_the_limit_is_named_with_how_to_raise_it(tmp_path: Path) -> None:
    root = publish_path(DirectoryStore(tmp_path / "store"), written(tmp_path / "file", 2 * CHUNK))
    done = rondo("fetch", root.cid, "out", "--limit", 2 * CHUNK - 1, cwd=tmp_path)
    assert done.returncode == 65 and "--limit" in done.stderr and not list(tmp_path.glob("out*"))
    assert rondo("fetch", root.cid, "out", "--limit", 2 * CHUNK, cwd=tmp_path).returncode == 0


def written(path: Path, size: int) -> Path:
    path.write_bytes(randbytes(size))
    return path


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    root = publish_path(DirectoryStore(tmp_path / "store"), written(tmp_path / "file", 100))
    (tmp_path / "out").write_text("years of work")
    done = rondo("fetch", root.cid, "out", cwd=tmp_path)
    assert done.returncode == 64 and "out exists" in done.stderr
    assert (tmp_path / "out").read_text() == "years of work"


def test_a_damaged_block_is_refused_and_what_came_kept(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    root = publish_path(store, written(tmp_path / "file", 40 * CHUNK))
    leaf = block_cid(RAW, randbytes(40 * CHUNK)[30 * CHUNK : 31 * CHUNK])
    store.path(leaf).write_bytes(b"damaged")
    done = rondo("fetch", root.cid, "out", cwd=tmp_path)
    assert done.returncode == 65 and str(leaf) in done.stderr and "out.part" in done.stderr
    assert done.stdout == "" and (tmp_path / "out.part").exists() and not (tmp_path / "out").exists()
    store.path(leaf).write_bytes(randbytes(40 * CHUNK)[30 * CHUNK : 31 * CHUNK])
    assert rondo("fetch", root.cid, "out", cwd=tmp_path).returncode == 0
    assert (tmp_path / "out").read_bytes() == (tmp_path / "file").read_bytes()
    assert not (tmp_path / "out.part").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_fetch_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    root = publish_path(DirectoryStore(tmp_path / "store"), written(tmp_path / "file", 60 * CHUNK))
    command = [sys.executable, "-m", "rondo", "fetch", str(root.cid), "out"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stderr=subprocess.PIPE, text=True)
    part = tmp_path / "out.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size > 0):
        time.sleep(0.001)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    if process.returncode:  # it may have been faster
        assert process.returncode in (130, -signal.SIGKILL) and "Traceback" not in said
        assert part.exists() and not (tmp_path / "out").exists()
    assert rondo("fetch", root.cid, "out", cwd=tmp_path).returncode == 0
    assert (tmp_path / "out").read_bytes() == (tmp_path / "file").read_bytes() and not part.exists()


# What is fetched and put


def test_put_prints_the_cid_alone_and_fetch_gives_it_back(tmp_path: Path) -> None:
    written(tmp_path / "file", 9 * CHUNK + 1)
    put = rondo("put", "file", cwd=tmp_path)
    assert put.returncode == 0, put.stderr
    assert put.stdout == rondo("cid", "file", cwd=tmp_path).stdout
    cid = put.stdout.strip()
    fetched = rondo("fetch", cid, "out", cwd=tmp_path)
    assert fetched.returncode == 0 and cid in fetched.stdout
    assert (tmp_path / "out").read_bytes() == (tmp_path / "file").read_bytes()
    assert {str(root) for root in DirectoryStore(tmp_path / "store").kept()} == {cid}


def test_artifacts_go_in_and_out_with_json_alone_on_stdout(tmp_path: Path) -> None:
    files = {"delta.safetensors": randbytes(9 * CHUNK), "update.json": b"{}"}
    (tmp_path / "update").mkdir()
    for name, data in files.items():
        (tmp_path / "update" / name).write_bytes(data)
    put = rondo("put", "update", "--json", cwd=tmp_path)
    document = json.loads(put.stdout)
    assert document == {
        "cid": str(directory_cid(directory_digest(files))),
        "size": 9 * CHUNK + 2,
        "total_size": document["total_size"],
        "path": "update",
        "store": f"dir:{tmp_path / 'store'}",
    }
    assert document["total_size"] > document["size"]
    for _ in range(2):  # the second time it is there
        fetched = rondo("fetch", document["cid"], "out", "--json", cwd=tmp_path)
        assert json.loads(fetched.stdout) == {"cid": document["cid"], "path": "out", "size": 9 * CHUNK + 2}
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


def test_a_store_of_another_name_is_the_settings(tmp_path: Path) -> None:
    digest = publish(DirectoryStore(tmp_path / "elsewhere"), {"a": b"x"})
    assert publish(MemoryStore(), {"a": b"x"}) == digest
    (tmp_path / "rondo.toml").write_text(f'store = "dir:{tmp_path / "elsewhere"}"\n')
    settings = {"RONDO_STORE": ""}
    words = ["fetch", directory_cid(digest), "out", "--config", "rondo.toml"]
    command = [sys.executable, "-m", "rondo", *map(str, words)]
    env = {name: value for name, value in environment(tmp_path).items() if name not in settings}
    assert subprocess.run(command, cwd=tmp_path, env=env, check=False).returncode == 0
    assert (tmp_path / "out" / "a").read_bytes() == b"x"


@pytest.mark.parametrize("word", ["fetch", "put"])
def test_help_imports_nothing_slow(word: str, tmp_path: Path) -> None:
    code = (
        "import sys, rondo.cli, typer.testing; typer.testing.CliRunner().invoke(rondo.cli.app, [sys.argv[1], '--help']); "
        "sys.exit(any(name in sys.modules for name in ('web3', 'numpy', 'tensorflow', 'httpx', 'network.settings')))"
    )
    done = subprocess.run([sys.executable, "-c", code, word], cwd=ROOT, check=False)
    assert done.returncode == 0
    assert "Usage: rondo" in rondo(word, "--help", cwd=tmp_path).stdout
