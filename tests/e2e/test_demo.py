"""The main job with real processes: one small `rondo demo`, read as a program reads it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from network.store import open_store
from network.transfer import fetch
from protocol.cid import parse_cid
from protocol.model import decode_model

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.node]

ROUNDS, CLIENTS = 3, 3


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    directory = tmp_path_factory.mktemp("demo") / "run"
    arguments = [
        "demo",
        "--clients",
        str(CLIENTS),
        "--rounds",
        str(ROUNDS),
        "--seed",
        "7",
        "--dir",
        str(directory),
        "--json",
    ]
    done = subprocess.run([sys.executable, "-m", "rondo", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), directory


def test_every_round_has_what_programs_read(demo: tuple[dict[str, Any], Path]) -> None:
    document, _ = demo
    assert [row["round"] for row in document["rounds"]] == [1, 2, 3]
    for row in document["rounds"]:
        assert row["updates"] == CLIENTS and row["audit"] == "match" and row["outcome"] == "final"
        assert row["credited_ms"] > 0
        assert set(row["gas"]) == {"launch", "submit", "settle", "attest", "claim", "withdraw"}
        assert all(gas > 21_000 for gas in row["gas"].values()), row["gas"]
    assert [row["consolidated"] for row in document["rounds"]] == [False, True, True]
    assert document["tampered_report_caught"] is True


def test_models_are_a_chain_in_the_store(demo: tuple[dict[str, Any], Path]) -> None:
    document, directory = demo
    rows = document["rounds"]
    assert [row["base_cid"] for row in rows[1:]] == [row["model_cid"] for row in rows[:-1]]
    store = open_store(f"dir:{directory / 'store'}")
    last = decode_model(fetch(store, parse_cid(rows[-1]["model_cid"]).digest, 2**26))
    assert last.round == ROUNDS
    assert last.parents == (parse_cid(rows[-1]["base_cid"]).digest,)
    assert last.importance is not None and last.anchor is not None


def test_the_model_learns(demo: tuple[dict[str, Any], Path]) -> None:
    document, _ = demo
    assert document["rounds"][-1]["accuracy"] >= 0.85


def test_money_adds_up_to_the_base_unit(demo: tuple[dict[str, Any], Path]) -> None:
    document, _ = demo
    escrow = {key: int(value) for key, value in document["escrow"].items()}
    assert escrow["in"] == escrow["paid_clients"] + escrow["paid_auditors"] + escrow["returned"] + escrow["forfeited"]
    assert escrow["paid_clients"] == sum(int(client["earned"]) for client in document["clients"]) > 0
    assert escrow["paid_clients"] == sum(row["credited_ms"] for row in document["rounds"]) * 10**15
    assert escrow["paid_auditors"] == ROUNDS * 5 * 10**18
    assert escrow["forfeited"] == 0


def test_no_key_and_no_passphrase_is_in_any_log(demo: tuple[dict[str, Any], Path]) -> None:
    from eth_account import Account

    _, directory = demo
    logs = b"".join(path.read_bytes() for path in (directory / "logs").iterdir())
    assert logs
    for keystore in (directory / "keys").glob("*.json"):
        passphrase = keystore.with_suffix(".pass").read_text()
        key = Account.decrypt(keystore.read_text(), passphrase)
        assert passphrase.encode() not in logs
        assert bytes(key).hex().encode() not in logs


def test_a_directory_in_use_is_refused_and_left_alone(demo: tuple[dict[str, Any], Path]) -> None:
    _, directory = demo
    before = sorted(directory.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "rondo", "demo", "--dir", str(directory)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 64
    assert "is not empty" in done.stderr and "Traceback" not in done.stderr
    assert sorted(directory.iterdir()) == before
