"""The replay by itself: phases to the second, and logs that a node reordered, repeated or left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import hashing
from protocol.errors import LogsIncomplete
from protocol.events import (
    AdmissionChanged,
    AttestationFeePaid,
    Attested,
    BondForfeited,
    EscrowReturned,
    Event,
    FederationCreated,
    Joined,
    Logged,
    OrganizationChanged,
    OrganizationOffered,
    QuorumReached,
    ResultRevealed,
    RewardPaid,
    RewardsPaid,
    RoundLaunched,
    RoundPayment,
    RoundSettled,
    TrainingClosed,
    UpdateSkipped,
    UpdateSubmitted,
)
from protocol.replay import Replay, State, replay
from protocol.state import RoundState
from protocol.terms import FederationTerms, PayBasis, Phase, RoundTerms, Settlement, SkipReason
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Digest, Hash, address

CHAIN, CONTRACT = 1, address("0x" + "c0" * 20)
ACME, ALICE, BOB, CAROL, MALLORY = (address("0x" + f"{i:02x}" * 20) for i in (1, 2, 3, 4, 5))
AUDITORS = tuple(address("0x" + f"{i:02x}" * 20) for i in (16, 17, 18))
TREASURY, TOKEN = address("0x" + "77" * 20), address("0x" + "70" * 20)
FIRST, NEXT = Digest(b"\1" * 32), Digest(b"\2" * 32)
FEDERATION = hashing.federation_id(CHAIN, CONTRACT, ACME, ZERO_HASH)
ROUND = hashing.round_id(FEDERATION, 1)
TERMS = RoundTerms(2, 1000, 300, 3, 100, 50, 20, 40, 5, False)
T0 = 1000  # launched; training ends at 1100, settlement at 1150
CREATED = FederationCreated(
    FEDERATION, ACME, ZERO_HASH, FederationTerms(TOKEN, Digest(b"\3" * 32), FIRST, TREASURY, 2, ZERO_HASH, AUDITORS)
)
LAUNCHED = RoundLaunched(
    round=ROUND,
    federation=FEDERATION,
    index=1,
    base=FIRST,
    admission_root=ZERO_HASH,
    terms=TERMS,
    terms_hash=hashing.terms_hash(TERMS),
    launched_at=T0,
    training_ends=T0 + 100,
    settlement_ends=T0 + 150,
    escrow=TERMS.escrow(3),
)
ALICES, BOBS = UpdateSubmitted(ROUND, ALICE, Digest(b"\4" * 32), 400), UpdateSubmitted(ROUND, BOB, NEXT, 100)


def updates_hash(updates: Iterable[UpdateSubmitted]) -> Hash:
    value = hashing.seed_hash(CHAIN, CONTRACT, ROUND, FIRST, LAUNCHED.terms_hash)
    for update in updates:
        value = hashing.next_hash(value, update.client, update.digest, update.millis)
    return value


def settled(at: int, updates: Sequence[UpdateSubmitted] = (ALICES, BOBS), total: int = 500) -> RoundSettled:
    root = Hash(b"\5" * 32)
    statement = Settlement(updates_hash(updates), NEXT, Digest(b"\6" * 32), Hash(b"\7" * 32), root, total)
    return RoundSettled(ROUND, statement, result(statement), at, at + TERMS.challenge_seconds)


def result(statement: Settlement) -> Hash:
    return hashing.result_hash(
        CHAIN,
        CONTRACT,
        ROUND,
        FIRST,
        statement.updates_hash,
        statement.model,
        statement.derived_hash,
        statement.rewards_root,
        statement.rewards_total,
    )


SETTLED = settled(T0 + 110)
OTHER = replace(SETTLED.settlement, model=FIRST, rewards_total=7)
REVEALED = ResultRevealed(ROUND, FIRST, OTHER.derived_hash, OTHER.rewards_root, 7)


def attested(hash: Hash, *auditors: int) -> list[Event]:
    return [Attested(ROUND, AUDITORS[i], hash, Hash(b"\x08" * 32)) for i in auditors]


def log(*events: Event) -> list[Logged]:
    """Each event in a block of its own."""
    return [Logged(event, block, 0, Hash(bytes(32))) for block, event in enumerate(events)]


def state_of(now: int, *events: Event) -> State:
    return replay(log(CREATED, *events), now, chain_id=CHAIN, contract=CONTRACT)


def round_at(now: int, *events: Event) -> RoundState:
    return state_of(now, LAUNCHED, *events).rounds[ROUND]


AGREED: list[Event] = [*attested(SETTLED.result_hash, 0, 1), QuorumReached(ROUND, SETTLED.result_hash)]
DISAGREED: list[Event] = [*attested(result(OTHER), 0, 1), QuorumReached(ROUND, result(OTHER))]


@pytest.mark.parametrize(
    ("events", "now", "phase", "basis", "withdrawable"),
    [
        ([], T0, Phase.TRAINING, PayBasis.UNDECIDED, 0),
        ([], T0 + 99, Phase.TRAINING, PayBasis.UNDECIDED, 0),
        ([], T0 + 100, Phase.VOID, PayBasis.NOTHING, 6055),
        ([ALICES, BOBS], T0 + 99, Phase.TRAINING, PayBasis.UNDECIDED, 0),
        ([ALICES, BOBS], T0 + 100, Phase.SETTLEMENT, PayBasis.UNDECIDED, 0),
        ([ALICES, BOBS], T0 + 149, Phase.SETTLEMENT, PayBasis.UNDECIDED, 0),
        # time pay: 2 x (300 + 100) = 800; the bond of 40 is the treasury's
        ([ALICES, BOBS], T0 + 150, Phase.ABANDONED, PayBasis.TIME, 6055 - 800 - 40),
        ([ALICES, BOBS, SETTLED], T0 + 129, Phase.CHALLENGE, PayBasis.UNDECIDED, 0),
        ([ALICES, BOBS, SETTLED], T0 + 130, Phase.UNCONFIRMED, PayBasis.TIME, 6055 - 800),
        ([ALICES, BOBS, SETTLED, *AGREED[:1]], T0 + 130, Phase.UNCONFIRMED, PayBasis.TIME, 6055 - 800 - 5),
        ([ALICES, BOBS, SETTLED, *AGREED], T0 + 129, Phase.FINAL, PayBasis.RESULT, 6055 - 500 - 15),
        ([ALICES, BOBS, SETTLED, *AGREED], T0 + 130, Phase.FINAL, PayBasis.RESULT, 6055 - 500 - 10),
        ([ALICES, BOBS, SETTLED, *DISAGREED], T0 + 129, Phase.REJECTED, PayBasis.UNDECIDED, 0),
        ([ALICES, BOBS, SETTLED, *DISAGREED], T0 + 149, Phase.REJECTED, PayBasis.UNDECIDED, 5),
        ([ALICES, BOBS, SETTLED, *DISAGREED], T0 + 150, Phase.REJECTED, PayBasis.TIME, 6055 - 800 - 10 - 40),
        ([ALICES, BOBS, SETTLED, *DISAGREED, REVEALED], T0 + 129, Phase.REJECTED, PayBasis.RESULT, 6055 - 7 - 15 - 40),
        ([ALICES, BOBS, SETTLED, *DISAGREED, REVEALED], T0 + 999, Phase.REJECTED, PayBasis.RESULT, 6055 - 7 - 10 - 40),
    ],
)
def test_phase_basis_and_return_at_every_edge(
    events: list[Event], now: int, phase: Phase, basis: PayBasis, withdrawable: int
) -> None:
    round = round_at(now, *events)
    assert (round.phase, round.basis, round.withdrawable) == (phase, basis, withdrawable)
    assert state_of(now, LAUNCHED, *events).federations[FEDERATION].head == (NEXT if phase.moves_head else FIRST)
    assert round.result == (NEXT if phase.moves_head else None)


def test_training_closes_by_its_last_update_or_by_time() -> None:
    carols = UpdateSubmitted(ROUND, CAROL, NEXT, 5)
    closed = round_at(T0 + 60, ALICES, BOBS, carols, TrainingClosed(ROUND, T0 + 50))
    assert (closed.training_closed_at, closed.phase) == (T0 + 50, Phase.SETTLEMENT)
    assert round_at(T0 + 99, ALICES).training_closed_at is None
    assert round_at(T0 + 200, ALICES).training_closed_at == T0 + 100


def test_money_that_left_is_counted() -> None:
    paid: list[Event] = [
        RewardPaid(ROUND, ALICE, 300, PayBasis.RESULT),
        AttestationFeePaid(ROUND, AUDITORS[0], 5),
        EscrowReturned(ROUND, ACME, 1000),
        EscrowReturned(ROUND, ACME, 10),
    ]
    round = round_at(T0 + 130, ALICES, BOBS, SETTLED, *AGREED, *paid)
    assert (round.paid_clients, round.paid_auditors, round.returned) == (300, {AUDITORS[0]: 5}, 1010)
    assert round.withdrawable == 6055 - 500 - 10 - 1010  # what is paid was owed before
    assert [update.paid for update in round.updates] == [300, None]
    assert round.update_of(ALICE) == round.updates[0]
    assert round.update_of(MALLORY) is None
    assert round.rewards == (SETTLED.settlement.rewards_root, 500)
    lost = round_at(T0 + 999, ALICES, BOBS, BondForfeited(ROUND, TREASURY, 40))
    assert (lost.forfeited, lost.withdrawable) == (40, 6055 - 800 - 40)


def test_federations_follow_their_events() -> None:
    root = Hash(b"\x0a" * 32)
    offered = state_of(5, OrganizationOffered(FEDERATION, ACME, BOB)).federations[FEDERATION]
    assert (offered.organization, offered.offered_to) == (ACME, BOB)
    taken_back = OrganizationOffered(FEDERATION, ACME, ZERO_ADDRESS)
    assert (
        state_of(5, OrganizationOffered(FEDERATION, ACME, BOB), taken_back).federations[FEDERATION].offered_to is None
    )
    changed = state_of(
        5,
        OrganizationOffered(FEDERATION, ACME, BOB),
        OrganizationChanged(FEDERATION, ACME, BOB),
        AdmissionChanged(FEDERATION, root),
        Joined(FEDERATION, root, CAROL),
    ).federations[FEDERATION]
    assert (changed.organization, changed.offered_to, changed.admission_root) == (BOB, None, root)
    assert changed.joined == {(root, CAROL)}


def test_skipped_updates_change_nothing() -> None:
    skipped = UpdateSkipped(ROUND, CAROL, NEXT, SkipReason.NOT_JOINED)
    assert round_at(T0, ALICES, skipped) == round_at(T0, ALICES)


WHOLE = log(CREATED, LAUNCHED, ALICES, BOBS, SETTLED, *DISAGREED, REVEALED, RewardPaid(ROUND, BOB, 7, PayBasis.RESULT))


@pytest.mark.parametrize("left_out", range(len(WHOLE) - 2))
def test_a_log_that_is_left_out_shows(left_out: int) -> None:
    # Not so the last two, a reveal and a payment: nothing follows from them, so only another node can tell.
    with pytest.raises(LogsIncomplete, match="left out an event"):
        replay(WHOLE[:left_out] + WHOLE[left_out + 1 :], T0 + 200, chain_id=CHAIN, contract=CONTRACT)


@given(st.permutations(range(len(WHOLE))).filter(lambda order: order != sorted(order)))
def test_logs_out_of_order_are_refused(order: list[int]) -> None:
    with pytest.raises(LogsIncomplete):
        replay([WHOLE[place] for place in order], T0 + 200, chain_id=CHAIN, contract=CONTRACT)


@pytest.mark.parametrize("repeated", range(len(WHOLE)))
def test_a_repeated_event_is_refused_even_under_another_number(repeated: int) -> None:
    logs = [*WHOLE, replace(WHOLE[repeated], block=99)]
    with pytest.raises(LogsIncomplete):
        replay(logs, T0 + 200, chain_id=CHAIN, contract=CONTRACT)


BY_TIME = RoundPayment(1, 3, PayBasis.TIME)
FEDERATION2 = hashing.federation_id(CHAIN, CONTRACT, MALLORY, ZERO_HASH)


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([replace(LAUNCHED, index=2)], "has index 2 but follows 0 rounds"),
        ([replace(LAUNCHED, round=hashing.round_id(FEDERATION, 2))], "not the round of its federation"),
        ([replace(LAUNCHED, terms=replace(TERMS, bond=41))], "hash of other terms"),
        ([replace(LAUNCHED, base=NEXT)], "another model"),
        ([LAUNCHED, ALICES, TrainingClosed(ROUND, T0 + 5)], "training closed before its last update"),
        ([LAUNCHED, ALICES, SETTLED], "its 1 updates hash to"),
        ([LAUNCHED, ALICES, BOBS, replace(SETTLED, result_hash=ZERO_HASH)], "result hash of another settlement"),
        ([LAUNCHED, ALICES, *attested(SETTLED.result_hash, 0)], "before any settlement"),
        ([LAUNCHED, ALICES, BOBS, SETTLED, Attested(ROUND, MALLORY, ZERO_HASH, ZERO_HASH)], "who is no auditor"),
        ([LAUNCHED, ALICES, BOBS, SETTLED, AGREED[0], AGREED[2]], "quorum without its attestations"),
        ([LAUNCHED, ALICES, BOBS, SETTLED, *AGREED, REVEALED], "no quorum agreed on"),
        ([LAUNCHED, ALICES, BOBS, SETTLED, REVEALED], "no quorum agreed on"),
        ([LAUNCHED, RewardPaid(ROUND, MALLORY, 1, PayBasis.TIME)], "who has no update"),
        ([LAUNCHED, ALICES, RewardsPaid(FEDERATION, ALICE, (BY_TIME, BY_TIME))], "a second payment"),
        ([LAUNCHED, RewardsPaid(FEDERATION, MALLORY, (BY_TIME,))], "who has no update"),
        ([LAUNCHED, ALICES, RewardsPaid(FEDERATION, ALICE, (replace(BY_TIME, index=0),))], "names round 0"),
        ([LAUNCHED, ALICES, RewardsPaid(FEDERATION, ALICE, (replace(BY_TIME, index=2),))], "names round 2"),
        ([LAUNCHED, ALICES, RewardsPaid(FEDERATION2, ALICE, (BY_TIME,))], "whose creation is missing"),
        ([LAUNCHED, AttestationFeePaid(ROUND, AUDITORS[0], 5)], "without its attestation"),
    ],
)
def test_events_that_cannot_follow_are_refused(events: list[Event], found: str) -> None:
    with pytest.raises(LogsIncomplete, match=found) as refusal:
        state_of(T0 + 120, *events)
    assert refusal.value.exit_code == 69


def test_a_batch_pays_as_single_claims_do() -> None:
    single = state_of(
        T0 + 300, LAUNCHED, ALICES, BOBS, *(RewardPaid(ROUND, one, 3, PayBasis.TIME) for one in (ALICE, BOB))
    )
    batch = state_of(
        T0 + 300, LAUNCHED, ALICES, BOBS, *(RewardsPaid(FEDERATION, one, (BY_TIME,)) for one in (ALICE, BOB))
    )
    assert batch == single
    assert batch.rounds[ROUND].paid_clients == 6


def test_another_chain_or_contract_is_refused() -> None:
    for chain_id, contract in ((2, CONTRACT), (CHAIN, TOKEN)):
        with pytest.raises(LogsIncomplete, match="another chain"):
            replay(WHOLE, T0 + 200, chain_id=chain_id, contract=contract)


@given(st.lists(st.integers(0, 30), min_size=len(WHOLE), max_size=len(WHOLE)))
def test_feeding_piece_by_piece_is_replaying_the_whole(pauses: list[int]) -> None:
    growing, now = Replay(CHAIN, CONTRACT), T0
    for taken, pause in enumerate(pauses, 1):
        growing.feed(WHOLE[taken - 1 : taken])
        now += pause
        assert growing.at(now) == replay(WHOLE[:taken], now, chain_id=CHAIN, contract=CONTRACT)


def test_a_state_does_not_change_after_it_was_given() -> None:
    growing = Replay(CHAIN, CONTRACT)
    growing.feed(WHOLE[:3])
    before = growing.at(T0)
    kept = replace(before.rounds[ROUND])
    growing.feed(WHOLE[3:])
    growing.at(T0 + 200)
    assert before.rounds[ROUND] == kept
    assert len(kept.updates) == 1


def test_thousands_of_updates_are_looked_at_after_each_one() -> None:
    count = 3000
    terms = replace(TERMS, max_updates=count + 1)
    launched = replace(LAUNCHED, terms=terms, terms_hash=hashing.terms_hash(terms), escrow=terms.escrow(3))
    growing = Replay(CHAIN, CONTRACT)
    growing.feed(log(CREATED, launched))
    for number in range(count):
        client = address(f"0x{number + 1:040x}")
        growing.feed([Logged(UpdateSubmitted(ROUND, client, NEXT, 10), 10 + number, 0, ZERO_HASH)])
        latest = growing.at(T0).rounds[ROUND].updates[-1]
        assert (latest.client, latest.index) == (client, number)
    assert growing.at(T0 + 999).rounds[ROUND].time_millis == 10 * count
