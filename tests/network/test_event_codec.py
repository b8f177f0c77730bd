"""Every event and custom error of the committed ABI decodes to the record or error that is named like it."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import fields
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.abi import collapse_if_tuple
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from network.contract_abi import entries, load_contract
from network.event_codec import EVENTS, STRUCTS, EventCodec
from network.revert_codec import ADVICE, RevertCodec
from protocol.errors import (
    InsufficientFunds,
    LogsIncomplete,
    TransactionReverted,
    UnknownFederation,
    UnknownRound,
)
from protocol.events import FederationCreated, RoundPayment, UpdateSkipped
from protocol.terms import FederationTerms, PayBasis, SkipReason
from protocol.types import address

ABI = load_contract("TrainingRounds").abi
CODEC, REVERTS = EventCodec(ABI), RevertCodec(ABI)
OURS = {topic: entry for topic, entry in entries(ABI, "event").items() if entry["name"] in EVENTS}
ALICE = address("0x" + "a1" * 20)
PAYMENT = 7 << 104 | PayBasis.TIME << 96 | 5


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def sample(item: dict[str, Any]) -> Any:
    """A value of the ABI's type, not zero."""
    if item["type"] == "tuple":
        return tuple(map(sample, item["components"]))
    others = {
        "address": ALICE,
        "address[]": (ALICE, ALICE),
        "bytes32": bytes(keccak(text=item["name"])),
        "bool": True,
        "string": "words",
        "uint256[]": (PAYMENT, 2**96 - 1),
    }
    return others.get(item["type"], 3)  # else a number


def raw_log(topic: bytes, entry: dict[str, Any]) -> dict[str, Any]:
    indexed = [item for item in entry["inputs"] if item["indexed"]]
    plain = [item for item in entry["inputs"] if not item["indexed"]]
    data = encode([collapse_if_tuple(item) for item in plain], [sample(item) for item in plain])
    topics = [topic, *(encode([item["type"]], [sample(item)]) for item in indexed)]
    return {"topics": topics, "data": data, "blockNumber": 7, "logIndex": 2, "transactionHash": b"\1" * 32}


def test_every_record_is_an_event_of_the_contract() -> None:
    assert {entry["name"] for entry in OURS.values()} == set(EVENTS)


@pytest.mark.parametrize(("topic", "entry"), OURS.items(), ids=[entry["name"] for entry in OURS.values()])
def test_events_decode_field_by_field(topic: bytes, entry: dict[str, Any]) -> None:
    kind = EVENTS[entry["name"]]
    assert [field.name for field in fields(kind)] == [snake(item["name"]) for item in entry["inputs"]]
    logged = CODEC.decode(raw_log(topic, entry))
    assert logged is not None
    assert (logged.block, logged.log_index, logged.transaction) == (7, 2, b"\1" * 32)
    assert isinstance(logged.event, kind)
    for item in entry["inputs"]:
        value = getattr(logged.event, snake(item["name"]))
        if item["type"] == "tuple":
            struct = STRUCTS[item["internalType"].split(" ")[1]]
            assert [field.name for field in fields(struct)] == [snake(part["name"]) for part in item["components"]]
            value = tuple(getattr(value, field.name) for field in fields(struct))
        if item["type"] == "uint256[]":
            assert value == (RoundPayment(7, 5, PayBasis.TIME), RoundPayment(0, 2**96 - 1, PayBasis.UNDECIDED))
        else:
            assert value == sample(item)


@pytest.mark.parametrize("word", [1 << 168, 9 << 96], ids=["wider than its fields", "no basis"])
def test_a_payment_that_means_nothing_is_refused(word: int) -> None:
    topic, entry = next((topic, entry) for topic, entry in OURS.items() if entry["name"] == "RewardsPaid")
    with pytest.raises(LogsIncomplete, match="RewardsPaid does not decode"):
        CODEC.decode(raw_log(topic, entry) | {"data": encode(["uint256[]"], [(PAYMENT, word)])})


def test_values_have_the_protocols_types() -> None:
    by_name = {entry["name"]: (topic, entry) for topic, entry in OURS.items()}
    skipped = CODEC.decode(raw_log(*by_name["UpdateSkipped"]))
    assert skipped is not None
    assert isinstance(skipped.event, UpdateSkipped)
    assert skipped.event.reason is SkipReason.ZERO_DIGEST
    created = CODEC.decode(raw_log(*by_name["FederationCreated"]))
    assert created is not None
    assert isinstance(created.event, FederationCreated)
    assert isinstance(created.event.terms, FederationTerms)
    assert created.event.terms.auditors == (ALICE, ALICE)


def test_events_of_others_are_passed_over() -> None:
    log = {"topics": [b"\7" * 32], "data": b"", "blockNumber": 1, "logIndex": 0, "transactionHash": b"\1" * 32}
    assert CODEC.decode(log) is None
    assert CODEC.decode(log | {"topics": []}) is None


@pytest.mark.parametrize("data", [b"", b"\xff" * 64])
def test_an_event_that_does_not_decode_is_refused(data: bytes) -> None:
    topic, entry = next((topic, entry) for topic, entry in OURS.items() if entry["name"] == "UpdateSkipped")
    with pytest.raises(LogsIncomplete, match="UpdateSkipped does not decode"):
        CODEC.decode(raw_log(topic, entry) | {"data": data})


SKIPPED = raw_log(*next((topic, entry) for topic, entry in OURS.items() if entry["name"] == "UpdateSkipped"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=40)
VALUES = SCALARS | st.lists(SCALARS, max_size=5) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)


@pytest.mark.parametrize("field", SKIPPED)
@pytest.mark.parametrize("value", [None, "0x", "x", -1, True, 1.5, [None], [10**15], [[b""]], {}, b"", b"\1" * 31])
def test_a_log_with_a_field_of_another_kind_is_refused(field: str, value: object) -> None:
    with pytest.raises(LogsIncomplete, match="does not decode"):
        CODEC.decode(SKIPPED | {field: value})


@pytest.mark.parametrize("field", SKIPPED)
def test_a_log_without_a_field_is_refused(field: str) -> None:
    with pytest.raises(LogsIncomplete, match="does not decode"):
        CODEC.decode({name: value for name, value in SKIPPED.items() if name != field})


@given(st.dictionaries(st.sampled_from(sorted(SKIPPED)), VALUES))
def test_no_log_raises_anything_else(changes: dict[str, object]) -> None:
    with suppress(LogsIncomplete):
        CODEC.decode(SKIPPED | changes)


@given(st.sampled_from(sorted(OURS.items())), st.lists(st.binary(max_size=40), max_size=4), st.binary(max_size=200))
def test_no_bytes_raise_anything_else(named: tuple[bytes, dict[str, Any]], topics: list[bytes], data: bytes) -> None:
    with suppress(LogsIncomplete):
        CODEC.decode(SKIPPED | {"topics": [named[0], *topics], "data": data})


def test_offsets_that_no_memory_has() -> None:
    topic, entry = next((topic, entry) for topic, entry in OURS.items() if entry["name"] == "FederationCreated")
    with pytest.raises(LogsIncomplete, match="FederationCreated does not decode"):
        CODEC.decode(raw_log(topic, entry) | {"data": b"\xff" * 640})
    selector = keccak(text="Error(string)")[:4]
    refusal = REVERTS.error(selector + (32).to_bytes(32, "big") + b"\xff" * 64)
    assert isinstance(refusal, TransactionReverted)
    assert refusal.name == "Error"


ERRORS = entries(ABI, "error")
OWN_CLASSES = ("UnknownRound", "UnknownFederation")


@pytest.mark.parametrize(("hash", "entry"), ERRORS.items(), ids=[entry["name"] for entry in ERRORS.values()])
def test_every_custom_error_keeps_its_name_and_arguments(hash: bytes, entry: dict[str, Any]) -> None:
    values = tuple(sample(item) for item in entry["inputs"])
    error = REVERTS.error(hash[:4] + encode([item["type"] for item in entry["inputs"]], values))
    if entry["name"] in OWN_CLASSES:
        assert type(error) is {"UnknownRound": UnknownRound, "UnknownFederation": UnknownFederation}[entry["name"]]
        assert values[0].hex() in str(error)
    else:
        assert isinstance(error, TransactionReverted)
        assert (error.name, error.arguments) == (entry["name"], values)
        assert error.do == ADVICE.get(entry["name"], "")


def test_advice_is_about_errors_that_exist() -> None:
    assert set(ADVICE) <= {entry["name"] for entry in ERRORS.values()}


@pytest.mark.parametrize(
    ("data", "name", "arguments"),
    [
        (b"", "NoReason", ()),
        (b"\x12\x34\x56\x78", "0x12345678", ()),
        (b"\x12\x34\x56\x78\x9a", "0x12345678", (b"\x9a",)),
        (keccak(text="Error(string)")[:4] + encode(["string"], ["no"]), "Error", ("no",)),
        (keccak(text="Panic(uint256)")[:4] + encode(["uint256"], [0x11]), "Panic", (0x11,)),
        (keccak(text="WrongPhase(bytes32,uint8,uint8)")[:4] + b"\1", "WrongPhase", (b"\1",)),
    ],
)
def test_other_reverts_are_told_as_they_are(data: bytes, name: str, arguments: tuple[object, ...]) -> None:
    error = REVERTS.error(data)
    assert isinstance(error, TransactionReverted)
    assert (error.name, error.arguments) == (name, arguments)


def test_too_few_tokens_is_insufficient_funds() -> None:
    selector = keccak(text="ERC20InsufficientBalance(address,uint256,uint256)")[:4]
    error = REVERTS.error(selector + encode(["address", "uint256", "uint256"], [ALICE, 5, 7]))
    assert isinstance(error, InsufficientFunds)
    assert f"{ALICE} holds 5 base units" in str(error)
