"""What the common calls cost, against ceilings; run with -s to see the figures.

Recipients hold a token already, as anybody does from the second reward on: a first one costs 17 100 gas more.
"""

import brownie
import pytest
from eth_utils.crypto import keccak
from support import MODEL, WITNESS, ZERO_HASH, at, mine_at, now, plain

from protocol import merkle


@pytest.fixture
def shown(capsys):
    def show(name, gas, ceiling):
        with capsys.disabled():
            print(f"  {name:<52} {gas:>9,} of {ceiling:>9,}")
        assert gas <= ceiling

    return show


def settled_wide(world, federation, client, size, **changes):
    """A final round whose tree has ``size`` leaves; return its id and the proof of ``client``'s leaf of 10^18."""
    round = world.trained(federation, [client], **changes)
    leaf = merkle.leaf(round, client.address, 10**18)
    tree = merkle.MerkleTree([leaf, *(keccak(number) for number in range(size - 1))])
    settlement = (world.view(round)["updatesHash"], MODEL, ZERO_HASH, ZERO_HASH, tree.root, 10**19)
    world.rounds.settle(round, settlement, {"from": world.acme})
    mine_at(world.view(round)["challengeEnds"])
    return round, list(tree.proof(leaf))


def test_submit_update(world, federation, alice, bob, shown):
    launched = world.launched(federation)
    shown("launchRound", launched.gas_used, 305_000)
    round = plain(launched.return_value)
    shown("submitUpdate, the round's first, fresh page", world.submit(round, alice).gas_used, 63_000)
    shown("submitUpdate, a later one, fresh page", world.submit(round, bob).gas_used, 63_000)


def test_six_of_seven_updates_find_their_slot(world, alice, shown):
    """Rounds 1 to 6, then 7 to 13, share a slot: only the first update of each pays for a fresh one (pages, R8)."""
    federation = world.federation(quorum=0)
    gas = []
    for _ in range(14):
        round = world.launch(federation, bond=0, attestation_fee=0)
        gas.append(world.submit(round, alice).gas_used)
        mine_at(world.view(round)["settlementEnds"])
    fresh = [index for index, used in enumerate(gas, 1) if used > 50_000]
    assert fresh == [1, 7, 14]
    shown("submitUpdate, fresh page", max(gas), 63_000)
    shown("submitUpdate, page in use", max(used for used in gas if used < 50_000), 46_000)


def test_submit_update_with_admission(world, alice, shown):
    tree = merkle.MerkleTree([merkle.admission_leaf(alice.address)])
    federation = world.federation(admission_root=tree.root)
    world.rounds.join(federation, alice, [], {"from": alice})
    round = world.launch(federation)
    shown("submitUpdate, admitted by root", world.submit(round, alice).gas_used, 65_000)


def test_submit_updates(world, federation, acme, shown):
    round = world.launch(federation, max_updates=200)
    clients = [brownie.accounts.add(private_key=keccak(text=f"client {number}")) for number in range(100)]
    signed = [world.signed(round, client) for client in clients]
    at(now() + 100)
    transaction = world.rounds.submitUpdates(round, signed, {"from": acme})
    assert world.view(round)["updates"] == 100
    shown("submitUpdates, each of 100", transaction.gas_used // 100, 37_000)


def test_settle_attest(world, federation, alice, auditors, shown):
    round = world.trained(federation, [alice])
    result = world.result(round, {alice: 10**18})
    transaction = world.rounds.settle(round, result.settlement, {"from": world.acme})
    shown("settle, the federation's first", transaction.gas_used, 110_000)
    for number, auditor in enumerate(auditors):
        transaction = world.rounds.attest(round, result.result_hash, WITNESS, {"from": auditor})
        shown(f"attest, number {number + 1}", transaction.gas_used, 110_000)
    world.token.transfer(auditors[0], 1, {"from": world.acme})
    transaction = world.rounds.claimAttestationFee(round, auditors[0], {"from": auditors[0]})
    shown("claimAttestationFee", transaction.gas_used, 80_000)
    shown("withdraw", world.rounds.withdraw(round, {"from": world.acme}).gas_used, 120_000)


def test_settle_costs_the_same_after_many_updates(world, acme, shown):
    federation = world.federation(quorum=0)
    round = world.launch(federation, max_updates=200, attestation_fee=0, bond=0)
    clients = [brownie.accounts.add(private_key=keccak(text=f"client {number}")) for number in range(40)]
    at(now() + 100)
    signed = [world.signed(round, client) for client in clients]
    world.rounds.submitUpdates(round, signed, {"from": acme})
    world.close(round)
    result = world.result(round, {clients[0]: 10**18})
    transaction = world.rounds.settle(round, result.settlement, {"from": acme})
    shown("settle, unaudited, no bond, 40 updates", transaction.gas_used, 110_000)


def test_claim(world, alice, mallory, shown):
    federation = world.federation(quorum=0)
    round, proof = settled_wide(world, federation, alice, 2**17, max_updates=2**18)
    assert len(proof) == 17
    world.token.transfer(alice, 1, {"from": world.acme})
    shown("claim, 17 levels", world.rounds.claim(round, alice, 10**18, proof, {"from": alice}).gas_used, 68_000)


def test_claim_batch(world, alice, shown):
    federation = world.federation(quorum=0)
    words, siblings = [], []
    for index in range(1, 11):
        _, proof = settled_wide(world, federation, alice, 100, max_updates=100)
        words.append(index << 104 | len(proof) << 96 | 10**18)
        siblings += proof
    world.token.transfer(alice, 1, {"from": world.acme})
    transaction = world.rounds.claimBatch(federation, [(alice, words, siblings)], {"from": alice})
    # Of which a round's payout slot is 5 000, its root 2 100, calldata 3 900, its share of pages and transfer 4 300.
    shown("claimBatch, each of ten rounds of 100", transaction.gas_used // 10, 20_000)
