"""One EVM node over HTTP: reads with retries, and every failure of the node as an error of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import requests
import tenacity
from eth_typing import ChecksumAddress, HexAddress, HexStr
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import (
    BlockNotFound,
    ContractLogicError,
    TransactionIndexingInProgress,
    TransactionNotFound,
    Web3Exception,
    Web3RPCError,
)
from web3.types import FilterParams, TxParams, TxReceipt

from network.revert_codec import RevertCodec
from protocol.errors import ChainError, ChainUnavailable
from protocol.types import Address, Hash

T = TypeVar("T")
Transaction = dict[str, Any]  # as JSON-RPC names its fields
FOREIGN = (requests.RequestException, Web3Exception, OSError)


class Unanswered(ChainUnavailable):
    """The connection failed or the node is overloaded: asking again can help. For retries inside `network` alone."""


@dataclass(frozen=True, slots=True)
class Block:
    """The head of a block; ``timestamp`` in seconds, ``base_fee`` in wei per gas, None before EIP-1559."""

    number: int
    hash: Hash
    timestamp: int
    base_fee: int | None


class Rpc:
    """Speaks JSON-RPC to the node at ``url``.

    Args:
        url: HTTP(S) endpoint.
        reverts: Decodes what the contract refuses.
        timeout: Seconds to wait for one answer.
        attempts: How often a read is tried, with exponential pauses between.
    """

    def __init__(self, url: str, reverts: RevertCodec, timeout: float = 20, attempts: int = 5) -> None:
        self.url, self._reverts = url, reverts
        provider = Web3.HTTPProvider(url, request_kwargs={"timeout": timeout}, exception_retry_configuration=None)
        # No middleware: it would ask for the chain id before every call, and refuse the blocks of proof-of-authority chains.
        self.web3 = Web3(provider, middleware=[])
        self._retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unanswered),
            stop=tenacity.stop_after_attempt(attempts),
            wait=tenacity.wait_exponential(multiplier=0.1, max=5),
            reraise=True,
        )

    def once(self, ask: Callable[[], T]) -> T:
        """Return ``ask()``, asked once.

        Raises:
            ChainError: The contract refused, as `RevertCodec` says it; or ChainUnavailable with the node's words.
        """
        try:
            return ask()
        except ContractLogicError as error:
            raise self._refusal(error) from error
        except Web3RPCError as error:
            raise self._unavailable(f"answered with an error: {rpc_message(error)}", error) from error
        except FOREIGN as error:
            raise self._unavailable(f"does not answer: {type(error).__name__}", error) from error

    def read(self, ask: Callable[[], T]) -> T:
        """Return ``ask()``, asked again where the node does not answer. Only for what changes nothing."""
        answer: T = self._retry(self.once, ask)
        return answer

    def _refusal(self, error: ContractLogicError) -> ChainError:
        data = error.data
        if isinstance(data, str) and data.startswith("0x"):
            return self._reverts.error(bytes.fromhex(data[2:]))
        return self._reverts.error(b"")

    def _unavailable(self, what: str, error: Exception) -> ChainUnavailable:
        kind = Unanswered if _is_passing(error) else ChainUnavailable
        return kind(
            f"The EVM node at {self.url} {what}.",
            "" if isinstance(error, Web3RPCError) else "It is not running, not reachable or overloaded.",
            "Start it, or set RONDO_CHAIN_URL to another node.",
        )

    # --- questions ---

    def chain_id(self) -> int:
        return self.read(lambda: self.web3.eth.chain_id)

    def block(self, number: int | None = None) -> Block | None:
        """Return block ``number``, the latest without one; None where the node has no such block."""
        found = self.read(lambda: self._block(number))
        if found is None:
            return None
        return Block(found["number"], Hash(bytes(found["hash"])), found["timestamp"], found.get("baseFeePerGas"))

    def latest(self) -> Block:
        """Return the latest block."""
        block = self.block()
        if block is None:
            raise ChainUnavailable(f"The EVM node at {self.url} has no block yet.", "", "Wait until it has synced.")
        return block

    def _block(self, number: int | None) -> dict[str, Any] | None:
        try:
            return cast("dict[str, Any]", self.web3.eth.get_block("latest" if number is None else number))
        except BlockNotFound:
            return None

    def code(self, account: Address) -> bytes:
        return bytes(self.read(lambda: self.web3.eth.get_code(_checksum(account))))

    def balance(self, account: Address) -> int:
        """Return the wei that ``account`` holds."""
        return self.read(lambda: self.web3.eth.get_balance(_checksum(account)))

    def nonce(self, account: Address) -> int:
        """Return the next nonce of ``account``, counting what waits in the node's pool."""
        return self.read(lambda: self.web3.eth.get_transaction_count(_checksum(account), "pending"))

    def logs(self, contract: Address, first: int, last: int) -> list[dict[str, Any]]:
        """Return the contract's raw logs of blocks ``first`` to ``last``, both included."""
        query: FilterParams = {"address": _checksum(contract), "fromBlock": first, "toBlock": last}
        return cast("list[dict[str, Any]]", self.read(lambda: self.web3.eth.get_logs(query)))

    def call(self, transaction: Transaction, block: int | None = None) -> bytes:
        """Return what the call returns at a block, the latest without one. Raises what the contract refuses."""
        return bytes(
            self.read(lambda: self.web3.eth.call(cast(TxParams, transaction), "latest" if block is None else block))
        )

    def estimate_gas(self, transaction: Transaction) -> int:
        """Return the gas that the transaction would use. Raises what the contract refuses."""
        return self.read(lambda: self.web3.eth.estimate_gas(cast(TxParams, transaction)))

    def priority_fee(self) -> int:
        """Return the tip that the node proposes, in wei per gas."""
        return self.read(lambda: self.web3.eth.max_priority_fee)

    def gas_price(self) -> int:
        """Return the price that the node proposes, in wei per gas."""
        return self.read(lambda: self.web3.eth.gas_price)

    def receipt(self, transaction: Hash) -> TxReceipt | None:
        """Return the receipt, None where no block has the transaction."""
        return self.read(lambda: self._found(lambda: self.web3.eth.get_transaction_receipt(_hex(transaction))))

    def knows(self, transaction: Hash) -> bool:
        """Return whether the node has the transaction, in a block or in its pool."""
        return self.read(lambda: self._found(lambda: self.web3.eth.get_transaction(_hex(transaction)))) is not None

    @staticmethod
    def _found(ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except (TransactionNotFound, TransactionIndexingInProgress):
            return None


def rpc_message(error: Web3RPCError) -> str:
    """Return the node's own words."""
    details = (error.rpc_response or {}).get("error")
    return str(details.get("message", details)) if isinstance(details, dict) else str(details or error.message)


def _is_passing(error: Exception) -> bool:
    """Whether asking again can help: no connection, too many requests (HTTP 429, JSON-RPC -32005), a failing server."""
    if isinstance(error, Web3RPCError):
        details = (error.rpc_response or {}).get("error")
        return isinstance(details, dict) and details.get("code") == -32005
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code == requests.codes.too_many_requests or error.response.status_code >= 500
    return isinstance(error, (requests.RequestException, OSError))


def _checksum(account: Address) -> ChecksumAddress:
    return ChecksumAddress(HexAddress(HexStr(account)))


def _hex(transaction: Hash) -> HexBytes:
    return HexBytes(transaction)
