"""What is played to be measured: long federations of the same clients, and single calls that need a scene of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.federation import WINDOW_SECONDS, Federation, Round, World, drawn, people
from benchmarks.results import ceil_div
from protocol.merkle import MerkleTree, admission_leaf

TEN = 10  # rounds that one call claims
# Rounds before the first ten. A client's updates of the rounds 7k to 7k + 6 share a slot, so that the ten after four lie
# in three slots, the most that ten can lie in, and the ten after those in two.
ALONE = 4
CLIENTS_A_CALL = 20  # where a call pays for ten rounds of each
LEVELS = 17  # of a tree that has room for 100,000 clients
FEW = 10  # calls of the single measurements


@dataclass
class Play:
    """The rounds of one federation, and the gas of each call that paid for ten of them, or for one."""

    rounds: list[Round] = field(default_factory=list)
    tens: list[int] = field(default_factory=list)
    singles: list[int] = field(default_factory=list)

    def all(self, function: str) -> list[int]:
        """Return the gas of each call of ``function`` in all rounds."""
        return [used for round in self.rounds for used in round.gas[function]]

    def each(self, function: str) -> list[int]:
        """Return what all calls of ``function`` used in each round."""
        return [sum(round.gas[function]) for round in self.rounds]

    @property
    def whole(self) -> list[Round]:
        """The rounds from launch to payout, in order: those that were claimed ten in a call."""
        return [round for round in self.rounds if round.claims_share]


def play(federation: Federation, names: Sequence[str], *, tens: int, batched: bool) -> Play:
    """Play `ALONE` rounds that are claimed each alone, and then ``tens`` times ten that are claimed in one call."""
    played = Play()
    for _ in range(ALONE):
        played.rounds.append(play_round(federation, names, batched=batched))
        played.singles += pay(federation, played.rounds[-1:], batched=batched, clients_a_call=len(names))
    for _ in range(tens):
        ten = [play_round(federation, names, batched=batched) for _ in range(TEN)]
        used = pay(federation, ten, batched=batched)
        for round in ten:
            round.claims_share = ceil_div(sum(used), TEN)
        played.rounds += ten
        played.tens += used
    return played


def play_round(federation: Federation, names: Sequence[str], *, batched: bool) -> Round:
    """Play one round, launch to withdrawal."""
    round = federation.launch(len(names))
    (federation.submit_batched if batched else federation.submit)(round, names)
    federation.settle(round)
    federation.attest(round)
    federation.withdraw(round)
    return round


def pay(
    federation: Federation, rounds: Sequence[Round], *, batched: bool, clients_a_call: int = CLIENTS_A_CALL
) -> list[int]:
    """Pay all clients for ``rounds``; return the gas of each call."""
    if batched:
        return federation.claim_batched(rounds, clients_a_call)
    return federation.claim(rounds[0]) if len(rounds) == 1 else federation.claim_rounds(rounds)


def first_payouts(world: World) -> list[int]:
    """Return the gas of each claim by a client that never held the token."""
    names = [f"newcomer {number}" for number in range(FEW)]
    world.admit(names, balance=0)
    federation = Federation(world, "first payouts")
    return federation.claim(play_round(federation, names, batched=False))


def claims_by_time(world: World) -> list[int]:
    """Return the gas of each claim in a round that no auditor spoke of."""
    names = people(FEW)
    world.admit(names)
    federation = Federation(world, "claims by time")
    round = federation.launch(FEW)
    federation.submit(round, names)
    federation.settle(round)
    world.chain.pass_time(WINDOW_SECONDS)
    return federation.claim_by_time(round)


def claims_of_a_wide_round(world: World) -> list[int]:
    """Return the gas of each claim with a proof of 17 levels, all of whose leaves are taken: 2^17 of them."""
    names = people(FEW)
    world.admit(names)
    federation = Federation(world, "wide")
    round = federation.launch(FEW)
    federation.submit(round, names)
    federation.settle(round, [drawn("stranger", number) for number in range(2**LEVELS - FEW)])
    federation.attest(round)
    assert all(len(round.tree.proof(federation.reward_leaf(round, name))) == LEVELS for name in names)
    return federation.claim(round)


def settlement_of(world: World, updates: int) -> Round:
    """Return a settled round of so many updates, the second of its federation."""
    names = people(updates)
    world.admit(names[:1])
    world.know(names)
    federation = Federation(world, f"{updates} updates")
    play_round(federation, names[:1], batched=False)
    round = federation.launch(updates)
    federation.submit_batched(round, names)
    federation.settle(round)
    return round


def joining(world: World) -> tuple[list[int], list[int]]:
    """Return the gas of each joining under a root with a proof of 17 levels, and of each update of who joined."""
    names = people(FEW)
    accounts = world.admit(names)
    leaves = [admission_leaf(world.address(name)) for name in names]
    tree = MerkleTree([*leaves, *(drawn("stranger", number) for number in range(2**LEVELS - FEW))])
    federation = Federation(world, "joining", admission_root=tree.root)
    joined = world.chain.send(
        [
            world.call("join", account, federation.id, account.address, tree.proof(leaf))
            for account, leaf in zip(accounts, leaves, strict=True)
        ]
    )
    round = federation.launch(FEW)
    federation.submit(round, names)
    return joined, round.gas["submitUpdate"]
