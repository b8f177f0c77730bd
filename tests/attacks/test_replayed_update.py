"""Attack: mallory has an update that alice signed, and hands it in elsewhere: another round, federation, chain, contract
or terms, or twice in the same.

Verdict: the signature is over all of these, so the relay refuses it before any gas is spent, the contract refuses it
alone (InvalidSignature) and passes over it in a batch; the same round takes it once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from network.signatures import sign_update
from protocol.errors import InvalidInput, TransactionReverted
from protocol.state import RoundState
from protocol.terms import SignedUpdate, SkipReason
from protocol.types import Digest, FederationId, Hash, RoundId, address
from tests.network.chain_world import key_of, some_hash
from tests.organization.relays import RelayWorld


@pytest.fixture
def world(tmp_path: Path) -> RelayWorld:
    return RelayWorld(tmp_path)


def signed_elsewhere(world: RelayWorld) -> dict[str, SignedUpdate]:
    """What alice signed for other places, with the digest of this one."""
    round_, chain_id, contract = world.round, world.ledger.chain_id, world.ledger.contract

    def by_alice(chain: int = chain_id, where: str = contract, what: RoundState = round_) -> SignedUpdate:
        return sign_update(key_of("alice"), chain, address(where), what, Digest(some_hash("alice")), 1000)

    return {
        "round": by_alice(what=replace(round_, id=RoundId(some_hash("round")))),
        "federation": by_alice(what=replace(round_, federation=FederationId(some_hash("federation")))),
        "terms": by_alice(what=replace(round_, terms_hash=Hash(some_hash("terms")))),
        "chain": by_alice(chain=1),
        "contract": by_alice(where="0x" + "12" * 20),
    }


@pytest.mark.parametrize("elsewhere", ["round", "federation", "terms", "chain", "contract"])
def test_what_was_signed_for_elsewhere(world: RelayWorld, elsewhere: str) -> None:
    update, relay, mallory = signed_elsewhere(world)[elsewhere], world.relay(), world.chain("mallory")

    with pytest.raises(InvalidInput, match="another round, chain, contract"):
        relay.accept(world.round.id, update)
    with pytest.raises(TransactionReverted, match="InvalidSignature"):
        mallory.submit_update_for(world.round.id, update)
    mallory.submit_updates(world.round.id, [update, world.signed("bob")])

    assert world.skips == [SkipReason.INVALID_SIGNATURE]
    assert world.clients == ["bob"]


def test_the_same_federations_next_round(world: RelayWorld) -> None:
    relay, update = world.relay(), world.signed("alice")
    relay.accept(world.round.id, update)
    world.clock += 5
    relay.step()
    world.ledger.advance_to(world.round.settlement_ends)
    world.launch()
    world.ledger.advance(100)
    relay.step()
    with pytest.raises(InvalidInput, match="signature is not by the key"):
        relay.accept(world.round.id, update)


def test_the_same_round_twice(world: RelayWorld) -> None:
    relay, update = world.relay(), world.signed("alice")
    relay.accept(world.round.id, update)
    world.clock += 5
    assert relay.step()
    for _ in range(5):
        relay.accept(world.round.id, update)
        world.clock += 5
        assert not relay.step()
    world.chain("mallory").submit_updates(world.round.id, [update, update])
    assert world.clients == ["alice"]
    assert world.skips == [SkipReason.ALREADY_SUBMITTED] * 2
