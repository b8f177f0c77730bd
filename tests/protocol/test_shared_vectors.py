"""Signed updates and rewards against vectors that others made: eth_account, and OpenZeppelin's package.

tests/contracts/Vectors.t.sol holds the contract against the same files.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from protocol import hashing, rewards
from protocol.merkle import leaf, verify
from protocol.task import CreditRule
from protocol.terms import RoundTerms
from protocol.types import Address, Digest, FederationId, Hash, RoundId, address, bytes32

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "vectors"
WORLDS = json.loads((FOLDER / "eip712.json").read_text())["worlds"]
PAID = json.loads((FOLDER / "rewards.json").read_text())


def terms_of(words: dict[str, Any]) -> RoundTerms:
    return RoundTerms(*(value if isinstance(value, bool) else int(value) for value in words.values()))


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: f"chain {world['chainId']}")
def test_ids_and_hashes_of_a_round(world: dict[str, Any]) -> None:
    chain_id, contract = int(world["chainId"]), address(world["contract"])
    federation = hashing.federation_id(chain_id, contract, address(world["organization"]), Hash(bytes32(world["salt"])))
    assert federation == bytes32(world["federation"])
    round = hashing.round_id(federation, 1)
    assert round == bytes32(world["round"])
    terms = hashing.terms_hash(terms_of(world["terms"]))
    assert terms == bytes32(world["termsHash"])
    rolling = hashing.seed_hash(chain_id, contract, round, Digest(bytes32(world["base"])), terms)
    assert rolling == bytes32(world["seedHash"])
    for update in world["updates"]:
        digest = Digest(bytes32(update["digest"]))
        rolling = hashing.next_hash(rolling, address(update["client"]), digest, update["millis"])
        assert rolling == bytes32(update["updatesHash"])


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: f"chain {world['chainId']}")
def test_signed_updates(world: dict[str, Any]) -> None:
    for update in world["updates"]:
        arguments: dict[str, Any] = {
            "federation": FederationId(bytes32(world["federation"])),
            "round": RoundId(bytes32(world["round"])),
            "terms": Hash(bytes32(world["termsHash"])),
            "client": address(update["client"]),
            "digest": Digest(bytes32(update["digest"])),
            "millis": update["millis"],
        }
        domain = int(world["chainId"]), address(world["contract"])
        expected = bytes32(update["typedDataHash"])
        assert hashing.update_typed_data_hash(*domain, **arguments) == expected
        message = encode_typed_data(full_message=hashing.update_typed_data(*domain, **arguments))
        signed = Account.sign_message(message, update["key"])
        assert signed.message_hash == expected
        assert signed.signature == bytes.fromhex(update["signature"][2:])
        assert Account._recover_hash(expected, signature=signed.signature) == update["client"]


@pytest.mark.parametrize(
    "paid", PAID["rounds"], ids=lambda paid: f"{len(paid['clients'])} clients at {paid['rewardPerMilli']}"
)
def test_credit_rewards_and_their_tree(paid: dict[str, Any]) -> None:
    organization, contract = address(PAID["organization"]), address(PAID["contract"])
    federation = hashing.federation_id(int(PAID["chainId"]), contract, organization, Hash(bytes32(paid["salt"])))
    round = hashing.round_id(federation, 1)
    assert (federation, round) == (bytes32(paid["federation"]), bytes32(paid["round"]))
    rule = CreditRule(*(Fraction(value) for value in paid["rule"].values()))
    earned: list[tuple[Address, int]] = []
    for client in paid["clients"]:
        credit = rewards.floor_credit_millis(int(client["recorded"]), int(client["steps"]), rule)
        amount = rewards.reward(credit, int(paid["rewardPerMilli"]))
        assert (credit, amount) == (int(client["credit"]), int(client["amount"]))
        earned.append((address(client["client"]), amount))
    tree = rewards.rewards_tree(round, earned)
    assert tree.root == bytes32(paid["root"])
    assert sum(amount for _, amount in earned) == int(paid["total"])
    for (who, amount), client in zip(earned, paid["clients"], strict=True):
        assert (amount > 0) == ("leaf" in client)
        if amount > 0:
            proof = [Hash(bytes32(sibling)) for sibling in client["proof"]]
            assert leaf(round, who, amount) == bytes32(client["leaf"])
            assert list(tree.proof(leaf(round, who, amount))) == proof
            assert verify(tree.root, leaf(round, who, amount), proof)


def test_the_signed_updates_are_fresh() -> None:
    made = "import sys; sys.path.insert(0, 'scripts'); import eip712_vectors; print(end=eip712_vectors.text())"
    done = subprocess.run([sys.executable, "-c", made], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == (FOLDER / "eip712.json").read_text()


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node and the npm packages")
def test_the_rewards_are_fresh() -> None:
    if not (ROOT / "node_modules" / "@openzeppelin" / "merkle-tree").exists():
        pytest.skip("needs the npm packages: npm ci")
    script = ["node", "scripts/reward_vectors.mjs"]
    made = subprocess.run(script, cwd=ROOT, capture_output=True, check=True).stdout
    assert made == (FOLDER / "rewards.json").read_bytes()
