"""Words for the contract tests: terms, times, trees and refusals. Hashes and trees are those of protocol/, so that
Solidity and Python check each other."""

from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

import brownie
from brownie import chain, web3
from eth_account import Account
from eth_utils.crypto import keccak

from protocol import hashing, merkle
from protocol.terms import PayBasis, Phase, RoundTerms, SkipReason  # noqa: F401 - for the tests
from protocol.types import ZERO_ADDRESS, ZERO_HASH  # noqa: F401

ETHER = 10**18
DAY = 24 * 60 * 60
MODEL, NEXT_MODEL, TASK, REPORT, DERIVED = (
    keccak(text=name) for name in ("model", "next", "task", "report", "derived")
)
WITNESS = keccak(text="witness")
SALT = keccak(text="salt")

# 60 s of compute for each of 3 clients at 10^15 base units a millisecond, 5 tokens of bond and 1 for each auditor.
RATE, MAX_MILLIS, TIME_CAP, MAX_UPDATES = 10**15, 60_000, 30_000, 3
TERMS = RoundTerms(
    reward_per_milli=RATE,
    max_millis=MAX_MILLIS,
    time_cap_millis=TIME_CAP,
    max_updates=MAX_UPDATES,
    training_seconds=1000,
    settlement_seconds=500,
    challenge_seconds=300,
    bond=5 * ETHER,
    attestation_fee=ETHER,
    consolidate=False,
)


class Term(IntEnum):
    """As the interface numbers them."""

    (
        MAX_MILLIS,
        TIME_CAP_MILLIS,
        MAX_UPDATES,
        TRAINING_SECONDS,
        SETTLEMENT_SECONDS,
        CHALLENGE_SECONDS,
        TIME_CAP_TOTAL,
    ) = range(7)


def plain(value):
    """Return brownie's answer as Python's own values: ids and hashes are bytes."""
    if isinstance(value, (list, tuple)):
        return tuple(plain(item) for item in value)
    if hasattr(value, "address"):
        return str(value.address)
    if isinstance(value, bytes):
        return bytes(value)  # brownie's own kind compares with hex strings only
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return str(value) if isinstance(value, str) else value


def _spelled(value):
    return value.lower() if isinstance(value, str) else str(value)  # addresses come without their checksum


# What tests have asserted with all of its values, by name; test_completeness.py looks whether anything is missing.
ASSERTED_ERRORS, ASSERTED_EVENTS = {}, {}


@contextmanager
def refused(name, *arguments):
    """Expect the custom error ``name`` with exactly these arguments, as brownie spells them: "Name: a, b"."""
    spelled = f"{name}: " + ", ".join(_spelled(plain(argument)) for argument in arguments)
    with _reverted(spelled):
        yield
    ASSERTED_ERRORS.setdefault(name, []).append(arguments)


def failed(message=None):
    """Expect a revert that is no custom error: ``message`` is its reason or brownie's word for a panic, None none."""
    return _reverted(message)


@contextmanager
def _reverted(message):
    try:
        yield
    except brownie.exceptions.VirtualMachineError as error:
        assert error.revert_msg == message
    else:
        raise AssertionError(f"nothing was refused; expected {message}")


def assert_answered(answer, name):
    """Assert that ``answer``, what a call inside a transaction returned, is the custom error ``name`` without values."""
    assert plain(answer) == keccak(text=f"{name}()")[:4]
    ASSERTED_ERRORS.setdefault(name, []).append(())


def assert_events(transaction, *expected):
    """Assert that the contract's events are exactly ``expected``: (name, {argument: value}) in order."""
    actual = [
        (event.name, {key: plain(value) for key, value in event.items()})
        for event in transaction.events
        if event.name not in ("Transfer", "Approval")
    ]
    assert actual == [(name, {key: plain(value) for key, value in values.items()}) for name, values in expected]
    for name, values in expected:
        ASSERTED_EVENTS.setdefault(name, []).append(values)


def now():
    """Return the latest block's timestamp."""
    return web3.eth.get_block("latest").timestamp


def at(timestamp):
    """Let the next block, and so the next transaction, be of exactly ``timestamp``."""
    answer = web3.provider.make_request("evm_setNextBlockTimestamp", [timestamp])
    assert "error" not in answer, answer


def mine_at(timestamp):
    """Mine an empty block of exactly ``timestamp``, so that views see that time."""
    at(timestamp)
    chain.mine(1)
    assert now() == timestamp


def digest_of(client):
    """Return a digest that only this client posts."""
    return keccak(text=f"update of {plain(client)}")


def client_claims(client, *items):
    """Return one element of `claimBatch`: ``items`` are (index of the round, amount, proof), or an index by time."""
    items = [item if isinstance(item, tuple) else (item, 0, []) for item in items]
    words = [(index << 104) | (len(proof) << 96) | amount for index, amount, proof in items]
    return (client, words, [sibling for _, _, proof in items for sibling in proof])


def payment(index, basis, amount):
    """Return one payment of the event RewardsPaid."""
    return (index << 104) | (int(basis) << 96) | amount


def rewards_tree(round, rewards):
    """Return the tree over ``rewards``: {client: base units}."""
    return merkle.MerkleTree([merkle.leaf(round, plain(client), amount) for client, amount in rewards.items()])


@dataclass(frozen=True)
class Result:
    """What an organization settles, or auditors agree on instead."""

    round: bytes
    updates_hash: bytes
    rewards: dict
    tree: merkle.MerkleTree
    model: bytes
    result_hash: bytes

    @property
    def total(self):
        return sum(self.rewards.values())

    @property
    def settlement(self):
        return (self.updates_hash, self.model, REPORT, DERIVED, self.tree.root, self.total)

    @property
    def opening(self):
        """The arguments of ``reveal``."""
        return (self.round, self.model, DERIVED, self.tree.root, self.total)

    def claim(self, client):
        """The arguments of ``claim``."""
        amount = self.rewards[client]
        return (self.round, client, amount, self.proof(client))

    def proof(self, client):
        leaf = merkle.leaf(self.round, plain(client), self.rewards[client])
        return list(self.tree.proof(leaf))

    def item(self, client, index=1):
        """One item of `client_claims`, where the round is the federation's ``index``-th."""
        return (index, self.rewards[client], self.proof(client))


class World:
    """One contract, one token, and short ways to bring a round into any phase."""

    def __init__(self, rounds, token, acme, auditors, treasury):
        self.rounds, self.token, self.acme, self.auditors, self.treasury = rounds, token, acme, auditors, treasury
        self.salts = 0

    # --- beginnings ---

    def terms(self, **changes):
        """Return federation terms in the struct's order: 3 auditors, a quorum of 2, open admission."""
        values = {
            "token": self.token,
            "task": TASK,
            "model": MODEL,
            "forfeit_to": self.treasury,
            "quorum": 2,
            "admission_root": ZERO_HASH,
            "auditors": list(self.auditors),
        }
        if changes.get("quorum") == 0:
            values["auditors"] = []
        return tuple({**values, **changes}.values())

    def federation(self, **changes):
        """Create a federation of acme's; ``quorum=0`` is unaudited. Return its id."""
        self.salts += 1
        salt = keccak(self.salts)
        return plain(self.rounds.createFederation(salt, self.terms(**changes), {"from": self.acme}).return_value)

    def launch(self, federation, base=MODEL, **changes):
        """Launch the federation's next round; return its id."""
        return plain(self.launched(federation, base, **changes).return_value)

    def launched(self, federation, base=MODEL, **changes):
        """The same; return the transaction."""
        return self.rounds.launchRound(federation, base, round_terms(**changes), {"from": self.acme})

    # --- a round's way ---

    def view(self, round):
        """Return ``getRound`` as a dict of Python's own values."""
        return {key: plain(value) for key, value in self.rounds.getRound(round).dict().items()}

    def submit(self, round, client, millis=20_000, after=100):
        """Submit an update ``after`` seconds from the launch (or the latest block, if that is later)."""
        at(max(self.view(round)["launchedAt"] + after, now() + 1))
        return self.rounds.submitUpdate(round, digest_of(client), millis, {"from": client})

    def close(self, round):
        """Let training end by time."""
        mine_at(self.view(round)["trainingEnds"])

    def close_settlement(self, round):
        """Let the organization miss its deadline."""
        mine_at(self.view(round)["settlementEnds"])

    def result(self, round, rewards, model=NEXT_MODEL):
        """Return a result of ``round`` that pays ``rewards``: {client: base units}."""
        view, tree = self.view(round), rewards_tree(round, rewards)
        hashed = hashing.result_hash(
            web3.eth.chain_id,
            self.rounds.address,
            round,
            view["base"],
            view["updatesHash"],
            model,
            DERIVED,
            tree.root,
            sum(rewards.values()),
        )
        return Result(round, view["updatesHash"], rewards, tree, model, hashed)

    def settle(self, round, rewards, model=NEXT_MODEL):
        """Settle ``round`` paying ``rewards``; return the result."""
        result = self.result(round, rewards, model)
        self.rounds.settle(round, result.settlement, {"from": self.acme})
        return result

    def agree(self, round, result_hash, count=2):
        """Let the first ``count`` auditors attest ``result_hash``."""
        for auditor in self.auditors[:count]:
            self.rounds.attest(round, result_hash, WITNESS, {"from": auditor})

    def trained(self, federation, clients, base=MODEL, millis=20_000, **changes):
        """Launch a round, let each client submit, close training by time. Return the round's id."""
        round = self.launch(federation, base, **changes)
        for client in clients:
            self.submit(round, client, millis)
        if self.view(round)["phase"] == Phase.TRAINING:
            self.close(round)
        return round

    def decided(self, phase, rewards, millis=20_000, **changes):
        """Bring a new round of a new federation to the terminal ``phase``. Return its id and its settled result.

        ``Rejected`` is not revealed yet; the quorum's hash is that of ``other(round)``.
        """
        federation = self.federation()
        if phase == Phase.VOID:
            round = self.launch(federation, **changes)
            self.close(round)
            return round, None
        round = self.trained(federation, list(rewards), millis=millis, **changes)
        if phase == Phase.ABANDONED:
            self.close_settlement(round)
            return round, None
        result = self.settle(round, rewards)
        if phase == Phase.FINAL:
            self.agree(round, result.result_hash)
        elif phase == Phase.REJECTED:
            self.agree(round, self.other(round, rewards).result_hash)
        else:
            mine_at(self.view(round)["challengeEnds"])
        assert self.view(round)["phase"] == phase
        return round, result

    def other(self, round, rewards):
        """Return what the auditors say instead: half of every reward."""
        return self.result(round, {client: amount // 2 for client, amount in rewards.items()}, model=MODEL)

    # --- signatures ---

    def signed(self, round, client, millis=20_000, digest=None, key=None):
        """Return a SignedUpdate of ``client``, by ``key`` where that is not its own."""
        digest = digest_of(client) if digest is None else digest
        hashed = plain(self.rounds.updateTypedDataHash(round, client, digest, millis))
        signature = Account.unsafe_sign_hash(hashed, key or client.private_key).signature
        return (client, digest, millis, bytes(signature))

    # --- money ---

    def held(self, round):
        """Return what the contract still owes the round's people, by its own books."""
        view = self.view(round)
        return view["escrowed"] - sum(view[part] for part in ("paidClients", "paidAuditors", "returned", "forfeited"))

    def balances(self, *accounts):
        return [self.token.balanceOf(account) for account in accounts]


def round_terms(**changes):
    """Return ``TERMS`` with ``changes``, in the struct's order."""
    from dataclasses import replace

    return hashing.round_terms_tuple(replace(TERMS, **changes))
