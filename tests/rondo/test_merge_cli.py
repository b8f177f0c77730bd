"""``rondo merge`` as a user runs it: what is refused, and the one CID that everybody gets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from network.transfer import fetch
from protocol.cid import parse_cid
from protocol.model import decode_model, encode_model
from protocol.task import encode_task
from protocol.unixfs import directory_digest
from tests.processor.factory import KERNEL, account, tiny_model, tiny_task
from tests.rondo.merge_world import NAMES, ROOT, MergeWorld, ring, swapped


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> MergeWorld:
    return MergeWorld(tmp_path_factory.mktemp("merge"))


def refused(done: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == "" and done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    for words in said:
        assert words in done.stderr, done.stderr


# What is refused


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 64, "--round"),
        (["BASE", "--round", "1"], 64, "not both"),
        (["BASE"], 64, "No update"),
        (["no-cid", "UPDATE"], 64, "not a CID"),
        (["BASE", "no-cid"], 64, "not a CID"),
        (["BASE", "@absent"], 64, "absent"),
        (["BASE", "UPDATE", "--rule", "wishful"], 64, "wishful"),
        (["BASE", "UPDATE", "--trim", "1"], 64, "trims nothing"),
        (["BASE", "UPDATE", "--task", "absent.toml"], 64, "absent.toml"),
        (["BASE", "UPDATE", "--workers", "0"], 64, "--workers"),
        (["BASE", "UPDATE", "--ray", "127.0.0.1:1", "--round", "1"], 64, "not both"),
        (["--round", "1", "--ray", "local"], 64, "--ray"),
        (["UPDATE", "UPDATE"], 65, "model directory"),
        (["BASE", "BASE"], 65, "update directory"),
    ],
)
def test_wrong_words_have_a_code_and_an_explanation(words: list[str], code: int, said: str, world: MergeWorld) -> None:
    named = {"BASE": world.base, "UPDATE": world.updates[0]}
    refused(world.rondo("merge", *(named.get(word, word) for word in words)), code, said)


def test_a_refused_update_is_named_and_nothing_is_merged(world: MergeWorld) -> None:
    loud = dict(world.round.update("mallory").deltas)
    loud[KERNEL] = np.full_like(loud[KERNEL], -32768)
    mallory = world.put_update("mallory", deltas=loud)
    before = world.store.kept()
    refused(world.merge("--publish", updates=[*world.updates, mallory]), 65, mallory, account("mallory"), "±32767")
    assert world.store.kept() == before


@pytest.mark.parametrize("missing", ["the base", "an update", "a leaf"])
def test_what_is_not_there_is_named(missing: str, world: MergeWorld, tmp_path: Path) -> None:
    other = MergeWorld(tmp_path)
    gone = parse_cid({"the base": other.base, "an update": other.updates[2], "a leaf": other.updates[0]}[missing])
    leaf = gone if missing != "a leaf" else next(cid for cid in map(parse_cid, leaves(other)) if cid.codec == 0x55)
    other.store.path(leaf).unlink()
    refused(other.merge(), 69, str(leaf))


def leaves(world: MergeWorld) -> list[str]:
    return [path.name for path in world.store.blocks.rglob("bafkrei*") if path.stat().st_size == 1 << 20]


def test_a_damaged_block_is_refused(tmp_path: Path) -> None:
    world = MergeWorld(tmp_path)
    leaf = world.store.path(parse_cid(leaves(world)[0]))
    data = bytearray(leaf.read_bytes())
    data[500_000] ^= 1
    leaf.write_bytes(data)
    refused(world.merge(), 65, leaf.name)


def test_updates_of_elsewhere_are_refused_by_name(world: MergeWorld) -> None:
    mallory = world.put_update("mallory", round=bytes(32))
    refused(world.merge(updates=[*world.updates, mallory]), 65, mallory, "another round")
    mallory = world.put_update("mallory", base=directory_digest(encode_model(tiny_model(9))))
    refused(world.merge(updates=[*world.updates, mallory]), 65, mallory, "starts from model")


def test_one_client_has_one_update(world: MergeWorld) -> None:
    again = world.put_update("alice", examples=7)
    refused(world.merge(updates=[*world.updates, again]), 65, again, world.updates[0], account("alice"))
    refused(world.merge(updates=[*world.updates, world.updates[1]]), 65, world.updates[1])


def test_one_change_counts_once(world: MergeWorld) -> None:
    copied = world.put_update("mallory", **swapped(world.round.update("bob")))
    refused(world.merge(updates=[*world.updates, copied]), 65, "delta of", account("mallory"), account("bob"))


def test_updates_that_the_task_does_not_take_are_refused(world: MergeWorld) -> None:
    greedy = world.put_update("mallory", examples=1001)
    refused(world.merge("--task", world.task, updates=[greedy]), 65, greedy, "1001 examples")
    refused(world.merge("--consolidate"), 65, "lacks importance")
    refused(
        world.merge("--rule", "median", "--task", world.put(encode_task(tiny_task(delta_type="int8")))), 65, "int16"
    )


def test_too_few_updates_are_said(world: MergeWorld) -> None:
    task = world.put(encode_task(tiny_task(min_updates=6)))
    refused(world.merge("--task", task), 65, "6")


# What is merged


def test_the_cid_is_the_rounds_own_in_any_order_and_split(world: MergeWorld) -> None:
    (world.root / "cids").write_text("\n".join(reversed(world.updates)))
    for words in (["--workers", "1"], ["--workers", "3", "--task", world.task]):
        assert world.merge(*words).stdout == world.expected + "\n"
    by_file = world.rondo("merge", world.base, "@cids", "--json")
    document = json.loads(by_file.stdout)
    assert document == {
        "cid": world.expected,
        "base": world.base,
        "rule": "fedavg",
        "updates": len(NAMES),
        "weights": {account(name): 95 for name in sorted(NAMES, key=account)},
        "saturated": ring(False).derive().derived.saturated,
        "consolidated": False,
        "published": False,
    }
    assert parse_cid(world.expected) not in world.store.kept()
    assert not world.store.has_block(parse_cid(world.expected))


def test_a_published_model_is_kept_and_is_the_next_base(tmp_path: Path) -> None:
    world = MergeWorld(tmp_path)
    done = world.merge("--publish", "--index", "1")
    assert done.stdout == world.expected + "\n"
    assert parse_cid(world.expected) in world.store.kept()
    model = decode_model(fetch(world.store, parse_cid(world.expected).digest, 1 << 30))
    assert model.round == 1 and model.parents == (parse_cid(world.base).digest,)
    derived = ring(False).derive().model
    assert derived is not None
    for name, array in derived.mantissas.items():
        np.testing.assert_array_equal(model.mantissas[name], array)
    assert world.merge("--index", "2").stdout != done.stdout


def test_a_consolidation_gives_the_rounds_own_importance(tmp_path: Path) -> None:
    world = MergeWorld(tmp_path, consolidate=True)
    assert world.merge("--consolidate", "--task", world.task).stdout == world.expected + "\n"


def test_help_imports_nothing_slow(world: MergeWorld) -> None:
    code = (
        "import sys, rondo.cli, typer.testing; typer.testing.CliRunner().invoke(rondo.cli.app, ['merge', '--help']); "
        "sys.exit(any(name in sys.modules for name in ('web3', 'numpy', 'ray', 'network.settings', 'processor')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
    assert "BASE_CID" in world.rondo("merge", "--help").stdout
