# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack: escrow a token that keeps a part of every transfer, so that the last to claim find too little.

Verdict: refused at launch. Exactly the escrow must arrive.
"""

from support import ETHER, refused

ESCROW = 188 * ETHER


def test_the_launch_is_refused(world, rounds, FeeOnTransferToken, acme):
    token = acme.deploy(FeeOnTransferToken, 10**30)
    token.approve(rounds, 2**256 - 1, {"from": acme})
    federation = world.federation(token=token)
    with refused("EscrowNotReceived", token, ESCROW - ESCROW // 100, ESCROW):
        world.launch(federation)
    assert token.balanceOf(rounds) == 0


def test_a_gift_before_the_launch_does_not_make_it_up(world, rounds, FeeOnTransferToken, acme, mallory):
    """What arrives is measured, not what is there."""
    token = acme.deploy(FeeOnTransferToken, 10**30)
    token.approve(rounds, 2**256 - 1, {"from": acme})
    token.transfer(rounds, 10 * ETHER, {"from": acme})
    federation = world.federation(token=token)
    with refused("EscrowNotReceived", token, ESCROW - ESCROW // 100, ESCROW):
        world.launch(federation)
