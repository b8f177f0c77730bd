"""Updates that others send for their clients, on both chains: every refusal, every reason for skipping, what is recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from network.memory_chain import MemoryChain
from network.memory_ledger import MemoryLedger
from network.signatures import ORDER, is_by_key, sign_update, update_hash
from protocol import merkle
from protocol.errors import InvalidInput, KeyError_, UnknownRound
from protocol.events import TrainingClosed, UpdateSkipped, UpdateSubmitted
from protocol.merkle import MerkleTree
from protocol.terms import Phase, SignedUpdate, SkipReason
from protocol.types import ZERO_ADDRESS, Address, Digest, Hash, RoundId
from tests.network.chain_game import Game
from tests.network.chain_world import MemoryWorld, World, address_of, key_of, some_hash
from tests.network.test_chain import NOWHERE, refused

DIGEST = Digest(some_hash("digest"))
FOREIGN = address_of("treasury")  # of another contract


def signed(game: Game, name: str, millis: int = 20_000, digest: Digest | None = None) -> SignedUpdate:
    """What ``name`` signs for the game's round."""
    digest = Digest(some_hash(name)) if digest is None else digest
    return game.world.chain(name).sign_update(game.state, digest, millis)


def training(world: World, **changes: int) -> Game:
    game = Game(world)
    game.launch(**changes)
    world.advance(100)
    return game


def forgeries(game: Game) -> dict[str, SignedUpdate]:
    """What passes for alice's update of the round, and is not."""
    good, state, key = signed(game, "alice"), game.state, key_of("alice")
    chain, contract = game.acme.chain_id, game.acme.contract

    def by(**changes: object) -> SignedUpdate:
        where = {"chain_id": chain, "contract": contract, "round_": state} | changes
        return sign_update(key, where["chain_id"], where["contract"], where["round_"], good.digest, good.millis)  # type: ignore[arg-type]

    r, s, v = good.signature[:32], int.from_bytes(good.signature[32:64], "big"), good.signature[64]
    mirror = r + (ORDER - s).to_bytes(32, "big") + bytes([55 - v])
    return {
        "another's": replace(signed(game, "mallory"), client=good.client, digest=good.digest),
        "another digest": replace(good, digest=DIGEST),
        "another time": replace(good, millis=good.millis + 1),
        "another chain": by(chain_id=chain + 1),
        "another contract": by(contract=FOREIGN),
        "another round": by(round_=replace(state, id=NOWHERE)),
        "another federation": by(round_=replace(state, federation=some_hash("another"))),
        "other terms": by(round_=replace(state, terms_hash=some_hash("terms"))),
        "high s": replace(good, signature=mirror),
        "v of 0": replace(good, signature=good.signature[:64] + bytes([v - 27])),
        "compact": replace(good, signature=good.signature[:64]),
        "too long": replace(good, signature=good.signature + b"\0"),
        "empty": replace(good, signature=b""),
        "zeros": replace(good, signature=bytes(65)),
        "r is no point": replace(good, signature=(5).to_bytes(32, "big") + good.signature[32:]),
        "r too large": replace(good, signature=b"\xff" * 32 + good.signature[32:]),
        "nobody's": replace(good, client=ZERO_ADDRESS, signature=bytes(64) + b"\x1b"),
    }


NAMES = tuple(forgeries(training(MemoryWorld())))


# --- one by one ---


@pytest.mark.parametrize("name", NAMES)
def test_forged_signatures_are_refused(world: World, name: str) -> None:
    game = training(world)
    forged = forgeries(game)[name]
    with refused("InvalidSignature", game.round, forged.client):
        world.chain("mallory").submit_update_for(game.round, forged)
    assert not game.state.updates


def test_what_its_client_could_not_submit_nobody_can(world: World) -> None:
    game, anyone = training(world, max_updates=2), world.chain("mallory")
    with pytest.raises(UnknownRound, match=NOWHERE.hex()):
        anyone.submit_update_for(NOWHERE, signed(game, "alice"))
    with refused("ZeroDigest", game.round):
        anyone.submit_update_for(game.round, signed(game, "alice", digest=Digest(bytes(32))))
    with refused("TooManyMillis", game.round, 60_001, 60_000):
        anyone.submit_update_for(game.round, signed(game, "alice", 60_001))
    anyone.submit_update_for(game.round, signed(game, "alice"))
    with refused("AlreadySubmitted", game.round, address_of("alice")):
        anyone.submit_update_for(game.round, signed(game, "alice"))
    with refused("AlreadySubmitted", game.round, address_of("alice")):
        world.chain("alice").submit_update(game.round, Digest(some_hash("alice")), 20_000)
    anyone.submit_update_for(game.round, signed(game, "bob"))
    with refused("RoundFull", game.round, 2):
        anyone.submit_update_for(game.round, signed(game, "carol"))


def test_the_deadline_counts_for_everybody(world: World) -> None:
    game = training(world)
    update = signed(game, "alice")
    world.advance_to(game.state.training_ends)
    for send in (
        lambda: world.chain("bob").submit_update_for(game.round, update),
        lambda: world.chain("bob").submit_updates(game.round, [update]),
    ):
        with refused("WrongPhase", game.round, Phase.VOID, Phase.TRAINING):
            send()


def test_it_is_the_clients_whoever_sends(world: World) -> None:
    game = training(world)
    world.chain("mallory").submit_update_for(game.round, signed(game, "alice"))
    [update] = game.state.updates
    assert (update.client, update.digest, update.millis) == (address_of("alice"), some_hash("alice"), 20_000)


def test_wallet_contracts_answer_for_themselves(world: World) -> None:
    game, anyone = training(world), world.chain("mallory")
    yes, no = (SignedUpdate(world.wallet(agrees=one), DIGEST, 7, b"whatever it takes") for one in (True, False))
    with refused("InvalidSignature", game.round, no.client):
        anyone.submit_update_for(game.round, no)
    anyone.submit_update_for(game.round, yes)
    assert [update.client for update in game.state.updates] == [yes.client]


def test_admission_counts_for_everybody(world: World) -> None:
    tree = MerkleTree(merkle.admission_leaf(address_of(name)) for name in ("alice", "bob"))
    game = Game(world, admission_root=tree.root)
    game.launch()
    world.advance(100)
    anyone = world.chain("mallory")
    with refused("NotJoined", game.id, tree.root, address_of("alice")):
        anyone.submit_update_for(game.round, signed(game, "alice"))
    anyone.submit_updates(game.round, [signed(game, "alice")])
    assert skips(world, game.round) == [(address_of("alice"), SkipReason.NOT_JOINED)]
    anyone.join(game.id, address_of("alice"), tree.proof(merkle.admission_leaf(address_of("alice"))))
    anyone.submit_update_for(game.round, signed(game, "alice"))
    assert len(game.state.updates) == 1


# --- in batches ---


def skips(world: World, round: RoundId) -> list[tuple[Address, SkipReason]]:
    events = [log.event for log in world.chain("acme").logs()]
    return [(one.client, one.reason) for one in events if isinstance(one, UpdateSkipped) and one.round == round]


def test_a_batch_passes_over_what_is_bad_and_says_why(world: World) -> None:
    game, anyone = training(world, max_updates=3), world.chain("mallory")
    wallet = world.wallet(agrees=True)
    batch = [
        signed(game, "alice"),
        signed(game, "alice"),
        signed(game, "bob", 60_001),
        signed(game, "bob", digest=Digest(bytes(32))),
        *forgeries(game).values(),
        SignedUpdate(wallet, DIGEST, 7, b"asked one by one alone"),
        signed(game, "bob"),
        signed(game, "carol"),
        signed(game, "mallory"),
    ]
    receipt = anyone.submit_updates(game.round, batch)
    state = game.state
    assert [one.client for one in state.updates] == [address_of(name) for name in ("alice", "bob", "carol")]
    assert (state.phase, state.training_closed_at) == (Phase.SETTLEMENT, anyone.now())
    taken = SkipReason.ALREADY_SUBMITTED  # alice's forgeries come after her own
    forged = [(one.client, taken) for one in forgeries(game).values()]
    forged[-1] = (ZERO_ADDRESS, SkipReason.INVALID_SIGNATURE)
    assert skips(world, game.round) == [
        (address_of("alice"), taken),
        (address_of("bob"), SkipReason.TOO_MANY_MILLIS),
        (address_of("bob"), SkipReason.ZERO_DIGEST),
        *forged,
        (wallet, SkipReason.INVALID_SIGNATURE),
        (address_of("mallory"), SkipReason.ROUND_FULL),
    ]
    logged = [log for log in anyone.logs() if log.transaction == receipt.transaction]
    assert isinstance(logged[0].event, UpdateSubmitted) and isinstance(logged[-1].event, TrainingClosed)
    with refused("RoundFull", game.round, 3):
        anyone.submit_updates(game.round, [])


def test_every_forgery_is_passed_over(world: World) -> None:
    game = training(world)
    world.chain("mallory").submit_updates(game.round, list(forgeries(game).values()))
    assert {reason for _, reason in skips(world, game.round)} == {SkipReason.INVALID_SIGNATURE}
    assert not game.state.updates


def test_a_batch_of_an_unknown_round(world: World) -> None:
    game = training(world)
    with pytest.raises(UnknownRound, match=NOWHERE.hex()):
        world.chain("bob").submit_updates(NOWHERE, [signed(game, "alice")])


def test_an_empty_batch_changes_nothing(world: World) -> None:
    game = training(world)
    before = game.state
    world.chain("bob").submit_updates(game.round, [])
    assert game.state == before


def test_a_signature_counts_in_its_own_round_alone(world: World) -> None:
    first, second = training(world), Game(world, salt="second")
    second.launch()
    world.advance(100)
    update = signed(first, "alice")
    with refused("InvalidSignature", second.round, address_of("alice")):
        world.chain("mallory").submit_update_for(second.round, update)
    world.chain("mallory").submit_update_for(first.round, update)


# --- signing ---


def test_a_chain_without_a_key_signs_nothing(world: World) -> None:
    game = training(world)
    with pytest.raises(KeyError_):
        MemoryChain(MemoryLedger(), address_of("alice")).sign_update(game.state, DIGEST, 1)


def test_values_that_the_contract_cannot_hold_are_not_hashed(world: World) -> None:
    game = training(world)
    with pytest.raises(InvalidInput):
        update_hash(1, game.acme.contract, game.state, SignedUpdate(address_of("alice"), DIGEST, 2**40, b""))


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(flip=st.integers(0, 65 * 8 - 1))
def test_any_changed_bit_makes_another_signature(flip: int) -> None:
    hash, key = Hash(bytes(range(32))), key_of("alice")
    signature = bytes(key.unsafe_sign_hash(hash).signature)
    assert is_by_key(address_of("alice"), hash, signature)
    changed = int.from_bytes(signature, "big") ^ (1 << flip)
    assert not is_by_key(address_of("alice"), hash, changed.to_bytes(65, "big"))
