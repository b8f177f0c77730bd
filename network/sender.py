"""Sends one account's transactions, one at a time, and says why one was refused."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

from network.answer_codec import Mined
from network.rpc import Refused, Rpc, Transaction, Unanswered
from protocol.errors import ChainError, ChainUnavailable, InsufficientFunds, TransactionReverted
from protocol.types import Address, Hash, hex32

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

# One lock for each account of this process, whoever sends: two transactions at once would take the same nonce.
_LOCKS: defaultdict[tuple[int, str], Lock] = defaultdict(Lock)
_STALE = ("nonce too low", "nonce has already been used", "replacement transaction underpriced")
FIRST_PAUSE_SECONDS = 0.2  # doubled after each attempt
LOOK_AGAIN_SECONDS = 5  # a reorganisation can drop a transaction from a block and from the pool
_TAKEN = ("already known", "already imported", "known transaction")


class _NonceTaken(Exception):
    """Another transaction of the account has the nonce that this one was signed with."""


class Sender:
    """Signs, sends and waits.

    The account's lock is held until the transaction is in a block, so the node's own count is always the next nonce:
    nothing is remembered that a reorganisation or a restart could make wrong.

    Args:
        rpc: The node.
        key: The account.
        chain_id: Signed into every transaction (EIP-155).
        confirmations: Blocks to wait for on top of the transaction's own.
        patience: Seconds to wait for a block before giving up.
        say: Takes a line for the person who waits: sent, in a block.
    """

    def __init__(
        self,
        rpc: Rpc,
        key: LocalAccount,
        chain_id: int,
        *,
        confirmations: int = 0,
        patience: float = 180,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._rpc, self._key, self._chain_id = rpc, key, chain_id
        self._confirmations, self._patience, self._say = confirmations, patience, say
        self.address = Address(str(key.address))

    def check(self, to: Address, data: bytes) -> None:
        """Raise what the contract would refuse now; sends nothing."""
        self._rpc.estimate_gas({"from": self._key.address, "to": to, "data": data})

    def send(self, to: Address | None, data: bytes) -> Mined:
        """Return the receipt of a transaction that succeeded; ``to`` None creates a contract.

        Raises:
            TransactionReverted, UnknownRound, UnknownFederation: The contract refuses it, mostly before it is sent.
            InsufficientFunds: The account cannot pay the gas.
            ChainUnavailable: The node does not answer, or no block took the transaction in time.
        """
        with _LOCKS[self._chain_id, self.address]:
            for attempt in range(5):
                transaction = self._prepare(to, data)
                signed = self._key.sign_transaction(transaction)
                raw, sent = bytes(signed.raw_transaction), Hash(bytes(signed.hash))
                try:
                    self._broadcast(raw, sent)
                    self._say(f"Transaction {hex32(sent)} is sent; waiting for a block to take it.")
                    receipt = self._wait(raw, sent)
                except _NonceTaken:
                    time.sleep(
                        FIRST_PAUSE_SECONDS * 2**attempt
                    )  # the node that counted lags behind the one that refused
                    continue
                return self._succeeded(receipt, transaction)
        raise ChainUnavailable(
            f"The EVM node at {self._rpc.url} counts too few transactions of {self.address}.",
            "Another process sends from the same account, or the node lags behind.",
            "Use one account in one process at a time.",
        )

    def _prepare(self, to: Address | None, data: bytes) -> Transaction:
        transaction: Transaction = {"from": self._key.address, "data": data, "value": 0}
        if to is not None:
            transaction["to"] = to
        gas = self._rpc.estimate_gas(transaction)
        transaction["gas"] = gas + gas // 4  # what it uses can depend on the block's time and on who comes first
        transaction["nonce"] = self._rpc.nonce(self.address)
        transaction["chainId"] = self._chain_id
        self._price(transaction)
        return transaction

    def _price(self, transaction: Transaction) -> None:
        """Offer EIP-1559 fees that stay enough while the base fee doubles (six full blocks), or a gas price before it."""
        base = self._rpc.latest().base_fee
        if base is None:
            price = self._rpc.gas_price()
            transaction["gasPrice"] = price
        else:
            tip = self._rpc.priority_fee(base)
            price = 2 * base + tip
            transaction["maxPriorityFeePerGas"] = tip
            transaction["maxFeePerGas"] = price
        held, needed = self._rpc.balance(self.address), price * transaction["gas"]
        if held < needed:
            raise InsufficientFunds(
                f"{self.address} holds {held} wei, but the transaction can cost {needed} wei.",
                "Gas is paid in the chain's own coin.",
                f"Send {needed - held} wei or more to {self.address}.",
            )

    def _broadcast(self, raw: bytes, sent: Hash) -> None:
        """Hand over the same signed bytes until the node has them: a lost answer cannot become a second transaction."""
        for attempt in range(5):
            try:
                self._rpc.hand_over(raw)
                return
            except Unanswered:
                if attempt == 4:
                    raise
                time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
            except Refused as error:
                words = error.words
                if any(taken in words for taken in _TAKEN) or self._rpc.knows(sent):
                    return
                if any(stale in words for stale in _STALE):
                    raise _NonceTaken from error
                raise

    def _wait(self, raw: bytes, sent: Hash) -> Mined:
        """Return the receipt once it is under enough blocks; a node that forgot the transaction gets it again."""
        pause, now = 0.05, time.monotonic()
        deadline, look_again = now + self._patience, now + LOOK_AGAIN_SECONDS
        seen_in: int | None = None
        while now < deadline:
            try:
                receipt = self._rpc.receipt(sent)
                if receipt is not None and self._confirmations and receipt.block != seen_in:
                    seen_in = receipt.block
                    self._say(f"It is in block {seen_in}; waiting for {self._confirmations} more on top.")
                if receipt is not None and self._is_deep(receipt):
                    return receipt
                if receipt is None and now > look_again:
                    look_again = now + LOOK_AGAIN_SECONDS
                    if not self._rpc.knows(sent):
                        self._broadcast(raw, sent)
            except Unanswered:
                pass  # the transaction is out: a node that is restarted will know
            time.sleep(pause)
            pause, now = min(2 * pause, 1), time.monotonic()
        raise ChainUnavailable(
            f"Transaction {hex32(sent)} is in no block after {self._patience:g} s.",
            "The chain is busy, has stopped, or the fee was too low.",
            "Look at the state before sending again: it may still come.",
        )

    def _is_deep(self, receipt: Mined) -> bool:
        return not self._confirmations or (self._rpc.latest().number >= receipt.block + self._confirmations)

    def _succeeded(self, receipt: Mined, transaction: Transaction) -> Mined:
        """Return the receipt of a success; for a failure, run it again where it failed to learn what was refused."""
        if receipt.succeeded:
            return receipt
        again: Transaction = {key: transaction[key] for key in ("from", "to", "data", "value") if key in transaction}
        refusal: ChainError
        try:
            self._rpc.call(again, receipt.block)
            refusal = TransactionReverted("NoReason", (), "Look at the state and try again.")
        except ChainError as error:
            refusal = error
        raise refusal
