"""Attack: a reward token that is no contract, so that calls to it succeed and move nothing; or that stops being one.

Verdict: refused by name, at launch and at every payment. Code that vanishes after the launch (an account that takes its
EIP-7702 delegation back) leaves the books as they were; where it comes back, everybody is paid.
"""

import brownie
import pytest
from support import ETHER, RATE, ZERO_ADDRESS, client_claims, plain, refused

ESCROW = 188 * ETHER


def set_code(account, code):
    answer = brownie.web3.provider.make_request("anvil_setCode", [plain(account), code])
    assert "error" not in answer, answer


@pytest.mark.parametrize("account", [ZERO_ADDRESS, "0x00000000000000000000000000000000000000aa"])
def test_the_launch_is_refused(world, account):
    federation = world.federation(token=account)
    with refused("EscrowNotReceived", account, 0, ESCROW):
        world.launch(federation)


@pytest.mark.parametrize("precompile", [1, 2, 3, 4, 5])
def test_a_precompile_is_no_token(world, precompile):
    """They answer anybody, but have no code."""
    account = f"0x{precompile:040x}"
    federation = world.federation(token=account)
    with refused("EscrowNotReceived", account, 0, ESCROW):
        world.launch(federation)


def test_an_account_of_somebody_is_no_token(world, mallory):
    federation = world.federation(token=mallory)
    with refused("EscrowNotReceived", mallory, 0, ESCROW):
        world.launch(federation)


def test_the_contract_itself_is_no_token(world, rounds):
    """It has code, and no balance."""
    federation = world.federation(token=rounds)
    with pytest.raises(brownie.exceptions.VirtualMachineError):
        world.launch(federation)
    assert rounds.getFederation(federation)["rounds"] == 0


def test_code_that_vanishes_pays_nobody_and_marks_nobody(world, rounds, TestToken, acme, alice, mallory):  # noqa: N803 - a contract
    token = acme.deploy(TestToken, 10**30)
    token.approve(rounds, 2**256 - 1, {"from": acme})
    federation = world.federation(token=token)
    round = world.trained(federation, [alice])
    world.close_settlement(round)
    code = plain(brownie.web3.eth.get_code(token.address))
    set_code(token, "0x")
    for attempt in (
        lambda: rounds.claimByTime(round, alice, {"from": mallory}),
        lambda: rounds.claimBatch(federation, [client_claims(alice, 1)], {"from": mallory}),
        lambda: rounds.withdraw(round, {"from": mallory}),
        lambda: rounds.forfeit(round, {"from": mallory}),
    ):
        with refused("SafeERC20FailedOperation", token):
            attempt()
    with refused("EscrowNotReceived", token, 0, ESCROW):
        world.launch(federation)
    assert world.held(round) == ESCROW
    set_code(token, "0x" + code.hex())
    rounds.claimByTime(round, alice, {"from": mallory})
    rounds.withdraw(round, {"from": mallory})
    rounds.forfeit(round, {"from": mallory})
    assert token.balanceOf(alice) == RATE * 20_000
    assert world.held(round) == 0
