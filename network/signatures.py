"""Signed updates (EIP-712): made with a client's key, and checked by anyone as the contract checks them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol import hashing
from protocol.state import RoundState
from protocol.terms import SignedUpdate
from protocol.types import Address, Digest, Hash

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of secp256k1
SIGNATURE_BYTES = 65  # r, s and v


def sign_update(
    key: LocalAccount, chain_id: int, contract: Address, round_: RoundState, digest: Digest, millis: int
) -> SignedUpdate:
    """Sign an update of ``round_`` with ``key``; the signature counts for this round, chain and contract alone."""
    client = Address(str(key.address))
    message = hashing.update_typed_data(
        chain_id,
        contract,
        federation=round_.federation,
        round=round_.id,
        terms=round_.terms_hash,
        client=client,
        digest=digest,
        millis=millis,
    )
    signed = key.sign_typed_data(full_message=message)
    return SignedUpdate(client, digest, millis, bytes(signed.signature))


def update_hash(chain_id: int, contract: Address, round_: RoundState, update: SignedUpdate) -> Hash:
    """Return the EIP-712 digest that ``update.signature`` must be over. Raises InvalidInput: A value is out of range."""
    return hashing.update_typed_data_hash(
        chain_id,
        contract,
        federation=round_.federation,
        round=round_.id,
        terms=round_.terms_hash,
        client=update.client,
        digest=update.digest,
        millis=update.millis,
    )


def is_by_key(account: Address, hash: Hash, signature: bytes) -> bool:
    """Whether the key of ``account`` signed ``hash``: canonical 65-byte signatures only (EIP-2: low s). About 10 ms."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    r, s, v = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
    if not (0 < r < ORDER and 0 < s <= ORDER // 2 and v in (27, 28)):
        return False
    from eth_keys.datatypes import Signature
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError

    try:
        signer = Signature(vrs=(v - 27, r, s)).recover_public_key_from_msg_hash(hash)
    except (BadSignature, ValidationError):  # r is no point of the curve
        return False
    return Address(str(signer.to_checksum_address())) == account
