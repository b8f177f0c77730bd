"""What is measured is real: the pinned chain, rounds that end paid to the last unit, gas that two runs agree on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.chain import CallFailed, MeasuredChain
from benchmarks.federation import RATE, Federation, World, people
from benchmarks.scenes import ALONE, TEN, play
from protocol.types import ZERO_ADDRESS

pytestmark = pytest.mark.node
CLIENTS = 2


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with MeasuredChain() as chain:
        world = World(chain)
        world.admit(people(CLIENTS))
        yield world


def held(world: World, address: str) -> int:
    return int(world.token.functions.balanceOf(address).call())


def test_the_hardfork_is_the_pinned_one(world: World) -> None:
    assert world.chain.hardfork == "osaka"


@pytest.mark.parametrize("batched", [False, True])
def test_a_whole_play_pays_everybody_and_leaves_nothing(world: World, batched: bool) -> None:
    names = people(CLIENTS)
    before = {name: held(world, world.address(name)) for name in names}
    played = play(Federation(world, f"paid {batched}"), names, tens=1, batched=batched)
    assert [round.index for round in played.rounds] == list(range(1, ALONE + TEN + 1))
    assert [round.index for round in played.whole] == list(range(ALONE + 1, ALONE + TEN + 1))
    for name in names:
        earned = RATE * sum(round.millis[name] for round in played.rounds)
        assert held(world, world.address(name)) == before[name] + earned
    assert held(world, world.rounds.address) == 0


def test_a_round_is_the_sum_of_all_its_transactions(world: World) -> None:
    played = play(Federation(world, "summed"), people(CLIENTS), tens=1, batched=False)
    round = played.whole[0]
    calls = {
        "launchRound": 1,
        "submitUpdate": CLIENTS,
        "settle": 1,
        "attest": 1,
        "claimAttestationFee": 1,
        "withdraw": 1,
    }
    assert {name: len(used) for name, used in round.gas.items()} == calls
    assert round.claims_share == -(-sum(played.tens) // TEN)
    assert round.total == sum(round.parts().values()) == sum(map(sum, round.gas.values())) + round.claims_share


def test_gas_is_that_of_the_receipts(world: World) -> None:
    federation = Federation(world, "receipts")
    round = federation.launch(CLIENTS)
    federation.submit(round, people(CLIENTS))
    block = world.chain.w3.eth.get_block("latest")
    assert sum(round.gas["submitUpdate"]) == block["gasUsed"]


def test_a_second_run_uses_the_same_gas(world: World) -> None:
    def run(chain: MeasuredChain) -> list[dict[str, list[int]]]:
        fresh = World(chain)
        fresh.admit(people(CLIENTS))
        return [round.gas for round in play(Federation(fresh, "twice"), people(CLIENTS), tens=1, batched=False).rounds]

    runs = []
    for _ in range(2):
        with MeasuredChain() as chain:
            runs.append(run(chain))
    assert runs[0] == runs[1]


def test_a_reverted_call_is_no_measurement(world: World) -> None:
    with pytest.raises(CallFailed, match="withdraw was reverted"):
        world.chain.send([world.call("withdraw", world.organization, bytes(32))])
    with pytest.raises(CallFailed, match="transfer was reverted"):
        world.chain.send([world.token_call("transfer", ZERO_ADDRESS, 1)])
