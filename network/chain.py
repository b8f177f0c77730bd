"""What every role asks of the chain. `network.evm_chain` answers from an EVM node, `network.memory_chain` from memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from protocol.events import Logged
from protocol.state import RoundState, State
from protocol.terms import FederationTerms, RoundTerms, Settlement, SignedUpdate
from protocol.types import Address, Digest, FederationId, Hash, RoundId


@dataclass(frozen=True, slots=True)
class Receipt:
    """A transaction that succeeded: its hash, the gas it used, and its block's number."""

    transaction: Hash
    gas_used: int
    block: int


@dataclass(frozen=True, slots=True)
class RewardClaim:
    """One payment. ``amount`` in base units and ``proof`` count by result only: 0 and empty by time."""

    round: RoundId
    client: Address
    amount: int
    proof: tuple[Hash, ...] = ()


@dataclass(frozen=True, slots=True)
class RoundClaim:
    """What a batch claims of the round ``index`` of its federation; amount and proof are as `RewardClaim` has them."""

    index: int
    amount: int = 0
    proof: tuple[Hash, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientClaims:
    """What a batch claims for one client: it is paid with one transfer."""

    client: Address
    rounds: tuple[RoundClaim, ...]


class Chain(Protocol):
    """The contract as one account sees it.

    Every method that sends returns when its transaction is in a block, and raises:

        TransactionReverted: The contract refused, with the name and arguments of its custom error.
        UnknownFederation, UnknownRound: There is no such subject.
        InsufficientFunds: The account cannot pay the gas or the escrow.
        ChainUnavailable: The node does not answer, or no block took the transaction in time.
        KeyError_: The chain was opened without an account.

    The contract refuses repetition by name (FederationExists, AlreadySubmitted, AlreadyAttested, AlreadyPaid, …), so
    after a crash a caller reads `state` and sends again whatever is not there.
    """

    @property
    def chain_id(self) -> int: ...

    @property
    def contract(self) -> Address: ...

    @property
    def account(self) -> Address | None:
        """The account that sends, None where the chain is only read."""

    def now(self) -> int:
        """The latest block's timestamp, in seconds: the only clock that counts."""

    def logs(self) -> list[Logged]:
        """All events of the contract so far, in chain order."""

    def state(self) -> State:
        """The replay of `logs` at `now`. Raises LogsIncomplete where they do not replay."""

    def create_federation(self, salt: Hash, terms: FederationTerms) -> FederationId:
        """Create a federation whose organization is this account."""

    def launch_round(self, federation: FederationId, expected_base: Digest, terms: RoundTerms) -> RoundId:
        """Launch the next round; approves exactly the escrow first, where the token's allowance is short of it."""

    def submit_update(self, round: RoundId, digest: Digest, millis: int) -> Receipt:
        """Record this account's update."""

    def sign_update(self, round: RoundState, digest: Digest, millis: int) -> SignedUpdate:
        """Sign this account's update of ``round`` for others to send; sends nothing. Raises KeyError_."""

    def submit_update_for(self, round: RoundId, update: SignedUpdate) -> Receipt:
        """Record a client's signed update; wallet contracts sign by EIP-1271."""

    def submit_updates(self, round: RoundId, updates: Sequence[SignedUpdate]) -> Receipt:
        """Record many, signed by keys; what cannot be recorded is passed over with an UpdateSkipped in the logs."""

    def settle(self, round: RoundId, settlement: Settlement) -> Receipt: ...

    def attest(self, round: RoundId, result_hash: Hash, witness: Hash) -> Receipt: ...

    def reveal(
        self, round: RoundId, model: Digest, derived_hash: Hash, rewards_root: Hash, rewards_total: int
    ) -> Receipt:
        """Open the result that a quorum agreed on instead of the settled one."""

    def claim(self, round: RoundId, client: Address, amount: int, proof: Sequence[Hash]) -> Receipt:
        """Pay a client its reward by result."""

    def claim_by_time(self, round: RoundId, client: Address) -> Receipt: ...

    def claim_batch(self, federation: FederationId, claims: Sequence[ClientClaims]) -> Receipt:
        """Pay many rounds of one federation, of either basis; what is already paid is passed over, all else is all or nothing."""

    def claim_attestation_fee(self, round: RoundId, auditor: Address) -> Receipt: ...

    def withdraw(self, round: RoundId) -> Receipt:
        """Return to the organization what can no longer be owed."""

    def forfeit(self, round: RoundId) -> Receipt:
        """Send the bond of a Rejected or Abandoned round to the federation's ``forfeit_to``."""

    def set_admission(self, federation: FederationId, root: Hash) -> Receipt: ...

    def join(self, federation: FederationId, client: Address, proof: Sequence[Hash]) -> Receipt: ...

    def offer_organization(self, federation: FederationId, offered_to: Address) -> Receipt: ...

    def accept_organization(self, federation: FederationId) -> Receipt: ...

    def balance_of(self, token: Address, account: Address) -> int:
        """Base units of ``token`` that ``account`` holds."""

    def gas_used(self, transaction: Hash) -> int: ...
