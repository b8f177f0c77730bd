# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack: a client that is a contract and burns gas, answers megabytes or lies when it is asked for its signature.

Verdict: refused, at a bounded price to whoever chose to send its update; batches do not ask contracts at all.
"""

import brownie
import pytest
from support import at, now, refused

BURNS_GAS, RETURNS_MEGABYTES, SAYS_TRUE, SAYS_NOTHING = 1, 2, 3, 4


@pytest.mark.parametrize("manner", [BURNS_GAS, RETURNS_MEGABYTES, SAYS_TRUE, SAYS_NOTHING])
def test_it_is_refused_at_a_bounded_price(world, rounds, federation, WalletDouble, alice, mallory, manner):
    wallet = mallory.deploy(WalletDouble, alice)
    wallet.behave(manner, {"from": mallory})
    round = world.launch(federation)
    signed = world.signed(round, wallet, key=alice.private_key)
    at(now() + 100)
    with refused("InvalidSignature", round, wallet):
        rounds.submitUpdateFor(round, signed, {"from": mallory})
    assert brownie.history[-1].gas_used < 500_000


def test_an_account_without_code_signs_nothing(world, rounds, federation, alice, mallory):
    """A call to it succeeds and answers nothing; that is not a yes."""
    nobody = "0x00000000000000000000000000000000000000aa"
    round = world.launch(federation)
    signed = world.signed(round, nobody, digest=b"\1" * 32, key=mallory.private_key)
    at(now() + 100)
    with refused("InvalidSignature", round, nobody):
        rounds.submitUpdateFor(round, signed, {"from": mallory})


@pytest.mark.parametrize("precompile", range(1, 11))
def test_a_precompile_signs_nothing(world, rounds, federation, mallory, precompile):
    """They answer to anybody; identity even echoes the selector."""
    account = f"0x{precompile:040x}"
    round = world.launch(federation)
    signed = world.signed(round, account, digest=b"\1" * 32, key=mallory.private_key)
    at(now() + 100)
    with refused("InvalidSignature", round, account):
        rounds.submitUpdateFor(round, signed, {"from": mallory})
