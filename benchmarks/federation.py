"""A federation played on a real chain, call by call, with the gas of every call kept under the call's name.

All that looks random (keys, digests, milliseconds) follows from names, so that two runs use the same gas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from web3.contract import Contract

from benchmarks.chain import ONE_CALL_GAS, TRANSACTION_GAS, Call, MeasuredChain
from protocol import hashing
from protocol.merkle import MerkleTree, leaf
from protocol.terms import RoundTerms
from protocol.types import ZERO_HASH, Address, Digest, Hash, RoundId

T = TypeVar("T")
# A hundred tokens of 10^18 base units for a day of compute: an amount with no run of zero bytes, which cost less.
RATE = 10**20 // 86_400_000
LEAST_MILLIS, MOST_MILLIS, TIME_CAP_MILLIS = 60_000, 600_000, 120_000
WINDOW_SECONDS = 3600
BOND, FEE = 5 * 10**18, 10**18
SUPPLY = 10**28
UNLIMITED = 2**256 - 1
UPDATES_A_CALL = 100
LEVELS_BIT, INDEX_BIT = 96, 104  # of a RoundClaim


def drawn(*labels: object) -> Hash:
    """Return 32 bytes that are always those of ``labels``."""
    return Hash(bytes(keccak(text=" ".join(map(str, labels)))))


def people(count: int, first: int = 0) -> list[str]:
    """Return the names of ``count`` clients."""
    return [f"client {number}" for number in range(first, first + count)]


@dataclass
class Round:
    """A round and what it cost: each transaction's gas by the function's name."""

    index: int
    id: RoundId
    base: Digest
    model: Digest
    terms: RoundTerms
    updates_hash: Hash
    millis: dict[str, int] = field(default_factory=dict)  # by the client's name
    tree: MerkleTree = field(default_factory=lambda: MerkleTree([]))
    result_hash: Hash = ZERO_HASH
    settlement_data: str = ""
    gas: dict[str, list[int]] = field(default_factory=dict)
    claims_share: int = 0  # its part of the calls that claimed it together with other rounds

    @property
    def total(self) -> int:
        """Gas of the whole round, launch to payout."""
        return sum(sum(used) for used in self.gas.values()) + self.claims_share

    def parts(self) -> dict[str, int]:
        """Return what `total` is the sum of."""
        return {name: sum(used) for name, used in self.gas.items()} | {"claims": self.claims_share}


class World:
    """The contracts and the people on a chain. Everybody holds the token already, but who is asked to hold none."""

    def __init__(self, chain: MeasuredChain) -> None:
        self.chain = chain
        self.organization, self.relay = chain.person("organization"), chain.person("relay")
        self.token = chain.deploy("TestToken", self.organization, SUPPLY)
        self.rounds = chain.deploy("TrainingRounds", self.organization)
        self.people: dict[str, LocalAccount] = {}
        self._admitted: set[str] = set()
        chain.send([self.token_call("approve", self.rounds.address, UNLIMITED)])

    def admit(self, names: Sequence[str], balance: int = 1) -> list[LocalAccount]:
        """Give each of ``names`` money for gas and ``balance`` base units of the token, once; return their accounts."""
        new = [name for name in names if name not in self._admitted]
        self._admitted.update(new)
        self.people |= {name: self.chain.person(name) for name in new}
        if balance and new:
            self.chain.send([self.token_call("transfer", self.people[name].address, balance) for name in new])
        return [self.people[name] for name in names]

    def know(self, names: Sequence[str]) -> None:
        """Make keys for who signs, but sends nothing and is not paid."""
        self.people |= dict(zip(names, self.chain.keys(names), strict=True))

    def address(self, name: str) -> Address:
        """Return an admitted person's address."""
        return Address(self.people[name].address)

    def token_call(self, function: str, *arguments: object) -> Call:
        """Return the organization's call of the token."""
        return _call(self.token, function, self.organization, ONE_CALL_GAS, *arguments)

    def call(self, function: str, sender: LocalAccount, *arguments: object, gas: int = ONE_CALL_GAS) -> Call:
        """Return a call of the contract."""
        return _call(self.rounds, function, sender, gas, *arguments)


class Federation:
    """One federation of ``world``; its rounds follow each other, each with its own clients.

    Args:
        name: Makes its id, and all digests.
        auditors: How many there are.
        quorum: How many of them decide.
        admission_root: Of its clients; open where zero.
    """

    def __init__(
        self, world: World, name: str, *, auditors: int = 1, quorum: int = 1, admission_root: Hash = ZERO_HASH
    ) -> None:
        self.world, self.chain, self.name = world, world.chain, name
        named = world.admit([f"auditor {number}" for number in range(auditors)])
        self.auditors = sorted(named, key=lambda auditor: int(auditor.address, 16))
        self.contract = Address(world.rounds.address)
        organization = Address(world.organization.address)
        self.id = hashing.federation_id(self.chain.id, self.contract, organization, drawn(name, "salt"))
        self.head = Digest(drawn(name, "model", 0))
        self.index = 0
        addresses = [auditor.address for auditor in self.auditors]
        terms = (world.token.address, drawn(name, "task"), self.head, world.relay.address, quorum)
        creation = (drawn(name, "salt"), (*terms, admission_root, addresses))
        self.chain.send([world.call("createFederation", world.organization, *creation, gas=TRANSACTION_GAS)])

    # --- a round's way ---

    def launch(self, max_updates: int) -> Round:
        """Launch the next round, which its ``max_updates``-th update closes."""
        terms = RoundTerms(
            reward_per_milli=RATE,
            max_millis=MOST_MILLIS,
            time_cap_millis=TIME_CAP_MILLIS,
            max_updates=max_updates,
            training_seconds=WINDOW_SECONDS,
            settlement_seconds=WINDOW_SECONDS,
            challenge_seconds=WINDOW_SECONDS,
            bond=BOND,
            attestation_fee=FEE,
            consolidate=False,
        )
        self.index += 1
        id, base = hashing.round_id(self.id, self.index), self.head
        seed = hashing.seed_hash(self.chain.id, self.contract, id, base, hashing.terms_hash(terms))
        self.head = Digest(drawn(self.name, "model", self.index))
        round = Round(self.index, id, base, self.head, terms, seed)
        arguments = (self.id, base, hashing.round_terms_tuple(terms))
        self._send(round, "launchRound", [(self.world.organization, arguments)])
        self.chain.pass_time(MOST_MILLIS // 1000)
        return round

    def submit(self, round: Round, names: Sequence[str]) -> None:
        """Let each client send its update."""
        work = []
        for name, digest, millis in self._recorded(round, names):
            work.append((self.world.people[name], (round.id, digest, millis)))
        self._send(round, "submitUpdate", work)

    def submit_batched(self, round: Round, names: Sequence[str], a_call: int = UPDATES_A_CALL) -> None:
        """Let each client sign its update, and the relay send them."""
        recorded = self._recorded(round, names)
        terms = hashing.terms_hash(round.terms)
        signatures = self.chain.sign_hashes(
            (
                self.world.people[name],
                hashing.update_typed_data_hash(
                    self.chain.id,
                    self.contract,
                    federation=self.id,
                    round=round.id,
                    terms=terms,
                    client=self.world.address(name),
                    digest=digest,
                    millis=millis,
                ),
            )
            for name, digest, millis in recorded
        )
        signed = [
            (self.world.address(name), digest, millis, signature)
            for (name, digest, millis), signature in zip(recorded, signatures, strict=True)
        ]
        work = [(self.world.relay, (round.id, chunk)) for chunk in chunks(signed, a_call)]
        self._send(round, "submitUpdates", work, TRANSACTION_GAS)
        updates = self.world.rounds.functions.getRound(round.id).call()[12]
        assert updates == len(round.millis), f"{len(round.millis) - updates} updates were passed over"

    def settle(self, round: Round, strangers: Sequence[Hash] = ()) -> None:
        """State the result: every client is paid its milliseconds; ``strangers`` are further leaves of the tree."""
        round.tree = MerkleTree([*(self.reward_leaf(round, name) for name in round.millis), *strangers])
        total = sum(RATE * millis for millis in round.millis.values())
        report, derived = drawn(self.name, "report", round.index), drawn(self.name, "derived", round.index)
        values = (round.updates_hash, round.model, report, derived, round.tree.root, total)
        round.result_hash = hashing.result_hash(
            self.chain.id,
            self.contract,
            round.id,
            round.base,
            round.updates_hash,
            round.model,
            derived,
            round.tree.root,
            total,
        )
        round.settlement_data = self.world.call("settle", self.world.organization, round.id, values).data
        self._send(round, "settle", [(self.world.organization, (round.id, values))])

    def attest(self, round: Round) -> None:
        """Let every auditor confirm the result, and fetch its fee."""
        verdicts = [
            (auditor, (round.id, round.result_hash, drawn(self.name, "witness", round.index, number)))
            for number, auditor in enumerate(self.auditors)
        ]
        self._send(round, "attest", verdicts)
        self._send(round, "claimAttestationFee", [(auditor, (round.id, auditor.address)) for auditor in self.auditors])

    def withdraw(self, round: Round) -> None:
        """Let the organization take back what nobody can be owed any more."""
        self._send(round, "withdraw", [(self.world.organization, (round.id,))])

    # --- payouts ---

    def claim(self, round: Round) -> list[int]:
        """Let every client of ``round`` claim it; return the gas of each."""
        return self._calls("claim", [(self.world.people[n], self._claim(round, n)) for n in round.millis])

    def claim_by_time(self, round: Round) -> list[int]:
        """The same by time."""
        people = self.world.people
        return self._calls("claimByTime", [(people[n], (round.id, people[n].address)) for n in round.millis])

    def claim_rounds(self, rounds: Sequence[Round]) -> list[int]:
        """Let every client claim all of ``rounds`` in one call of its own; return the gas of each."""
        return self._claim_many(rounds, [[name] for name in rounds[0].millis], None)

    def claim_batched(self, rounds: Sequence[Round], clients_a_call: int) -> list[int]:
        """Let the relay claim ``rounds`` for all their clients; return the gas of each call."""
        return self._claim_many(rounds, chunks(list(rounds[0].millis), clients_a_call), self.world.relay)

    def _claim_many(
        self, rounds: Sequence[Round], groups: Sequence[Sequence[str]], sender: LocalAccount | None
    ) -> list[int]:
        work: list[tuple[LocalAccount, tuple[object, ...]]] = []
        for names in groups:
            items = [self._client_claims(rounds, name) for name in names]
            work.append((sender or self.world.people[names[0]], (self.id, items)))
        return self._calls("claimBatch", work, TRANSACTION_GAS)

    def reward_leaf(self, round: Round, name: str) -> Hash:
        """Return the leaf of what ``name`` is paid."""
        return leaf(round.id, self.world.address(name), RATE * round.millis[name])

    def _claim(self, round: Round, name: str) -> tuple[object, ...]:
        proof = round.tree.proof(self.reward_leaf(round, name))
        return round.id, self.world.address(name), RATE * round.millis[name], proof

    def _client_claims(self, rounds: Sequence[Round], name: str) -> tuple[object, ...]:
        """Return a ClientClaims, whose RoundClaims are words as ITrainingRounds.sol packs them."""
        words: list[int] = []
        siblings: list[Hash] = []
        for round in rounds:
            proof = round.tree.proof(self.reward_leaf(round, name))
            words.append(RATE * round.millis[name] | len(proof) << LEVELS_BIT | round.index << INDEX_BIT)
            siblings += proof
        return self.world.address(name), words, siblings

    # --- sending ---

    def _recorded(self, round: Round, names: Sequence[str]) -> list[tuple[str, Digest, int]]:
        """Draw every client's update, and follow the rolling hash."""
        recorded = []
        for name in names:
            digest = Digest(drawn(self.name, "update", round.index, name))
            millis = LEAST_MILLIS + int.from_bytes(digest) % (MOST_MILLIS - LEAST_MILLIS + 1)
            round.updates_hash = hashing.next_hash(round.updates_hash, self.world.address(name), digest, millis)
            round.millis[name] = millis
            recorded.append((name, digest, millis))
        return recorded

    def _send(
        self,
        round: Round,
        function: str,
        work: Sequence[tuple[LocalAccount, tuple[object, ...]]],
        gas: int = ONE_CALL_GAS,
    ) -> None:
        round.gas.setdefault(function, []).extend(self._calls(function, work, gas))

    def _calls(
        self, function: str, work: Sequence[tuple[LocalAccount, tuple[object, ...]]], gas: int = ONE_CALL_GAS
    ) -> list[int]:
        return self.chain.send([self.world.call(function, sender, *values, gas=gas) for sender, values in work])


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Return ``items`` in runs of ``size``, the last perhaps shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def _call(contract: Contract, function: str, sender: LocalAccount, gas: int, *arguments: object) -> Call:
    return Call(function, sender, contract.address, contract.encode_abi(function, args=list(arguments)), gas)
