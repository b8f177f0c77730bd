"""Write tests/vectors/eip712.json: signed updates as eth_account signs them, and the ids that they name.

    python scripts/eip712_vectors.py

For Solidity and Python alike. Nothing of protocol/ is used: types, domain and preimages are written out as
SPECIFICATION.md has them (F1, R1, U2, U6). Keys and words come from keccak of a text, so every run writes the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

VECTORS = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "eip712.json"
TERM_TYPES = ["uint96", "uint40", "uint40", "uint24", "uint24", "uint24", "uint24", "uint96", "uint96", "bool"]
TERM_NAMES = [
    *("rewardPerMilli", "maxMillis", "timeCapMillis", "maxUpdates", "trainingSeconds", "settlementSeconds"),
    *("challengeSeconds", "bond", "attestationFee", "consolidate"),
]
TYPES = {
    "EIP712Domain": [
        {"name": "name", "type": "string"},
        {"name": "version", "type": "string"},
        {"name": "chainId", "type": "uint256"},
        {"name": "verifyingContract", "type": "address"},
    ],
    "Update": [
        {"name": "federation", "type": "bytes32"},
        {"name": "round", "type": "bytes32"},
        {"name": "terms", "type": "bytes32"},
        {"name": "client", "type": "address"},
        {"name": "digest", "type": "bytes32"},
        {"name": "millis", "type": "uint40"},
    ],
}
# Chain id, terms, milliseconds of each update: from nothing to the most that a launch takes, no two values alike.
WORLDS: list[tuple[int, list[int | bool], list[int]]] = [
    (1, [10**15, 60_000, 30_000, 4, 1000, 500, 300, 5 * 10**18, 0, False], [1, 20_000, 60_000]),
    (31337, [0, 1, 0, 2, 2, 1, 0, 0, 0, True], [0, 1]),
    (137, [7, 7_776_000_000, 7_776_000_000, 3, 7_776_000, 2_592_000, 2_592_000, 11, 13, True], [7_775_999_000, 5]),
    (2**63 - 1, [2**54, 2**40 - 1, 2**32, 2, 86_400, 86_401, 86_402, 1, 2, False], [2**26 - 1, 2**26]),
]


def word(text: str) -> bytes:
    return bytes(keccak(text=text))


def address(text: str) -> str:
    return str(Account.from_key(word(text)).address)


def hashed(types: list[str], values: list[Any]) -> bytes:
    return bytes(keccak(encode(types, values)))


def world(number: int, chain_id: int, terms: list[int | bool], millis: list[int]) -> dict[str, Any]:
    """Return the first round of a federation of a contract of its own, and its signed updates in order."""
    contract, organization, salt = (
        address(f"contract {number}"),
        address(f"organization {number}"),
        word(f"salt {number}"),
    )
    base = word(f"base {number}")
    federation = hashed(["uint256", "address", "address", "bytes32"], [chain_id, contract, organization, salt])
    round = hashed(["bytes32", "uint64"], [federation, 1])
    terms_hash = hashed([f"({','.join(TERM_TYPES)})"], [tuple(terms)])
    rolling = seed = hashed(["uint256", "address", *["bytes32"] * 3], [chain_id, contract, round, base, terms_hash])
    updates = []
    for position, each in enumerate(millis):
        key, digest = word(f"client {number} {position}"), word(f"digest {number} {position}")
        client = str(Account.from_key(key).address)
        message = {"federation": federation, "round": round, "terms": terms_hash}
        message |= {"client": client, "digest": digest, "millis": each}  # type: ignore[dict-item]
        domain = {"name": "Rondo TrainingRounds", "version": "1", "chainId": chain_id, "verifyingContract": contract}
        full = {"types": TYPES, "primaryType": "Update", "domain": domain, "message": message}
        signed = Account.sign_message(encode_typed_data(full_message=full), key)
        rolling = hashed(["bytes32", "address", "bytes32", "uint40"], [rolling, client, digest, each])
        updates.append(
            {
                "key": key,
                "client": client,
                "digest": digest,
                "millis": each,
                "typedDataHash": bytes(signed.message_hash),
                "signature": bytes(signed.signature),
                "updatesHash": rolling,
            }
        )
    return {
        "chainId": str(chain_id),
        "contract": contract,
        "organization": organization,
        "salt": salt,
        "base": base,
        "terms": {
            name: each if isinstance(each, bool) else str(each) for name, each in zip(TERM_NAMES, terms, strict=True)
        },
        "federation": federation,
        "round": round,
        "termsHash": terms_hash,
        "seedHash": seed,
        "updates": updates,
    }


def text() -> str:
    """Return the whole file."""
    worlds = [world(number, *values) for number, values in enumerate(WORLDS)]
    return json.dumps({"worlds": worlds}, indent=1, default=lambda raw: "0x" + raw.hex()) + "\n"


if __name__ == "__main__":
    VECTORS.write_text(text())
