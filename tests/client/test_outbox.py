"""The outbox on disk: whole or absent, and never in doubt about its bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from client.outbox import Entry, Outbox, Stage
from protocol.errors import NotCanonical
from protocol.types import Digest, Hash, RoundId
from protocol.unixfs import directory_digest

FILES = {"update.json": b"{}", "delta.safetensors": b"\1\2\3"}
ENTRY = Entry(RoundId(b"\1" * 32), 4, Digest(b"\2" * 32), Hash(b"\3" * 32), directory_digest(FILES), 12, 34, 56)


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"round": "zz"}'])
def test_a_record_that_cannot_be_read_is_no_entry(outbox: Outbox, tmp_path: Path, content: bytes) -> None:
    outbox.put(ENTRY, FILES, b"")
    [record] = tmp_path.rglob("record.json")
    record.write_bytes(content)
    assert outbox.get(ENTRY.round) is None
    assert outbox.entries() == []
    outbox.put(ENTRY, FILES, b"")  # an unfinished one is no obstacle
    assert outbox.entries() == [ENTRY]


@pytest.mark.parametrize("damage", ["change", "remove", "add", "all"])
def test_damaged_files_are_never_handed_out(outbox: Outbox, tmp_path: Path, damage: str) -> None:
    outbox.put(ENTRY, FILES, b"")
    [delta] = tmp_path.rglob("delta.safetensors")
    if damage == "change":
        delta.write_bytes(b"\1\2\4")
    elif damage == "remove":
        delta.unlink()
    elif damage == "add":
        (delta.parent / "importance.safetensors").write_bytes(b"")
    else:
        for path in delta.parent.iterdir():
            path.unlink()
        delta.parent.rmdir()
    with pytest.raises(NotCanonical, match="damaged"):
        outbox.files(ENTRY)


def test_an_empty_home_has_no_entries(outbox: Outbox) -> None:
    assert outbox.entries() == []
    assert outbox.get(ENTRY.round) is None


def test_what_is_put_comes_back_in_another_process(outbox: Outbox, tmp_path: Path) -> None:
    outbox.put(ENTRY, FILES, b"residual")
    again = Outbox(tmp_path / "outbox")
    assert again.entries() == [ENTRY]
    assert again.files(ENTRY) == FILES
    assert again.residual(ENTRY) == b"residual"


def test_entries_come_oldest_first(outbox: Outbox) -> None:
    later = replace(ENTRY, round=RoundId(b"\0" * 32), index=5)
    outbox.put(later, FILES, b"")
    outbox.put(ENTRY, FILES, b"")
    assert outbox.entries() == [ENTRY, later]


@pytest.mark.parametrize("stage", list(Stage))
def test_terminal_stages_free_the_space(outbox: Outbox, tmp_path: Path, stage: Stage) -> None:
    outbox.put(ENTRY, FILES, b"residual")
    assert outbox.mark(ENTRY, stage).stage is stage
    assert Outbox(tmp_path / "outbox").entries() == [replace(ENTRY, stage=stage)]
    assert bool(list(tmp_path.rglob("delta.safetensors"))) != stage.is_done


def test_a_discarded_entry_is_gone(outbox: Outbox) -> None:
    outbox.put(ENTRY, FILES, b"")
    outbox.discard(ENTRY)
    assert outbox.entries() == []
