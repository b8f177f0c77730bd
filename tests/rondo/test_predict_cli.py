"""``rondo predict`` as a user runs it wrongly: codes and explanations; what it says rightly is in tests/e2e/test_committee.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from network.directory_store import DirectoryStore
from network.transfer import publish, publish_file
from protocol.cid import directory_cid
from protocol.committee import CommitteeManifest, CommitteeMember, encode_committee
from protocol.model import encode_model
from protocol.types import Digest
from protocol.update import encode_update
from tests.processor.factory import TinyRound, account

ROOT = Path(__file__).resolve().parents[2]
NOBODYS = directory_cid(Digest(bytes(32)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a model, an update, a committee that lies, and files of examples."""
    home = tmp_path_factory.mktemp("predict")
    store, tiny = DirectoryStore(home / "store"), TinyRound()
    base = publish(store, encode_model(tiny.base))
    update = publish(store, encode_update(tiny.update("alice")))
    lie = CommitteeMember(1, update, update, account("alice"), 95)  # its base is no model
    liars = publish(store, encode_committee(CommitteeManifest("soft", (lie,))))
    cids = {
        "model": directory_cid(base),
        "update": directory_cid(update),
        "committee": directory_cid(liars),
        "file": publish_file(store, b"text"),
    }
    for name, cid in cids.items():
        (home / name).write_text(str(cid))
    np.savez(home / "data.npz", x=np.zeros((2, 4), np.float32))
    (home / "text.npz").write_text("no")
    return home


def rondo(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RONDO_")}
    env = {**clean, "PYTHONPATH": str(ROOT), "HOME": str(place), "RONDO_STORE": f"dir:{place / 'store'}"}
    said = [(place / word[1:]).read_text() if word.startswith("@") else word for word in words]
    command = [sys.executable, "-m", "rondo", "predict", *said]
    return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False, timeout=120)


DATA = ("--data", "data.npz")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["bafy", *DATA], 64, "not a CID"),
        (["@model"], 64, "--data"),
        (["@model", *DATA, "--limit", "-1"], 64, "--limit"),
        (["@model", *DATA, "--vote", "loud"], 64, "--vote"),
        (["@model", *DATA, "--vote", "soft"], 64, "does not vote"),
        (["@model", *DATA, "--committee"], 64, "names no committee"),
        (["@model", "--data", "absent.npz"], 64, "absent.npz"),
        (["@model", "--data", "text.npz"], 64, "text.npz"),
        (["@model", *DATA, "--out", "data.npz"], 64, "there already"),
        (["@model", *DATA, "--out", "absent/said.npz"], 64, "no folder"),
        (["@model", *DATA, "--limit", "10"], 65, "10"),
        (["@model", *DATA, "--config", "absent.toml"], 78, "absent.toml"),
        (["@file", *DATA], 64, "is a file"),
        (["@update", *DATA], 65, "A model directory is not one"),
        ([str(NOBODYS), *DATA], 69, str(NOBODYS)),
        (["@committee", *DATA], 65, "A model directory is not one"),
    ],
)
def test_wrong_words_have_a_code_and_an_explanation(place: Path, words: list[str], code: int, said: str) -> None:
    done = rondo(place, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert not (place / "said.npz").exists()


def test_a_model_outside_the_allow_list_is_never_built(place: Path) -> None:
    done = rondo(place, "@model", *DATA)  # its architecture is {}
    assert done.returncode == 65 and "architecture" in done.stderr and "Traceback" not in done.stderr
