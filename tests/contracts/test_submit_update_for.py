# ruff: noqa: N803 - brownie's fixtures have the names of their contracts

import brownie
import pytest
from eth_account import Account
from eth_utils.crypto import keccak
from support import ZERO_HASH, Phase, assert_events, at, digest_of, mine_at, now, plain, refused

from protocol import hashing

N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # order of secp256k1


@pytest.fixture
def round(world, federation):
    round = world.launch(federation)
    mine_at(now() + 100)
    return round


def test_refuses_an_unknown_round(world, rounds, round, alice):
    signed = world.signed(round, alice)
    with refused("UnknownRound", ZERO_HASH):
        rounds.submitUpdateFor(ZERO_HASH, signed, {"from": alice})
    with refused("UnknownRound", ZERO_HASH):
        rounds.updateTypedDataHash(ZERO_HASH, alice, ZERO_HASH, 0)


def test_refuses_from_the_deadline_on(world, rounds, round, alice, mallory):
    signed = world.signed(round, alice)
    at(world.view(round)["trainingEnds"])
    with refused("WrongPhase", round, Phase.VOID, Phase.TRAINING):
        rounds.submitUpdateFor(round, signed, {"from": mallory})


def test_refuses_what_submit_update_refuses(world, rounds, federation, round, alice, bob, carol, mallory):
    with refused("ZeroDigest", round):
        rounds.submitUpdateFor(round, world.signed(round, alice, digest=ZERO_HASH), {"from": mallory})
    with refused("TooManyMillis", round, 60_001, 60_000):
        rounds.submitUpdateFor(round, world.signed(round, alice, 60_001), {"from": mallory})
    rounds.submitUpdateFor(round, world.signed(round, alice), {"from": mallory})
    with refused("AlreadySubmitted", round, alice):
        rounds.submitUpdateFor(round, world.signed(round, alice), {"from": mallory})
    for client in (bob, carol):
        rounds.submitUpdateFor(round, world.signed(round, client), {"from": mallory})
    with refused("RoundFull", round, 3):
        rounds.submitUpdateFor(round, world.signed(round, mallory), {"from": mallory})


def test_refuses_the_signature_of_another(world, rounds, round, alice, mallory):
    signed = world.signed(round, alice, key=mallory.private_key)
    with refused("InvalidSignature", round, alice):
        rounds.submitUpdateFor(round, signed, {"from": mallory})


@pytest.mark.parametrize("change", ["digest", "millis", "empty", "short", "high s"])
def test_refuses_a_signature_over_anything_else(world, rounds, round, alice, mallory, change):
    client, digest, millis, signature = world.signed(round, alice)
    r, s, v = signature[:32], int.from_bytes(signature[32:64], "big"), signature[64]
    forged = {
        "digest": (client, keccak(text="mine"), millis, signature),
        "millis": (client, digest, millis + 1, signature),
        "empty": (client, digest, millis, b""),
        "short": (client, digest, millis, signature[:-1]),
        "high s": (client, digest, millis, r + (N - s).to_bytes(32, "big") + bytes([55 - v])),  # the mirror signature
    }[change]
    with refused("InvalidSignature", round, alice):
        rounds.submitUpdateFor(round, forged, {"from": mallory})


def test_refuses_a_signature_for_another_round(world, rounds, round, alice, mallory):
    signed = world.signed(round, alice)
    other = world.launch(world.federation())
    at(now() + 100)
    with refused("InvalidSignature", other, alice):
        rounds.submitUpdateFor(other, signed, {"from": mallory})


def test_records_it_for_the_client_whoever_sends(world, rounds, round, alice, mallory):
    before = world.view(round)["updatesHash"]
    transaction = rounds.submitUpdateFor(round, world.signed(round, alice), {"from": mallory})
    assert_events(
        transaction,
        ("UpdateSubmitted", {"round": round, "client": alice, "digest": digest_of(alice), "millis": 20_000}),
    )
    assert plain(rounds.getUpdate(round, alice)) == (20_000, True, False)
    assert not rounds.getUpdate(round, mallory)[1]
    assert world.view(round)["updatesHash"] == hashing.next_hash(before, alice.address, digest_of(alice), 20_000)


def test_wallets_sign_the_typed_data(world, rounds, federation, round, alice):
    """What eth_account makes of the EIP-712 message is what the contract checks."""
    terms = world.view(round)["termsHash"]
    fields = {
        "federation": federation,
        "round": round,
        "terms": terms,
        "client": alice.address,
        "digest": digest_of(alice),
        "millis": 20_000,
    }
    message = hashing.update_typed_data(brownie.web3.eth.chain_id, rounds.address, **fields)
    hashed = hashing.update_typed_data_hash(brownie.web3.eth.chain_id, rounds.address, **fields)
    assert plain(rounds.updateTypedDataHash(round, alice, digest_of(alice), 20_000)) == hashed
    signature = Account.sign_typed_data(alice.private_key, full_message=message).signature
    rounds.submitUpdateFor(round, (alice, digest_of(alice), 20_000, bytes(signature)), {"from": alice})
    assert rounds.getUpdate(round, alice)[1]


def test_a_wallet_contract_signs_by_eip_1271(world, rounds, round, WalletDouble, alice, mallory):
    wallet = mallory.deploy(WalletDouble, alice)
    signed = world.signed(round, wallet, key=alice.private_key)
    transaction = rounds.submitUpdateFor(round, signed, {"from": mallory})
    assert_events(
        transaction,
        ("UpdateSubmitted", {"round": round, "client": wallet, "digest": digest_of(wallet), "millis": 20_000}),
    )


def test_a_wallet_contract_refuses_by_eip_1271(world, rounds, round, WalletDouble, alice, mallory):
    wallet = mallory.deploy(WalletDouble, alice)
    signed = world.signed(round, wallet, key=mallory.private_key)
    with refused("InvalidSignature", round, wallet):
        rounds.submitUpdateFor(round, signed, {"from": mallory})
