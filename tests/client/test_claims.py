"""Taking pay: no round, federation or token keeps the pay of another from the client."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import client.claims
import client.session
from client.artifacts import Artifacts
from client.claims import ROUND_GAS, SIBLING_GAS, Claimer, ClaimFailed, ClaimRefused
from client.problems import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from client.session import claim_rounds
from network.chain import ClientClaims, Receipt
from network.memory_chain import MemoryChain
from network.memory_ledger import MemoryLedger
from network.memory_store import MemoryStore
from network.node import LocalNode
from network.transfer import publish
from protocol.errors import ChainUnavailable, InsufficientFunds, TransactionReverted
from protocol.events import RewardsPaid
from protocol.hashing import round_id
from protocol.report import Derived, Statement, UpdateVerdict, derived_hash, encode_report
from protocol.rewards import rewards_tree
from protocol.state import State
from protocol.task import Task, encode_task
from protocol.terms import FederationTerms, PayBasis, Settlement
from protocol.types import ZERO_HASH, Address, Digest, FederationId, Hash, RoundId, address, hex32
from tests.client.world import ACME, ALICE, BOB, FORFEITS, TERMS, TOKEN
from tests.network.chain_game import Game
from tests.network.chain_world import EvmWorld, address_of

OTHER_TOKEN = address("0x" + "9" * 40)
MILLIS = 100
RECORD = MILLIS * TERMS.reward_per_milli  # the most that one update of these tests can be paid


class Moody(MemoryChain):
    """A chain that refuses some rounds' claims, or every claim while it is out."""

    def __init__(self, ledger: MemoryLedger, account: Address) -> None:
        super().__init__(ledger, account)
        self.refuses: dict[RoundId, Exception] = {}
        self.sent: list[int] = []  # items of every transaction that was tried

    def _ask(self, rounds: Sequence[RoundId]) -> None:
        self.sent.append(len(rounds))
        for one in rounds:
            if one in self.refuses:
                raise self.refuses[one]

    def claim(self, round: RoundId, client: Address, amount: int, proof: Sequence[Hash]) -> Receipt:
        self._ask([round])
        return super().claim(round, client, amount, proof)

    def claim_by_time(self, round: RoundId, client: Address) -> Receipt:
        self._ask([round])
        return super().claim_by_time(round, client)

    def claim_batch(self, federation: FederationId, claims: Sequence[ClientClaims]) -> Receipt:
        self._ask([round_id(federation, each.index) for one in claims for each in one.rounds])
        return super().claim_batch(federation, claims)


class Rounds:
    """Unaudited federations of acme's, in which alice and bob have updates and acme's word decides pay."""

    def __init__(self) -> None:
        self.ledger, self.store = MemoryLedger(), MemoryStore()
        self.acme = MemoryChain(self.ledger, ACME)
        self.chain = Moody(self.ledger, ALICE)
        self.claimer = Claimer(
            self.chain, Artifacts(self.store, self.ledger.chain_id, self.ledger.contract), self.chain.account or ALICE
        )

    def federation(self, token: Address = TOKEN, salt: int = 0) -> FederationId:
        self.ledger.mint(token, ACME, 10**12)
        task = publish(self.store, encode_task(Task("pay", publication_seconds=30)))
        terms = FederationTerms(token, task, Digest(b"\7" * 32), FORFEITS, 0, ZERO_HASH, ())
        return self.acme.create_federation(Hash(salt.to_bytes(32, "big")), terms)

    def round(self, federation: FederationId, *, millis: int = MILLIS, **change: Any) -> RoundId:
        """A round that closed with an update of alice and one of bob."""
        head = self.ledger.state().federations[federation].head
        terms = replace(TERMS, max_updates=2, attestation_fee=0, **change)
        round_id = self.acme.launch_round(federation, head, terms)
        self.ledger.advance(10)
        for account in (ALICE, BOB):
            MemoryChain(self.ledger, account).submit_update(round_id, Digest(account.encode()[:32]), millis)
        return round_id

    def settle(
        self, round_id: RoundId, *rewards: tuple[Address, int], total: int | None = None, publish_report: bool = True
    ) -> Derived:
        """Settle by what acme says are the rewards; the challenge window passes."""
        round_ = self.ledger.state().rounds[round_id]
        rows = tuple(
            UpdateVerdict(client, Digest(client.encode()[:32]), MILLIS, "accepted", "", 1, 1, 1, 0, MILLIS, amount)
            for client, amount in rewards
        )
        root = rewards_tree(round_id, rewards).root
        total = sum(amount for _, amount in rewards) if total is None else total
        base, said = round_.base, round_.updates_hash
        derived = Derived(
            *(round_.federation, round_id, base, said, "fedavg", "merged", False),
            *(base, len(rows), 0, False, rows, root, total),
        )
        report = publish(self.store if publish_report else MemoryStore(), encode_report(derived, Statement({}, "test")))
        self.acme.settle(round_id, Settlement(said, base, report, derived_hash(derived), root, total))
        self.ledger.advance(TERMS.challenge_seconds)
        return derived

    def paying(self, federation: FederationId, amount: int = RECORD) -> RoundId:
        """A round that owes alice ``amount`` by result."""
        round_id = self.round(federation)
        self.settle(round_id, (ALICE, amount), (BOB, 1))
        return round_id

    def state(self) -> State:
        return self.ledger.state()

    def paid(self, round_id: RoundId) -> int | None:
        mine = self.state().rounds[round_id].update_of(ALICE)
        return None if mine is None else mine.paid

    def claim(self) -> list[RoundId]:
        state = self.state()
        taken = self.claimer.take(self.claimer.due(state, state.rounds), state.now)
        return [payment.claim.round for payment in taken]


@pytest.fixture
def rounds() -> Rounds:
    return Rounds()


# --- what the contract would refuse is not sent ---


def test_a_round_that_promises_more_than_the_contract_pays_is_named_and_blocks_no_other(rounds: Rounds) -> None:
    federation = rounds.federation()
    good, poisoned, later = (rounds.paying(federation, amount) for amount in (RECORD, RECORD + 1, 5))
    assert rounds.claim() == [good, later]
    assert [rounds.paid(one) for one in (good, poisoned, later)] == [RECORD, None, 5]
    [problem] = rounds.claimer.problems.values()
    assert isinstance(problem, ClaimRefused)
    assert "Round 2" in str(problem)
    assert f"{RECORD + 1} base units" in str(problem)
    assert f"at most {RECORD}" in str(problem)
    assert rounds.chain.sent == [2]


def test_a_round_whose_money_others_have_taken_is_named(rounds: Rounds) -> None:
    round_id = rounds.round(rounds.federation())
    rounds.settle(round_id, (ALICE, RECORD), (BOB, RECORD), total=RECORD + 7)  # acme's total is too low
    tree = rewards_tree(round_id, [(ALICE, RECORD), (BOB, RECORD)])
    state = rounds.state()
    [payment] = rounds.claimer.due(state, [round_id])
    assert payment.amount == RECORD
    rounds.chain.claim(round_id, BOB, RECORD, tree.proof(_leaf(round_id, BOB, RECORD)))
    assert rounds.claimer.due(rounds.state(), [round_id]) == []
    assert "the 7 that are left" in str(rounds.claimer.problems[round_id])


def _leaf(round_id: RoundId, account: Address, amount: int) -> Hash:
    from protocol.merkle import leaf

    return leaf(round_id, account, amount)


def test_of_two_rows_for_one_client_the_larger_that_can_be_paid_is_taken(rounds: Rounds) -> None:
    round_id = rounds.round(rounds.federation())
    rounds.settle(round_id, (ALICE, 5), (ALICE, RECORD + 1), (ALICE, 9), (ALICE, 0))
    assert rounds.claim() == [round_id]
    assert rounds.paid(round_id) == 9


def test_what_breaks_a_reader_is_a_problem_of_its_round_alone(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    federation = rounds.federation()
    broken, good = rounds.paying(federation), rounds.paying(federation)
    read = rounds.claimer._artifacts.rewards

    def rewards(round_: Any, federation: Any) -> Any:
        if round_.id == broken:
            raise OverflowError("beyond int64")
        return read(round_, federation)

    monkeypatch.setattr(rounds.claimer._artifacts, "rewards", rewards)
    assert rounds.claim() == [good]
    assert "beyond int64" in str(rounds.claimer.problems[broken])


# --- what the contract refuses after all ---


def test_a_claim_that_reverts_is_named_and_the_others_of_its_batch_are_paid(rounds: Rounds) -> None:
    federation = rounds.federation()
    first, second, third = (rounds.paying(federation) for _ in range(3))
    rounds.chain.refuses[second] = TransactionReverted("InvalidProof", (b"\1" * 32,))
    assert rounds.claim() == [first, third]
    assert rounds.chain.sent == [3, 1, 2, 1, 1]
    [problem] = rounds.claimer.problems.values()
    assert isinstance(problem, ClaimFailed)
    assert "Round 2" in str(problem)
    assert "InvalidProof" in str(problem)


def test_one_bad_claim_among_many_costs_few_transactions(rounds: Rounds) -> None:
    federation = rounds.federation()
    due = [rounds.paying(federation) for _ in range(16)]
    bad = due.pop(5)
    rounds.chain.refuses[bad] = TransactionReverted("InvalidProof")
    before = rounds.ledger.block
    assert rounds.claim() == due
    assert rounds.chain.sent == [16, 8, 4, 4, 2, 1, 1, 2, 8]
    assert rounds.ledger.block - before == 4  # 4, 1, 2 and 8 rounds went through
    assert set(rounds.claimer.problems) == {bad}


@pytest.mark.parametrize(
    "error",
    [
        TransactionReverted("NoReason"),
        InsufficientFunds("The token lies about balances."),  # as a hostile token can revert
        ChainUnavailable("The node answered with an error: out of gas."),
    ],
)
def test_a_token_that_cannot_be_moved_blocks_no_other(rounds: Rounds, error: Exception) -> None:
    first, second = rounds.federation(TOKEN), rounds.federation(OTHER_TOKEN, salt=1)
    bad = [rounds.paying(first) for _ in range(2)]
    good = [rounds.paying(second) for _ in range(2)]
    rounds.chain.refuses = dict.fromkeys(bad, error)
    assert rounds.claim() == good
    assert set(rounds.claimer.problems) == set(bad)
    rounds.chain.refuses.clear()
    rounds.ledger.advance(FIRST_PAUSE_SECONDS)
    assert rounds.claim() == bad
    assert rounds.claimer.problems == {}


def test_a_node_that_does_not_answer_is_not_asked_for_every_round(rounds: Rounds) -> None:
    federation = rounds.federation()
    due = [rounds.paying(federation) for _ in range(3)]
    rounds.chain.refuses[due[0]] = ChainUnavailable("The node does not answer.")
    assert rounds.claim() == []
    assert rounds.chain.sent == [3]


def test_many_rounds_are_claimed_in_batches_of_bounded_gas(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.claims, "BATCH_GAS", 6 * (ROUND_GAS + SIBLING_GAS))
    federation = rounds.federation()
    due = [rounds.paying(federation) for _ in range(14)]  # each proof has one sibling
    assert rounds.claim() == due
    assert rounds.chain.sent == [6, 6, 2]


def test_a_longer_proof_weighs_more(rounds: Rounds) -> None:
    due = rounds.paying(rounds.federation())
    [payment] = rounds.claimer.due(rounds.state(), [due])
    longer = replace(payment, claim=replace(payment.claim, proof=payment.claim.proof * 17))
    assert longer.gas - payment.gas == 16 * SIBLING_GAS


def test_rounds_by_result_and_by_time_are_claimed_in_one_transaction(rounds: Rounds) -> None:
    federation = rounds.federation()
    by_result, by_time = rounds.paying(federation, 7), rounds.round(federation)
    rounds.ledger.advance_to(rounds.state().rounds[by_time].settlement_ends)
    later = rounds.paying(federation, 9)
    assert rounds.claim() == [by_result, by_time, later]
    assert rounds.chain.sent == [3]
    assert [rounds.paid(one) for one in (by_result, by_time, later)] == [7, RECORD, 9]


def test_one_round_takes_the_single_call(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds.chain, "claim_batch", lambda *_: pytest.fail("a batch of one costs more"))
    federation = rounds.federation()
    by_result = rounds.paying(federation)
    assert rounds.claim() == [by_result]
    by_time = rounds.round(federation)
    rounds.ledger.advance_to(rounds.state().rounds[by_time].settlement_ends)
    assert rounds.claim() == [by_time]


def test_federations_are_claimed_apart_even_where_they_pay_with_one_token(rounds: Rounds) -> None:
    first, second = rounds.federation(), rounds.federation(salt=1)
    due = [rounds.paying(federation) for federation in (first, second, first, second)]
    assert sorted(rounds.claim()) == sorted(due)
    assert rounds.chain.sent == [2, 2]


def test_what_somebody_else_claimed_meanwhile_is_neither_taken_nor_a_problem(rounds: Rounds) -> None:
    round_id = rounds.paying(rounds.federation())
    state = rounds.state()
    payments = rounds.claimer.due(state, [round_id])
    claim = payments[0].claim
    MemoryChain(rounds.ledger, BOB).claim(claim.round, claim.client, claim.amount, claim.proof)
    assert rounds.claimer.take(payments, state.now) == []
    assert rounds.claimer.problems == {}


# --- pauses ---


def test_a_problem_is_looked_at_again_after_pauses_that_double(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    round_id = rounds.round(rounds.federation())
    derived = rounds.settle(round_id, (ALICE, 5), publish_report=False)
    asked: list[int] = []
    read = rounds.claimer._artifacts.rewards

    def rewards(*arguments: Any) -> Any:
        asked.append(rounds.ledger.now)
        return read(*arguments)

    monkeypatch.setattr(rounds.claimer._artifacts, "rewards", rewards)
    pause = FIRST_PAUSE_SECONDS
    rounds.claim()
    for _ in range(10):
        rounds.claim()
        rounds.ledger.advance(pause - 1)
        rounds.claim()
        before = len(asked)
        rounds.ledger.advance(1)
        rounds.claim()
        assert len(asked) == before + 1
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    assert pause == LONGEST_PAUSE_SECONDS
    publish(rounds.store, encode_report(derived, Statement({}, "test")))
    rounds.ledger.advance(LONGEST_PAUSE_SECONDS)
    assert rounds.claim() == [round_id]
    assert rounds.claimer.problems == {}


def test_a_claim_that_reverts_is_not_sent_at_every_poll(rounds: Rounds) -> None:
    round_id = rounds.paying(rounds.federation())
    rounds.chain.refuses[round_id] = TransactionReverted("NoReason")
    rounds.claim()
    rounds.claim()
    assert rounds.chain.sent == [1]
    rounds.ledger.advance(FIRST_PAUSE_SECONDS)
    rounds.claim()
    rounds.ledger.advance(FIRST_PAUSE_SECONDS)
    rounds.claim()
    assert rounds.chain.sent == [1, 1]
    rounds.ledger.advance(FIRST_PAUSE_SECONDS)
    rounds.claim()
    assert rounds.chain.sent == [1, 1, 1]


# --- whether a round is settled with the account ---


def test_a_round_is_settled_once_it_paid_owes_nothing_or_can_never_pay(rounds: Rounds) -> None:
    federation = rounds.federation()
    paying, poisoned = rounds.paying(federation), rounds.paying(federation, RECORD + 1)
    nothing = rounds.round(federation)
    rounds.settle(nothing, (BOB, 1))
    by_time = rounds.round(federation, millis=0)
    rounds.ledger.advance_to(rounds.state().rounds[by_time].settlement_ends)
    running = rounds.round(federation)

    def settled() -> list[bool]:
        return [
            rounds.claimer.is_settled(rounds.state().rounds[one])
            for one in (paying, poisoned, nothing, by_time, running)
        ]

    assert settled() == [False] * 5
    rounds.claim()
    assert settled() == [True, True, True, True, False]


def test_a_problem_that_may_pass_leaves_the_round_open(rounds: Rounds) -> None:
    round_id = rounds.round(rounds.federation())
    rounds.settle(round_id, (ALICE, 5), publish_report=False)
    rounds.claim()
    assert not rounds.claimer.is_settled(rounds.state().rounds[round_id])


# --- on the contract itself ---


class Settled:
    """What `Artifacts` finds where every report is published: the rewards of each round."""

    def __init__(self) -> None:
        self.found: dict[RoundId, list[tuple[Address, int]]] = {}

    def rewards(self, round_: Any, federation: Any) -> list[tuple[Address, int]]:
        return self.found[round_.id]


@pytest.fixture
def node() -> Iterator[LocalNode]:
    with LocalNode(block_time=None) as running:
        yield running


@pytest.mark.node
def test_a_client_gets_all_its_pay_in_one_transaction_of_bounded_gas(node: LocalNode) -> None:
    """Seven rounds of 100 rewarded clients, every third by time, and one whose rewards are more than it can pay."""
    world = EvmWorld(node)
    game, settled, alice = Game(world, audited=False), Settled(), address_of("alice")
    others = [address(f"0x{number:040x}") for number in range(1, 100)]
    owed, poisoned = 0, 2
    for index in range(1, 8):
        game.launch(challenge_seconds=0)
        game.train(alice=1_000)
        amount = 3_001 if index == poisoned else index  # alice's record is worth 3,000
        settled.found[game.round] = [(alice, amount), *((other, 1) for other in others)]
        if index % 3 == 0:
            world.advance_to(game.state.settlement_ends)
            owed += 3_000
            continue
        tree = rewards_tree(game.round, settled.found[game.round])
        game.acme.settle(game.round, replace(game.settlement({}), rewards_root=tree.root, rewards_total=amount + 99))
        owed += 0 if index == poisoned else index
    chain = world.chain("alice")
    claimer = Claimer(chain, settled, alice)  # type: ignore[arg-type]
    state = chain.state()
    due = claimer.due(state, state.rounds)
    assert claimer.take(due, state.now) == due and len(due) == 6
    assert world.balance(alice) == owed
    [log] = [log for log in chain.logs() if isinstance(log.event, RewardsPaid)]
    assert len(log.event.payments) == 6
    once = 21_000 + 45_000  # the transaction's own, and one transfer to an address that held nothing
    assert chain.gas_used(log.transaction) - once < sum(payment.gas for payment in due)
    [problem] = claimer.problems.values()
    assert isinstance(problem, ClaimRefused) and "Round 2" in str(problem)
    assert claimer.due(chain.state(), [one for one in state.rounds if state.rounds[one].index != poisoned]) == []
    world.check()


# --- rondo claim ---


@pytest.fixture
def claim_all(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    settings = SimpleNamespace(federation=None)
    monkeypatch.setattr(client.session, "load_settings", lambda config: settings)
    monkeypatch.setattr(client.session, "open_chain", lambda settings, with_key: rounds.chain)
    monkeypatch.setattr(client.session, "open_content", lambda settings: rounds.store)
    return lambda *references: claim_rounds(Path("rondo.toml"), references)


def test_the_command_claims_past_every_failure_and_says_what_failed(
    rounds: Rounds, claim_all: Callable[..., Any]
) -> None:
    first, second = rounds.federation(TOKEN), rounds.federation(OTHER_TOKEN, salt=1)
    poisoned, reverting, good = rounds.paying(first, RECORD + 1), rounds.paying(first), rounds.paying(second)
    rounds.chain.refuses[reverting] = TransactionReverted("NoReason")
    account, payments, problems = claim_all()
    assert account == ALICE
    assert [(payment.claim.round, payment.basis) for payment in payments] == [(good, PayBasis.RESULT)]
    assert len(problems) == 2
    assert rounds.paid(poisoned) is None


def test_the_command_fails_where_nothing_could_be_claimed(rounds: Rounds, claim_all: Callable[..., Any]) -> None:
    reverting = rounds.paying(rounds.federation())
    rounds.chain.refuses[reverting] = TransactionReverted("NoReason")
    with pytest.raises(ClaimFailed, match="NoReason"):
        claim_all(hex32(reverting))


def test_the_command_says_so_where_nothing_is_due(rounds: Rounds, claim_all: Callable[..., Any]) -> None:
    rounds.federation()
    assert claim_all() == (ALICE, [], [])
