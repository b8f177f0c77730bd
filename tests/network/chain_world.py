"""Two worlds with the same people, a token and a contract: one in memory, one on a real EVM node. One suite runs on both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from network.chain import Chain
from network.evm_chain import EvmChain, connect, deploy, deploy_test_token, transfer_token
from network.memory_chain import MemoryChain
from network.memory_ledger import MemoryLedger
from network.node import LocalNode
from protocol.state import RoundState, State
from protocol.terms import PayBasis, Phase
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Hash, RoundId, address

SUPPLY = 10**12
PEOPLE = ("acme", "alice", "bob", "carol", "mallory", "auditor-1", "auditor-2", "auditor-3", "treasury")

WALLETS = {agrees: address("0x" + pair * 20) for agrees, pair in ((True, "a1"), (False, "a0"))}


@cache
def key_of(name: str) -> LocalAccount:
    """A person's key, always the same."""
    account: LocalAccount = Account.from_key(keccak(text=name))
    return account


def address_of(name: str) -> Address:
    """A person's address."""
    return address(key_of(name).address)


AUDITORS = tuple(sorted((f"auditor-{i}" for i in (1, 2, 3)), key=lambda name: int(address_of(name), 16)))


class World(ABC):
    """People see the chain through `chain`; time moves by `advance_to`; acme has all tokens at first."""

    token: Address

    @abstractmethod
    def chain(self, name: str) -> Chain:
        """The chain with the key of ``name``."""

    @abstractmethod
    def advance_to(self, now: int) -> None:
        """Make ``now`` the latest block's time."""

    @abstractmethod
    def give(self, name: str, amount: int) -> None:
        """Give ``amount`` base units of acme's tokens to ``name``."""

    @abstractmethod
    def wallet(self, *, agrees: bool) -> Address:
        """A wallet contract that calls every signature its own (EIP-1271), or none."""

    def advance(self, seconds: int) -> None:
        self.advance_to(self.chain("acme").now() + seconds)

    def state(self) -> State:
        return self.chain("acme").state()

    def balance(self, account: Address) -> int:
        return self.chain("acme").balance_of(self.token, account)

    def check(self) -> State:
        """Assert the laws of money, and that the contract's own views agree; returns the state."""
        state, chain = self.state(), self.chain("acme")
        held = sum(map(_held, state.rounds.values()))
        assert self.balance(chain.contract) == held
        for round in state.rounds.values():
            assert 0 <= round.withdrawable <= _held(round)
        return state


def _held(round: RoundState) -> int:
    out = round.paid_clients + sum(round.paid_auditors.values()) + round.returned + round.forfeited
    assert 0 <= out <= round.escrow
    return round.escrow - out


class MemoryWorld(World):
    """The twin."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.token = address("0x" + "70" * 20)
        self.ledger.mint(self.token, address_of("acme"), SUPPLY)

    def chain(self, name: str) -> MemoryChain:
        return MemoryChain(self.ledger, address_of(name), key_of(name))

    def advance_to(self, now: int) -> None:
        self.ledger.advance_to(now)

    def give(self, name: str, amount: int) -> None:
        self.ledger.transfer(self.token, address_of("acme"), address_of(name), amount)

    def wallet(self, *, agrees: bool) -> Address:
        self.ledger.wallets[WALLETS[agrees]] = lambda hash, signature: agrees
        return WALLETS[agrees]


class EvmWorld(World):
    """A contract and a token of its own on a shared node."""

    def __init__(self, node: LocalNode) -> None:
        self.node = node
        for name in PEOPLE:
            node.fund(address_of(name))
        self.contract = deploy(node.url, key_of("acme"))
        self.token = deploy_test_token(node.url, key_of("acme"), SUPPLY)
        self._chains: dict[str, EvmChain] = {}

    def chain(self, name: str) -> EvmChain:
        if name not in self._chains:
            self._chains[name] = connect(self.node.url, self.contract, key_of(name))
        return self._chains[name]

    def advance_to(self, now: int) -> None:
        self.node.advance_to(now)

    def give(self, name: str, amount: int) -> None:
        transfer_token(self.node.url, key_of("acme"), self.token, address_of(name), amount)

    def wallet(self, *, agrees: bool) -> Address:
        answer = "1626ba7e" if agrees else "ffffffff"  # isValidSignature's own selector is its yes
        self.node.rpc("anvil_setCode", WALLETS[agrees], f"0x63{answer}60e01b5f5260205ff3")  # returns it, left-aligned
        return WALLETS[agrees]

    def check(self) -> State:
        state, chain = super().check(), self.chain("acme")
        for id, federation in state.federations.items():
            assert chain.view("getFederation", id) == (
                federation.organization,
                federation.offered_to or ZERO_ADDRESS,
                federation.terms.token,
                federation.terms.task,
                federation.head,
                federation.admission_root,
                federation.terms.forfeit_to,
                federation.terms.quorum,
                len(federation.terms.auditors),
                len(federation.rounds),
            )
            for root, client in federation.joined:
                assert chain.view("isJoined", id, root, client)
        for round in state.rounds.values():
            self._check_round(chain, round)
        return state

    def _check_round(self, chain: EvmChain, round: RoundState) -> None:
        assert chain.view("getRound", round.id) == _expected_view(round)
        assert chain.view("withdrawable", round.id) == round.withdrawable
        assert chain.view("roundId", round.federation, round.index) == round.id
        for update in round.updates:
            view = [update.millis, True, update.paid is not None]
            assert chain.view("getUpdate", round.id, update.client) == view
        for name in AUDITORS:
            auditor = address_of(name)
            expected = [auditor in round.attestations, auditor in round.paid_auditors]
            assert chain.view("hasAttested", round.id, auditor) == expected
        for result, _ in round.attestations.values():
            votes = sum(result == other for other, _ in round.attestations.values())
            assert chain.view("votes", round.id, result) == votes


def _expected_view(round: RoundState) -> tuple[object, ...]:
    """``RoundView`` as the replayed state has it, in the order of the ABI."""
    settled = round.settled
    rewards = (ZERO_HASH, 0)
    if round.revealed:
        rewards = round.revealed.rewards_root, round.revealed.rewards_total
    elif settled:
        rewards = settled.settlement.rewards_root, settled.settlement.rewards_total
    return (
        round.federation,
        round.index,
        round.phase,
        round.basis,
        round.base,
        round.terms_hash,
        round.admission_root,
        round.launched_at,
        round.training_ends,
        round.settlement_ends,
        round.challenge_ends or 0,
        round.reveal_ends or 0,
        len(round.updates),
        round.updates_hash,
        round.time_millis,
        settled.result_hash if settled else ZERO_HASH,
        round.quorum_hash or ZERO_HASH,
        *rewards,
        len(round.attestations),
        round.revealed is not None,
        round.escrow,
        round.paid_clients,
        sum(round.paid_auditors.values()),
        round.returned,
        round.forfeited,
    )


def empty(world: World, round: RoundId) -> None:
    """Take all money out of a round, as anybody could; nothing may stay."""
    anyone = world.chain("mallory")
    state = world.check().rounds[round]
    assert state.basis is not PayBasis.UNDECIDED
    for auditor in state.attestations.keys() - state.paid_auditors.keys():
        anyone.claim_attestation_fee(round, auditor)
    if state.basis is PayBasis.TIME:
        for update in state.updates:
            if update.paid is None:
                anyone.claim_by_time(round, update.client)
    if state.phase in (Phase.REJECTED, Phase.ABANDONED) and not state.forfeited:
        anyone.forfeit(round)
    anyone.withdraw(round)
    assert _held(world.check().rounds[round]) == 0
    owned = sum(world.balance(address_of(name)) for name in PEOPLE)
    assert owned + world.balance(world.chain("acme").contract) == SUPPLY


def some_hash(text: str) -> Hash:
    """A hash for what nobody looks into."""
    return Hash(bytes(keccak(text=text)))
