"""The twin against the contract: the same random moves give the same refusals, the same state and the same balances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from network.chain import Chain, ClientClaims, RoundClaim
from network.memory_ledger import MemoryLedger
from network.node import LocalNode
from protocol.errors import ChainError, TransactionReverted
from protocol.terms import Phase, RoundTerms, SignedUpdate
from protocol.types import Digest, RoundId
from tests.network.chain_game import FIRST_MODEL, NEXT_MODEL, TERMS, Game
from tests.network.chain_world import AUDITORS, PEOPLE, SUPPLY, EvmWorld, MemoryWorld, address_of, some_hash

pytestmark = [pytest.mark.node, pytest.mark.slow]
CLIENTS = ("alice", "bob", "carol")
SHORT: RoundTerms = replace(TERMS, max_updates=2, training_seconds=40, settlement_seconds=30, challenge_seconds=20)
REWARDS = {"alice": 1000, "bob": 2000}
Act = Callable[[Game, Chain], object]  # what one person does in one of the two worlds


class Twins:
    """One world of each kind with the same addresses, ids and clock."""

    def __init__(self, node: LocalNode) -> None:
        self.evm, self.memory = EvmWorld(node), MemoryWorld()
        node.rpc("anvil_setBlockTimestampInterval", 0)  # a block's time is its parent's, until a move of time
        now = self.evm.chain("acme").now()
        self.memory.ledger = MemoryLedger(now, self.evm.chain("acme").chain_id, self.evm.contract)
        self.memory.token = self.evm.token
        self.memory.ledger.mint(self.memory.token, address_of("acme"), SUPPLY)
        self.games = [Game(self.evm), Game(self.memory)]

    def move(self, name: str, act: Act) -> str:
        """Let ``name`` act in both; the outcome must be the same."""
        evm, memory = (self._outcome(game, name, act) for game in self.games)
        assert evm == memory
        return evm[0]

    def _outcome(self, game: Game, name: str, act: Act) -> tuple[str, object]:
        try:
            act(game, game.world.chain(name))
        except TransactionReverted as error:
            return error.name, error.arguments
        except ChainError as error:
            return type(error).__name__, str(error)
        return "done", ()

    def advance(self, seconds: int) -> None:
        now = self.memory.ledger.now + seconds
        self.evm.advance_to(now)
        self.memory.advance_to(now)

    def check(self) -> None:
        state = self.evm.check()
        assert state == self.memory.check()
        for name in PEOPLE:
            assert self.evm.balance(address_of(name)) == self.memory.balance(address_of(name))
        assert [log.event for log in self.evm.chain("acme").logs()] == [
            log.event for log in self.memory.chain("acme").logs()
        ]


@pytest.fixture(scope="module")
def still_node() -> Iterator[LocalNode]:
    with LocalNode(block_time=None) as running:
        yield running


def launch(game: Game, chain: Chain, terms: RoundTerms) -> None:
    head = chain.state().federations[game.id].head
    game.round = chain.launch_round(game.id, head, terms)


def settle(game: Game, chain: Chain, stale: bool) -> None:
    settlement = (
        replace(game.settlement(REWARDS), updates_hash=some_hash("stale")) if stale else game.settlement(REWARDS)
    )
    chain.settle(game.round, settlement)


def attest(game: Game, chain: Chain, honest: bool) -> None:
    rewards = REWARDS if honest else {"alice": 5}
    chain.attest(game.round, game.result_hash(game.settlement(rewards)), some_hash("witness"))


def reveal(game: Game, chain: Chain, right: bool) -> None:
    found = game.settlement({"alice": 5} if right else {"alice": 6})
    chain.reveal(game.round, found.model, found.derived_hash, found.rewards_root, found.rewards_total)


def claim(game: Game, chain: Chain, client: str, revealed: bool) -> None:
    rewards = {"alice": 5} if revealed else REWARDS
    proof = game.proof(client, rewards) if client in rewards else ()
    chain.claim(game.round, address_of(client), rewards.get(client, 1), proof)


def claim_all(game: Game, chain: Chain, clients: list[str]) -> None:
    """Each client's share of the latest round, and of the first, by its own amounts or others'."""
    latest = len(chain.state().federations[game.id].rounds)
    claims = []
    for name in clients:
        proof = game.proof(name, REWARDS) if name in REWARDS else ()
        rounds = tuple(RoundClaim(index, REWARDS.get(name, 0), proof) for index in (latest, 1))
        claims.append(ClientClaims(address_of(name), rounds))
    chain.claim_batch(game.id, claims)


def submit(game: Game, chain: Chain, millis: int, digest: Digest) -> None:
    chain.submit_update(game.round, digest, millis)


def submit_signed(game: Game, chain: Chain, client: str, millis: int, stale: bool) -> None:
    chain.submit_update_for(game.round, sign(game, client, millis, stale))


def submit_batch(game: Game, chain: Chain, batch: list[tuple[str, int, bool]]) -> None:
    chain.submit_updates(game.round, [sign(game, *one) for one in batch])


def sign(game: Game, client: str, millis: int, stale: bool) -> SignedUpdate:
    """What a client signs for the round, or ``stale`` for the one before it."""
    state = game.world.state().rounds[game.round]
    state = replace(state, id=RoundId(some_hash("before"))) if stale else state
    return game.world.chain(client).sign_update(state, Digest(some_hash(client)), millis)


def by_time(game: Game, chain: Chain, client: str) -> None:
    chain.claim_by_time(game.round, address_of(client))


def fee(game: Game, chain: Chain, auditor: str) -> None:
    chain.claim_attestation_fee(game.round, address_of(auditor))


def withdraw(game: Game, chain: Chain) -> None:
    chain.withdraw(game.round)


def forfeit(game: Game, chain: Chain) -> None:
    chain.forfeit(game.round)


def by(
    names: tuple[str, ...], act: Callable[..., object], **words: st.SearchStrategy[Any]
) -> st.SearchStrategy[object]:
    """One of ``names`` does ``act``."""
    return st.tuples(st.sampled_from(names), st.builds(partial, st.just(act), **words))


ANYONE, CLIENT = ("mallory",), st.sampled_from(CLIENTS)
SUBMIT = by(
    CLIENTS,
    submit,
    millis=st.sampled_from((0, 900, 10_000, 60_000, 60_001)),
    digest=st.sampled_from((Digest(some_hash("a")), Digest(some_hash("b")), Digest(bytes(32)))),
)
MILLIS, STALE = st.sampled_from((0, 900, 10_000, 60_001)), st.sampled_from((False, False, True))
SUBMIT_SIGNED = by(ANYONE, submit_signed, client=CLIENT, millis=MILLIS, stale=STALE)
SUBMIT_BATCH = by(ANYONE, submit_batch, batch=st.lists(st.tuples(CLIENT, MILLIS, STALE), max_size=4))
ATTEST = by((*AUDITORS, "mallory"), attest, honest=st.booleans())
WAIT = st.sampled_from((1, 10, 19, 20, 40))  # seconds
MOVES = st.one_of(
    *(WAIT, WAIT, SUBMIT, SUBMIT_SIGNED, SUBMIT_BATCH, ATTEST, ATTEST, by(("acme",), launch, terms=st.just(SHORT))),
    by(("acme", "mallory"), settle, stale=st.sampled_from((False, False, True))),
    by(ANYONE, reveal, right=st.booleans()),
    by(ANYONE, claim, client=CLIENT, revealed=st.booleans()),
    by(ANYONE, by_time, client=CLIENT),
    by(ANYONE, claim_all, clients=st.lists(CLIENT, max_size=3)),
    by(ANYONE, fee, auditor=st.sampled_from(AUDITORS)),
    *(by(ANYONE, withdraw), by(ANYONE, forfeit)),
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(moves=st.lists(MOVES, min_size=10, max_size=40))
def test_random_moves(still_node: LocalNode, moves: list[tuple[str, Act] | int]) -> None:
    twins = Twins(still_node)
    twins.move("acme", partial(launch, terms=SHORT))
    for move in moves:
        if isinstance(move, int):
            twins.advance(move)
        else:
            twins.move(*move)
        twins.check()


@pytest.mark.parametrize("honest", [True, False])
@pytest.mark.parametrize("audits", [0, 1, 2, 3])
def test_whole_rounds(still_node: LocalNode, honest: bool, audits: int) -> None:
    """Every order of the money's ways out, at every deadline of a round that goes its way."""
    twins = Twins(still_node)
    out: list[Act] = [
        withdraw,
        partial(reveal, right=True),
        partial(claim, client="alice", revealed=not honest),
        partial(by_time, client="bob"),
        partial(claim_all, clients=["bob", "alice"]),
        partial(fee, auditor=AUDITORS[0]),
        forfeit,
    ]
    twins.move("acme", partial(launch, terms=SHORT))
    twins.advance(15)
    for client in CLIENTS:
        digest = Digest(some_hash(client))
        twins.move(client, partial(submit, millis=12_000 if client == "bob" else 15_000, digest=digest))
    assert twins.move("acme", partial(settle, stale=False)) == "done"
    for auditor in AUDITORS[:audits]:
        twins.move(auditor, partial(attest, honest=honest))
        twins.check()
    for _ in range(4):
        for act in out:
            twins.move("mallory", act)
            twins.check()
        twins.advance(19)
        twins.advance(1)
    twins.move("acme", partial(launch, terms=SHORT))
    twins.check()
    assert twins.games[0].state.phase is Phase.TRAINING
    assert twins.games[0].state.base == (FIRST_MODEL if audits >= 2 and not honest else NEXT_MODEL)
