# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack: escrow a token that costs nothing, then claim, withdraw and forfeit until another token comes out.

Verdict: impossible. Every payment of a round is made in its federation's token, which never changes.
"""

from support import ETHER, RATE, client_claims, mine_at, refused

from protocol import merkle


def test_it_buys_nothing_of_another_token(world, rounds, token, TestToken, alice, bob, auditors, treasury, mallory):
    worthless = mallory.deploy(TestToken, 10**40)
    worthless.transfer(world.acme, 10**39, {"from": mallory})
    worthless.approve(rounds, 2**256 - 1, {"from": world.acme})
    honest = world.trained(world.federation(), [alice, bob])
    world.close_settlement(honest)
    rewards = {alice: 20 * ETHER, bob: 20 * ETHER}
    federation = world.federation(token=worthless)
    round = world.trained(federation, list(rewards))
    world.settle(round, rewards)
    other = world.other(round, rewards)
    world.agree(round, other.result_hash)
    rounds.reveal(*other.opening, {"from": mallory})
    mine_at(world.view(round)["challengeEnds"])

    people = (alice, bob, auditors[0], treasury, world.acme, rounds)
    before = world.balances(*people)
    rounds.claim(*other.claim(alice), {"from": mallory})
    rounds.claimBatch(federation, [client_claims(bob, other.item(bob))], {"from": mallory})
    rounds.claimAttestationFee(round, auditors[0], {"from": mallory})
    rounds.forfeit(round, {"from": mallory})
    rounds.withdraw(round, {"from": mallory})
    assert world.balances(*people) == before
    assert worthless.balanceOf(alice) == 10 * ETHER
    assert world.held(honest) == 188 * ETHER


def test_a_batch_pays_in_the_token_of_the_federation_that_it_names(world, rounds, token, TestToken, alice, mallory):
    """The same client and index in both: the rounds are its own, so the other federation's cannot be named at all."""
    worthless = mallory.deploy(TestToken, 10**40)
    worthless.transfer(world.acme, 10**39, {"from": mallory})
    worthless.approve(rounds, 2**256 - 1, {"from": world.acme})
    honest, cheap = world.federation(quorum=0), world.federation(quorum=0, token=worthless)
    results = {}
    for federation in (honest, cheap):
        round = world.trained(federation, [alice])
        results[federation] = world.settle(round, {alice: 20 * ETHER})
        mine_at(world.view(round)["challengeEnds"])
    before = token.balanceOf(alice)
    rounds.claimBatch(cheap, [client_claims(alice, results[cheap].item(alice))], {"from": mallory})
    assert (token.balanceOf(alice) - before, worthless.balanceOf(alice)) == (0, RATE * 20_000)
    stolen = results[cheap]
    leaf = merkle.leaf(results[honest].round, alice.address, 20 * ETHER)
    with refused("InvalidProof", results[honest].tree.root, leaf):
        rounds.claimBatch(honest, [client_claims(alice, (1, 20 * ETHER, [stolen.tree.root]))], {"from": mallory})
