"""`Chain` over an EVM node: one typed method for each function of the contract. The front door to all that needs web3."""

from __future__ import annotations

from collections.abc import Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any

from network.address_book import AddressBook
from network.answer_codec import Mined
from network.chain import ClientClaims, Receipt
from network.contract_abi import load_contract
from network.deploy import deploy, deploy_test_token, fund_gas, transfer_token
from network.event_codec import EventCodec
from network.evm_contract import ERC20_ABI, EvmContract
from network.locate import locate
from network.log_cursor import LogCursor
from network.revert_codec import RevertCodec
from network.rpc import Rpc
from network.sender import Sender
from network.signatures import sign_update
from network.words import claims_argument
from protocol import hashing
from protocol.errors import (
    ChainUnavailable,
    InsufficientFunds,
    InvalidInput,
    KeyError_,
    LogsIncomplete,
    TransactionReverted,
)
from protocol.events import Logged, RoundLaunched
from protocol.replay import Replay, State
from protocol.state import RoundState
from protocol.terms import FederationTerms, RoundTerms, Settlement, SignedUpdate
from protocol.types import Address, Digest, FederationId, Hash, RoundId, hex32

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

__all__ = ["EvmChain", "connect", "deploy", "deploy_test_token", "fund_gas", "transfer_token"]

# What a launch that lacks nothing but tokens or an allowance reverts with, by the tokens that revert by EIP-6093;
# older ones revert with a text.
TOKEN_REFUSALS = ("ERC20InsufficientAllowance", "SafeERC20FailedOperation", "Error", "Panic", "NoReason")


class EvmChain:
    """The contract through one EVM node, as one account or none.

    Safe to use from several threads. State is read from one block at a time, and a reorganisation only means that
    `state` goes back with it.

    Args:
        url: HTTP(S) JSON-RPC endpoint.
        contract: Address of a TrainingRounds contract; where None, this version's is looked for on the chain.
        key: The account that sends; None only reads.
        confirmations: How many blocks reads stay behind the latest, and sends wait for on top of their own.
        first_block: The contract's own block or any before it, where looking for events begins; 0 takes the book's.
        book: The address book.
        accept_other_code: Do not refuse a ``contract`` whose code is not this version's.

    Raises:
        ChainUnavailable: The node does not answer.
        InvalidInput, ForeignContract, SettingsError: As `locate`.
    """

    def __init__(
        self,
        url: str,
        contract: Address | None,
        key: LocalAccount | None = None,
        *,
        confirmations: int = 0,
        first_block: int = 0,
        book: AddressBook | None = None,
        accept_other_code: bool = False,
    ) -> None:
        abi = load_contract("TrainingRounds").abi
        self._rpc = Rpc(url, RevertCodec(abi))
        self.chain_id = self._rpc.chain_id()
        located = locate(self._rpc, self.chain_id, contract, book, accept_other_code=accept_other_code)
        self.contract, first_block = located.address, first_block or located.first_block
        self._contract = EvmContract(self._rpc, self.contract, abi)
        self._key = key
        self._sender = Sender(self._rpc, key, self.chain_id, confirmations=confirmations) if key else None
        self._codec = EventCodec(abi)
        self._cursor = LogCursor(
            self._rpc, self.contract, self._codec, first_block=first_block, confirmations=confirmations
        )
        self._tokens: dict[Address, EvmContract] = {}
        self._lock = RLock()
        self._replay = Replay(self.chain_id, self.contract)
        self._fed = (0, 0)  # generation of the cursor's logs and how many of them the replay took

    # --- reading ---

    @property
    def account(self) -> Address | None:
        """The account that sends, None where the chain is only read."""
        return self._sender.address if self._sender else None

    def now(self) -> int:
        """Return the timestamp of the block that counts as the latest, in seconds."""
        return self._cursor.head().timestamp

    def logs(self) -> list[Logged]:
        """Return all events of the contract so far, in chain order; only new blocks are asked for."""
        with self._lock:
            self._cursor.refresh()
            return list(self._cursor.logs)

    def state(self) -> State:
        """Return the replay of all events at the latest block.

        Raises:
            LogsIncomplete: They do not replay, also after all were read anew.
            ChainUnavailable: The node does not answer.
        """
        with self._lock:
            try:
                return self._state()
            except LogsIncomplete:
                self._cursor.forget()
            try:
                return self._state()
            except LogsIncomplete:
                self._cursor.forget()  # the next call starts from nothing, too
                raise

    def _state(self) -> State:
        head = self._cursor.refresh()
        generation, taken = self._fed
        if generation != self._cursor.generation:
            self._replay, taken = Replay(self.chain_id, self.contract), 0
        self._fed = (-1, 0)  # a replay that failed halfway is of no more use
        self._replay.feed(self._cursor.logs[taken:])
        self._fed = (self._cursor.generation, len(self._cursor.logs))
        return self._replay.at(head.timestamp)

    def view(self, function: str, *arguments: object) -> Any:
        """Return what a view of the contract says at the latest block; structs are tuples in the ABI's order."""
        return self._contract.call(function, *arguments)

    def balance_of(self, token: Address, account: Address) -> int:
        """Return the base units of ``token`` that ``account`` holds."""
        return int(self._token(token).call("balanceOf", account))

    def gas_used(self, transaction: Hash) -> int:
        """Return the gas that a transaction used. Raises InvalidInput where no block has it."""
        receipt = self._rpc.receipt(transaction)
        if receipt is None:
            raise InvalidInput(f"No block has transaction {hex32(transaction)}.", "", "Check the hash and the chain.")
        return receipt.gas_used

    # --- sending ---

    def _require_sender(self) -> Sender:
        if self._sender is None:
            raise _keyless()
        return self._sender

    def _send(self, function: str, *arguments: object) -> Receipt:
        return _receipt(self._raw(function, *arguments))

    def _raw(self, function: str, *arguments: object) -> Mined:
        return self._require_sender().send(self.contract, self._contract.encode(function, *arguments))

    def _token(self, token: Address) -> EvmContract:
        if token not in self._tokens:
            self._tokens[token] = EvmContract(self._rpc, token, ERC20_ABI)
        return self._tokens[token]

    def create_federation(self, salt: Hash, terms: FederationTerms) -> FederationId:
        """Create a federation whose organization is this account; see `Chain`."""
        values = (
            terms.token,
            terms.task,
            terms.model,
            terms.forfeit_to,
            terms.quorum,
            terms.admission_root,
            terms.auditors,
        )
        organization = self._require_sender().address
        self._send("createFederation", salt, values)
        return hashing.federation_id(self.chain_id, self.contract, organization, salt)

    def launch_round(self, federation: FederationId, expected_base: Digest, terms: RoundTerms) -> RoundId:
        """Launch the next round; approves exactly the escrow first, where the token's allowance is short of it.

        Nothing is approved for a launch that the contract would refuse anyway.
        """
        arguments = (federation, expected_base, hashing.round_terms_tuple(terms))
        self._allow_escrow(federation, terms, self._contract.encode("launchRound", *arguments))
        for log in self._raw("launchRound", *arguments).logs:
            logged = self._codec.decode(log)
            if logged is not None and isinstance(logged.event, RoundLaunched):
                return logged.event.round
        raise ChainUnavailable("The launch's receipt names no round.", "The node left out its logs.", "Read the state.")

    def _allow_escrow(self, federation: FederationId, terms: RoundTerms, launch: bytes) -> None:
        sender = self._require_sender()
        try:
            sender.check(self.contract, launch)
            return
        except InsufficientFunds:
            pass
        except TransactionReverted as error:
            if error.name not in TOKEN_REFUSALS:
                raise
        view = self._contract.call("getFederation", federation)
        token, escrow = self._token(Address(view[2])), terms.escrow(view[8])
        held = int(token.call("balanceOf", sender.address))
        if held < escrow:
            raise InsufficientFunds(
                f"{sender.address} holds {held} base units of token {token.address}, but {escrow} are needed.",
                "The escrow of a round is taken at its launch.",
                "Send it tokens, or launch with smaller terms.",
            )
        if int(token.call("allowance", sender.address, self.contract)) < escrow:
            sender.send(token.address, token.encode("approve", self.contract, escrow))

    def submit_update(self, round: RoundId, digest: Digest, millis: int) -> Receipt:
        """Record this account's update; see `Chain`."""
        return self._send("submitUpdate", round, digest, millis)

    def sign_update(self, round: RoundState, digest: Digest, millis: int) -> SignedUpdate:
        """Sign this account's update for others to send; see `Chain`."""
        if self._key is None:
            raise _keyless()
        return sign_update(self._key, self.chain_id, self.contract, round, digest, millis)

    def submit_update_for(self, round: RoundId, update: SignedUpdate) -> Receipt:
        """Record a client's signed update; see `Chain`."""
        return self._send("submitUpdateFor", round, _signed(update))

    def submit_updates(self, round: RoundId, updates: Sequence[SignedUpdate]) -> Receipt:
        """Record many signed updates; see `Chain`."""
        return self._send("submitUpdates", round, [_signed(update) for update in updates])

    def settle(self, round: RoundId, settlement: Settlement) -> Receipt:
        """State the round's result; see `Chain`."""
        values = (
            settlement.updates_hash,
            settlement.model,
            settlement.report,
            settlement.derived_hash,
            settlement.rewards_root,
            settlement.rewards_total,
        )
        return self._send("settle", round, values)

    def attest(self, round: RoundId, result_hash: Hash, witness: Hash) -> Receipt:
        """Say this auditor's verdict; see `Chain`."""
        return self._send("attest", round, result_hash, witness)

    def reveal(
        self, round: RoundId, model: Digest, derived_hash: Hash, rewards_root: Hash, rewards_total: int
    ) -> Receipt:
        """Open the result that a quorum agreed on instead of the settled one; see `Chain`."""
        return self._send("reveal", round, model, derived_hash, rewards_root, rewards_total)

    def claim(self, round: RoundId, client: Address, amount: int, proof: Sequence[Hash]) -> Receipt:
        """Pay a client its reward by result; see `Chain`."""
        return self._send("claim", round, client, amount, list(proof))

    def claim_by_time(self, round: RoundId, client: Address) -> Receipt:
        """Pay a client by time; see `Chain`."""
        return self._send("claimByTime", round, client)

    def claim_batch(self, federation: FederationId, claims: Sequence[ClientClaims]) -> Receipt:
        """Pay many; see `Chain`."""
        return self._send("claimBatch", federation, [claims_argument(one) for one in claims])

    def claim_attestation_fee(self, round: RoundId, auditor: Address) -> Receipt:
        """Pay an auditor's fee; see `Chain`."""
        return self._send("claimAttestationFee", round, auditor)

    def withdraw(self, round: RoundId) -> Receipt:
        """Return to the organization what can no longer be owed; see `Chain`."""
        return self._send("withdraw", round)

    def forfeit(self, round: RoundId) -> Receipt:
        """Send a lost bond to ``forfeit_to``; see `Chain`."""
        return self._send("forfeit", round)

    def set_admission(self, federation: FederationId, root: Hash) -> Receipt:
        """Set the admission root; see `Chain`."""
        return self._send("setAdmission", federation, root)

    def join(self, federation: FederationId, client: Address, proof: Sequence[Hash]) -> Receipt:
        """Join a client under the current root; see `Chain`."""
        return self._send("join", federation, client, list(proof))

    def offer_organization(self, federation: FederationId, offered_to: Address) -> Receipt:
        """Offer the organization's role; see `Chain`."""
        return self._send("offerOrganization", federation, offered_to)

    def accept_organization(self, federation: FederationId) -> Receipt:
        """Accept the organization's role; see `Chain`."""
        return self._send("acceptOrganization", federation)


def connect(
    url: str,
    contract: Address | None,
    key: LocalAccount | None = None,
    *,
    confirmations: int = 0,
    first_block: int = 0,
    book: AddressBook | None = None,
    accept_other_code: bool = False,
) -> EvmChain:
    """Open the contract; arguments and errors are those of `EvmChain`."""
    return EvmChain(
        url,
        contract,
        key,
        confirmations=confirmations,
        first_block=first_block,
        book=book,
        accept_other_code=accept_other_code,
    )


def _keyless() -> KeyError_:
    return KeyError_("This chain was opened without an account.", "", "Open it with a key to send transactions.")


def _signed(update: SignedUpdate) -> tuple[Address, Digest, int, bytes]:
    return update.client, update.digest, update.millis, update.signature


def _receipt(receipt: Mined) -> Receipt:
    return Receipt(receipt.transaction, receipt.gas_used, receipt.block)
