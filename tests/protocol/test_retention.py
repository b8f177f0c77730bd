"""What must stay and why: by hand for each outcome, and as laws over random histories of three federations (DESIGN 3, 5)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.canonical_json import dumps
from protocol.cid import RAW, Cid, directory_cid
from protocol.errors import ArtifactRefused, ChainError
from protocol.merge_terms import Standing
from protocol.merkle import MerkleTree, admission_leaf
from protocol.replay import replay
from protocol.report import RECORD_UPDATES, Derived, UpdateVerdict
from protocol.retention import (
    Kind,
    Mention,
    Reason,
    Verdicts,
    attached_to,
    is_open,
    named,
    needed,
    needed_by_all,
    verdicts_of,
)
from protocol.server_state import state_limit
from protocol.state import RoundState, State
from protocol.task import Limits, Task
from protocol.terms import PayBasis, Phase, Settlement
from protocol.types import ZERO_HASH, Digest, FederationId, RoundId
from tests.network.chain_game import Game
from tests.network.chain_world import AUDITORS, MemoryWorld, address_of, some_hash
from tests.network.test_random_replay import LISTS, MOVES, TURNS, Table

TASK = Task("tiny", publication_seconds=20, limits=Limits(model_bytes=1000, update_bytes=100))
BRIEF = replace(TASK, retention_seconds=1000)


class Played:
    """A federation in memory whose rounds each have a model, a report and updates of their own."""

    def __init__(self, audited: bool = True) -> None:
        self.game = Game(MemoryWorld(), audited=audited)
        self.world = self.game.world

    def train(self, *names: str) -> RoundState:
        self.game.launch()
        self.world.advance(100)
        index = self.game.state.index
        for name in names:
            self.world.chain(name).submit_update(self.game.round, digest(f"update {name} {index}"), 900)
        self.world.advance_to(self.game.state.training_ends)
        return self.game.state

    def settle(self) -> RoundState:
        index = self.game.state.index
        plain = self.game.settlement({"alice": 900})
        settlement = replace(plain, model=digest(f"model {index}"), report=digest(f"report {index}"))
        self.game.acme.settle(self.game.round, settlement)
        return self.game.state

    def end(self, *names: str) -> RoundState:
        """A whole round, attested."""
        self.train(*names)
        settled = self.settle().settled
        assert settled is not None
        return self.game.attest(settled.result_hash, *AUDITORS[:2])

    def needs(self, task: Task | None = TASK, **options: object) -> dict[Cid, Reason]:
        state = self.world.state()
        return needed(state, state.federations[self.game.id], task, **options)  # type: ignore[arg-type]

    def texts(self, task: Task | None = TASK, **options: object) -> dict[Cid, str]:
        return {cid: reason.text for cid, reason in self.needs(task, **options).items()}


def digest(text: str) -> Digest:
    return Digest(some_hash(text))


def cid(text: str) -> Cid:
    return directory_cid(digest(text))


def accepted(*texts: str, refused: tuple[str, ...] = ()) -> Verdicts:
    return Verdicts(frozenset(map(digest, texts)), frozenset(map(digest, refused)))


FIRST = cid("first model")
REWARDS = {"alice": 1000, "bob": 2000}  # base units, less than rate x recorded


# --- by hand ---


def test_a_federation_without_rounds_needs_its_task_and_its_model() -> None:
    assert Played().texts() == {cid("task"): "task", FIRST: "head model"}


def test_an_open_round_needs_its_base_and_all_updates_that_are_there() -> None:
    played = Played()
    played.train("alice", "bob")
    assert played.texts() == {
        cid("task"): "task",
        FIRST: "head model",
        cid("update alice 1"): "update of open round 1",
        cid("update bob 1"): "update of open round 1",
    }
    # Until a report says that they were there, nobody can be blamed for their absence.
    assert played.needs()[cid("update alice 1")] == Reason("update of open round 1", Kind.UPDATE, 100, if_there=True)


def test_a_challenged_round_needs_its_report_and_its_result_and_what_the_report_rests_on() -> None:
    played = Played()
    round_ = played.train("alice", "bob", "carol")
    played.settle()
    known = {round_.id: accepted("update alice 1", refused=("update bob 1",))}
    needs = played.needs(verdicts=known)
    assert played.texts(verdicts=known) == {
        cid("task"): "task",
        FIRST: "head model",
        cid("model 1"): "result of open round 1",
        cid("report 1"): "report of round 1",
        **{cid(f"update {name} 1"): "update of open round 1" for name in ("alice", "bob", "carol")},
    }
    absent = {found for found, reason in needs.items() if reason.if_there}
    assert absent == {cid("update carol 1")}  # called unavailable; whoever has it may still contest that
    assert needs[cid("model 1")].limit == 1000 and needs[cid("update bob 1")].limit == 100


def test_the_last_k_rounds_stay_auditable_and_reports_stay_for_ever() -> None:
    played = Played()
    known = {}
    for index in range(1, 5):
        round_ = played.end("alice", "bob")
        known[round_.id] = accepted(f"update alice {index}", refused=(f"update bob {index}",))
    played.world.advance(BRIEF.retention_seconds + 300)
    texts = played.texts(BRIEF, rounds_kept=2, verdicts=known)
    assert texts == {
        cid("task"): "task",
        cid("model 4"): "head model",
        cid("model 3"): "base of round 4",
        cid("model 2"): "base of round 3",
        **{cid(f"update {name} {index}"): f"update of round {index}" for name in ("alice", "bob") for index in (3, 4)},
        **{cid(f"report {index}"): f"report of round {index}" for index in range(1, 5)},
    }
    assert cid("model 3") not in played.texts(BRIEF, rounds_kept=0, verdicts=known)


def test_the_promise_outranks_k() -> None:
    played = Played()
    known = {}
    for index in range(1, 4):
        round_ = played.end("alice", "bob")
        known[round_.id] = accepted(f"update alice {index}", refused=(f"update bob {index}",))
    for task in (TASK, None):  # for ever, or nobody knows: then it counts as for ever
        texts = played.texts(task, rounds_kept=0, verdicts=known)
        assert {cid(f"update alice {index}") for index in range(1, 4)} <= texts.keys()
        assert texts[cid("update alice 1")] == "retained update of round 1"
        assert not {cid(f"update bob {index}") for index in range(1, 4)} & texts.keys()
        assert texts[FIRST] == "first model"  # it and the retained updates lead to every later model
        assert not {cid("model 1"), cid("model 2")} & texts.keys()


def test_retention_ends_by_the_chains_clock_counted_from_the_end_of_the_challenge() -> None:
    played = Played()
    round_ = played.end("alice")
    known = {round_.id: accepted("update alice 1")}
    ends = round_.challenge_ends
    assert ends is not None and BRIEF.retention_seconds is not None
    played.world.advance_to(ends + BRIEF.retention_seconds - 1)
    assert cid("update alice 1") in played.needs(BRIEF, rounds_kept=0, verdicts=known)
    played.world.advance(1)
    gone = played.needs(BRIEF, rounds_kept=0, verdicts=known)
    assert cid("update alice 1") not in gone and FIRST not in gone and cid("report 1") in gone


def test_without_a_readable_report_every_update_stays_where_it_is_there() -> None:
    played = Played()
    played.end("alice", "bob")
    for rounds_kept in (0, 1):
        needs = played.needs(rounds_kept=rounds_kept)
        assert all(needs[cid(f"update {name} 1")].if_there for name in ("alice", "bob"))


def test_a_rejected_round_keeps_everything_until_the_auditors_result_is_revealed() -> None:
    played = Played()
    played.train("alice", "bob")
    played.settle()
    truth = replace(played.game.settlement(REWARDS), derived_hash=some_hash("truth"))
    played.game.attest(played.game.result_hash(truth), *AUDITORS[:2])
    assert played.game.state.phase is Phase.REJECTED and is_open(played.game.state)
    texts = played.texts(rounds_kept=0)
    assert texts[cid("update alice 1")] == "update of open round 1" and cid("model 1") in texts

    words = (truth.model, truth.derived_hash, truth.rewards_root, truth.rewards_total)
    played.world.chain("carol").reveal(played.game.round, *words)
    known = {played.game.round: accepted("update alice 1")}
    record = Cid(RAW, Digest(truth.derived_hash))
    texts = played.texts(BRIEF, rounds_kept=0, verdicts=known)
    assert texts[record] == "record for unclaimed pay of round 1"
    assert cid("report 1") in texts and cid("update bob 1") not in texts and cid("model 1") not in texts

    for name, amount in REWARDS.items():
        assert record in played.needs(rounds_kept=0, verdicts=known)
        played.world.chain("carol").claim(played.game.round, address_of(name), amount, played.game.proof(name, REWARDS))
    assert record not in played.needs(rounds_kept=0, verdicts=known)


def test_a_revealed_record_is_kept_while_standings_follow_from_it() -> None:
    played = Played()
    record = Cid(RAW, Digest(rejected_and_paid(played).derived_hash))
    looked_at = replace(BRIEF, standing=Standing(use="admit", window=2))
    assert record not in played.needs(BRIEF, rounds_kept=0)
    assert played.texts(looked_at, rounds_kept=0)[record] == "record of round 1"
    assert record in played.needs(None, rounds_kept=0)  # nobody could read what the task looks at
    played.world.advance_to(played.game.state.reveal_ends or 0)
    for _ in range(2):
        assert record in played.needs(looked_at, rounds_kept=0)
        played.end("alice")
    assert record not in played.needs(looked_at, rounds_kept=0)
    assert record in played.needs(looked_at, rounds_kept=1)  # an audit of round 3 reads it
    played.end("alice")
    assert record not in played.needs(looked_at, rounds_kept=1)


def rejected_and_paid(played: Played) -> Settlement:
    """A round that the auditors decided, and whose pay is claimed; their result."""
    played.train("alice", "bob")
    played.settle()
    truth = replace(played.game.settlement(REWARDS), derived_hash=some_hash("truth"))
    played.game.attest(played.game.result_hash(truth), *AUDITORS[:2])
    words = (truth.model, truth.derived_hash, truth.rewards_root, truth.rewards_total)
    played.world.chain("carol").reveal(played.game.round, *words)
    for name, amount in REWARDS.items():
        played.world.chain("carol").claim(played.game.round, address_of(name), amount, played.game.proof(name, REWARDS))
    return truth


def test_a_record_that_no_block_may_hold_leaves_what_it_is_computed_from() -> None:
    played = Played()
    played.train("alice", "bob")
    played.settle()
    truth = replace(played.game.settlement(REWARDS), derived_hash=some_hash("truth"))
    played.game.attest(played.game.result_hash(truth), *AUDITORS[:2])
    words = (truth.model, truth.derived_hash, truth.rewards_root, truth.rewards_total)
    played.world.chain("carol").reveal(played.game.round, *words)
    state = played.world.state()
    few = state.rounds[played.game.round]
    many = replace(few, updates=few.updates * (RECORD_UPDATES // 2 + 1))
    crowded = replace(state, now=state.now + 10_000, rounds={**state.rounds, many.id: many})
    known = {many.id: accepted("update alice 1")}
    found = needed(crowded, crowded.federations[played.game.id], BRIEF, rounds_kept=0, verdicts=known)
    assert Cid(RAW, Digest(truth.derived_hash)) not in found
    assert found[cid("update alice 1")].text == "update of unclaimed pay of round 1"


def test_void_and_abandoned_rounds_need_nothing_and_push_none_out() -> None:
    played = Played()
    round_ = played.end("alice")
    known = {round_.id: accepted("update alice 1")}
    before = played.texts(BRIEF, rounds_kept=1, verdicts=known)
    assert played.train().phase is Phase.VOID
    played.world.advance_to(played.train("bob").settlement_ends)
    assert played.game.state.phase is Phase.ABANDONED
    assert played.texts(BRIEF, rounds_kept=1, verdicts=known) == before
    assert cid("update alice 1") in before


def test_what_a_model_names_stays_with_every_model_that_names_it() -> None:
    played = Played()
    for _ in range(2):
        played.end("alice")
    old, new = Cid(RAW, digest("old")), Cid(RAW, digest("new"))
    attached = {
        digest("model 1"): {old: Kind.ANCHOR, cid("state 1"): Kind.STATE},
        digest("model 2"): {new: Kind.ANCHOR, cid("state 2"): Kind.STATE, cid("votes"): Kind.COMMITTEE},
    }
    texts = played.texts(attached=attached, rounds_kept=1)
    assert texts[new] == "anchor of head model"
    assert (texts[cid("state 2")], texts[cid("votes")]) == ("state of head model", "committee of head model")
    assert (texts[old], texts[cid("state 1")]) == ("anchor of base of round 2", "state of base of round 2")
    assert not {old, cid("state 1")} & played.texts(attached=attached, rounds_kept=0).keys()
    needs, limits = played.needs(attached=attached), TASK.limits
    assert needs[cid("state 2")].limit == state_limit(limits.model_bytes) and needs[new].limit == limits.model_bytes
    state = played.world.state()
    mentions = named(state, state.federations[played.game.id], attached)
    assert {mention.kind for mention in mentions[old]} == {Kind.ANCHOR}
    assert {mention.kind for mention in mentions[cid("state 1")]} == {Kind.STATE}


def test_the_members_of_the_heads_committee_outlive_what_the_task_promises() -> None:
    played = Played()
    played.end("alice")
    played.end("bob")
    played.world.advance(100_000)  # the task's promise is over
    known = {
        id: accepted("update alice 1", "update bob 2") for id in played.world.state().federations[played.game.id].rounds
    }
    member = {cid("update alice 1"): Kind.UPDATE, FIRST: Kind.MODEL}
    options: dict[str, object] = {"rounds_kept": 0, "verdicts": known}
    assert not member.keys() & played.texts(BRIEF, **options).keys()
    texts = played.texts(BRIEF, attached={digest("model 2"): member}, **options)
    assert texts[cid("update alice 1")] == "update in the committee of head model"
    assert texts[FIRST] == "model in the committee of head model"
    state = played.world.state()
    mentions = named(state, state.federations[played.game.id], {digest("model 2"): member})
    assert [mention.kind for mention in mentions[cid("update alice 1")]] == [Kind.UPDATE]  # once, as the log has it


def test_one_digest_named_twice_is_needed_for_the_stricter_reason() -> None:
    """mallory submits the head model's digest as her update: the model stays needed, whatever her update is."""
    played = Played()
    played.game.launch()
    played.world.advance(100)
    played.world.chain("mallory").submit_update(played.game.round, digest("first model"), 900)
    assert played.needs()[FIRST] == Reason("head model", Kind.MODEL, 1000)
    state = played.world.state()
    kinds = {mention.kind for mention in named(state, state.federations[played.game.id])[FIRST]}
    assert kinds == {Kind.MODEL, Kind.UPDATE}
    one, other = Reason("update", Kind.UPDATE, 1, if_there=True), Reason("head model", Kind.MODEL, 2)
    both = {FederationId(b"1"): {FIRST: one}, FederationId(b"2"): {FIRST: other}}
    assert needed_by_all(both) == {FIRST: other}


def test_names_say_who_and_where() -> None:
    played = Played()
    round_ = played.train("alice")
    state = played.world.state()
    mentions = named(state, state.federations[played.game.id])
    expected = Mention(Kind.UPDATE, played.game.id, round_.id, address_of("alice"))
    assert mentions[cid("update alice 1")] == (expected,)


def test_verdicts_of_a_record() -> None:
    def verdict(name: str, verdict: str, rule: str = "") -> UpdateVerdict:
        return UpdateVerdict(address_of("alice"), digest(name), 1, verdict, rule, 0, 0, 0, 0, 0, 0)  # type: ignore[arg-type]

    updates = (
        verdict("a", "accepted"),
        verdict("b", "refused", "foreign-base"),
        verdict("c", "refused", "not-canonical"),
        verdict("d", "refused", "too-large"),
        verdict("e", "unavailable"),
    )
    nothing = digest("")
    record = Derived(
        *(FederationId(nothing), RoundId(nothing), nothing, ZERO_HASH, "fedavg", "merged", False),
        *(nothing, 1, 0, False),
        updates,
        ZERO_HASH,
        0,
    )
    assert verdicts_of(record) == accepted("a", refused=("b",))


def test_what_a_manifest_names() -> None:
    anchor = Cid(RAW, digest("anchor"))
    nothing = {"anchor": None, "committee": None, "parents": [], "round": 1, "server_state": None, "tensors": {}}
    fields = {**nothing, "version": 2}
    assert attached_to(dumps(fields)) == {}
    all_of_it = {"anchor": str(anchor), "committee": str(cid("votes")), "server_state": str(cid("state"))}
    expected = {anchor: Kind.ANCHOR, cid("votes"): Kind.COMMITTEE, cid("state"): Kind.STATE}
    assert attached_to(dumps({**fields, **all_of_it})) == expected
    wrong = ({"anchor": "bafy"}, {"anchor": 3}, {"server_state": str(anchor)}, {"committee": "bafy"})
    for broken in (b"{}", b"[]", b"no", *(dumps({**fields, **one}) for one in wrong)):
        with pytest.raises(ArtifactRefused):
            attached_to(broken)


# --- laws over random histories ---


class MemoryTable(Table):
    """The three federations of the random games, without a node."""

    def __init__(self) -> None:
        self.world = MemoryWorld()  # type: ignore[assignment]
        self.world.give("mallory", self.world.balance(address_of("acme")) // 2)
        root = MerkleTree(admission_leaf(address_of(name)) for name in LISTS[1]).root
        self.games = [Game(self.world, salt="audited"), Game(self.world, audited=False, salt="unaudited")]
        self.games.append(Game(self.world, admission_root=root, salt="listed"))
        self.rewards = {}


def told(state: State, how: int) -> dict[RoundId, Verdicts]:
    """Reports that say this and that of the updates, and one in four that nobody can read."""
    found = {}
    for number, round_ in enumerate(state.rounds.values()):
        if round_.settled is not None and (how + number) % 4:
            digests = [update.digest for update in round_.updates]
            found[round_.id] = Verdicts(frozenset(digests[how % 3 :: 3]), frozenset(digests[(how + 1) % 3 :: 3]))
    return found


def audit_reads(state: State, round_: RoundState, verdicts: Verdicts) -> set[Digest]:
    """What `rondo audit` fetches of a settled round: task, base, report, and all updates that were there."""
    assert round_.settled is not None
    terms = state.federations[round_.federation].terms
    served = verdicts.accepted | verdicts.refused
    return {terms.task, round_.base, round_.settled.settlement.report, *served}


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    turns=st.lists(TURNS, min_size=10, max_size=60),
    how=st.integers(0, 11),
    retention=st.sampled_from([None, 1, 30, 500]),
    later=st.integers(0, 400),
)
def test_laws(
    turns: list[tuple[Callable[[Table, int, int], None], int, int]], how: int, retention: int | None, later: int
) -> None:
    table = MemoryTable()
    for move, which, number in turns:
        with suppress(ChainError, LookupError, ZeroDivisionError):
            move(table, which, number)
    state = table.world.state()
    then = replay(table.world.ledger.logs, state.now + later, chain_id=31337, contract=table.world.ledger.contract)
    task, verdicts = replace(TASK, retention_seconds=retention), told(state, how)
    for federation in state.federations.values():
        rounds = [state.rounds[round_id] for round_id in federation.rounds]
        names = named(state, federation)
        needs = [needed(state, federation, task, rounds_kept=k, verdicts=verdicts) for k in range(len(rounds) + 2)]
        strict = [{found for found, reason in each.items() if not reason.if_there} for each in needs]

        for fewer, more in pairwise(needs):
            assert fewer.keys() <= more.keys()  # monotone in K
        for each in needs:
            assert each.keys() <= names.keys()  # never anything that the log does not name
            after = needed(
                then, then.federations[federation.id], task, rounds_kept=needs.index(each), verdicts=verdicts
            )
            assert after.keys() <= each.keys()  # time alone adds nothing
        settled = [round_ for round_ in rounds if round_.settled is not None]
        over = [round_ for round_ in settled if not is_open(round_)]
        assert directory_cid(federation.head) in strict[0] and directory_cid(federation.terms.task) in strict[0]
        for round_ in settled:
            assert directory_cid(round_.settled.settlement.report) in strict[0]  # type: ignore[union-attr]
            known = verdicts.get(round_.id)
            if known is None:
                continue
            kept_from = 0 if is_open(round_) else len(over) - over.index(round_)
            for k in range(kept_from, len(rounds) + 2):
                assert set(map(directory_cid, audit_reads(state, round_, known))) <= strict[k]
            promised = retention is None or state.now < round_.settled.challenge_ends + retention  # type: ignore[union-attr]
            assert not promised or set(map(directory_cid, known.accepted)) <= strict[0]
            pays = round_.revealed is not None and round_.basis is PayBasis.RESULT
            if pays and round_.revealed is not None and any(update.paid is None for update in round_.updates):
                unclaimed = round_.revealed.rewards_total > round_.paid_clients
                assert (Cid(RAW, Digest(round_.revealed.derived_hash)) in strict[0]) == unclaimed
        for round_ in rounds:
            if is_open(round_):
                assert {directory_cid(update.digest) for update in round_.updates} <= needs[0].keys()
                assert directory_cid(round_.base) in strict[0]


@pytest.mark.slow
def test_the_random_histories_come_to_every_outcome() -> None:
    """The laws above would hold for nothing if no game ended."""
    seen: set[Phase] = set()

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(turns=st.lists(TURNS, min_size=30, max_size=60))
    def play(turns: list[tuple[Callable[[Table, int, int], None], int, int]]) -> None:
        table = MemoryTable()
        for move, which, number in turns:
            with suppress(ChainError, LookupError, ZeroDivisionError):
                move(table, which, number)
        seen.update(round_.phase for round_ in table.world.state().rounds.values())

    play()
    assert len(MOVES) > 10 and seen >= set(Phase) - {Phase.NONE, Phase.REJECTED}
