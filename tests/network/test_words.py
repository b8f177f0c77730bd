"""Packed words: what goes in comes out, and what does not fit is refused. S-claims are tested on a node beside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.chain import ClientClaims, RoundClaim
from network.words import claims_argument, payment_of
from protocol.events import RoundPayment
from protocol.terms import PayBasis
from protocol.types import Address, Hash

CLIENT = Address("0x" + "11" * 20)
HASHES = st.binary(min_size=32, max_size=32).map(Hash)


@pytest.mark.parametrize(
    "claim",
    [
        RoundClaim(2**64, 1),
        RoundClaim(-1, 1),
        RoundClaim(1, 2**96),
        RoundClaim(1, -1),
        RoundClaim(1, 1, (Hash(bytes(32)),) * 256),
    ],
    ids=["index", "negative index", "amount", "negative amount", "levels"],
)
def test_a_claim_that_does_not_fit_is_refused(claim):
    with pytest.raises(ValueError, match="fits no word"):
        claims_argument(ClientClaims(CLIENT, (claim,)))


@pytest.mark.parametrize("word", [1 << 168, 4 << 96, 255 << 96], ids=["wide", "no basis", "basis of another byte"])
def test_a_payment_that_means_nothing_is_refused(word):
    with pytest.raises(ValueError):
        payment_of(word)


@given(index=st.integers(0, 2**64 - 1), amount=st.integers(0, 2**96 - 1), basis=st.sampled_from(list(PayBasis)))
def test_a_payment_is_read_back(index, amount, basis):
    assert payment_of(index << 104 | basis << 96 | amount) == RoundPayment(index, amount, basis)


@given(
    st.lists(
        st.builds(
            RoundClaim,
            st.integers(0, 2**64 - 1),
            st.integers(0, 2**96 - 1),
            st.lists(HASHES, max_size=17).map(tuple),
        )
    )
)
def test_claims_keep_index_amount_and_their_own_siblings(claims):
    client, words, siblings = claims_argument(ClientClaims(CLIENT, tuple(claims)))
    assert client == CLIENT
    first = 0
    for claim, word in zip(claims, words, strict=True):
        levels = word >> 96 & 0xFF
        read = RoundClaim(word >> 104, word & (2**96 - 1), tuple(siblings[first : first + levels]))
        assert read == claim
        first += levels
    assert first == len(siblings)
