# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack: a token whose balances shrink by themselves (rebasing down, slashed stakes), so that escrow is missing.

Verdict: harmless to everybody else. Rounds that escrowed the token, in whichever federation, are paid in full in the
order of asking while the balance lasts; then payments revert, nobody is marked as paid, and whoever makes the balance up
again lets them through. Federations of other tokens do not notice.
"""

import pytest
from support import ETHER, RATE, client_claims, plain, refused

ESCROW = 188 * ETHER
OWED = RATE * 20_000  # 20 ETHER, by time
ONE, HALF = 10**18, 10**18 // 2


@pytest.fixture
def shrinking(rounds, RebasingToken, acme):
    token = acme.deploy(RebasingToken, 10**30)
    token.approve(rounds, 2**256 - 1, {"from": acme})
    return token


def abandoned(world, token, clients):
    round = world.trained(world.federation(token=token), clients)
    world.close_settlement(round)
    return round


def test_an_honest_token_pays_to_the_last_unit_beside_it(world, rounds, token, shrinking, alice, bob, mallory):
    held = token.balanceOf(rounds)
    honest = abandoned(world, token, [alice, bob])
    abandoned(world, shrinking, [alice, bob])
    shrinking.rebase(1, {"from": mallory})  # next to nothing is left
    before = world.balances(alice, bob, world.treasury)
    federation = world.view(honest)["federation"]
    rounds.claimBatch(federation, [client_claims(alice, 1), client_claims(bob, 1)], {"from": mallory})
    rounds.withdraw(honest, {"from": mallory})
    rounds.forfeit(honest, {"from": mallory})
    after = world.balances(alice, bob, world.treasury)
    assert [new - old for new, old in zip(after, before, strict=True)] == [OWED, OWED, 5 * ETHER]
    assert world.held(honest) == 0
    assert token.balanceOf(rounds) == held


def test_the_organization_first_leaves_too_little_for_the_clients(world, rounds, shrinking, alice, bob, mallory):
    """150.4 of 188 are left: after its 143 not even one client's 20."""
    round = abandoned(world, shrinking, [alice, bob])
    shrinking.rebase(ONE * 4 // 5, {"from": mallory})
    rounds.withdraw(round, {"from": mallory})
    with refused("ERC20InsufficientBalance", rounds, 74 * ETHER // 10, OWED):
        rounds.claimByTime(round, alice, {"from": alice})
    rounds.forfeit(round, {"from": mallory})  # 5: a smaller amount still goes out
    assert shrinking.balanceOf(rounds) == 24 * ETHER // 10
    assert world.held(round) == 2 * OWED


def test_the_clients_first_leave_too_little_for_the_organization(world, rounds, shrinking, acme, alice, bob, mallory):
    """94 of 188 are left."""
    round = abandoned(world, shrinking, [alice, bob])
    shrinking.rebase(HALF, {"from": mallory})
    with refused("ERC20InsufficientBalance", rounds, 94 * ETHER, 143 * ETHER):
        rounds.withdraw(round, {"from": acme})
    for client in (alice, bob):
        rounds.claimByTime(round, client, {"from": mallory})
        assert shrinking.balanceOf(client) == OWED
    rounds.forfeit(round, {"from": mallory})
    with refused("ERC20InsufficientBalance", rounds, 49 * ETHER, 143 * ETHER):
        rounds.withdraw(round, {"from": acme})
    assert (world.view(round)["returned"], rounds.withdrawable(round)) == (0, 143 * ETHER)


def test_the_loss_is_not_shared_out_within_a_batch(world, rounds, shrinking, alice, bob, mallory):
    """All or nothing: the batch that asks for more than there is reverts, one of its clients alone is paid."""
    round = abandoned(world, shrinking, [alice, bob])
    federation = world.view(round)["federation"]
    shrinking.rebase(ONE // 5, {"from": mallory})  # 37.6 of 188
    claims = [client_claims(alice, 1), client_claims(bob, 1)]
    with refused("ERC20InsufficientBalance", rounds, 176 * ETHER // 10, OWED):
        rounds.claimBatch(federation, claims, {"from": mallory})
    rounds.claimBatch(federation, claims[1:], {"from": mallory})
    assert (shrinking.balanceOf(alice), shrinking.balanceOf(bob)) == (0, OWED)


def test_what_is_made_up_later_is_paid_later(world, rounds, shrinking, acme, alice, mallory):
    """Nobody was marked as paid; a gift to the contract, or a rebase upwards, pays them."""
    round = abandoned(world, shrinking, [alice])
    federation = world.view(round)["federation"]
    shrinking.rebase(ONE // 100, {"from": mallory})
    assert shrinking.balanceOf(rounds) < OWED
    short = (rounds, ESCROW // 100, OWED)
    for attempt in (
        lambda: rounds.claimByTime(round, alice, {"from": alice}),
        lambda: rounds.claimBatch(federation, [client_claims(alice, 1)], {"from": alice}),
    ):
        with refused("ERC20InsufficientBalance", *short):
            attempt()
        assert plain(rounds.getUpdate(round, alice)) == (20_000, True, False)
    shrinking.transfer(rounds, OWED, {"from": acme})
    rounds.claimByTime(round, alice, {"from": alice})
    assert shrinking.balanceOf(alice) == OWED
    shrinking.rebase(ONE, {"from": mallory})
    rounds.withdraw(round, {"from": mallory})
    rounds.forfeit(round, {"from": mallory})
    assert world.held(round) == 0


def test_every_federation_that_chose_it_shares_the_loss(world, rounds, shrinking, alice, bob, mallory):
    """The contract has one balance of a token: a loss is not divided by rounds. Those who ask last bear it."""
    first, second = abandoned(world, shrinking, [alice]), abandoned(world, shrinking, [bob])
    shrinking.rebase(HALF, {"from": mallory})  # 188 are left of 376
    assert shrinking.balanceOf(rounds) == ESCROW
    rounds.withdraw(first, {"from": mallory})
    rounds.claimByTime(first, alice, {"from": mallory})
    rounds.forfeit(first, {"from": mallory})
    assert world.held(first) == 0  # the first round got all of its escrow, of which half was the second's
    assert shrinking.balanceOf(rounds) == 0
    with refused("ERC20InsufficientBalance", rounds, 0, OWED):
        rounds.claimByTime(second, bob, {"from": mallory})
    assert world.held(second) == ESCROW


def test_a_balance_that_grows_is_nobodys(world, rounds, shrinking, alice, mallory):
    """What comes without a launch cannot be taken out: no function pays by the balance."""
    round = abandoned(world, shrinking, [alice])
    shrinking.rebase(2 * ONE, {"from": mallory})
    rounds.claimByTime(round, alice, {"from": mallory})
    rounds.withdraw(round, {"from": mallory})
    rounds.forfeit(round, {"from": mallory})
    assert (world.held(round), rounds.withdrawable(round)) == (0, 0)
    assert shrinking.balanceOf(rounds) == ESCROW  # the growth of 188, for ever


def test_a_launch_that_loses_a_unit_to_rounding_is_refused(world, rounds, shrinking, mallory):
    """Shares are rounded towards zero: of 100 units 99 arrive."""
    shrinking.rebase(ONE * 3 // 2, {"from": mallory})
    federation = world.federation(token=shrinking)
    with refused("EscrowNotReceived", shrinking, 99, 100):
        world.launch(federation, reward_per_milli=0, bond=100, attestation_fee=0)
    world.launch(federation, reward_per_milli=0, bond=99, attestation_fee=0)
