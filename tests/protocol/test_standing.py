"""Standing: which records count, what they are worth, and that the sum is the one that the words say, to the integer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.merge_terms import Standing
from protocol.report import RECORD_UPDATES, Derived, UpdateVerdict, encode_derived
from protocol.standing import (
    ClientRecord,
    client_records,
    counts,
    decayed,
    deciding,
    is_record_of,
    points,
    standings,
)
from protocol.state import FederationState, RoundState, State
from protocol.types import ZERO_HASH, Address, Digest, Hash, address
from tests.network.chain_game import Game
from tests.network.chain_world import AUDITORS, MemoryWorld, some_hash
from tests.processor import reference_standing as reference
from tests.processor.factory import account

ALICE, BOB, MALLORY = account("alice"), account("bob"), account("mallory")
TERMS = Standing(use="weight", window=4)
RULES = ("wrong-steps", "low-standing", "duplicate-delta")


def verdict(client: Address, agreement: int = 0, verdict: Any = "accepted", rule: str = "") -> UpdateVerdict:
    return UpdateVerdict(client, Digest(bytes(32)), 1000, verdict, rule, 1, 1, 1, agreement, 0, 0)


def record(*updates: UpdateVerdict) -> Derived:
    zero = bytes(32)
    derived: Any = Derived(
        zero,
        zero,
        zero,
        zero,
        "fedavg",
        "merged",
        False,
        zero,
        len(updates),
        0,
        False,
        updates,
        zero,
        0,  # type: ignore[arg-type]
    )
    return derived  # type: ignore[no-any-return]


# --- points ---


@pytest.mark.parametrize("agreement", [-1000, -1, 0, 1, 1000])
def test_an_accepted_update_is_worth_its_agreement(agreement: int) -> None:
    assert points(verdict(ALICE, agreement)) == agreement


@pytest.mark.parametrize("rule", ["wrong-steps", "duplicate-delta", "not-canonical"])
def test_a_refused_update_costs_as_much_as_pulling_straight_against_all(rule: str) -> None:
    assert points(verdict(ALICE, 0, "refused", rule)) == -1000


def test_bytes_that_were_not_there_cost_as_much() -> None:
    assert points(verdict(ALICE, 0, "unavailable")) == -1000


def test_a_refusal_for_a_bad_standing_makes_it_no_worse() -> None:
    assert points(verdict(ALICE, 0, "refused", "low-standing")) == 0


# --- the sum ---


def test_it_decays_towards_0_from_both_sides() -> None:
    half = Fraction(1, 2)
    assert [decayed(value, half) for value in (3, 1, 0, -1, -3)] == [1, 0, 0, 0, -1]


def test_points_of_old_rounds_fade_whether_a_client_takes_part_or_not() -> None:
    terms = Standing(use="weight", decay=Fraction(1, 2), window=3)
    records = [record(verdict(ALICE, 800)), record(verdict(BOB, 100)), record(verdict(BOB, 101), verdict(ALICE, -1))]
    assert standings(records, terms) == {ALICE: 199, BOB: 151}


def test_nobody_has_a_standing_before_the_first_record() -> None:
    assert standings([], TERMS) == {} and client_records([], TERMS) == []


def test_a_decay_of_one_forgets_nothing_and_of_zero_everything_but_the_last() -> None:
    records = [record(verdict(ALICE, 7))] * 4
    assert standings(records, replace(TERMS, decay=Fraction(1))) == {ALICE: 28}
    assert standings(records, replace(TERMS, decay=Fraction(0))) == {ALICE: 7}


VERDICTS = st.one_of(
    st.none(),
    st.builds(lambda a: ("accepted", "", a), st.integers(-1000, 1000)),
    st.builds(lambda rule: ("refused", rule, 0), st.sampled_from(RULES)),
    st.just(("unavailable", "", 0)),
)
HISTORIES = st.lists(st.tuples(VERDICTS, VERDICTS, VERDICTS), max_size=20)
DECAYS = st.fractions(0, 1, max_denominator=10**6)


def histories_to_records(history: Sequence[tuple[Any, ...]]) -> list[Derived]:
    return [
        record(
            *(
                verdict(client, said[2], said[0], said[1])
                for client, said in zip((ALICE, BOB, MALLORY), row, strict=True)
                if said is not None
            )
        )
        for row in history
    ]


@given(history=HISTORIES, decay=DECAYS)
def test_it_is_the_reference_s(history: list[tuple[Any, ...]], decay: Fraction) -> None:
    terms = replace(TERMS, decay=decay)
    records = histories_to_records(history)
    found = standings(records, terms)
    for at, client in enumerate((ALICE, BOB, MALLORY)):
        worth = [
            0 if row[at] is None or row[at][1] == "low-standing" else row[at][2] if row[at][0] == "accepted" else -1000
            for row in history
        ]
        assert found.get(client, 0) == reference.standing(worth, decay)
        assert abs(found.get(client, 0)) <= 1000 * len(history)


@given(history=HISTORIES)
def test_a_client_s_record_adds_up(history: list[tuple[Any, ...]]) -> None:
    records = histories_to_records(history)
    found = client_records(records, TERMS)
    assert [one.standing for one in found] == sorted((one.standing for one in found), reverse=True)
    assert {one.client: one.standing for one in found} == standings(records, TERMS)
    for one in found:
        assert one.rounds == one.accepted + one.unavailable + sum(one.refused.values())
        assert one.rounds == sum(one.client == said.client for said_in in records for said in said_in.updates)


def test_a_record_names_the_rules_and_the_mean_agreement() -> None:
    records = [
        record(verdict(ALICE, 500), verdict(BOB, 0, "refused", "wrong-steps")),
        record(verdict(ALICE, -101), verdict(BOB, 0, "refused", "not-finite")),
        record(verdict(BOB, 0, "refused", "wrong-steps"), verdict(ALICE, 0, "unavailable")),
    ]
    terms = replace(TERMS, decay=Fraction(0))
    bob = ClientRecord(BOB, 3, 0, 0, {"not-finite": 1, "wrong-steps": 2}, 0, -1000)
    alice = ClientRecord(ALICE, 3, 2, 1, {}, 199, -1000)  # 399 / 2, cut
    assert client_records(records, terms) == sorted((alice, bob), key=lambda one: one.client)


# --- which records count ---


class Played:
    """A federation in memory; rounds end as a test says."""

    def __init__(self, audited: bool = True) -> None:
        self.world = MemoryWorld()
        self.game = Game(self.world, audited=audited)

    @property
    def state(self) -> State:
        return self.world.state()

    @property
    def federation(self) -> FederationState:
        return self.state.federations[self.game.id]

    def train(self, *names: str) -> Played:
        self.game.launch()
        self.world.advance(100)
        for name in names:
            self.world.chain(name).submit_update(self.game.round, Digest(some_hash(name)), 900)
        self.world.advance_to(self.game.state.training_ends)
        return self

    def settle(self, rewards: dict[str, int] | None = None) -> RoundState:
        settlement = self.game.settlement(rewards or {"alice": 900})
        self.game.acme.settle(self.game.round, settlement)
        return self.game.state

    def final(self) -> RoundState:
        settled = self.train("alice").settle().settled
        assert settled is not None
        return self.game.attest(settled.result_hash, *AUDITORS[:2])

    def rejected(self, reveal: bool = True) -> RoundState:
        """The auditors agree on another result."""
        self.train("alice").settle()
        self.agreed = self.game.settlement({"alice": 800})
        self.game.attest(self.game.result_hash(self.agreed), *AUDITORS[:2])
        if reveal:
            self.reveal(self.game.state)
        return self.game.state

    def reveal(self, round_: RoundState) -> None:
        other = self.agreed
        self.game.acme.reveal(round_.id, other.model, other.derived_hash, other.rewards_root, other.rewards_total)

    def counted(self, terms: Standing = TERMS, before: RoundState | None = None) -> list[int]:
        return [one.round.index for one in deciding(self.state, self.federation, terms, before)]


def test_a_final_round_counts_by_its_settled_record() -> None:
    played = Played()
    round_ = played.final()
    (one,) = deciding(played.state, played.federation, TERMS)
    assert round_.settled is not None
    assert (one.round.index, one.derived_hash, one.revealed) == (1, round_.settled.settlement.derived_hash, False)


def test_an_unconfirmed_round_counts_once_its_challenge_is_over() -> None:
    played = Played()
    round_ = played.train("alice").settle()
    assert played.counted() == []
    played.world.advance_to(round_.challenge_ends)
    assert played.counted() == [1]


def test_void_and_abandoned_rounds_pass_by() -> None:
    played = Played()
    played.final()
    played.train()  # nobody came
    played.train("alice")
    played.world.advance_to(played.game.state.settlement_ends)
    played.final()
    assert played.counted() == [1, 4]
    assert played.counted(replace(TERMS, window=2)) == [1, 4]  # they take no place in the window either
    assert played.counted(replace(TERMS, window=1)) == [4]


def test_a_rejected_round_counts_by_the_auditors_record_once_no_reveal_can_come_any_more() -> None:
    played = Played()
    round_ = played.rejected()
    assert round_.revealed is not None and round_.reveal_ends is not None
    played.world.advance_to(round_.reveal_ends - 1)
    assert played.counted() == []
    played.world.advance(1)
    (one,) = deciding(played.state, played.federation, TERMS)
    assert (one.derived_hash, one.revealed) == (round_.revealed.derived_hash, True)


def test_a_rejected_round_that_nobody_reveals_never_counts() -> None:
    played = Played()
    round_ = played.rejected(reveal=False)
    played.world.advance_to(round_.reveal_ends)
    played.final()
    assert played.counted() == [2]


def test_a_reveal_during_the_next_round_changes_nothing_of_it() -> None:
    """Whoever settles round 2 before the reveal of round 1 and whoever audits it long after reach the same standings."""
    played = Played()
    first = played.rejected(reveal=False)
    played.game.launch()
    second = played.game.state
    assert played.counted(before=second) == []
    played.reveal(first)
    assert played.state.rounds[first.id].revealed is not None
    assert played.counted(before=second) == []
    played.world.advance(100_000)
    assert played.counted(before=second) == [] and played.counted() == [1]


def test_only_rounds_before_it_count_for_a_round() -> None:
    played = Played()
    rounds = [played.final() for _ in range(5)]
    assert [played.counted(before=round_) for round_ in rounds] == [[], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]
    assert played.counted() == [2, 3, 4, 5]
    assert played.counted(replace(TERMS, window=2), rounds[3]) == [2, 3]


def test_a_rejected_round_whose_record_is_no_block_under_its_own_hash_never_counts() -> None:
    played = Played()
    round_ = played.rejected()
    played.world.advance_to(round_.reveal_ends)
    state = played.state
    many = replace(state.rounds[round_.id], updates=round_.updates * (RECORD_UPDATES + 1))
    for updates, expected in ((round_.updates * RECORD_UPDATES, 1), (many.updates, 0)):
        crowded = replace(state, rounds={round_.id: replace(round_, updates=updates, phase=many.phase)})
        assert len(deciding(crowded, played.federation, TERMS)) == expected


def test_the_record_of_so_many_updates_is_one_block() -> None:
    """The longest verdict of all, RECORD_UPDATES times."""
    longest = UpdateVerdict(
        address("0x" + "ab" * 20), Digest(b"\xff" * 32), (1 << 40) - 1, "unavailable", "r" * 64, *[(1 << 53) - 1] * 3,
        -1000, (1 << 40) - 1, (1 << 96) - 1,
    )  # fmt: skip
    data = encode_derived(replace(record(*[longest] * RECORD_UPDATES), rule="r" * 64))
    assert len(data) <= 1 << 20


def test_a_record_of_other_updates_than_the_chain_has_is_none() -> None:
    played = Played()
    round_ = played.train("alice", "bob").settle()
    said = tuple(replace(verdict(one.client), digest=one.digest, millis=one.millis) for one in round_.updates)
    right = replace(record(*said), round=round_.id)
    assert is_record_of(right, round_)
    for wrong in (
        replace(right, round=Hash(ZERO_HASH)),
        replace(right, updates=said[:1]),
        replace(right, updates=said[::-1]),
        replace(right, updates=(said[0], replace(said[1], client=MALLORY))),
        replace(right, updates=(said[0], replace(said[1], digest=Digest(bytes(32))))),
        replace(right, updates=(said[0], replace(said[1], millis=1))),
    ):
        assert not is_record_of(wrong, round_)


def test_only_weight_and_admission_need_the_records() -> None:
    assert [counts(Standing(use=use)) for use in ("record", "weight", "admit")] == [False, True, True]
