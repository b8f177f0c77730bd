"""Each hash against its own words written out by hand; tests/network holds them against the contract's views."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from protocol import hashing
from protocol.errors import InvalidInput
from protocol.terms import RoundTerms
from protocol.types import Address, Digest, FederationId, Hash, RoundId, address

CHAIN, CONTRACT, ALICE = 31337, address("0x" + "c0" * 20), address("0x" + "a1" * 20)
TERMS = RoundTerms(1, 2, 3, 4, 5, 6, 7, 8, 9, True)
words = st.binary(min_size=32, max_size=32)
accounts = st.binary(min_size=20, max_size=20).map(lambda raw: address("0x" + raw.hex()))


def word(value: int | bytes | Address) -> bytes:
    """One 32-byte word of ``abi.encode``; every type used here takes exactly one."""
    if isinstance(value, int):
        return value.to_bytes(32, "big")
    return bytes.fromhex(value[2:]).rjust(32, b"\0") if isinstance(value, str) else value


def by_hand(*values: int | bytes | Address) -> bytes:
    return bytes(keccak(b"".join(map(word, values))))


@given(words, words, words, accounts, st.integers(0, 2**40 - 1), st.integers(0, 2**64 - 1))
def test_ids_and_rolling_hash(a: bytes, b: bytes, c: bytes, who: Address, millis: int, index: int) -> None:
    assert hashing.federation_id(CHAIN, CONTRACT, who, Hash(a)) == by_hand(CHAIN, CONTRACT, who, a)
    assert hashing.round_id(FederationId(a), index) == by_hand(a, index)
    assert hashing.seed_hash(CHAIN, CONTRACT, RoundId(a), Digest(b), Hash(c)) == by_hand(CHAIN, CONTRACT, a, b, c)
    assert hashing.next_hash(Hash(a), who, Digest(b), millis) == by_hand(a, who, b, millis)
    assert hashing.witness(who, RoundId(a), Hash(b)) == by_hand(who, a, b)


@given(st.lists(words, min_size=6, max_size=6), st.integers(0, 2**96 - 1))
def test_result_hash(w: list[bytes], total: int) -> None:
    round, base, updates, model, derived, root = w
    result = hashing.result_hash(
        CHAIN, CONTRACT, RoundId(round), Digest(base), Hash(updates), Digest(model), Hash(derived), Hash(root), total
    )
    assert result == by_hand(CHAIN, CONTRACT, *w, total)


def test_terms_hash() -> None:
    assert hashing.terms_hash(TERMS) == by_hand(*range(1, 10), 1)
    changes: dict[str, Any] = dict.fromkeys(RoundTerms.__slots__, 99) | {"consolidate": False}
    others = {hashing.terms_hash(replace(TERMS, **{name: value})) for name, value in changes.items()}
    assert len(others | {hashing.terms_hash(TERMS)}) == 11


@pytest.mark.parametrize(
    "change",
    [
        {"reward_per_milli": 2**96},
        {"max_millis": 2**40},
        {"time_cap_millis": -1},
        {"max_updates": 2**24},
        {"training_seconds": 2**24},
        {"bond": 2**96},
        {"attestation_fee": -1},
    ],
)
def test_what_the_contract_cannot_hold_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="does not fit"):
        hashing.terms_hash(replace(TERMS, **change))


def test_a_long_digest_is_not_cut() -> None:
    with pytest.raises(InvalidInput):
        hashing.next_hash(Hash(bytes(32)), ALICE, Digest(bytes(33)), 1)


@given(words, words, words, accounts, words, st.integers(0, 2**40 - 1))
def test_typed_data_is_eip_712(f: bytes, r: bytes, t: bytes, who: Address, digest: bytes, millis: int) -> None:
    arguments: dict[str, Any] = {
        "federation": f,
        "round": r,
        "terms": t,
        "client": who,
        "digest": digest,
        "millis": millis,
    }
    ours = hashing.update_typed_data_hash(CHAIN, CONTRACT, **arguments)
    message = encode_typed_data(full_message=hashing.update_typed_data(CHAIN, CONTRACT, **arguments))
    assert ours == keccak(b"\x19" + message.version + message.header + message.body)
