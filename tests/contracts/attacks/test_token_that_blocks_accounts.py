# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack: a token's issuer blocks one recipient, or the contract itself, so that payments to it revert.

Verdict: a blocked account holds up nobody but itself. Each party is paid apart; a batch that names a blocked client
reverts whole and is sent again without it. A blocked contract stops that token's payments, not its rounds, and no
other token's; what is owed stays owed.
"""

import pytest
from support import ETHER, RATE, ZERO_ADDRESS, PayBasis, Phase, client_claims, mine_at, plain, refused

OWED = RATE * 20_000


@pytest.fixture
def dollars(rounds, BlockingToken, acme):
    token = acme.deploy(BlockingToken, 10**30)
    token.approve(rounds, 2**256 - 1, {"from": acme})
    return token


@pytest.fixture
def federation(world, dollars):
    return world.federation(token=dollars)


@pytest.fixture
def rewards(alice, bob):
    return {alice: 20 * ETHER, bob: 4 * ETHER}


@pytest.fixture
def rejected(world, federation, rewards, mallory):
    """A round in which everybody is owed something: clients, two auditors, the treasury, the organization."""
    round = world.trained(federation, list(rewards))
    world.settle(round, rewards)
    other = world.other(round, rewards)
    world.agree(round, other.result_hash)
    world.rounds.reveal(*other.opening, {"from": mallory})
    mine_at(world.view(round)["challengeEnds"])
    return other


def payments(world, result):
    """Every payment of the round, by the account that is paid."""
    rounds, anybody = world.rounds, {"from": world.treasury}
    return {
        **{client: (lambda client=client: rounds.claim(*result.claim(client), anybody)) for client in result.rewards},
        **{
            auditor: (lambda auditor=auditor: rounds.claimAttestationFee(result.round, auditor, anybody))
            for auditor in world.auditors[:2]
        },
        world.treasury: lambda: rounds.forfeit(result.round, anybody),
        world.acme: lambda: rounds.withdraw(result.round, anybody),
    }


@pytest.mark.parametrize("which", range(6))
def test_one_blocked_recipient_holds_up_nobody_else(world, rounds, dollars, rejected, mallory, which):
    every = payments(world, rejected)
    blocked = list(every)[which]
    dollars.blockAccount(blocked, True, {"from": mallory})
    with refused("Blocked", blocked):
        every[blocked]()
    for recipient, pay in every.items():
        if recipient != blocked:
            pay()
    assert world.held(rejected.round) == dollars.balanceOf(rounds) > 0
    with refused("Blocked", blocked):
        every[blocked]()
    dollars.blockAccount(blocked, False, {"from": mallory})
    every[blocked]()
    assert world.held(rejected.round) == dollars.balanceOf(rounds) == 0


def test_a_batch_with_a_blocked_client_is_sent_again_without_it(
    world, rounds, dollars, federation, rejected, alice, bob, mallory
):
    dollars.blockAccount(alice, True, {"from": mallory})
    claims = [client_claims(client, rejected.item(client)) for client in (bob, alice)]
    with refused("Blocked", alice):
        rounds.claimBatch(federation, claims, {"from": mallory})
    assert plain(rounds.getUpdate(rejected.round, bob)) == (20_000, True, False)
    rounds.claimBatch(federation, claims[:1], {"from": mallory})
    assert dollars.balanceOf(bob) == 2 * ETHER


def test_a_blocked_client_of_whom_nothing_is_due_stops_no_batch(
    world, rounds, dollars, federation, alice, bob, mallory
):
    """What was paid before the block is passed over without a transfer."""
    round = world.trained(federation, [alice, bob])
    world.close_settlement(round)
    rounds.claimByTime(round, alice, {"from": mallory})
    dollars.blockAccount(alice, True, {"from": mallory})
    rounds.claimBatch(federation, [client_claims(alice, 1), client_claims(bob, 1)], {"from": mallory})
    assert dollars.balanceOf(bob) == OWED


def test_a_blocked_client_is_paid_by_later_rounds_all_together(world, rounds, dollars, federation, alice, mallory):
    """Nothing expires: after years, one call for all rounds."""
    dollars.blockAccount(alice, True, {"from": mallory})
    for _ in range(3):
        world.close_settlement(world.trained(federation, [alice]))
    mine_at(world.view(plain(rounds.roundId(federation, 3)))["settlementEnds"] + 10 * 365 * 24 * 60 * 60)
    dollars.blockAccount(alice, False, {"from": mallory})
    rounds.claimBatch(federation, [client_claims(alice, 1, 2, 3)], {"from": mallory})
    assert dollars.balanceOf(alice) == 3 * OWED


def test_a_blocked_organization_hands_over(world, rounds, dollars, federation, rejected, acme, mallory):
    """It cannot launch either; the role and what returns go to whom it offers them."""
    dollars.blockAccount(acme, True, {"from": mallory})
    with refused("Blocked", acme):
        world.launch(federation)
    with refused("Blocked", acme):
        rounds.withdraw(rejected.round, {"from": acme})
    rounds.offerOrganization(federation, mallory, {"from": acme})
    rounds.acceptOrganization(federation, {"from": mallory})
    returned = rounds.withdraw(rejected.round, {"from": acme}).return_value
    assert dollars.balanceOf(mallory) == returned > 0


def test_a_blocked_contract_stops_its_token_and_no_round(
    world, rounds, token, dollars, federation, rejected, alice, mallory
):
    honest = world.trained(world.federation(), [alice])
    world.close_settlement(honest)
    dollars.blockAccount(rounds, True, {"from": mallory})
    for pay in payments(world, rejected).values():
        with refused("Blocked", rounds):
            pay()
    with refused("Blocked", rounds):
        world.launch(federation)
    free = world.launch(federation, reward_per_milli=0, bond=0, attestation_fee=0)
    assert world.view(free)["phase"] == Phase.TRAINING
    before = token.balanceOf(alice)
    rounds.claimByTime(honest, alice, {"from": mallory})
    assert token.balanceOf(alice) - before == OWED
    dollars.blockAccount(rounds, False, {"from": mallory})
    for pay in payments(world, rejected).values():
        pay()
    assert world.held(rejected.round) == dollars.balanceOf(rounds) == 0


def test_a_blocked_treasury_keeps_its_bond_for_itself(world, rounds, dollars, federation, alice, mallory):
    """forfeitTo never changes: the bond waits for it, and is no part of what the organization gets."""
    round = world.trained(federation, [alice])
    world.close_settlement(round)
    dollars.blockAccount(world.treasury, True, {"from": mallory})
    rounds.claimByTime(round, alice, {"from": mallory})
    rounds.withdraw(round, {"from": mallory})
    with refused("Blocked", world.treasury):
        rounds.forfeit(round, {"from": mallory})
    assert world.held(round) == 5 * ETHER
    assert rounds.withdrawable(round) == 0
    assert world.view(round)["basis"] == PayBasis.TIME


def test_what_refuses_the_zero_address_is_never_asked_to_pay_it(world, rounds, dollars, federation, alice, mallory):
    """Nobody whom the contract pays can be the zero address: forfeitTo, organization, clients and auditors are not."""
    round = world.trained(federation, [alice])
    world.close_settlement(round)
    with refused("NoUpdate", round, ZERO_ADDRESS):
        rounds.claimByTime(round, ZERO_ADDRESS, {"from": mallory})
    with refused("NoUpdate", round, ZERO_ADDRESS):
        rounds.claimBatch(federation, [client_claims(ZERO_ADDRESS, 1)], {"from": mallory})
    with refused("NotAttested", round, ZERO_ADDRESS):
        rounds.claimAttestationFee(round, ZERO_ADDRESS, {"from": mallory})
