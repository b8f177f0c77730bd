"""One suite for both chains: every outcome of a round, every refusal by name, and where the money goes.

`World.check` runs after every move: escrows balance to the last unit, and on the EVM the contract's own views equal the
replayed state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from network.chain import ClientClaims, RoundClaim
from network.memory_chain import MemoryChain
from network.memory_ledger import MemoryLedger
from protocol import merkle
from protocol.errors import InsufficientFunds, KeyError_, TransactionReverted, UnknownFederation, UnknownRound
from protocol.events import EscrowReturned, RewardPaid, RewardsPaid, RoundPayment
from protocol.hashing import round_id
from protocol.merkle import MerkleTree
from protocol.terms import PayBasis, Phase
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Digest, FederationId, Hash, RoundId
from tests.network.chain_game import FIRST_MODEL, NEXT_MODEL, REWARDS, TERMS, Game
from tests.network.chain_world import AUDITORS, World, address_of, empty, some_hash

DIGEST, HONEST_MODEL = Digest(some_hash("digest")), Digest(some_hash("honest model"))
NOWHERE = RoundId(some_hash("no round"))


def refused(name: str, *arguments: object) -> Any:
    """Expect the contract's custom error ``name``; with arguments, exactly these."""

    def is_it(error: TransactionReverted) -> bool:
        return error.name == name and (not arguments or error.arguments == arguments)

    return pytest.raises(TransactionReverted, check=is_it)


def batch_of(name: str, *rounds: RoundClaim) -> ClientClaims:
    """What a batch claims for ``name``."""
    return ClientClaims(address_of(name), rounds)


# --- outcomes ---


def test_final_by_quorum_pays_by_result_and_moves_the_head(world: World) -> None:
    game = Game(world)
    launched = game.launch()
    assert (launched.phase, launched.escrow) == (Phase.TRAINING, 3 * 60_000 * 4 + 5_000 + 3 * 70)
    assert game.train(alice=50_000, bob=40_000).phase is Phase.SETTLEMENT
    assert game.settle().phase is Phase.CHALLENGE
    result = game.result_hash(game.settlement())
    assert game.attest(result, AUDITORS[0]).phase is Phase.CHALLENGE
    decided = game.attest(result, AUDITORS[1])
    assert (decided.phase, decided.basis, decided.quorum_hash) == (Phase.FINAL, PayBasis.RESULT, result)
    assert game.federation.head == NEXT_MODEL

    anyone = world.chain("mallory")
    anyone.withdraw(game.round)
    assert game.state.returned == launched.escrow - sum(REWARDS.values()) - 3 * 70  # the third can still attest
    anyone.withdraw(game.round)  # idempotent
    assert sum(isinstance(log.event, EscrowReturned) for log in anyone.logs()) == 1
    game.attest(result, AUDITORS[2])
    anyone.claim(game.round, address_of("alice"), REWARDS["alice"], game.proof("alice"))
    assert world.balance(address_of("alice")) == REWARDS["alice"]
    items = {name: RoundClaim(1, REWARDS[name], game.proof(name)) for name in REWARDS}
    batch = [("alice", ("alice",)), ("bob", ("bob", "bob"))]
    # alice is paid already, bob twice in one call: each is paid once
    anyone.claim_batch(game.id, [batch_of(name, *(items[one] for one in rounds)) for name, rounds in batch])
    assert world.balance(address_of("bob")) == REWARDS["bob"]
    paid = [log.event for log in anyone.logs() if isinstance(log.event, RewardPaid | RewardsPaid)]
    assert paid == [
        RewardPaid(game.round, address_of("alice"), REWARDS["alice"], PayBasis.RESULT),
        RewardsPaid(game.id, address_of("bob"), (RoundPayment(1, REWARDS["bob"], PayBasis.RESULT),)),
    ]
    empty(world, game.round)
    assert all(world.balance(address_of(name)) == 70 for name in AUDITORS)

    assert game.launch().base == NEXT_MODEL


def test_fees_that_nobody_earns_return_after_the_challenge(world: World) -> None:
    game = Game(world)
    game.launch()
    game.train(alice=50_000)
    game.settle({"alice": 1000})
    game.attest(game.result_hash(game.settlement({"alice": 1000})), *AUDITORS[:2])
    world.chain("acme").withdraw(game.round)
    assert game.state.withdrawable == 0
    world.advance_to(game.state.challenge_ends or 0)
    assert game.state.withdrawable == 70
    world.chain("acme").claim(game.round, address_of("alice"), 1000, ())
    empty(world, game.round)


def test_full_round_closes_early_and_settles_at_once(world: World) -> None:
    game = Game(world)
    game.launch(max_updates=2)
    full = game.train(alice=10, bob=20)
    assert full.phase is Phase.SETTLEMENT
    assert full.training_closed_at == game.acme.now() < full.training_ends
    with refused("RoundFull", game.round, 2):
        world.chain("carol").submit_update(game.round, DIGEST, 1)
    game.settle({})
    assert game.state.rewards is None


def test_void_returns_everything(world: World) -> None:
    game = Game(world)
    launched = game.launch()
    world.advance_to(launched.training_ends - 1)
    assert game.state.phase is Phase.TRAINING
    world.advance_to(launched.training_ends)
    assert (game.state.phase, game.state.basis) == (Phase.VOID, PayBasis.NOTHING)
    with refused("NotPayable", game.round, PayBasis.NOTHING, PayBasis.RESULT):
        world.chain("alice").claim(game.round, address_of("alice"), 1, ())
    empty(world, game.round)
    assert game.state.returned == launched.escrow
    assert game.launch().base == FIRST_MODEL


def test_unconfirmed_pays_by_time_and_moves_the_head(world: World) -> None:
    game = Game(world)
    game.launch()
    game.train(alice=50_000, bob=10_000)
    game.settle()
    game.attest(game.result_hash(game.settlement()), AUDITORS[2])
    world.advance_to((game.state.challenge_ends or 0) - 1)
    assert game.state.phase is Phase.CHALLENGE
    world.advance(1)
    assert (game.state.phase, game.state.basis) == (Phase.UNCONFIRMED, PayBasis.TIME)
    assert game.federation.head == NEXT_MODEL
    with refused("NotPayable", game.round, PayBasis.TIME, PayBasis.RESULT):
        world.chain("alice").claim(game.round, address_of("alice"), REWARDS["alice"], game.proof("alice"))
    with refused("WrongPhase", game.round, Phase.UNCONFIRMED, Phase.CHALLENGE):
        world.chain(AUDITORS[0]).attest(game.round, some_hash("late"), some_hash("late"))
    world.chain("alice").claim_by_time(game.round, address_of("alice"))
    assert world.balance(address_of("alice")) == 3 * 20_000  # capped
    world.chain("alice").claim_batch(game.id, [batch_of("bob", RoundClaim(1))])
    assert world.balance(address_of("bob")) == 3 * 10_000
    empty(world, game.round)


def test_unaudited_round_is_final_when_its_challenge_is_over(world: World) -> None:
    game = Game(world, audited=False)
    game.launch()
    game.train(alice=50_000)
    assert game.settle({"alice": 150_000}).phase is Phase.CHALLENGE
    world.advance_to(game.state.challenge_ends or 0)
    assert (game.state.phase, game.state.basis) == (Phase.FINAL, PayBasis.RESULT)
    world.chain("alice").claim(game.round, address_of("alice"), 150_000, ())
    empty(world, game.round)


def test_unaudited_round_without_challenge_is_final_at_once(world: World) -> None:
    game = Game(world, audited=False)
    game.launch(challenge_seconds=0)
    game.train(alice=1)
    assert game.settle({}).phase is Phase.FINAL
    empty(world, game.round)
    assert game.launch().index == 2


def rejected(world: World) -> Game:
    """A round whose auditors agreed on paying carol's due to alice instead of what acme settled."""
    game = Game(world)
    game.launch()
    game.train(alice=50_000, bob=40_000)
    game.settle()
    game.attest(game.result_hash(game.settlement({"alice": 777}, HONEST_MODEL)), *AUDITORS[:2])
    assert (game.state.phase, game.state.basis) == (Phase.REJECTED, PayBasis.UNDECIDED)
    assert game.federation.head == FIRST_MODEL
    return game


def test_rejected_pays_by_the_revealed_result_and_forfeits_the_bond(world: World) -> None:
    game = rejected(world)
    assert game.state.withdrawable == 0  # pool, fees and bond can all be owed still
    true = game.settlement({"alice": 777}, HONEST_MODEL)
    anyone = world.chain("mallory")
    lie = game.settlement({"alice": 888}, HONEST_MODEL)
    with refused("RevealMismatch", game.round, game.result_hash(lie), game.result_hash(true)):
        anyone.reveal(game.round, lie.model, lie.derived_hash, lie.rewards_root, lie.rewards_total)
    with refused("NotPayable", game.round, PayBasis.UNDECIDED, PayBasis.TIME):
        anyone.claim_by_time(game.round, address_of("alice"))
    anyone.reveal(game.round, true.model, true.derived_hash, true.rewards_root, true.rewards_total)
    assert (game.state.basis, game.state.rewards) == (PayBasis.RESULT, (true.rewards_root, 777))
    with refused("AlreadyRevealed", game.round):
        anyone.reveal(game.round, true.model, true.derived_hash, true.rewards_root, true.rewards_total)
    anyone.claim(game.round, address_of("alice"), 777, ())
    anyone.forfeit(game.round)
    assert world.balance(address_of("treasury")) == TERMS.bond
    with refused("AlreadyForfeited", game.round):
        anyone.forfeit(game.round)
    game.attest(some_hash("a third opinion"), AUDITORS[2])  # its fee does not race
    world.advance_to(game.state.challenge_ends or 0)
    empty(world, game.round)
    assert game.launch().base == FIRST_MODEL


def test_rejected_without_a_reveal_pays_by_time(world: World) -> None:
    game = rejected(world)
    world.advance_to((game.state.reveal_ends or 0) - 1)
    assert (game.state.basis, game.state.withdrawable) == (PayBasis.UNDECIDED, 70)  # the third auditor did not come
    world.advance(1)
    assert (game.state.basis, game.state.phase) == (PayBasis.TIME, Phase.REJECTED)
    true = game.settlement({"alice": 777}, HONEST_MODEL)
    with refused("RevealTooLate"):
        world.chain("bob").reveal(game.round, true.model, true.derived_hash, true.rewards_root, true.rewards_total)
    empty(world, game.round)
    assert world.balance(address_of("alice")) == world.balance(address_of("bob")) == 3 * 20_000


def test_abandoned_pays_by_time_and_forfeits_the_bond(world: World) -> None:
    game = Game(world)
    launched = game.launch()
    game.train(alice=50_000)
    world.advance_to(launched.settlement_ends)
    assert (game.state.phase, game.state.basis) == (Phase.ABANDONED, PayBasis.TIME)
    with refused("WrongPhase", game.round, Phase.ABANDONED, Phase.SETTLEMENT):
        game.settle()
    world.chain("acme").withdraw(game.round)
    assert game.state.returned == launched.escrow - TERMS.bond - 3 * 20_000
    empty(world, game.round)
    assert world.balance(address_of("alice")) == 3 * 20_000
    assert world.balance(address_of("treasury")) == TERMS.bond
    assert game.federation.head == FIRST_MODEL


# --- federations ---


def test_federations_are_refused_by_name(world: World) -> None:
    game = Game(world)
    acme, terms, salt = world.chain("acme"), game.terms, some_hash("another")
    with refused("FederationExists", game.id):
        acme.create_federation(some_hash(""), terms)
    with refused("ZeroForfeitTo"):
        acme.create_federation(salt, replace(terms, forfeit_to=ZERO_ADDRESS))
    with refused("ZeroModel"):
        acme.create_federation(salt, replace(terms, model=Digest(bytes(32))))
    for quorum, auditors in ((1, 3), (4, 3), (0, 3), (1, 0)):
        with refused("InvalidQuorum", quorum, auditors):
            acme.create_federation(salt, replace(terms, quorum=quorum, auditors=terms.auditors[:auditors]))
    twice = (terms.auditors[0], *terms.auditors[:2])
    with refused("AuditorsNotAscending", 1, terms.auditors[0]):
        acme.create_federation(salt, replace(terms, auditors=twice))


def test_handover_takes_two_steps(world: World) -> None:
    game = Game(world)
    acme, bob = world.chain("acme"), world.chain("bob")
    with refused("NotOrganization", game.id, address_of("mallory"), address_of("acme")):
        world.chain("mallory").offer_organization(game.id, address_of("mallory"))
    acme.offer_organization(game.id, address_of("carol"))
    acme.offer_organization(game.id, ZERO_ADDRESS)
    assert game.federation.offered_to is None
    with refused("NotOffered", game.id, address_of("carol"), ZERO_ADDRESS):
        world.chain("carol").accept_organization(game.id)
    acme.offer_organization(game.id, address_of("bob"))
    assert game.federation.offered_to == address_of("bob")
    game.launch()
    bob.accept_organization(game.id)
    assert (game.federation.organization, game.federation.offered_to) == (address_of("bob"), None)
    world.advance(1000)
    acme.withdraw(game.round)
    assert world.balance(address_of("bob")) == game.state.escrow


def test_admission_is_by_root_and_counts_from_the_next_launch(world: World) -> None:
    tree = MerkleTree(merkle.admission_leaf(address_of(name)) for name in ("alice", "bob"))
    game = Game(world, admission_root=tree.root)
    anyone = world.chain("mallory")
    leaf = merkle.admission_leaf(address_of("mallory"))
    with refused("InvalidProof", tree.root, leaf):
        anyone.join(game.id, address_of("mallory"), tree.proof(merkle.admission_leaf(address_of("alice"))))
    anyone.join(game.id, address_of("alice"), tree.proof(merkle.admission_leaf(address_of("alice"))))
    with refused("AlreadyJoined", game.id, tree.root, address_of("alice")):
        anyone.join(game.id, address_of("alice"), tree.proof(merkle.admission_leaf(address_of("alice"))))
    with refused("NotOrganization"):
        anyone.set_admission(game.id, ZERO_HASH)
    game.launch()
    game.acme.set_admission(game.id, ZERO_HASH)
    with refused("AdmissionIsOpen", game.id):
        anyone.join(game.id, address_of("bob"), ())
    world.advance(10)
    with refused("NotJoined", game.id, tree.root, address_of("bob")):
        world.chain("bob").submit_update(game.round, DIGEST, 1)
    game.train(alice=10)
    assert game.federation.joined == {(tree.root, address_of("alice"))}


# --- launches ---


@pytest.mark.parametrize(
    ("term", "changes", "bounds"),
    [
        (0, {"max_millis": 0, "time_cap_millis": 0}, (0, 1, 2**40 - 1)),
        (1, {"time_cap_millis": 60_001}, (60_001, 0, 60_000)),
        (2, {"max_updates": 0}, (0, 1, 2**24 - 1)),
        (3, {"training_seconds": 90 * 86400 + 1}, (90 * 86400 + 1, 1, 90 * 86400)),
        (4, {"settlement_seconds": 0}, (0, 1, 30 * 86400)),
        (5, {"challenge_seconds": 0}, (0, 1, 30 * 86400)),
        (
            6,
            {"max_millis": 2**40 - 1, "time_cap_millis": 2**40 - 1, "max_updates": 2**17, "reward_per_milli": 0},
            ((2**40 - 1) * 2**17, 0, 2**56 - 1),
        ),
    ],
)
def test_terms_out_of_range(world: World, term: int, changes: dict[str, int], bounds: tuple[int, int, int]) -> None:
    game = Game(world)
    with refused("TermOutOfRange", term, *bounds):
        game.launch(**changes)


def test_launches_are_refused_by_name(world: World) -> None:
    game = Game(world)
    with refused("NotOrganization", game.id, address_of("mallory"), address_of("acme")):
        world.chain("mallory").launch_round(game.id, FIRST_MODEL, TERMS)
    with refused("StaleBase", game.id, DIGEST, FIRST_MODEL):
        game.acme.launch_round(game.id, DIGEST, TERMS)
    with refused("SafeCastOverflowedUintDowncast", 96, (2**95 * 60_000 * 4) + 5_000 + 210):
        game.launch(reward_per_milli=2**95)
    with pytest.raises(UnknownFederation):
        game.acme.launch_round(FederationId(NOWHERE), FIRST_MODEL, TERMS)
    game.launch()
    with refused("RoundIsLive", game.round, Phase.TRAINING):
        game.launch()


def test_launch_without_the_tokens(world: World) -> None:
    game = Game(world)
    world.give("bob", 1000)
    game.acme.offer_organization(game.id, address_of("bob"))
    world.chain("bob").accept_organization(game.id)
    with pytest.raises(InsufficientFunds, match=f"holds 1000 base units.* but {TERMS.escrow(3)} are needed"):
        world.chain("bob").launch_round(game.id, FIRST_MODEL, TERMS)


# --- rounds ---


def test_unknown_rounds(world: World) -> None:
    alice, client = world.chain("alice"), address_of("alice")
    game = Game(world)
    game.launch()
    settlement = game.settlement()
    calls: list[Callable[[], object]] = [
        lambda: alice.submit_update(NOWHERE, DIGEST, 1),
        lambda: alice.settle(NOWHERE, settlement),
        lambda: alice.attest(NOWHERE, some_hash("r"), some_hash("w")),
        lambda: alice.reveal(NOWHERE, DIGEST, ZERO_HASH, ZERO_HASH, 0),
        lambda: alice.claim(NOWHERE, client, 1, ()),
        lambda: alice.claim_by_time(NOWHERE, client),
        lambda: alice.claim_attestation_fee(NOWHERE, client),
        lambda: alice.withdraw(NOWHERE),
        lambda: alice.forfeit(NOWHERE),
    ]
    for call in calls:
        with pytest.raises(UnknownRound, match=NOWHERE.hex()):
            call()
    for index in (0, 2, 2**32 + 1, 2**64 - 1):
        with pytest.raises(UnknownRound, match=round_id(game.id, index).hex()):
            alice.claim_batch(game.id, [batch_of("alice", RoundClaim(index))])


def test_updates_are_refused_by_name(world: World) -> None:
    game = Game(world)
    launched = game.launch()
    alice = world.chain("alice")
    world.advance_to(launched.launched_at + 10)
    with refused("ZeroDigest", game.round):
        alice.submit_update(game.round, Digest(bytes(32)), 1)
    world.advance_to(launched.launched_at + 100)
    with refused("TooManyMillis", game.round, 60_001, 60_000):
        alice.submit_update(game.round, DIGEST, 60_001)
    alice.submit_update(game.round, DIGEST, 60_000)
    with refused("AlreadySubmitted", game.round, address_of("alice")):
        alice.submit_update(game.round, DIGEST, 1)
    world.advance_to(launched.training_ends)
    with refused("WrongPhase", game.round, Phase.SETTLEMENT, Phase.TRAINING):
        world.chain("bob").submit_update(game.round, DIGEST, 1)


def test_nobody_records_more_time_than_has_passed(world: World) -> None:
    game = Game(world)
    launched = game.launch()
    world.advance_to(launched.launched_at + 5)
    with refused("TooManyMillis"):
        world.chain("alice").submit_update(game.round, DIGEST, 30_000)


def test_settlements_are_refused_by_name(world: World) -> None:
    game = Game(world)
    game.launch()
    with refused("WrongPhase", game.round, Phase.TRAINING, Phase.SETTLEMENT):
        game.settle()
    game.train(alice=50_000)
    good, acme = game.settlement(), game.acme
    with refused("NotOrganization", game.id, address_of("mallory"), address_of("acme")):
        world.chain("mallory").settle(game.round, good)
    with refused("StaleUpdates", game.round, some_hash("stale"), good.updates_hash):
        acme.settle(game.round, replace(good, updates_hash=some_hash("stale")))
    with refused("ZeroModel"):
        acme.settle(game.round, replace(good, model=Digest(bytes(32))))
    pool = TERMS.reward_pool
    for root, total in ((ZERO_HASH, 1), (some_hash("root"), 0), (some_hash("root"), pool + 1)):
        with refused("InvalidRewards", game.round, root, total, pool):
            acme.settle(game.round, replace(good, rewards_root=root, rewards_total=total))
    game.settle()
    with refused("WrongPhase", game.round, Phase.CHALLENGE, Phase.SETTLEMENT):
        acme.settle(game.round, good)


def test_attestations_and_reveals_are_refused_by_name(world: World) -> None:
    game = Game(world)
    game.launch()
    auditor = world.chain(AUDITORS[0])
    witness = some_hash("witness")
    game.train(alice=50_000)
    with refused("WrongPhase", game.round, Phase.SETTLEMENT, Phase.CHALLENGE):
        auditor.attest(game.round, some_hash("early"), witness)
    game.settle()
    result = game.result_hash(game.settlement())
    with refused("NotAuditor", game.id, address_of("mallory")):
        world.chain("mallory").attest(game.round, result, witness)
    with refused("ZeroResult", game.round):
        auditor.attest(game.round, ZERO_HASH, witness)
    game.attest(result, AUDITORS[0])
    with refused("AlreadyAttested", game.round, address_of(AUDITORS[0])):
        auditor.attest(game.round, some_hash("another"), witness)
    with refused("WrongPhase", game.round, Phase.CHALLENGE, Phase.REJECTED):
        auditor.reveal(game.round, DIGEST, ZERO_HASH, ZERO_HASH, 0)
    with refused("NotAttested", game.round, address_of(AUDITORS[1])):
        auditor.claim_attestation_fee(game.round, address_of(AUDITORS[1]))
    auditor.claim_attestation_fee(game.round, address_of(AUDITORS[0]))
    with refused("FeeAlreadyPaid", game.round, address_of(AUDITORS[0])):
        auditor.claim_attestation_fee(game.round, address_of(AUDITORS[0]))
    with refused("NothingForfeited", game.round, Phase.CHALLENGE):
        auditor.forfeit(game.round)


def final(world: World, rewards: dict[str, int]) -> Game:
    """A final round whose settled rewards are these."""
    game = Game(world)
    game.launch()
    game.train(alice=50_000, bob=20_000)
    game.settle(rewards)
    game.attest(game.result_hash(game.settlement(rewards)), *AUDITORS[:2])
    return game


def test_claims_are_refused_by_name(world: World) -> None:
    rewards = {"alice": 100, "bob": 200}
    game = final(world, rewards)
    anyone = world.chain("mallory")

    def claim(name: str, amount: int, proof: tuple[Hash, ...] = ()) -> Address:
        client = address_of(name)
        anyone.claim(game.round, client, amount, proof)
        return client

    with refused("NotPayable", game.round, PayBasis.RESULT, PayBasis.TIME):
        anyone.claim_by_time(game.round, address_of("alice"))
    with refused("NoUpdate", game.round, address_of("carol")):
        claim("carol", 1)
    with refused("AmountAboveRecord", game.round, address_of("bob"), 60_001, 60_000):
        claim("bob", 60_001)
    with refused("AmountAboveRemaining", game.round, 301, 300):
        claim("bob", 301)
    root = game.tree(rewards).root
    with refused("InvalidProof", root, merkle.leaf(game.round, address_of("bob"), 100)):
        claim("bob", 100, game.proof("alice", rewards))
    with refused("InvalidProof", root, merkle.leaf(game.round, address_of("bob"), 0)):
        claim("bob", 0, game.proof("bob", rewards))
    claim("bob", 200, game.proof("bob", rewards))
    with refused("AlreadyPaid", game.round, address_of("bob")):
        claim("bob", 200, game.proof("bob", rewards))
    good = batch_of("alice", RoundClaim(1, 100, game.proof("alice", rewards)))
    with refused("NoUpdate", game.round, address_of("carol")):
        anyone.claim_batch(game.id, [good, batch_of("carol", RoundClaim(1, 1))])
    with pytest.raises(UnknownFederation):
        anyone.claim_batch(FederationId(NOWHERE), [])
    assert world.balance(address_of("alice")) == 0  # all or nothing
    anyone.claim_batch(game.id, [])
    anyone.claim_batch(game.id, [batch_of("alice"), good])
    assert world.balance(address_of("alice")) == 100
    game.attest(some_hash("mine"), AUDITORS[2])
    empty(world, game.round)


def test_batch_of_an_undecided_round(world: World) -> None:
    game = rejected(world)
    with refused("NotPayable", game.round, PayBasis.UNDECIDED, PayBasis.RESULT):
        world.chain("alice").claim_batch(game.id, [batch_of("alice", RoundClaim(1, 1))])


def test_rounds_and_federations_are_islands(world: World) -> None:
    """A batch is about one federation; the same call for another touches neither's escrow."""
    first, second = final(world, {"alice": 100}), Game(world, audited=False, salt="second")
    second.launch(challenge_seconds=0)
    second.train(alice=30_000)
    second.settle({"alice": 50})
    with refused("AmountAboveRemaining", second.round, 100, 50):
        world.chain("alice").claim_batch(second.id, [batch_of("alice", RoundClaim(1, 100))])
    for game, amount in ((first, 100), (second, 50)):
        world.chain("alice").claim_batch(game.id, [batch_of("alice", RoundClaim(1, amount))])
    assert world.balance(address_of("alice")) == 150
    world.advance(1000)
    empty(world, first.round)
    empty(world, second.round)


def test_a_batch_pays_many_rounds_of_either_basis(world: World) -> None:
    """Ten rounds, every other one settled, and two clients: each is paid once for all of them."""
    game = Game(world, audited=False)
    claims: list[RoundClaim] = []
    for index in range(1, 11):
        game.launch(challenge_seconds=0)
        game.train(alice=20_000, bob=10_000)
        if index % 2:
            game.settle({"alice": index, "bob": 5})
            claims.append(RoundClaim(index, index, game.proof("alice", {"alice": index, "bob": 5})))
        else:
            world.advance_to(game.state.settlement_ends)
            claims.append(RoundClaim(index))
    bobs = [one for one in claims if not one.amount]
    world.chain("mallory").claim_batch(game.id, [batch_of("alice", *claims), batch_of("bob", *bobs)])
    assert world.balance(address_of("alice")) == 1 + 3 + 5 + 7 + 9 + 5 * 3 * 20_000
    assert world.balance(address_of("bob")) == 5 * 3 * 10_000
    paid = [log.event for log in game.acme.logs() if isinstance(log.event, RewardsPaid)]
    by_time = {index: RoundPayment(index, 3 * 20_000, PayBasis.TIME) for index in range(2, 11, 2)}
    by_result = {index: RoundPayment(index, index, PayBasis.RESULT) for index in range(1, 11, 2)}
    assert paid == [
        RewardsPaid(game.id, address_of("alice"), tuple((by_time | by_result)[index] for index in range(1, 11))),
        RewardsPaid(
            game.id, address_of("bob"), tuple(RoundPayment(index, 3 * 10_000, PayBasis.TIME) for index in by_time)
        ),
    ]
    world.check()


def test_a_chain_names_its_account(world: World) -> None:
    alice = world.chain("alice")
    assert alice.account == address_of("alice")
    assert alice.contract == world.chain("bob").contract


def test_the_twin_without_an_account_only_reads() -> None:
    reader = MemoryChain(MemoryLedger())
    assert reader.state().federations == {}
    with pytest.raises(KeyError_):
        reader.withdraw(NOWHERE)
