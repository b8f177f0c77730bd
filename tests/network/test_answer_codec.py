"""Whatever JSON an answer is, its decoders return what they promise or call it Malformed: nothing else ever comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network import answer_codec as answers
from network.answer_codec import Malformed, NodeError

HEX = st.text("0123456789abcdefABCDEFx", max_size=66).map(lambda text: "0x" + text)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | HEX
KEYS = st.sampled_from(
    [
        "number",
        "hash",
        "timestamp",
        "baseFeePerGas",
        "topics",
        "data",
        "blockNumber",
        "logIndex",
        "transactionHash",
        "gasUsed",
        "status",
        "contractAddress",
        "logs",
        "result",
        "error",
        "code",
        "message",
    ]
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner), max_leaves=20)
DECODERS: list[Callable[[object], object]] = [
    answers.quantity,
    answers.data,
    answers.hash32,
    answers.account,
    answers.block,
    answers.logs,
    answers.receipt,
    answers.is_known,
]


@pytest.mark.parametrize("decode", DECODERS)
@given(value=JSON)
def test_any_value(decode: Callable[[object], object], value: object) -> None:
    with suppress(Malformed):
        decode(value)


@given(st.dictionaries(KEYS, JSON))
def test_any_answer(answer: dict[str, object]) -> None:
    with suppress(Malformed, NodeError):
        answers.result(answer)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes(raw: bytes) -> None:
    with suppress(Malformed):
        assert isinstance(answers.json_object(raw), dict)


@pytest.mark.parametrize("opened", ["[", '{"a":', '["]]]]",', '["\\"]]",'])
def test_depth_does_not_end_the_process(opened: str) -> None:
    with pytest.raises(Malformed, match="deeply"):
        answers.json_object((opened * 100_000).encode())
    assert answers.json_object(json.dumps({"result": "[{" * 1000}).encode()) == {"result": "[{" * 1000}


@pytest.mark.parametrize("body", ['"' * 1_000_001, '"' + '\\"' * 1_000_000, '{"a": "' + "\\" * 1_000_001])
def test_strings_without_end_are_soon_refused(body: str) -> None:
    with pytest.raises(Malformed, match="no JSON"):
        answers.json_object(body.encode())


@given(st.integers(), JSON)
def test_any_refusal(code: int, data: object) -> None:
    found = answers.revert_data(NodeError(code, "no", data))
    assert found is None or isinstance(found, bytes)


NO_QUANTITIES: list[object] = [
    None,
    "",
    "0x",
    "12",
    "0x-1",
    "0x1_0",
    " 0x1",
    "0x1\n",
    "0x" + "1" * 65,
    -1,
    1.5,
    True,
    7,
]
NO_DATA: list[object] = [None, "", "12", "0x123", "0x 12", "0xzz", "0x12\n", 7, [], {}]
NO_HASHES: list[object] = [*NO_DATA, "0x", "0x12", "0x" + "1" * 63, "0x" + "1" * 66]
NO_TOPICS: list[object] = [None, "0x", [None], ["0x12"], [7], 7, {}]
HASH = "0x" + "1f" * 32
LOG: dict[str, object] = {
    "topics": [HASH],
    "data": "0x12",
    "blockNumber": "0x7",
    "logIndex": "0x0",
    "transactionHash": HASH,
}
BLOCK: dict[str, object] = {"number": "0x7", "hash": HASH, "timestamp": "0x8", "baseFeePerGas": "0x9"}
RECEIPT: dict[str, object] = {
    "transactionHash": HASH,
    "blockNumber": "0x7",
    "gasUsed": "0x8",
    "status": "0x1",
    "logs": [LOG],
}
FIELDS: list[tuple[Callable[[object], object], dict[str, object], str, list[object]]] = [
    (answers.block, BLOCK, "number", NO_QUANTITIES),
    (answers.block, BLOCK, "timestamp", NO_QUANTITIES),
    (answers.block, BLOCK, "hash", NO_HASHES),
    (answers.block, BLOCK, "baseFeePerGas", NO_QUANTITIES[1:]),
    (lambda log: answers.logs([log]), LOG, "topics", NO_TOPICS),
    (lambda log: answers.logs([log]), LOG, "data", NO_DATA),
    (lambda log: answers.logs([log]), LOG, "blockNumber", NO_QUANTITIES),
    (lambda log: answers.logs([log]), LOG, "logIndex", NO_QUANTITIES),
    (lambda log: answers.logs([log]), LOG, "transactionHash", NO_HASHES),
    (answers.receipt, RECEIPT, "transactionHash", NO_HASHES),
    (answers.receipt, RECEIPT, "blockNumber", NO_QUANTITIES[1:]),
    (answers.receipt, RECEIPT, "gasUsed", NO_QUANTITIES),
    (answers.receipt, RECEIPT, "status", NO_QUANTITIES),
    (answers.receipt, RECEIPT, "contractAddress", NO_DATA[1:]),
    (answers.receipt, RECEIPT, "logs", [None, "0x", {}, [None], [{}]]),
]


@pytest.mark.parametrize(("decode", "record", "field", "values"), FIELDS)
def test_fields(
    decode: Callable[[object], object], record: dict[str, object], field: str, values: list[object]
) -> None:
    assert decode(record)
    for value in values:
        with pytest.raises(Malformed):
            decode(record | {field: value})
    if field not in ("baseFeePerGas", "contractAddress"):
        with pytest.raises(Malformed):
            decode({name: value for name, value in record.items() if name != field})


@given(st.integers(0, 2**256 - 1))
def test_quantities(value: int) -> None:
    assert answers.quantity(hex(value)) == value


@given(st.binary())
def test_bytes(value: bytes) -> None:
    assert answers.data("0x" + value.hex()) == value


def test_a_receipt_of_no_block() -> None:
    assert answers.receipt(None) is None
    assert answers.receipt({"blockNumber": None}) is None
