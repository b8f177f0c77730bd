"""The typed reader: every refusal is WrongField and names the path."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.cid import Cid, directory_cid
from protocol.errors import WrongField
from protocol.fields import MAX_AMOUNT, Field
from protocol.types import Digest

DIGEST = Digest(bytes(range(32)))
ALICE = "0xA1A1a1a1A1A1A1A1A1a1a1a1a1a1A1A1a1A1a1a1"

Read = Callable[[Field], object]
integer: Read = lambda field: field.integer(1, 9)  # noqa: E731 - a table of readers reads best in one line each
rational: Read = lambda field: field.rational(0, 2)  # noqa: E731
text: Read = lambda field: field.text(5, 1)  # noqa: E731

REFUSED: list[tuple[Read, list[object]]] = [
    (integer, [0, 10, True, False, 5.0, "5", None, [], {}, 2**60]),
    (Field.flag, [0, 1, "true", None]),
    (lambda field: field.choice(["a", "b"]), ["c", "", None, 1, ["a"], {}]),
    (text, ["", "abcdef", None, 1, "a\nb", "\x1b[2J", "a\u202eb", "\x7f", "a\u2028", "\ud800"]),
    (lambda field: field.ascii(5), ["é", "abcdef", "\n", None]),
    (rational, ["2/4", "1/1", "2/1", "0/1", "01", "1/02", "-0", "+1", "1.5", "1/0", "0/0", " 1", "1 /2", "3", "-1/2"]),
    (rational, ["", "/", "1/", "/2", "1/2/3", "1/-2", "١/٢", "1" * 31, "1\n", 1, 0.5, None]),
    (Field.amount, ["", "01", "-1", "+1", "1.0", "1e3", " 1", "1\n", "١", str(MAX_AMOUNT + 1), "9" * 5000, 1, None]),
    (
        Field.hash,
        ["0x" + "0" * 63, "0x" + "0" * 65, "0" * 64, "0x" + "A" * 64, "0x" + "g" * 64, "0x" + "0" * 64 + "\n", 0],
    ),
    (Field.address, [ALICE.lower(), ALICE.upper(), ALICE[2:], ALICE + "0", "", "alice.eth", None, 1]),
    (Field.cid, ["", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPBdG", f"/ipfs/{directory_cid(DIGEST)}", None, 1]),
    (Field.cid, [str(directory_cid(DIGEST)).upper(), str(directory_cid(DIGEST)) + "=", f"{directory_cid(DIGEST)}\n"]),
    (Field.digest, [str(Cid(0x55, DIGEST)), "0x" + DIGEST.hex()]),
    (lambda field: field.array(2), [[1, 2, 3], {}, "ab", None]),
    (lambda field: field.mapping(1), [{"a": 1, "b": 2}, [], None]),
]


@pytest.mark.parametrize(("read", "value"), [(read, value) for read, values in REFUSED for value in values])
def test_refuses(read: Read, value: object) -> None:
    with pytest.raises(WrongField, match=r"task\.json: training\.epochs"):
        read(Field({"epochs": value}, "task.json: training").object(["epochs"])["epochs"])


def test_reads() -> None:
    cid = str(directory_cid(DIGEST))
    assert Field(9, "x").integer(1, 9) == 9
    assert Field(False, "x").flag() is False
    assert Field("b", "x").choice(["a", "b"]) == "b"
    assert Field("Köln", "x").text(4) == "Köln"
    assert Field("1/10", "x").rational(0, 1) == Fraction(1, 10)
    assert Field("-3", "x").rational(-3, 1) == -3
    assert Field("0", "x").rational(0, 1) == 0
    assert Field(str(MAX_AMOUNT), "x").amount() == MAX_AMOUNT
    assert Field("0", "x").amount() == 0
    assert Field("0x" + "0f" * 32, "x").hash() == b"\x0f" * 32
    assert Field(ALICE, "x").address() == ALICE
    assert Field(cid, "x").cid() == cid
    assert Field(cid, "x").digest() == DIGEST


def test_a_missing_field_is_named() -> None:
    with pytest.raises(WrongField, match=r"task\.json: merge\.rule is missing"):
        Field({"merge": {}}, "task.json").object(["merge"])["merge"].object(["rule"])


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(WrongField, match=r"task\.json: speed is unknown.*Known: name"):
        Field({"name": "a", "speed": 1}, "task.json").object(["name"])


def test_an_item_of_an_array_is_named_by_its_position() -> None:
    with pytest.raises(WrongField, match=r"model\.json: tensors\.1"):
        Field({"tensors": [1, "2"]}, "model.json").object(["tensors"])["tensors"].array(9)[1].integer()


def test_a_hostile_name_is_shown_harmlessly() -> None:
    with pytest.raises(WrongField) as refused:
        Field({"\x1b[2J" + "x" * 1000: 1}, "task.json").object([])
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 300


@given(st.fractions(min_value=-5, max_value=5, max_denominator=10**20))
def test_rationals_round_trip(number: Fraction) -> None:
    assert Field(str(number), "x").rational(-5, 5) == number


@given(st.integers(0, MAX_AMOUNT))
def test_amounts_round_trip(amount: int) -> None:
    assert Field(str(amount), "x").amount() == amount
