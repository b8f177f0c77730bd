"""Seven successive rounds of a client share one slot: none of them touches another's record, nor another client's or
federation's. Fifteen rounds of two federations and three clients, whose addresses differ in their lowest or their highest
bit, against a plain table, in every order of claims that the seeds make."""

import random

import brownie
import pytest
from support import (
    DAY,
    MODEL,
    PayBasis,
    assert_events,
    at,
    client_claims,
    digest_of,
    now,
    payment,
    plain,
    rewards_tree,
)

from protocol import merkle
from protocol.types import ZERO_HASH

ROUNDS = 15  # three pages, of which the first and the last are not full
MOST = 1000 * (90 * DAY - 1)  # milliseconds, in the last second of the longest training
CAP = MOST // 3
RATE = 10**9
TERMS = {
    "reward_per_milli": RATE,
    "max_millis": 2**40 - 1,
    "time_cap_millis": CAP,
    "max_updates": 3,
    "training_seconds": 90 * DAY,
    "settlement_seconds": 1,
    "challenge_seconds": 0,
    "bond": 0,
}


@pytest.fixture
def clients(alice):
    lowest, highest = int(alice.address, 16) ^ 1, int(alice.address, 16) ^ (1 << 159)
    return [alice, *(brownie.accounts.at(f"0x{address:040x}", force=True) for address in (lowest, highest))]


class Table:
    """What ought to be recorded: (federation, index, client) to [millis, submitted, paid]."""

    def __init__(self, rounds, federations, clients):
        self.rounds, self.clients = rounds, clients
        keys = [(federation, index) for federation in federations for index in range(ROUNDS + 2)]
        self.ids = {key: plain(rounds.roundId(*key)) for key in keys}
        self.records = {(*key, client): [0, False, False] for key in keys for client in clients}

    def check(self):
        """Compare every record, of rounds that there are not too."""
        calls = []
        for federation, index, client in self.records:
            data = self.rounds.getUpdate.encode_input(self.ids[federation, index], client)
            calls.append(("eth_call", [{"to": self.rounds.address, "data": data}, "latest"]))
        answers = brownie.web3.provider.make_batch_request(calls)
        for ((_, *key), expected), answer in zip(self.records.items(), answers, strict=True):
            words = [int(answer["result"][at : at + 64], 16) for at in range(2, 194, 64)]
            assert words == expected, key


def play(world, table, chance, federation, index):
    """Play a round in which every client posts nothing, or little, or as much as there can be; return what it pays."""
    rounds = world.rounds
    millis = {client: chance.choice([None, 0, 1, MOST - 1, MOST]) for client in table.clients}
    round = world.launch(federation, base=MODEL, **TERMS)
    end = world.view(round)["trainingEnds"]
    for client, posted in millis.items():
        if posted is not None:
            at(end - 1)
            rounds.submitUpdate(round, digest_of(client), posted, {"from": client})
            table.records[federation, index, client][:2] = posted, True
            table.check()
    posted = {client: some for client, some in millis.items() if some is not None}
    if not posted:
        at(end)
        brownie.chain.mine(1)
        return PayBasis.NOTHING, {}, None
    if chance.random() < 0.5:
        at(end + 1)
        brownie.chain.mine(1)
        return PayBasis.TIME, {client: RATE * min(some, CAP) for client, some in posted.items()}, None
    rewards = {client: RATE * some for client, some in posted.items() if some}
    tree = rewards_tree(round, rewards)
    at(end)
    settlement = (world.view(round)["updatesHash"], MODEL, ZERO_HASH, ZERO_HASH, tree.root, sum(rewards.values()))
    rounds.settle(round, settlement, {"from": world.acme})
    return PayBasis.RESULT, rewards, tree


def item(table, federation, index, client, basis, amount, tree):
    if basis == PayBasis.TIME:
        return (index, 0, [])
    leaf = merkle.leaf(table.ids[federation, index], plain(client), amount)
    return (index, amount, list(tree.proof(leaf)))


@pytest.mark.parametrize("seed", [1, 2])
def test_no_round_touches_another(world, rounds, token, clients, seed):
    chance = random.Random(seed)  # noqa: S311 - which orders are tried
    federations = [world.federation(quorum=0), world.federation(quorum=0)]
    table = Table(rounds, federations, clients)
    table.check()
    owed = {}
    for index in range(1, ROUNDS + 1):
        for federation in federations:
            basis, amounts, tree = play(world, table, chance, federation, index)
            for client, amount in amounts.items():
                owed[federation, index, client] = (basis, amount, tree)
    before = {client: token.balanceOf(client) for client in clients}

    left = list(owed)
    chance.shuffle(left)
    while left:
        federation, _, client = left[0]
        size = chance.choice([1, 1, 2, 5])
        batch = [key for key in left if key[0] == federation and key[2] == client][:size]
        paid_already = [key for key in owed if key not in left and key[0] == federation and key[2] == client][:2]
        if size == 1:
            basis, amount, tree = owed[batch[0]]
            id = table.ids[batch[0][:2]]
            if basis == PayBasis.TIME:
                rounds.claimByTime(id, client, {"from": world.acme})
            else:
                proof = item(table, *batch[0], basis, amount, tree)[2]
                rounds.claim(id, client, amount, proof, {"from": world.acme})
        else:
            named = [batch[0], *paid_already, *batch[1:], batch[0]]  # some that are paid, one of them just now
            claims = client_claims(client, *(item(table, *key, *owed[key]) for key in named))
            transaction = rounds.claimBatch(federation, [claims], {"from": world.acme})
            payments = [
                payment(index, owed[federation, index, client][0], owed[federation, index, client][1])
                for _, index, _ in batch
            ]
            assert_events(
                transaction, ("RewardsPaid", {"federation": federation, "client": client, "payments": payments})
            )
        for key in batch:
            left.remove(key)
            table.records[key][2] = True
        table.check()

    for client in clients:
        total = sum(amount for (_, _, whose), (_, amount, _) in owed.items() if whose == client)
        assert token.balanceOf(client) - before[client] == total
    assert now() > ROUNDS * 90 * DAY
