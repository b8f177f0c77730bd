"""What only a real node can do to us: reorganise, lose answers, leave out logs, be poor, be gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from eth_account import Account

from network.evm_chain import connect
from network.evm_contract import ERC20_ABI, EvmContract
from network.node import LocalNode, free_port
from network.revert_codec import RevertCodec
from network.rpc import Rpc
from protocol.errors import (
    ChainUnavailable,
    InsufficientFunds,
    InvalidInput,
    KeyError_,
    LogsIncomplete,
    TransactionReverted,
)
from protocol.terms import Phase
from protocol.types import ZERO_ADDRESS, Digest, address
from tests.network.chain_game import FIRST_MODEL, TERMS, Game
from tests.network.chain_world import EvmWorld, address_of, key_of, some_hash
from tests.network.faulty_node import FaultyNode, once

pytestmark = pytest.mark.node


@pytest.fixture
def world(node: LocalNode) -> EvmWorld:
    return EvmWorld(node)


@pytest.fixture
def faulty(node: LocalNode) -> Iterator[FaultyNode]:
    with FaultyNode(node.url) as door:
        yield door


def allowance(world: EvmWorld, name: str) -> int:
    token = EvmContract(Rpc(world.node.url, RevertCodec([])), world.token, ERC20_ABI)
    return int(token.call("allowance", address_of(name), world.contract))


# --- connecting ---


def test_no_node() -> None:
    with pytest.raises(ChainUnavailable, match=r"does not answer.*RONDO_CHAIN_URL"):
        connect(f"http://127.0.0.1:{free_port()}", ZERO_ADDRESS)


def test_no_contract_at_the_address(node: LocalNode) -> None:
    with pytest.raises(InvalidInput, match=r"no contract at 0x0+ on chain 31337.*RONDO_CONTRACT"):
        connect(node.url, ZERO_ADDRESS)


def test_reading_needs_no_key_but_sending_does(world: EvmWorld) -> None:
    game = Game(world)
    reader = connect(world.node.url, world.contract)
    assert reader.account is None
    assert reader.state().federations.keys() == {game.id}
    with pytest.raises(KeyError_):
        reader.set_admission(game.id, some_hash("root"))


def test_arguments_that_do_not_fit_their_types(world: EvmWorld) -> None:
    game = Game(world)
    game.launch()
    with pytest.raises(InvalidInput, match="submitUpdate"):
        world.chain("alice").submit_update(game.round, Digest(b"short"), 1)
    with pytest.raises(InvalidInput, match="submitUpdate"):
        world.chain("alice").submit_update(game.round, Digest(some_hash("x")), 2**40)


# --- money for gas, allowances ---


def test_an_account_without_gas_money(world: EvmWorld) -> None:
    game = Game(world)
    game.launch()
    world.advance(10)
    poor = Account.create()
    with pytest.raises(InsufficientFunds, match=rf"{poor.address} holds 0 wei, but the transaction can cost \d+ wei"):
        connect(world.node.url, world.contract, poor).submit_update(game.round, Digest(some_hash("x")), 1)


def test_a_launch_approves_exactly_the_escrow(world: EvmWorld) -> None:
    game = Game(world)
    game.launch()
    assert allowance(world, "acme") == 0
    with pytest.raises(TransactionReverted, match="RoundIsLive"):
        game.launch()
    assert allowance(world, "acme") == 0  # nothing is approved for what is refused anyway


def test_a_launch_leaves_a_sufficient_allowance_as_it_is(world: EvmWorld) -> None:
    game, rpc = Game(world), Rpc(world.node.url, RevertCodec([]))
    token = EvmContract(rpc, world.token, ERC20_ABI)
    game.acme._require_sender().send(world.token, token.encode("approve", world.contract, TERMS.escrow(3) + 5))  # type: ignore[attr-defined]
    game.launch()
    assert allowance(world, "acme") == 5


def test_gas_used_is_the_receipts(world: EvmWorld) -> None:
    game = Game(world)
    receipt = game.acme.set_admission(game.id, some_hash("root"))
    assert world.chain("bob").gas_used(receipt.transaction) == receipt.gas_used > 21_000
    with pytest.raises(InvalidInput, match="No block has transaction"):
        game.acme.gas_used(some_hash("nothing"))


# --- sending ---


def test_threads_of_one_account_send_one_after_another(world: EvmWorld) -> None:
    game = Game(world)
    chains = [connect(world.node.url, world.contract, key_of("acme")) for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        receipts = list(pool.map(lambda i: chains[i % 3].set_admission(game.id, some_hash(str(i))), range(12)))
    assert len({receipt.transaction for receipt in receipts}) == 12


def test_a_refusal_that_only_shows_in_the_block_has_its_name(world: EvmWorld) -> None:
    game = Game(world, audited=False)
    game.launch(challenge_seconds=0)
    game.train(alice=20)
    game.settle({"alice": 60})
    refusals: list[TransactionReverted] = []

    def claim(name: str) -> None:
        try:
            world.chain(name).claim(game.round, address_of("alice"), 60, ())
        except TransactionReverted as error:
            refusals.append(error)

    world.chain("bob"), world.chain("carol")
    world.node.rpc("evm_setAutomine", False)
    try:
        threads = [threading.Thread(target=claim, args=(name,)) for name in ("bob", "carol")]
        for thread in threads:
            thread.start()
        wait_until(lambda: int(world.node.rpc("txpool_status")["pending"], 16) == 2)
        world.node.rpc("evm_mine")
        for thread in threads:
            thread.join()
    finally:
        world.node.rpc("evm_setAutomine", True)
    assert [(error.name, error.arguments) for error in refusals] == [("AlreadyPaid", (game.round, address_of("alice")))]
    assert world.balance(address_of("alice")) == 60


def test_a_lost_answer_to_a_transaction_does_not_send_it_twice(world: EvmWorld, faulty: FaultyNode) -> None:
    game = Game(world)
    chain = connect(faulty.url, world.contract, key_of("acme"))
    before = int(world.node.rpc("eth_getTransactionCount", address_of("acme"), "latest"), 16)
    faulty.fault = once("eth_sendRawTransaction", lambda request, forward: forward(request) and None)
    chain.set_admission(game.id, some_hash("root"))
    assert int(world.node.rpc("eth_getTransactionCount", address_of("acme"), "latest"), 16) == before + 1
    assert faulty.asked.count("eth_sendRawTransaction") == 2


def test_a_transaction_that_a_node_forgot_is_handed_over_again(
    world: EvmWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("network.sender.LOOK_AGAIN_SECONDS", 0.2)
    game, node = Game(world), world.node
    node.rpc("evm_setAutomine", False)
    try:
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(game.acme.set_admission, game.id, some_hash("root"))
            wait_until(lambda: int(node.rpc("txpool_status")["pending"], 16) == 1)
            node.rpc("anvil_dropAllTransactions")
            wait_until(lambda: int(node.rpc("txpool_status")["pending"], 16) == 1)
            node.rpc("evm_mine")
            sent.result(10)
    finally:
        node.rpc("evm_setAutomine", True)
    assert game.federation.admission_root == some_hash("root")


def test_a_node_that_counts_too_few_transactions_is_asked_again(world: EvmWorld, faulty: FaultyNode) -> None:
    game = Game(world)
    chain = connect(faulty.url, world.contract, key_of("acme"))

    def lag(request: dict[str, Any], forward: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        answer = forward(request)
        return answer | {"result": hex(int(answer["result"], 16) - 1)}

    faulty.fault = once("eth_getTransactionCount", lag)
    chain.set_admission(game.id, some_hash("root"))
    assert world.state().federations[game.id].admission_root == some_hash("root")


def test_an_overloaded_node_is_asked_again(world: EvmWorld, faulty: FaultyNode) -> None:
    chain = connect(faulty.url, world.contract)
    faulty.fault = once("eth_getBlockByNumber", lambda request, forward: {"status": 503})
    assert chain.now() == world.chain("acme").now()
    limit = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "limit exceeded"}}
    faulty.fault = once("eth_getBlockByNumber", lambda request, forward: limit | {"id": request["id"]})
    assert chain.now() == world.chain("acme").now()


# --- logs ---


def test_wide_ranges_are_read_in_spans_that_the_node_allows(world: EvmWorld, faulty: FaultyNode) -> None:
    game = Game(world)
    for index in range(10):
        game.acme.set_admission(game.id, some_hash(str(index)))
    most = 3

    def narrow(request: dict[str, Any], forward: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        if request["method"] == "eth_getLogs":
            query = request["params"][0]
            if int(query["toBlock"], 16) - int(query["fromBlock"], 16) >= most:
                return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32602, "message": "range too large"}}
        return forward(request)

    chain = connect(faulty.url, world.contract, first_block=max(int(world.node.rpc("eth_blockNumber"), 16) - 20, 0))
    faulty.fault = narrow
    assert chain.logs() == world.chain("acme").logs()


def test_only_new_blocks_are_asked_for(world: EvmWorld, faulty: FaultyNode) -> None:
    game = Game(world)
    chain = connect(faulty.url, world.contract)
    chain.state()
    faulty.asked.clear()
    chain.state()
    assert "eth_getLogs" not in faulty.asked
    game.acme.set_admission(game.id, some_hash("root"))
    assert chain.state().federations[game.id].admission_root == some_hash("root")
    assert faulty.asked.count("eth_getLogs") == 1


def forgetful(request: dict[str, Any], forward: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Leave out the second update of whatever is asked."""
    answer = forward(request)
    if request["method"] == "eth_getLogs":
        updates = [log for log in answer["result"] if len(log["topics"]) == 3 and len(log["data"]) == 2 + 128]
        answer["result"] = [log for log in answer["result"] if log not in updates[1:2]]
    return answer


def test_an_update_that_a_node_leaves_out_shows_in_the_rolling_hash(world: EvmWorld, faulty: FaultyNode) -> None:
    game = Game(world)
    game.launch()
    game.train(alice=10, bob=20, carol=30)
    game.settle({})
    chain = connect(faulty.url, world.contract)
    faulty.fault = forgetful
    with pytest.raises(LogsIncomplete, match="its 2 updates hash to"):
        chain.state()
    faulty.fault = once("eth_getLogs", forgetful)
    assert len(chain.state().rounds[game.round].updates) == 3


# --- reorganisations ---


def test_state_follows_a_reorganisation(world: EvmWorld) -> None:
    game = Game(world)
    game.launch()
    world.advance(10)
    reader = connect(world.node.url, world.contract)
    alice = world.chain("alice")
    reader.state()
    alice.submit_update(game.round, Digest(some_hash("first")), 1)
    assert len(reader.state().rounds[game.round].updates) == 1
    world.node.rpc("anvil_reorg", 1, [])
    assert reader.state().rounds[game.round].updates == ()
    assert alice.state().rounds[game.round].updates == ()
    alice.submit_update(game.round, Digest(some_hash("second")), 2)
    (update,) = reader.state().rounds[game.round].updates
    assert update.digest == Digest(some_hash("second"))
    assert [log.event for log in reader.logs()] == [log.event for log in world.chain("carol").logs()]
    world.check()


def test_state_follows_a_rollback_over_many_reads(world: EvmWorld) -> None:
    game = Game(world)
    reader = connect(world.node.url, world.contract)
    for index in range(8):
        game.acme.set_admission(game.id, some_hash(str(index)))
        reader.state()
    world.node.rpc("anvil_rollback", 5)
    assert reader.state().federations[game.id].admission_root == some_hash("2")
    world.node.rpc("evm_mine")
    assert reader.state().federations[game.id].admission_root == some_hash("2")
    game.acme.set_admission(game.id, some_hash("new"))
    assert reader.state().federations[game.id].admission_root == some_hash("new")


def test_confirmations_keep_a_distance(world: EvmWorld) -> None:
    game = Game(world)
    world.node.rpc("anvil_mine", hex(3))
    slow = connect(world.node.url, world.contract, key_of("acme"), confirmations=2)
    assert slow.state() == world.state() or slow.now() < world.chain("bob").now()
    world.chain("acme").launch_round(game.id, FIRST_MODEL, TERMS)
    assert not slow.state().rounds
    world.node.rpc("anvil_mine", hex(2))
    (round,) = slow.state().rounds.values()
    assert round.phase is Phase.TRAINING
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(slow.set_admission, game.id, some_hash("root"))
        wait_until(lambda: world.state().federations[game.id].admission_root == some_hash("root"))
        time.sleep(0.3)
        assert not sent.done()
        world.node.rpc("anvil_mine", hex(2))
        receipt = sent.result(10)
    assert slow.state().federations[game.id].admission_root == some_hash("root")
    assert receipt.block + 2 <= int(world.node.rpc("eth_blockNumber"), 16)


# --- hashes ---


def test_hashes_are_the_contracts(world: EvmWorld) -> None:
    from protocol import hashing

    game = Game(world)
    launched = game.launch()
    chain = world.chain("alice")
    assert chain.view("federationId", address_of("acme"), some_hash("")) == game.id
    digest, millis = Digest(some_hash("digest")), 12_345
    arguments: dict[str, Any] = {
        "federation": game.id,
        "round": game.round,
        "terms": launched.terms_hash,
        "client": address_of("alice"),
        "digest": digest,
        "millis": millis,
    }
    expected = chain.view("updateTypedDataHash", game.round, address_of("alice"), digest, millis)
    assert hashing.update_typed_data_hash(chain.chain_id, chain.contract, **arguments) == expected
    message = hashing.update_typed_data(chain.chain_id, chain.contract, **arguments)
    signed = key_of("alice").sign_typed_data(full_message=message)
    assert bytes(signed.message_hash) == expected
    assert address(str(Account._recover_hash(expected, signature=signed.signature))) == address_of("alice")


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
