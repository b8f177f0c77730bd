"""The hashes that the contract makes, made again: each is keccak256 over ``abi.encode`` of its fields.

``ITrainingRounds.sol`` is the source of every formula here; `next_hash` and `seed_hash` are its rolling hash,
`update_typed_data` its EIP-712 message. Field widths are checked by the encoder, so a value that the contract could
not hold raises InvalidInput instead of hashing to something else.
"""

from __future__ import annotations

from typing import Any

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError
from eth_utils.crypto import keccak

from protocol.errors import InvalidInput
from protocol.terms import RoundTerms
from protocol.types import Address, Digest, FederationId, Hash, RoundId

ROUND_TERMS = "(uint96,uint40,uint40,uint24,uint24,uint24,uint24,uint96,uint96,bool)"
DOMAIN_NAME = "Rondo TrainingRounds"
DOMAIN_VERSION = "1"
UPDATE_TYPE = (
    "Update(bytes32 federation,bytes32 round,bytes32 terms,address client,bytes32 digest,uint40 millis)"  # EIP-712
)


def _hash(types: list[str], values: list[object]) -> Hash:
    try:
        encoded = encode(types, values)
    except EncodingError as error:
        raise InvalidInput("A value does not fit its type on the contract.", f"{error}.", "Check its range.") from error
    return Hash(bytes(keccak(encoded)))


def federation_id(chain_id: int, contract: Address, organization: Address, salt: Hash) -> FederationId:
    """Return keccak256(abi.encode(chain id, contract, creating organization, salt))."""
    types = ["uint256", "address", "address", "bytes32"]
    return FederationId(_hash(types, [chain_id, contract, organization, salt]))


def round_id(federation: FederationId, index: int) -> RoundId:
    """Return keccak256(abi.encode(federation, uint64 index)); the first round of a federation has index 1."""
    return RoundId(_hash(["bytes32", "uint64"], [federation, index]))


def round_terms_tuple(terms: RoundTerms) -> tuple[int | bool, ...]:
    """Return ``terms`` in the field order of the contract's struct."""
    return (
        terms.reward_per_milli,
        terms.max_millis,
        terms.time_cap_millis,
        terms.max_updates,
        terms.training_seconds,
        terms.settlement_seconds,
        terms.challenge_seconds,
        terms.bond,
        terms.attestation_fee,
        terms.consolidate,
    )


def terms_hash(terms: RoundTerms) -> Hash:
    """Return keccak256(abi.encode(terms))."""
    return _hash([ROUND_TERMS], [round_terms_tuple(terms)])


def seed_hash(chain_id: int, contract: Address, round: RoundId, base: Digest, terms: Hash) -> Hash:
    """Return H_0 of a round: keccak256(abi.encode(chain id, contract, round, base, terms hash))."""
    types = ["uint256", "address", "bytes32", "bytes32", "bytes32"]
    return _hash(types, [chain_id, contract, round, base, terms])


def next_hash(previous: Hash, client: Address, digest: Digest, millis: int) -> Hash:
    """Return H_i = keccak256(abi.encode(H_(i-1), client, digest, uint40 millis))."""
    return _hash(["bytes32", "address", "bytes32", "uint40"], [previous, client, digest, millis])


def result_hash(
    chain_id: int,
    contract: Address,
    round: RoundId,
    base: Digest,
    updates_hash: Hash,
    model: Digest,
    derived_hash: Hash,
    rewards_root: Hash,
    rewards_total: int,
) -> Hash:
    """Return the hash that auditors attest: everything that pays and everything that becomes the next base."""
    types = ["uint256", "address", *["bytes32"] * 6, "uint96"]
    values: list[object] = [chain_id, contract, round, base, updates_hash, model, derived_hash, rewards_root]
    return _hash(types, [*values, rewards_total])


def witness(auditor: Address, round: RoundId, merge_digest: Hash) -> Hash:
    """Return keccak256(abi.encode(auditor, round, merge digest)): only who recomputed the merge can make it."""
    return _hash(["address", "bytes32", "bytes32"], [auditor, round, merge_digest])


def domain_separator(chain_id: int, contract: Address) -> Hash:
    """Return the EIP-712 domain separator: what binds a signature to one contract on one chain."""
    domain_type = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    name, version = keccak(DOMAIN_NAME.encode()), keccak(DOMAIN_VERSION.encode())
    return _hash(
        ["bytes32", "bytes32", "bytes32", "uint256", "address"],
        [keccak(domain_type), name, version, chain_id, contract],
    )


def update_typed_data(
    chain_id: int,
    contract: Address,
    *,
    federation: FederationId,
    round: RoundId,
    terms: Hash,
    client: Address,
    digest: Digest,
    millis: int,
) -> dict[str, Any]:
    """Return the EIP-712 message that a client signs for ``submitUpdateFor``, as eth_account's ``full_message``."""
    fields = [part.split(" ") for part in UPDATE_TYPE.removeprefix("Update(").removesuffix(")").split(",")]
    return {
        "primaryType": "Update",
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "Update": [{"name": name, "type": kind} for kind, name in fields],
        },
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": chain_id,
            "verifyingContract": contract,
        },
        "message": {
            "federation": federation,
            "round": round,
            "terms": terms,
            "client": client,
            "digest": digest,
            "millis": millis,
        },
    }


def update_typed_data_hash(
    chain_id: int,
    contract: Address,
    *,
    federation: FederationId,
    round: RoundId,
    terms: Hash,
    client: Address,
    digest: Digest,
    millis: int,
) -> Hash:
    """Return the EIP-712 digest of `update_typed_data`: keccak256(0x1901 || domain separator || struct hash)."""
    struct = _hash(
        ["bytes32", "bytes32", "bytes32", "bytes32", "address", "bytes32", "uint40"],
        [keccak(UPDATE_TYPE.encode()), federation, round, terms, client, digest, millis],
    )
    return Hash(bytes(keccak(b"\x19\x01" + domain_separator(chain_id, contract) + struct)))
