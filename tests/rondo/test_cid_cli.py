"""``rondo cid`` as it is typed: the CID alone on stdout, sizes in JSON, progress on stderr, and exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.unixfs import CHUNK
from tests.protocol.content_patterns import MIB, write_pattern, write_tree
from tests.rondo.test_cli import ROOT, rondo

EMPTY_FILE = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
EMPTY_DIRECTORY = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["cid"], 64, "path"),
        (["cid", "absent"], 64, "absent cannot be read"),
        (["cid", "/dev/null"], 64, "It is a device"),
        (["cid", "pipe"], 64, "It is a pipe"),
        (["cid", "many"], 64, "many is too large for one directory"),
        (["cid", "loop", "--dereference-symlinks"], 64, "leads back"),
        (["cid", "loop", "--hiden"], 64, "--hiden"),
    ],
)
def test_what_has_no_cid_is_an_error_with_nothing_on_stdout(
    words: list[str], code: int, said: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    write_tree(tmp_path / "many", {".": {"empty_files": 5141, "digits": 7}})
    write_tree(tmp_path / "loop", {"a": {"symlink": "."}})
    done = rondo(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_what_changes_meanwhile_is_worth_another_try(tmp_path: Path) -> None:
    """A file that a process keeps writing to: exit code 75, by which scripts know that trying again may help."""
    path = tmp_path / "growing"
    write_pattern(path, "zeros", 300 * MIB)
    writer = "import sys, time\nfile = open(sys.argv[1], 'ab', 0)\nwhile True: file.write(b'x'); time.sleep(0.01)"
    with subprocess.Popen([sys.executable, "-c", writer, str(path)]) as process:
        try:
            done = rondo("cid", "growing", cwd=tmp_path)
        finally:
            process.kill()
    assert (done.returncode, done.stdout) == (75, "")
    assert "growing changed while it was read" in done.stderr


def test_the_cid_stands_alone_on_stdout(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    for name, cid in (("file", EMPTY_FILE), ("directory", EMPTY_DIRECTORY)):
        done = rondo("cid", name, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, cid + "\n", "")


def test_json_has_the_sizes(tmp_path: Path) -> None:
    recipe = {"pattern": "counter", "size": 2 * CHUNK}
    write_tree(tmp_path / "d", {"a": recipe, "b": recipe, ".c": {"pattern": "zeros", "size": 7}})
    documents = [json.loads(rondo("cid", "d", *more, "--json", cwd=tmp_path).stdout) for more in ([], ["--hidden"])]
    assert [list(document) for document in documents] == [["cid", "size", "total_size", "path"]] * 2
    assert [document["size"] for document in documents] == [4 * CHUNK, 4 * CHUNK + 7]
    assert all(document["path"] == "d" for document in documents)
    assert all(4 * CHUNK < document["total_size"] < 4 * CHUNK + 1000 for document in documents)
    assert documents[0]["cid"] == rondo("cid", "d", cwd=tmp_path).stdout.strip() != documents[1]["cid"]


def test_names_that_begin_with_a_dot_are_taken_when_asked(tmp_path: Path) -> None:
    file = {"pattern": "counter", "size": 9}
    write_tree(tmp_path / "with", {"a": file, ".b/c": file})
    write_tree(tmp_path / "without", {"a": file})
    said = {words: rondo("cid", *words, cwd=tmp_path).stdout for words in (("with",), ("with", "-H"), ("without",))}
    assert said["with",] == said["without",] != said["with", "-H"]


def test_links_are_followed_when_asked(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"model")
    (tmp_path / "latest").symlink_to("model")
    model, link, followed = (
        rondo("cid", *words, cwd=tmp_path).stdout
        for words in (["model"], ["latest"], ["latest", "--dereference-symlinks"])
    )
    assert model == followed != link


def test_no_settings_and_no_store_are_needed(tmp_path: Path) -> None:
    (tmp_path / "rondo.toml").write_text("this is no settings file")
    (tmp_path / "file").touch()
    assert rondo("cid", "file", cwd=tmp_path, RONDO_STORE="kubo:/ip4/127.0.0.1/tcp/9").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "rondo.toml"]


IMPATIENT = "import network.progress, rondo.cli; network.progress.LEAST_SECONDS = 0; rondo.cli.main()"


def test_a_log_gets_lines(tmp_path: Path) -> None:
    write_pattern(tmp_path / "file", "zeros", 30 * MIB)
    words = [sys.executable, "-c", IMPATIENT, "cid", "file"]
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"(file: \d+ of 31 MB \(\d+ %\), .*\n)+", done.stderr), done.stderr
    assert done.stdout == rondo("cid", "file", cwd=tmp_path).stdout


def test_a_terminal_gets_a_bar_that_is_wiped(tmp_path: Path) -> None:
    write_pattern(tmp_path / "file", "zeros", 60 * MIB)
    outside, inside = pty.openpty()
    words = [sys.executable, "-c", IMPATIENT, "cid", "file"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=inside, text=True
    ) as child:
        os.close(inside)
        seen = b""
        try:
            while part := os.read(outside, 4096):
                seen += part
        except OSError:  # how Linux says that the other end is closed
            pass
        assert child.stdout is not None
        printed = child.stdout.read()
    os.close(outside)
    assert child.returncode == 0
    assert printed == rondo("cid", "file", cwd=tmp_path).stdout
    assert b"file" in seen
    assert b"MB" in seen
    assert seen.rstrip().endswith((b"\x1b[2K", b"\x1b[?25h")), seen[-80:]
