"""Amounts, milliseconds and seconds at their largest and at nothing: no part of a round overflows or loses a base unit,
whatever its outcome. Nothing is ever divided, so nothing is rounded: a client's pay is rate x milliseconds to the unit."""

import re
from pathlib import Path

import pytest
from support import (
    DAY,
    DERIVED,
    ETHER,
    MAX_MILLIS,
    MODEL,
    NEXT_MODEL,
    RATE,
    REPORT,
    TIME_CAP,
    WITNESS,
    ZERO_HASH,
    PayBasis,
    Phase,
    Term,
    at,
    client_claims,
    digest_of,
    failed,
    mine_at,
    now,
    plain,
    refused,
)

from protocol import merkle

MOST = 2**96 - 1  # base units that a round can hold
MILLIS, UPDATES = 2**40 - 1, 2**24 - 1
CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"

# Of an escrow of 2^96 - 1 in all.
ALL_OF_IT = {
    "one client's millisecond": {"reward_per_milli": MOST, "max_millis": 1, "time_cap_millis": 1, "max_updates": 1},
    "the time of one client": {
        "reward_per_milli": MOST // MILLIS,
        "max_millis": MILLIS,
        "time_cap_millis": MILLIS,
        "max_updates": 1,
        "bond": MOST % MILLIS,
    },
    "the time of all clients": {
        "reward_per_milli": MOST // (MILLIS * UPDATES),
        "max_millis": MILLIS,
        "time_cap_millis": 2**32,
        "max_updates": UPDATES,
        "bond": MOST % (MILLIS * UPDATES),
    },
    "the bond": {"reward_per_milli": 0, "bond": MOST},
    "the fees": {"reward_per_milli": 0, "attestation_fee": MOST // 3},
    "a third each": {
        "reward_per_milli": MOST // 3,
        "max_millis": 1,
        "time_cap_millis": 1,
        "max_updates": 1,
        "bond": MOST // 3,
        "attestation_fee": MOST // 9,
    },
}
NOTHING = {
    "no rate": {"reward_per_milli": 0},
    "no bond": {"bond": 0},
    "no fee": {"attestation_fee": 0},
    "no cap": {"time_cap_millis": 0},
    "nothing at all": {"reward_per_milli": 0, "bond": 0, "attestation_fee": 0},
}
OUTCOMES = ["void", "final", "unconfirmed", "revealed", "never revealed", "abandoned"]


def terms_of(changes):
    return {"bond": 0, "attestation_fee": 0} | changes


def live(world, outcome, clients, changes):
    """Bring a round to ``outcome``, with as much time for each client as can be; return what clients claim by, or None."""
    rounds, federation = world.rounds, world.federation()
    round = world.launch(federation, **changes)
    end = world.view(round)["trainingEnds"]
    if outcome != "void":
        for client in clients:
            at(end - 1)
            rounds.submitUpdate(round, digest_of(client), millis_of(changes), {"from": client})
    mine_at(end)
    rewards = dict.fromkeys(clients, rate_of(changes) * millis_of(changes))
    earned = world.result(round, rewards if rate_of(changes) else {})
    if outcome in ("final", "unconfirmed", "never revealed"):
        rounds.settle(round, earned.settlement, {"from": world.acme})
        said = world.result(round, {}, model=MODEL).result_hash if outcome == "never revealed" else earned.result_hash
        world.agree(round, said, count=1 if outcome == "unconfirmed" else 2)
    elif outcome == "revealed":
        rounds.settle(round, world.result(round, {}, model=MODEL).settlement, {"from": world.acme})
        world.agree(round, earned.result_hash)
        rounds.reveal(*earned.opening, {"from": world.treasury})
    elif outcome == "abandoned":
        world.close_settlement(round)
    if world.view(round)["challengeEnds"]:
        mine_at(world.view(round)["revealEnds"])
    return round, earned


def rate_of(changes):
    return changes.get("reward_per_milli", RATE)


def millis_of(changes):
    return min(changes.get("max_millis", MAX_MILLIS), 999_000)


def collect(world, round, earned, clients):
    """Let everything leave: the first client's pay by a call of its own, the others' in a batch."""
    rounds, anybody, view = world.rounds, {"from": world.treasury}, world.view(round)
    first, others = clients[0], clients[1:]
    rounds.withdraw(round, anybody)
    if view["basis"] == PayBasis.RESULT and earned.rewards:
        rounds.claim(*earned.claim(first), anybody)
        claims = [client_claims(client, earned.item(client)) for client in others]
        rounds.claimBatch(view["federation"], claims, anybody)
    elif view["basis"] == PayBasis.TIME:
        rounds.claimByTime(round, first, anybody)
        rounds.claimBatch(view["federation"], [client_claims(client, 1) for client in others], anybody)
    for auditor in world.auditors[: view["attestations"]]:
        rounds.claimAttestationFee(round, auditor, anybody)
    if view["phase"] in (Phase.REJECTED, Phase.ABANDONED):
        rounds.forfeit(round, anybody)
    assert rounds.withdraw(round, anybody).return_value == 0


def assert_to_the_unit(world, outcome, clients, changes):
    """Live a round to its end; assert what everybody has got of it, and that nothing is left."""
    clients = clients[: changes.get("max_updates", len(clients))]
    round, earned = live(world, outcome, clients, changes)
    people = [*clients, *world.auditors, world.treasury]
    before, organization = world.balances(*people), world.token.balanceOf(world.acme)
    collect(world, round, earned, clients)
    millis = millis_of(changes)
    by_time = rate_of(changes) * min(millis, changes.get("time_cap_millis", TIME_CAP))
    by_result = rate_of(changes) * millis
    bond, fee = changes.get("bond", 5 * ETHER), changes.get("attestation_fee", ETHER)
    pay, fees, lost = {
        "void": (0, 0, 0),
        "final": (by_result, 2, 0),
        "unconfirmed": (by_time, 1, 0),
        "revealed": (by_result, 2, bond),
        "never revealed": (by_time, 2, bond),
        "abandoned": (by_time, 0, bond),
    }[outcome]
    gains = [new - old for new, old in zip(world.balances(*people), before, strict=True)]
    assert gains == [*[pay] * len(clients), *[fee] * fees, *[0] * (3 - fees), lost]
    view = world.view(round)
    returned = view["escrowed"] - pay * len(clients) - fee * fees - lost
    assert world.token.balanceOf(world.acme) - organization == view["returned"] == returned
    assert (world.held(round), world.token.balanceOf(world.rounds)) == (0, 0)
    return view


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("name", ALL_OF_IT)
def test_the_largest_escrow_leaves_to_the_unit(world, alice, bob, name, outcome):
    view = assert_to_the_unit(world, outcome, [alice, bob], terms_of(ALL_OF_IT[name]))
    assert view["escrowed"] == MOST


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("name", NOTHING)
def test_amounts_of_nothing_leave_as_nothing(world, alice, bob, name, outcome):
    assert_to_the_unit(world, outcome, [alice, bob], NOTHING[name])


@pytest.mark.parametrize("name", [name for name in ALL_OF_IT if name != "the bond"])
def test_one_unit_more_of_bond_is_refused(world, federation, name):
    changes = terms_of(ALL_OF_IT[name])
    with refused("SafeCastOverflowedUintDowncast", 96, MOST + 1):
        world.launch(federation, **changes | {"bond": changes["bond"] + 1})


def test_one_unit_more_than_the_largest_bond_is_refused(world, federation):
    changes = {"reward_per_milli": 1, "max_millis": 1, "time_cap_millis": 1, "max_updates": 1, "attestation_fee": 0}
    with refused("SafeCastOverflowedUintDowncast", 96, MOST + 1):
        world.launch(federation, **changes, bond=MOST)


def test_all_terms_at_their_largest_are_refused_for_their_sum(world):
    """Not for an overflow on the way to it: 2^160 and more are counted exactly."""
    auditors = [f"0x{number:040x}" for number in range(1, 33)]
    federation = world.federation(quorum=32, auditors=auditors)
    largest = {
        "reward_per_milli": MOST,
        "max_millis": MILLIS,
        "max_updates": UPDATES,
        "bond": MOST,
        "attestation_fee": MOST,
    }
    with refused("SafeCastOverflowedUintDowncast", 96, MOST * MILLIS * UPDATES + MOST + 32 * MOST):
        world.launch(federation, **largest, time_cap_millis=0)


@pytest.mark.parametrize("cap", [2**32, 2**32 + 1])
def test_the_sum_of_all_capped_times_fits_or_is_refused(world, federation, cap):
    changes = {"reward_per_milli": 1, "max_millis": MILLIS, "max_updates": UPDATES, "time_cap_millis": cap}
    if cap * UPDATES < 2**56:
        assert world.view(world.launch(federation, **changes))["phase"] == Phase.TRAINING
    else:
        with refused("TermOutOfRange", Term.TIME_CAP_TOTAL, cap * UPDATES, 0, 2**56 - 1):
            world.launch(federation, **changes)


# --- seconds ---

LONGEST = {"training_seconds": 90 * DAY, "settlement_seconds": 30 * DAY, "challenge_seconds": 30 * DAY}
MOST_MILLIS = 1000 * (90 * DAY - 1)


def live_longest(world, rounds, start, alice, bob):
    """Launch in second ``start``; do everything in the last second in which it can be done. Return the round."""
    federation = world.federation()
    at(start)
    round = world.launch(federation, max_millis=MILLIS, reward_per_milli=10**9, **LONGEST)
    view = world.view(round)
    assert (view["trainingEnds"], view["settlementEnds"]) == (start + 90 * DAY, start + 120 * DAY)
    at(start + 90 * DAY - 1)
    with refused("TooManyMillis", round, MOST_MILLIS + 1, MOST_MILLIS):
        rounds.submitUpdate(round, digest_of(alice), MOST_MILLIS + 1, {"from": alice})
    at(start + 90 * DAY - 1)
    rounds.submitUpdate(round, digest_of(alice), MOST_MILLIS, {"from": alice})
    at(start + 120 * DAY - 1)
    world.settle(round, {})
    view = world.view(round)
    assert (view["challengeEnds"], view["revealEnds"]) == (start + 150 * DAY - 1, start + 180 * DAY - 1)
    other = world.result(round, {alice: 10**9 * MOST_MILLIS}, model=MODEL)
    for auditor in world.auditors[:2]:
        at(start + 150 * DAY - 2)
        rounds.attest(round, other.result_hash, WITNESS, {"from": auditor})
    at(start + 180 * DAY - 2)
    rounds.reveal(*other.opening, {"from": bob})
    rounds.claim(*other.claim(alice), {"from": bob})
    return round


def test_the_longest_round_to_its_last_seconds(world, rounds, token, alice, bob):
    round = live_longest(world, rounds, now() + 10, alice, bob)
    assert token.balanceOf(alice) == 10**9 * MOST_MILLIS
    assert plain(rounds.getUpdate(round, alice)) == (MOST_MILLIS, True, True)


def test_the_longest_round_that_ends_with_the_last_second_that_fits(world, rounds, token, alice, bob):
    """Times have 40 bits, until the year 36812: this round can be revealed until then."""
    round = live_longest(world, rounds, 2**40 - 180 * DAY, alice, bob)
    assert world.view(round)["revealEnds"] == 2**40 - 1
    assert token.balanceOf(alice) == 10**9 * MOST_MILLIS


def test_a_round_beyond_the_last_second_that_fits_is_not_launched(world, federation):
    """A panic: its times could not be recorded. Nothing is taken."""
    at(2**40 - 120 * DAY)
    with failed("Integer overflow"):
        world.launch(federation, **LONGEST)
    assert world.token.balanceOf(world.rounds) == 0


def test_the_shortest_round(world, rounds, federation, alice):
    """One second each: an update in the second of the launch, of no time; everything else on time."""
    start = now() + 10
    at(start)
    round = world.launch(federation, training_seconds=1, settlement_seconds=1, challenge_seconds=1)
    at(start)
    rounds.submitUpdate(round, digest_of(alice), 0, {"from": alice})
    at(start + 1)
    result = world.settle(round, {})
    for auditor in world.auditors[:2]:
        at(start + 1)
        rounds.attest(round, result.result_hash, WITNESS, {"from": auditor})
    assert now() == start + 1
    assert world.view(round)["phase"] == Phase.FINAL


# --- rounding ---


def test_money_is_never_divided():
    """So nothing is rounded, in nobody's favour or disfavour, and no name has to say a direction."""
    texts = {path: path.read_text() for path in CONTRACTS.rglob("*.sol") if "testing" not in path.parts}
    assert len(texts) > 10
    for path, text in texts.items():
        code = re.sub(r"//[^\n]*|/\*.*?\*/|\"[^\"]*\"", "", text, flags=re.DOTALL)
        if path.name == "Pages.sol":  # which page and which place on it, of a round's index: no money
            code = code.replace("index / ROUNDS", "").replace("index % ROUNDS", "")
        assert not re.search(r"[/%]|\b(s?div|s?mod|mulmod|mulDiv|average)\b", code), path


def test_no_leaf_of_nothing_where_the_rate_is_nothing(world, rounds, alice):
    changes = NOTHING["no rate"]
    round, _ = live(world, "final", [alice], changes)
    with refused("AmountAboveRecord", round, alice, 1, 0):
        rounds.claim(round, alice, 1, [], {"from": alice})
    with refused("InvalidProof", ZERO_HASH, merkle.leaf(round, alice.address, 0)):
        rounds.claim(round, alice, 0, [], {"from": alice})


def test_a_settlement_promises_nothing_where_the_rate_is_nothing(world, rounds, alice):
    round = world.trained(world.federation(), [alice], reward_per_milli=0)
    settlement = (world.view(round)["updatesHash"], NEXT_MODEL, REPORT, DERIVED, b"\1" * 32, 1)
    with refused("InvalidRewards", round, b"\1" * 32, 1, 0):
        rounds.settle(round, settlement, {"from": world.acme})
