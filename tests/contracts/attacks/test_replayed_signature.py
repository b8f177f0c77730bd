# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack: send a client's signed update where it did not mean it: another contract, round, or other terms.

Verdict: refused. The signature covers chain, contract, federation, round and the hash of the round's terms.
"""

from support import MODEL, World, at, now, refused


def test_on_another_contract(
    world, rounds, token, federation, TrainingRounds, acme, auditors, treasury, alice, mallory
):
    other = acme.deploy(TrainingRounds)
    token.approve(other, 2**256 - 1, {"from": acme})
    twin = World(other, token, acme, auditors, treasury)
    round, theirs = world.launch(federation), twin.launch(twin.federation())
    signed = world.signed(round, alice)
    at(now() + 100)
    with refused("InvalidSignature", theirs, alice):
        other.submitUpdateFor(theirs, signed, {"from": mallory})


def test_in_a_later_round_of_the_federation(world, rounds, alice, mallory):
    federation = world.federation(quorum=0)
    first = world.launch(federation)
    signed = world.signed(first, alice)
    world.close(first)
    second = world.launch(federation, base=MODEL)
    at(now() + 100)
    with refused("InvalidSignature", second, alice):
        rounds.submitUpdateFor(second, signed, {"from": mallory})


def test_twice(world, rounds, federation, alice, mallory):
    round = world.launch(federation)
    signed = world.signed(round, alice)
    at(now() + 100)
    rounds.submitUpdateFor(round, signed, {"from": mallory})
    with refused("AlreadySubmitted", round, alice):
        rounds.submitUpdateFor(round, signed, {"from": mallory})
