"""The Python replay is the oracle: after any sequence of calls the contract's views say what the replayed logs say.

Three federations of one contract on a real node, an audited one, an unaudited one, and one that admits by list; random
moves of everybody, most of them refused: many rounds (a client's records fill more than one slot), batches of updates
and of claims, joins, changes of the list, handovers. `EvmWorld.check` compares every view after every move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Stage
from hypothesis import strategies as st

from network.chain import ClientClaims, RoundClaim
from network.node import LocalNode
from protocol.errors import ChainError
from protocol.merkle import MerkleTree, admission_leaf
from protocol.state import FederationState, RoundState
from protocol.terms import PayBasis, Phase, SignedUpdate
from protocol.types import ZERO_HASH, Digest, Hash, RoundId
from tests.network.chain_game import TERMS, Game
from tests.network.chain_world import AUDITORS, SUPPLY, EvmWorld, address_of, empty, some_hash

pytestmark = [pytest.mark.node, pytest.mark.slow]
CLIENTS = ("alice", "bob", "carol", "mallory")
LISTS = [(), CLIENTS[:2], CLIENTS[1:]]  # whom the third federation admits; nobody named: everybody
TREES = [MerkleTree(admission_leaf(address_of(name)) for name in names) for names in LISTS]
SHORT = replace(TERMS, max_updates=3, training_seconds=40, settlement_seconds=30, challenge_seconds=20)


class Table:
    """Three federations, and moves that take small numbers: whose turn, and how."""

    def __init__(self, node: LocalNode) -> None:
        self.world = EvmWorld(node)
        self.world.give("mallory", SUPPLY // 2)  # the role can go there and back
        self.games = [Game(self.world, salt="audited"), Game(self.world, audited=False, salt="unaudited")]
        self.games.append(Game(self.world, admission_root=TREES[1].root, salt="listed"))
        self.rewards: dict[tuple[bytes, bool], dict[str, int]] = {}  # by round, and whether settled or the auditors'

    def federation(self, which: int) -> tuple[Game, FederationState, RoundState | None]:
        game, state = self.games[which % 3], self.world.state()
        federation = state.federations[game.id]
        game.round = federation.rounds[-1] if federation.rounds else RoundId(bytes(32))
        return game, federation, state.rounds.get(game.round)

    def leader(self, federation: FederationState) -> str:
        return next(name for name in ("acme", "mallory") if address_of(name) == federation.organization)

    # --- moves ---

    def wait(self, which: int, how: int) -> None:
        self.world.advance((1, 9, 10, 20, 21, 41)[how % 6])

    def launch(self, which: int, how: int) -> None:
        game, federation, _ = self.federation(which)
        terms = replace(SHORT, time_cap_millis=(0, 5_000)[how % 2])
        name = self.leader(federation) if how % 9 else "carol"
        self.world.chain(name).launch_round(game.id, federation.head, terms)

    def _open(self, which: int, how: int) -> tuple[Game, RoundState | None]:
        """The federation's last round, mostly launched anew where that is over."""
        game, _, round = self.federation(which)
        if (round is None or round.phase not in LIVE) and how % 8:
            self.launch(which, 1)
            self.world.advance(10)
            game, _, round = self.federation(which)
        return game, round

    def submit(self, which: int, how: int) -> None:
        game, name = self._open(which, how)[0], CLIENTS[how % 4]
        digest = Digest(some_hash(f"{how}") if how % 7 else ZERO_HASH)
        self.world.chain(name).submit_update(game.round, digest, (0, 900, 9_000, 61_000)[how // 4 % 4])

    def submit_batch(self, which: int, how: int) -> None:
        game, round = self._open(which, how)
        if round is None:
            raise LookupError
        updates = []
        for number in range(how % 5):
            name, other = CLIENTS[(how + number) % 4], CLIENTS[(how + number // 2) % 4]
            signed = self.world.chain(name).sign_update(round, Digest(some_hash(name)), 900 * number)
            client = address_of(other) if how % 4 == 0 else signed.client
            updates.append(SignedUpdate(client, signed.digest, signed.millis, signed.signature))
        self.world.chain("carol").submit_updates(game.round, updates)

    def settle(self, which: int, how: int) -> None:
        game, federation, round = self.federation(which)
        if round is None:
            raise LookupError
        if round.updates and how % 3 and round.phase is Phase.TRAINING:
            self.world.advance_to(round.training_ends)
        for settled in (True, False):
            part = (how % 4, how // 4 % 4)[settled]
            rewards = {name: self._earned(round, name) * part // 4 for name in CLIENTS}
            self.rewards[game.round, settled] = {name: amount for name, amount in rewards.items() if amount}
        settlement = game.settlement(self.rewards[game.round, True], Digest(some_hash(f"model {how % 3}")))
        if how % 12 == 0:
            settlement = replace(settlement, updates_hash=some_hash("stale"))
        self.world.chain(self.leader(federation) if how % 9 else "carol").settle(game.round, settlement)

    def attest(self, which: int, how: int) -> None:
        game = self.federation(which)[0]
        settlement = game.settlement(self.rewards[game.round, how % 3 != 0], Digest(some_hash("model 0")))
        round = self.world.state().rounds[game.round]
        said = round.settled.result_hash if round.settled and how % 3 else game.result_hash(settlement)
        for auditor in AUDITORS[how % 3 :][: 1 + how // 3 % 3]:
            self.world.chain(auditor).attest(game.round, said, some_hash("witness"))
            self.world.check()

    def reveal(self, which: int, how: int) -> None:
        game, federation, _ = self.federation(which)
        rejected = [id for id in federation.rounds if self.world.state().rounds[id].phase is Phase.REJECTED]
        game.round = rejected[how % len(rejected)] if rejected else game.round
        found = game.settlement(self.rewards[game.round, how % 5 == 0], Digest(some_hash("model 0")))
        words = (found.model, found.derived_hash, found.rewards_root, found.rewards_total)
        self.world.chain("carol").reveal(game.round, *words)

    def claim(self, which: int, how: int) -> None:
        """One client's claim of one round, by whichever basis it has."""
        game, federation, _ = self.federation(which)
        game.round, name = federation.rounds[how % len(federation.rounds)], CLIENTS[how // 8 % 4]
        if self.world.state().rounds[game.round].basis is PayBasis.TIME:
            self.world.chain("carol").claim_by_time(game.round, address_of(name))
        else:
            claim = self._claim(game, name)
            self.world.chain("carol").claim(game.round, address_of(name), claim.amount, claim.proof)

    def claim_batch(self, which: int, how: int) -> None:
        """All of two clients' rounds that pay, paid or not; at times with one that does not."""
        game, federation, _ = self.federation(which)
        state, claims = self.world.state(), []
        for name in (CLIENTS[how % 4], CLIENTS[(how + 1) % 4]):
            found = []
            for game.round in federation.rounds:
                round = state.rounds[game.round]
                claim = self._claim(game, name)
                paid = any(update.client == address_of(name) for update in round.updates)
                pays = round.basis is PayBasis.TIME or (round.basis is PayBasis.RESULT and claim.amount > 0)
                if (paid and pays) or how % 7 == 0:
                    found.append(claim)
            claims.append(ClientClaims(address_of(name), tuple(found)))
        self.world.chain("carol").claim_batch(game.id, claims)

    def fee(self, which: int, how: int) -> None:
        self.world.chain("carol").claim_attestation_fee(self.federation(which)[0].round, address_of(AUDITORS[how % 3]))

    def withdraw(self, which: int, how: int) -> None:
        federation = self.federation(which)[1]
        self.world.chain("carol").withdraw(federation.rounds[how % len(federation.rounds)])

    def forfeit(self, which: int, how: int) -> None:
        federation = self.federation(which)[1]
        self.world.chain("carol").forfeit(federation.rounds[how % len(federation.rounds)])

    def hand_over(self, which: int, how: int) -> None:
        game, federation, _ = self.federation(which)
        self.world.chain(self.leader(federation)).offer_organization(game.id, address_of(("acme", "mallory")[how % 2]))
        self.world.check()
        self.world.chain("carol" if how % 3 == 0 else ("acme", "mallory")[how % 2]).accept_organization(game.id)

    def admit(self, which: int, how: int) -> None:
        game, federation, _ = self.federation(which if how % 4 == 0 else 2)
        self.world.chain(self.leader(federation)).set_admission(game.id, TREES[how % 3].root)

    def join(self, which: int, how: int) -> None:
        game, federation, _ = self.federation(which if how % 4 == 0 else 2)
        name, roots = CLIENTS[how // 3 % 4], [tree.root for tree in TREES]
        asked = roots.index(federation.admission_root) if how % 5 else how % 3
        proof: tuple[Hash, ...] = ()
        if name in LISTS[asked]:
            proof = TREES[asked].proof(admission_leaf(address_of(name)))
        self.world.chain("carol").join(game.id, address_of(name), proof)

    # --- what is owed ---

    def _earned(self, round: RoundState, name: str) -> int:
        """Most base units that the client can have earned."""
        recorded = sum(update.millis for update in round.updates if update.client == address_of(name))
        return recorded * round.terms.reward_per_milli

    def _claim(self, game: Game, name: str) -> RoundClaim:
        """What the client claims of ``game.round``: nothing where nothing is due by result."""
        round = self.world.state().rounds[game.round]
        rewards = self.rewards.get((game.round, round.revealed is None), {})
        proof = game.proof(name, rewards) if name in rewards else ()
        return RoundClaim(round.index, rewards.get(name, 0), proof)


LIVE = (Phase.TRAINING, Phase.SETTLEMENT, Phase.CHALLENGE)
MOVES: list[Callable[[Table, int, int], None]] = [
    *(Table.wait, Table.launch, Table.submit, Table.submit, Table.submit, Table.submit_batch, Table.submit_batch),
    *(Table.settle, Table.settle, Table.settle, Table.attest, Table.attest, Table.reveal, Table.reveal, Table.claim),
    *(Table.claim, Table.claim_batch, Table.fee, Table.withdraw, Table.forfeit, Table.hand_over, Table.admit),
    *(Table.join, Table.join),
]
TURNS = st.tuples(st.sampled_from(MOVES), st.integers(0, 2), st.integers(0, 839))


@pytest.fixture(scope="module")
def still_node() -> Iterator[LocalNode]:
    with LocalNode(block_time=None) as running:
        running.rpc("anvil_setBlockTimestampInterval", 0)  # a block's time is its parent's, until a move of time
        yield running


def play(table: Table, turns: list[tuple[Callable[[Table, int, int], None], int, int]]) -> None:
    for move, which, how in turns:
        # Refusals, and moves that need a round where there is none, change nothing; the views are asked all the same.
        with suppress(ChainError, LookupError, ZeroDivisionError):
            move(table, which, how)
        table.world.check()


# Not shrunk: a game takes seconds, and whoever gets one that fails can read it.
@settings(
    max_examples=8, deadline=None, phases=(Stage.explicit, Stage.generate), suppress_health_check=list(HealthCheck)
)
@given(turns=st.lists(TURNS, min_size=20, max_size=60))
def test_random_turns(still_node: LocalNode, turns: list[Any]) -> None:
    play(Table(still_node), turns)


def test_nine_rounds_in_a_row(still_node: LocalNode) -> None:
    """Each client's records fill two slots; nobody claims before the end, and then everybody does, in one call."""
    table = Table(still_node)
    for number in range(9):
        play(table, [(Table.launch, 1, 1), (Table.wait, 1, 2)])
        play(table, [(Table.submit, 1, 4 + who + 16 * number) for who in range(4)])  # one too many
        play(table, [(Table.wait, 1, 5), (Table.settle, 1, 7), (Table.wait, 1, 4)])
    game = table.games[1]
    rounds = table.world.check().rounds
    assert [round.phase for round in rounds.values()] == [Phase.FINAL] * 9
    play(table, [(Table.claim_batch, 1, how) for how in (1, 2, 3)])
    assert all(update.paid for round in table.world.check().rounds.values() for update in round.updates)
    for game.round in rounds:
        empty(table.world, game.round)
