"""What is asked of updates before they are merged: each refusal names the update that it is about, wherever its bytes lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from network.arrival import open_artifacts
from network.directory_store import DirectoryStore
from network.transfer import publish
from processor.runs import Threads, serial
from protocol.cid import directory_cid
from protocol.content import Content, held, materialise
from protocol.errors import (
    ArtifactRefused,
    DuplicateDelta,
    ForeignAuthor,
    ForeignBase,
    ForeignRound,
    InvalidInput,
    NotCanonical,
    OutsideWindow,
    WrongField,
    WrongTensor,
)
from protocol.task import Task
from protocol.tensors import Stored, read_span, whole
from protocol.types import Digest
from protocol.unixfs import directory_digest
from protocol.update import Guarded, Update, encode_update
from rondo.merging import Named, check_updates, decode_updates, members_of
from tests.processor.factory import KERNEL, TinyRound, account, tiny_task, with_json

RING = TinyRound()
NAMES = ("alice", "bob", "carol")


@pytest.fixture(params=["memory", "pieces", "both"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Sequence[Update]], list[Named]]:
    """Gives updates as a merge opens them: out of memory, in leaves on disk, or some of each."""
    store = DirectoryStore(tmp_path)

    def give(updates: Sequence[Update]) -> list[Named]:
        files = [encode_update(update) for update in updates]
        digests = [publish(store, each) for each in files]
        found: list[dict[str, Content]] = open_artifacts(store, digests, 1 << 30)
        if request.param != "pieces":
            found = [
                each if request.param == "both" and at % 2 else dict(held(files[at])) for at, each in enumerate(found)
            ]
        return decode_updates(digests, found)

    return give


def check(updates: Sequence[Named], task: Task | None = None, **changes: Any) -> list[Named]:
    asked = {"importance": False, "run": serial} | changes
    return check_updates(updates, RING.base_digest, RING.base, task or tiny_task(), **asked)


def crowd(*more: Update) -> list[Update]:
    return [*map(RING.update, NAMES), *more]


def names_only(error: ArtifactRefused, *names: str) -> bool:
    everybody = (*NAMES, "mallory", "eve")
    return {name for name in everybody if account(name) in str(error)} == set(names)


@pytest.mark.parametrize("run", [serial, Threads(2)])
def test_updates_that_fit_are_members_in_order_of_their_authors(
    opened: Callable[[Sequence[Update]], list[Named]], run: Any
) -> None:
    updates = crowd()
    named = check(opened(updates), run=run)
    assert [one.update.author for one in named] == sorted(map(account, NAMES))
    by_author = {update.author: update for update in updates}
    for one, member in zip(named, members_of(named, tiny_task()), strict=True):
        update = by_author[one.update.author]
        assert one.digest == directory_digest(encode_update(update)) == member.accepted.digest
        assert member.accepted.weight == update.examples
        assert all(np.array_equal(whole(one.update.deltas[name]), delta) for name, delta in update.deltas.items())
        stored = [delta for delta in one.update.deltas.values() if isinstance(delta, Stored)]
        assert all(isinstance(delta, Guarded) for delta in stored)


def test_a_mantissa_outside_its_window_is_refused_when_it_is_checked_or_read(
    opened: Callable[[Sequence[Update]], list[Named]],
) -> None:
    loud = dict(RING.update("mallory").deltas)
    loud[KERNEL] = np.full_like(loud[KERNEL], -32_768)
    named = opened(crowd(RING.update("mallory", deltas=loud)))
    with pytest.raises(OutsideWindow, match=KERNEL) as caught:
        for one in check(named):
            for delta in one.update.deltas.values():
                read_span(delta, 0, delta.size)
    assert names_only(caught.value, "mallory")


def test_one_change_counts_once(opened: Callable[[Sequence[Update]], list[Named]]) -> None:
    bob = RING.update("bob")
    copied = RING.update("mallory", deltas=bob.deltas, exponents=bob.exponents, examples=7)
    for updates in (crowd(copied), [copied, *crowd()]):
        with pytest.raises(DuplicateDelta) as caught:
            check(opened(updates))
        assert names_only(caught.value, "mallory", "bob")


@pytest.mark.parametrize("what", ["delta", "exponent"])
def test_changes_that_differ_anywhere_are_two(opened: Callable[[Sequence[Update]], list[Named]], what: str) -> None:
    bob = RING.update("bob")
    deltas, exponents = dict(bob.deltas), dict(bob.exponents)
    if what == "delta":
        deltas[KERNEL] = np.array(deltas[KERNEL])
        deltas[KERNEL][-1, -1] ^= 1
    else:
        exponents[KERNEL] = -20 + (exponents[KERNEL] == -20)
    assert len(check(opened(crowd(RING.update("mallory", deltas=deltas, exponents=exponents))))) == 4


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"base": Digest(bytes(32))}, ForeignBase, "starts from model"),
        ({"examples": 1001}, WrongField, "1001 examples"),
        ({"deltas": {}, "exponents": {}}, WrongTensor, "refused"),
        ({"deltas": {KERNEL: np.zeros((4, 3), np.int16)}, "exponents": {KERNEL: -20}}, WrongTensor, "refused"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    opened: Callable[[Sequence[Update]], list[Named]], changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    mallory = RING.update("mallory", **changes)
    with pytest.raises(error, match=said) as caught:
        check(opened(crowd(mallory)))
    assert isinstance(caught.value, ArtifactRefused) and names_only(caught.value, "mallory")
    assert str(directory_cid(directory_digest(encode_update(mallory)))) in str(caught.value)


def test_updates_of_one_round_by_several_authors_are_decoded() -> None:
    alice, bob = encode_update(RING.update("alice")), encode_update(RING.update("bob"))
    other = encode_update(replace(RING.update("eve"), round=bytes(32)))  # type: ignore[arg-type]
    again = encode_update(RING.update("alice", examples=7))
    for files, error in (([alice, bob, other], ForeignRound), ([alice, bob, again], ForeignAuthor)):
        digests = list(map(directory_digest, files))
        with pytest.raises(error) as caught:
            decode_updates(digests, [held(each) for each in files])
        assert str(directory_cid(digests[2])) in str(caught.value)
    with pytest.raises(InvalidInput, match="No update"):
        decode_updates([], [])


def test_what_is_no_update_is_refused_by_its_cid() -> None:
    files = encode_update(RING.update("mallory"))
    spoilt = [with_json(files, examples=0), {**files, "delta.safetensors": files["delta.safetensors"] + b"?"}]
    for each, error in zip(spoilt, (WrongField, NotCanonical), strict=True):
        with pytest.raises(error, match=str(directory_cid(directory_digest(each)))):
            decode_updates([directory_digest(each)], [held(each)])
    assert materialise(held(files)) == files
