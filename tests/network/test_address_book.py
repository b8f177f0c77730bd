"""The address book: small, atomic, never believed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import pytest

from network.address_book import FILE, MAX_BYTES, AddressBook, Entry
from protocol.errors import SettingsError
from protocol.types import Hash, address

A, B = address("0x" + "a0" * 20), address("0x" + "b0" * 20)
HASH = Hash(bytes(range(32)))


def test_nothing_is_written_yet(tmp_path: Path) -> None:
    assert AddressBook(tmp_path / "home").find(1) == []
    assert not (tmp_path / "home").exists()


def test_the_committed_book_can_be_read(tmp_path: Path) -> None:
    assert isinstance(json.loads(files("network").joinpath(FILE).read_text()), dict)
    assert AddressBook(tmp_path).find(31337) == []


def test_what_is_recorded_is_found_by_chain(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "home")
    book.record(1, Entry(A, 7, HASH))
    book.record(2, Entry(B))
    again = AddressBook(tmp_path / "home")
    assert again.find(1) == [Entry(A, 7, HASH)]
    assert again.find(2) == [Entry(B)]
    assert again.find(3) == []
    book.record(1, Entry(B))
    assert again.find(1) == [Entry(B)]


def test_the_users_own_comes_before_what_everybody_knows(tmp_path: Path) -> None:
    known = json.dumps({"1": {"address": B, "block": 3, "block_hash": "0x" + HASH.hex()}})
    book = AddressBook(tmp_path, known)
    assert book.find(1) == [Entry(B, 3, HASH)]
    book.record(1, Entry(A))
    assert book.find(1) == [Entry(A), Entry(B, 3, HASH)]
    book.record(1, Entry(B))
    assert book.find(1) == [Entry(B)]


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda chain: AddressBook(tmp_path).record(chain, Entry(A, chain, HASH)), range(1, 25)))
    assert all(AddressBook(tmp_path).find(chain) == [Entry(A, chain, HASH)] for chain in range(1, 25))
    assert not list(tmp_path.glob(".new-*"))


ENTRY = {"address": A, "block": None, "block_hash": None}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "no json",
        "[" * 100_000,
        "\udcff",
        json.dumps({"1": {}}),
        json.dumps({"one": ENTRY}),
        json.dumps({"-1": ENTRY}),
        json.dumps({"1": {**ENTRY, "more": 1}}),
        json.dumps({"1": {**ENTRY, "address": "0x12"}}),
        json.dumps({"1": {**ENTRY, "address": 12}}),
        json.dumps({"1": {**ENTRY, "block": 5}}),
        json.dumps({"1": {**ENTRY, "block_hash": "0x" + "00" * 32}}),
        json.dumps({"1": {**ENTRY, "block": True, "block_hash": "0x" + "00" * 32}}),
        json.dumps({"1": {**ENTRY, "block": -1, "block_hash": "0x" + "00" * 32}}),
        json.dumps({"1": {**ENTRY, "block": 1, "block_hash": "0x00"}}),
        json.dumps({"1": {**ENTRY, "block": 1, "block_hash": 5}}),
        " " * (MAX_BYTES + 1),
    ],
)
def test_what_is_no_book_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / FILE
    path.write_bytes(text.encode(errors="surrogateescape"))
    before = path.read_bytes()
    with pytest.raises(SettingsError, match=r"deployments\.json is no address book.*rondo deploy"):
        AddressBook(tmp_path).find(1)
    with pytest.raises(SettingsError):
        AddressBook(tmp_path).record(2, Entry(A))
    assert path.read_bytes() == before


def test_a_directory_in_its_place(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(SettingsError, match="no address book"):
        AddressBook(tmp_path).find(1)
