"""What stands between us and a node can answer anything, with HTTP 200: every answer is read, asked again, or refused by name."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from network.evm_chain import EvmChain, connect
from network.node import LocalNode
from network.revert_codec import RevertCodec
from network.rpc import Rpc
from protocol.errors import ChainError, ChainUnavailable
from tests.network.chain_game import Game
from tests.network.chain_world import EvmWorld, address_of, key_of, some_hash
from tests.network.faulty_node import Answer, Fault, FaultyNode, Forward, always, once

pytestmark = pytest.mark.node

NO_ANSWERS = {
    "page": b"<html>We will be back soon.</html>",
    "empty": b"",
    "cut": b'{"jsonrpc": "2.0", "id": 1, "resu',
    "not text": b"\xff\xfe\xfd",
    "deep": b"[" * 100_000,
    "long number": b'{"result": ' + b"9" * 5000 + b"}",
    "list": b"[]",
    "string": b'"x"',
    "null": b"null",
    "number": b"7",
    "object": b"{}",
    "words": b'{"message": "Unauthorized"}',
    "error in words": b'{"jsonrpc": "2.0", "id": 1, "error": "rate limited"}',
    "error without words": b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32000}}',
    "error null": b'{"jsonrpc": "2.0", "id": 1, "error": null}',
}
NO_RESULTS = {
    "no hex": "0xzz",
    "words for a result": "soon",
    "true": True,
    "fraction": 1.5,
    "list of null": [None],
    "list of lists": [[]],
    "object without fields": {},
}


def answer_with(body: bytes) -> Fault:
    return lambda request, forward: body


def result(value: object) -> Fault:
    return lambda request, forward: {"jsonrpc": "2.0", "id": request["id"], "result": value}


FOREIGN = {name: answer_with(body) for name, body in NO_ANSWERS.items()}
FOREIGN |= {name: result(value) for name, value in NO_RESULTS.items()}
foreign = pytest.mark.parametrize("fault", FOREIGN.values(), ids=FOREIGN)
FEW = {name: FOREIGN[name] for name in ("page", "list", "error in words", "words for a result", "list of null")}
some_foreign = pytest.mark.parametrize("fault", FEW.values(), ids=FEW)

Call = Callable[["Door"], object]
salts = count()


class Door:
    """A chain behind a node that a test makes answer anything."""

    def __init__(self, node: FaultyNode, world: EvmWorld, game: Game) -> None:
        self.node, self.world, self.game = node, world, game
        self.chain: EvmChain = self.connect()

    def connect(self) -> EvmChain:
        return connect(self.node.url, self.world.contract, key_of("acme"))

    def send(self) -> object:
        return self.chain.set_admission(self.game.id, some_hash(f"root {next(salts)}"))


CALLS: dict[str, Call] = {
    "connect": Door.connect,
    "now": lambda door: door.chain.now(),
    "logs": lambda door: door.chain.logs(),
    "state": lambda door: door.chain.state(),
    "send": Door.send,
    "balance": lambda door: door.chain.balance_of(door.world.token, address_of("acme")),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
ASKED = [
    ("connect", "eth_chainId"),
    ("connect", "eth_getCode"),
    ("now", "eth_getBlockByNumber"),
    ("logs", "eth_getLogs"),
    ("state", "eth_getLogs"),
    ("balance", "eth_call"),
    ("send", "eth_estimateGas"),
    ("send", "eth_getTransactionCount"),
    ("send", "eth_getBlockByNumber"),
    ("send", "eth_maxPriorityFeePerGas"),
    ("send", "eth_getBalance"),
    ("send", "eth_sendRawTransaction"),
    ("send", "eth_getTransactionReceipt"),
]
asked = pytest.mark.parametrize(("call", "method"), ASKED)


@pytest.fixture(scope="module")
def played(node: LocalNode) -> tuple[EvmWorld, Game]:
    """A contract with events of one round."""
    world = EvmWorld(node)
    game = Game(world)
    game.launch()
    game.train(alice=10)
    return world, game


@pytest.fixture
def door(played: tuple[EvmWorld, Game]) -> Iterator[Door]:
    world, game = played
    with FaultyNode(world.node.url) as faulty:
        yield Door(faulty, world, game)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again as often as always, but without long pauses between."""
    monkeypatch.setattr("network.rpc.FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("network.sender.FIRST_PAUSE_SECONDS", 0.001)


def refused(call: Call, door: Door) -> None:
    """Assert that the call ends in the error that says what, why and what to do."""
    with pytest.raises(ChainUnavailable) as refusal:
        call(door)
    assert door.node.url in refusal.value.what
    assert refusal.value.why
    assert "RONDO_CHAIN_URL" in refusal.value.do
    assert len(str(refusal.value)) < 600


# --- whole answers ---


@pytest.mark.usefixtures("hasty")
@foreign
@calls
def test_nothing_but_foreign_answers(door: Door, call: Call, fault: Fault) -> None:
    door.chain = door.connect()
    door.node.fault = fault
    refused(call, door)


@pytest.mark.usefixtures("hasty")
@some_foreign
@asked
def test_one_method_has_foreign_answers(
    door: Door, call: str, method: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.chain = door.connect()
    door.node.fault = always(method, fault)
    if method == "eth_getTransactionReceipt":  # the transaction is out, so this one waits for its block
        with monkeypatch.context() as impatient:
            impatient.setattr(door.chain._sender, "_patience", 0.05)
            with pytest.raises(ChainUnavailable, match="is in no block after"):
                door.send()
    else:
        refused(CALLS[call], door)
    assert door.node.asked.count(method) > 2
    door.node.fault = lambda request, forward: forward(request)
    CALLS[call](door)  # nothing of it is left behind


@pytest.mark.usefixtures("hasty")
@some_foreign
@asked
def test_one_foreign_answer_is_ridden_out(door: Door, call: str, method: str, fault: Fault) -> None:
    door.chain = door.connect()
    door.node.fault = once(method, fault)
    assert CALLS[call](door) is not None
    assert door.chain.state() == door.world.chain("bob").state()


@calls
def test_a_maintenance_page_of_a_second_is_ridden_out(door: Door, call: Call) -> None:
    ends = time.monotonic() + 1

    def maintained(request: dict[str, Any], forward: Forward) -> Answer:
        return forward(request) if time.monotonic() > ends else NO_ANSWERS["page"]

    door.node.fault = maintained
    assert call(door) is not None
    assert time.monotonic() > ends


# --- fields ---

MISSING = object()


def bend(field: str, value: object) -> Fault:
    """Change a field of the result, or of each of its records."""

    def fault(request: dict[str, Any], forward: Forward) -> Answer:
        answer = forward(request)
        for record in answer["result"] if isinstance(answer["result"], list) else [answer["result"]]:
            if value is MISSING:
                del record[field]
            else:
                record[field] = value
        return answer

    return fault


NO_VALUES = [MISSING, None, "0xzz", {}]  # test_answer_codec has all of them
FIELDS = [
    ("now", "eth_getBlockByNumber", "number"),
    ("now", "eth_getBlockByNumber", "timestamp"),
    ("now", "eth_getBlockByNumber", "hash"),
    ("state", "eth_getLogs", "topics"),
    ("state", "eth_getLogs", "data"),
    ("state", "eth_getLogs", "blockNumber"),
    ("state", "eth_getLogs", "logIndex"),
    ("state", "eth_getLogs", "transactionHash"),
]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("call", "method", "field"), FIELDS)
@pytest.mark.parametrize("value", NO_VALUES)
def test_a_field_that_is_not_what_it_must_be(door: Door, call: str, method: str, field: str, value: object) -> None:
    door.chain = door.connect()
    door.node.fault = always(method, bend(field, value))
    refused(CALLS[call], door)
    door.node.fault = once(method, bend(field, value))
    CALLS[call](door)
    assert door.chain.state() == door.world.chain("bob").state()


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("field", ["blockNumber", "gasUsed", "status", "transactionHash", "logs"])
@pytest.mark.parametrize("value", NO_VALUES)
def test_a_receipt_that_is_none_is_asked_for_again(door: Door, field: str, value: object) -> None:
    door.node.fault = once("eth_getTransactionReceipt", bend(field, value))
    door.send()
    assert door.node.asked.count("eth_getTransactionReceipt") >= 2


def test_another_block_than_the_one_asked_for(door: Door) -> None:
    with pytest.raises(ChainUnavailable, match="block 7 instead of 3"):
        rpc = Rpc(door.node.url, RevertCodec([]), attempts=2)
        door.node.fault = always("eth_getBlockByNumber", bend("number", "0x7"))
        rpc.block(3)


def test_the_chain_id_is_never_null(door: Door) -> None:
    door.node.fault = once("eth_chainId", result(None))
    assert door.connect().chain_id == 31337


# --- refusals ---


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "data",
    [
        "0x4e487b71" + "99" * 32,
        "0x556f1830" + "ff" * 64,
        "0x08c379a0" + "ff" * 64,
        "0xabc",
        "Reverted 0xzz",
        {},
        7,
        None,
    ],
)
def test_a_refusal_with_any_data_has_a_name(door: Door, data: object) -> None:
    error = {"code": 3, "message": "execution reverted", "data": data}
    door.node.fault = always("eth_estimateGas", lambda request, _: {"id": request["id"], "error": error})
    with pytest.raises(ChainError) as refusal:
        door.send()
    assert refusal.value.what
    assert door.node.asked.count("eth_estimateGas") == 1  # a refusal is an answer


@pytest.mark.parametrize(
    "error",
    [
        {"code": 3, "message": "execution reverted", "data": "{data}"},  # geth, anvil
        {"code": -32015, "message": "VM execution error.", "data": "Reverted {data}"},  # Parity, Nethermind
        {
            "code": -32603,
            "message": "Error: VM Exception",
            "data": {"message": "reverted", "data": "{data}"},
        },  # Hardhat
    ],
)
def test_a_refusal_has_its_name_whoever_words_it(door: Door, error: dict[str, Any]) -> None:
    data = door.world.chain("acme")._contract._rpc._reverts._by_selector
    selector = next(key for key, entry in data.items() if entry["name"] == "NotOrganization")
    worded = json.loads(json.dumps(error).replace("{data}", "0x" + selector.hex()))
    door.node.fault = always("eth_estimateGas", lambda request, _: {"id": request["id"], "error": worded})
    with pytest.raises(ChainError, match="NotOrganization"):
        door.send()


def test_a_node_that_proposes_no_tip(door: Door) -> None:
    error = {"code": -32601, "message": "the method eth_maxPriorityFeePerGas does not exist"}
    door.node.fault = always("eth_maxPriorityFeePerGas", lambda request, _: {"id": request["id"], "error": error})
    door.send()


# --- our own mistakes ---


def test_our_own_mistakes_are_not_taken_for_the_nodes(door: Door) -> None:
    rpc = Rpc(door.node.url, RevertCodec([]))
    for mistake in (ValueError, TypeError, KeyError, AttributeError):

        def decode(value: object, mistake: type[Exception] = mistake) -> None:
            raise mistake

        with pytest.raises(mistake):
            rpc.read("eth_chainId", decode)
    with pytest.raises(TypeError):
        rpc.read("eth_chainId", lambda value: value, object())
