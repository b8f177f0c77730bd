// Writes tests/vectors/merkle.json with OpenZeppelin's own package, for Python and Solidity alike:
//   node scripts/merkle_vectors.mjs > tests/vectors/merkle.json
// Clients and amounts come from sha-256 of a counter, so every run writes the same bytes.
import { createHash } from "node:crypto";
import { StandardMerkleTree } from "@openzeppelin/merkle-tree";

const ROUND = "0x" + sha256("round");
const SIZES = [1, 2, 3, 5, 8, 100];

function sha256(text) {
  return createHash("sha256").update(text).digest("hex");
}

function client(index) {
  return "0x" + sha256(`client ${index}`).slice(0, 40);
}

// Amounts of 1 to 24 hex digits: from one base unit to the contract's whole uint96.
function amount(index) {
  return (BigInt("0x" + sha256(`amount ${index}`).slice(0, 1 + (index % 24))) + 1n).toString();
}

function rewards(size) {
  const values = Array.from({ length: size }, (_, index) => [ROUND, client(index), amount(index)]);
  const tree = StandardMerkleTree.of(values, ["bytes32", "address", "uint256"]);
  const leaves = values.map((value, index) => ({
    client: value[1],
    amount: value[2],
    leaf: tree.leafHash(value),
    proof: tree.getProof(index),
  }));
  return { size, root: tree.root, leaves };
}

function admission(size) {
  const values = Array.from({ length: size }, (_, index) => [client(index)]);
  const tree = StandardMerkleTree.of(values, ["address"]);
  const leaves = values.map((value, index) => ({
    client: value[0],
    leaf: tree.leafHash(value),
    proof: tree.getProof(index),
  }));
  return { size, root: tree.root, leaves };
}

const vectors = { round: ROUND, rewards: SIZES.map(rewards), admission: [1, 3].map(admission) };
process.stdout.write(JSON.stringify(vectors, null, 1) + "\n");
