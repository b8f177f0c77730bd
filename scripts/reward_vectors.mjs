// Writes tests/vectors/rewards.json: whole rounds' credit, rewards, leaves, proofs, roots and totals, for Python and
// Solidity alike, with OpenZeppelin's own tree and integers of any size:
//   node scripts/reward_vectors.mjs > tests/vectors/rewards.json
// Clients and times come from sha-256 of a counter, so every run writes the same bytes.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { StandardMerkleTree } from "@openzeppelin/merkle-tree";

const theirs = createRequire(import.meta.url).resolve("@openzeppelin/merkle-tree");
const { keccak256 } = createRequire(theirs)("ethereum-cryptography/keccak.js");

const CONTRACT = "0x" + sha256("contract").slice(0, 40);
const ORGANIZATION = "0x" + sha256("organization").slice(0, 40);
const CHAIN_ID = 100n;
// Clients, base units per millisecond, most milliseconds, reference milliseconds per step and kappa as fractions.
const ROUNDS = [
  { size: 1, rate: 1n, maxMillis: 1_000n, reference: [5n, 1n], kappa: [4n, 1n] },
  { size: 2, rate: 10n ** 15n, maxMillis: 60_000n, reference: [1n, 3n], kappa: [3n, 2n] },
  { size: 7, rate: 999_983n, maxMillis: 600_000n, reference: [7n, 2n], kappa: [10n, 7n] },
  { size: 33, rate: 10n ** 12n, maxMillis: 86_400_000n, reference: [1_000n, 1n], kappa: [1n, 1n] },
  { size: 3, rate: 0n, maxMillis: 1_000n, reference: [5n, 1n], kappa: [4n, 1n] }, // nobody earns: no tree
];

function sha256(text) {
  return createHash("sha256").update(text).digest("hex");
}

function drawn(text, most) {
  return BigInt("0x" + sha256(text)) % (most + 1n);
}

function hashed(...words) {
  const bytes = Buffer.from(words.map((word) => BigInt(word).toString(16).padStart(64, "0")).join(""), "hex");
  return "0x" + Buffer.from(keccak256(bytes)).toString("hex");
}

function fraction([above, below]) {
  return below === 1n ? `${above}` : `${above}/${below}`;
}

/** What a client recorded and did; every third is slow, so that the cap by steps counts, and every fifth did nothing. */
function client(number, index, { maxMillis, reference, kappa }) {
  const recorded = drawn(`recorded ${number} ${index}`, maxMillis);
  const fair = (recorded * reference[1] * kappa[1]) / (reference[0] * kappa[0]);
  const steps = index % 5 === 4 ? 0n : index % 3 === 2 ? fair / 2n : fair + 1n;
  return { client: "0x" + sha256(`client ${number} ${index}`).slice(0, 40), recorded, steps };
}

function round(terms, number) {
  const salt = "0x" + sha256(`salt ${number}`);
  const federation = hashed(CHAIN_ID, CONTRACT, ORGANIZATION, salt);
  const id = hashed(federation, 1n);
  const { rate, reference, kappa } = terms;
  const people = Array.from({ length: terms.size }, (_, index) => client(number, index, terms)).map((person) => {
    const fair = (person.steps * reference[0] * kappa[0]) / (reference[1] * kappa[1]);
    const credit = fair < person.recorded ? fair : person.recorded;
    return { ...person, credit, amount: rate * credit };
  });
  const values = people.filter(({ amount }) => amount > 0n).map(({ client, amount }) => [id, client, amount]);
  const tree = values.length ? StandardMerkleTree.of(values, ["bytes32", "address", "uint256"]) : undefined;
  return {
    salt,
    federation,
    round: id,
    rewardPerMilli: rate,
    maxMillis: terms.maxMillis,
    rule: { reference_millis_per_step: fraction(reference), kappa: fraction(kappa) },
    root: tree ? tree.root : "0x" + "0".repeat(64),
    total: values.reduce((sum, value) => sum + value[2], 0n),
    clients: people.map((person) => {
      const value = [id, person.client, person.amount];
      return person.amount > 0n ? { ...person, leaf: tree.leafHash(value), proof: tree.getProof(value) } : person;
    }),
  };
}

const vectors = { chainId: CHAIN_ID, contract: CONTRACT, organization: ORGANIZATION, rounds: ROUNDS.map(round) };
const spelled = (_, value) => (typeof value === "bigint" ? value.toString() : value);
process.stdout.write(JSON.stringify(vectors, spelled, 1) + "\n");
