"""One EVM node over HTTP: reads with retries, and every failure of the node as an error of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import requests
import tenacity
from web3 import HTTPProvider
from web3.types import RPCEndpoint, RPCResponse

from network import answer_codec as answers
from network.answer_codec import Block, Log, Malformed, Mined, NodeError
from network.revert_codec import RevertCodec
from protocol.errors import ChainError, ChainUnavailable
from protocol.types import Address, Hash, hex32

T = TypeVar("T")
Transaction = dict[str, Any]  # as JSON-RPC names its fields; numbers are int, data bytes
FIRST_PAUSE_SECONDS = 0.1  # doubled after each attempt: six of them ride out three seconds
LIMIT_EXCEEDED = -32005  # EIP-1474
RUNS_CODE = ("eth_call", "eth_estimateGas")  # only these are answered with what a contract reverts with


class Unanswered(ChainUnavailable):
    """No answer, no connection, an overloaded node: asking again can help. For retries inside `network` alone."""


class Refused(ChainUnavailable):
    """The node answered with an error, in its own ``words``. For decisions inside `network` alone."""

    def __init__(self, what: str, why: str, do: str, words: str) -> None:
        super().__init__(what, why, do)
        self.words = words


class _Provider(HTTPProvider):
    @staticmethod
    def decode_rpc_response(raw_response: bytes) -> RPCResponse:
        return cast(RPCResponse, answers.json_object(raw_response))


class Rpc:
    """Speaks JSON-RPC to the node at ``url``.

    Args:
        url: HTTP(S) endpoint.
        reverts: Decodes what the contract refuses.
        timeout: Seconds to wait for one answer.
        attempts: How often a read is tried, with exponential pauses between.
    """

    def __init__(self, url: str, reverts: RevertCodec, timeout: float = 20, attempts: int = 6) -> None:
        self.url, self._reverts = url, reverts
        self._provider = _Provider(url, request_kwargs={"timeout": timeout}, exception_retry_configuration=None)
        self._retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unanswered),
            stop=tenacity.stop_after_attempt(attempts),
            wait=tenacity.wait_exponential(multiplier=FIRST_PAUSE_SECONDS, max=5),
            reraise=True,
        )

    def once(self, method: str, decode: Callable[[Any], T], *params: object) -> T:
        """Ask once and return the result as ``decode`` reads it.

        Raises:
            ChainError: The contract refused, as `RevertCodec` says it; or ChainUnavailable: the node refused, or there
                was no answer, or one that ``decode`` called Malformed. Any other exception is a mistake of ours.
        """
        try:
            answer = self._provider.make_request(RPCEndpoint(method), params)
            return decode(answers.result(cast("dict[str, Any]", answer)))
        except NodeError as error:
            raise self._refusal(method, error) from error
        except Malformed as error:
            raise self._unanswered(
                f"answers {method} with what is no answer", f"It is {error}. A proxy may answer in the node's place."
            ) from error
        except (requests.RequestException, OSError) as error:
            raise self._silence(error) from error

    def read(self, method: str, decode: Callable[[Any], T], *params: object) -> T:
        """As `once`, but asked again where there is no answer. Only for what changes nothing."""
        answer: T = self._retry(self.once, method, decode, *params)
        return answer

    def _refusal(self, method: str, error: NodeError) -> ChainError:
        revert = answers.revert_data(error) if method in RUNS_CODE else None
        if revert is not None:
            return self._reverts.error(revert)
        words = error.message[:300]
        if error.code == LIMIT_EXCEEDED:
            return self._unanswered(f"answered with an error: {words}", "It is overloaded.")
        what = f"The EVM node at {self.url} answered with an error: {words}."
        return Refused(what, f"It refused {method}.", "Set RONDO_CHAIN_URL to another node if it stays.", words.lower())

    def _silence(self, error: Exception) -> ChainUnavailable:
        """Return the error for a failed exchange: passing, unless the server says that the request was wrong."""
        what, why = f"does not answer: {type(error).__name__}", "It is not running, not reachable or overloaded."
        status = (
            error.response.status_code if isinstance(error, requests.HTTPError) and error.response is not None else 0
        )
        if 400 <= status < 500 and status != requests.codes.too_many_requests:
            what = f"The EVM node at {self.url} does not answer: HTTP status {status}."
            return ChainUnavailable(what, "The server refuses the request.", "Set RONDO_CHAIN_URL to another node.")
        return self._unanswered(what, why)

    def _unanswered(self, what: str, why: str) -> Unanswered:
        do = "Start it, or set RONDO_CHAIN_URL to another node."
        return Unanswered(f"The EVM node at {self.url} {what}.", why, do)

    # --- questions ---

    def chain_id(self) -> int:
        return self.read("eth_chainId", answers.quantity)

    def block(self, number: int | None = None) -> Block | None:
        """Return block ``number``, the latest without one; None where the node has no such block."""

        def decode(value: object) -> Block:
            block = answers.block(value)
            if number not in (None, block.number):
                raise Malformed(f"block {block.number} instead of {number}")
            return block

        return self.read("eth_getBlockByNumber", answers.optional(decode), _tag(number), False)

    def latest(self) -> Block:
        """Return the latest block."""
        return self.read("eth_getBlockByNumber", answers.block, "latest", False)

    def code(self, account: Address, *, pending: bool = False) -> bytes:
        """Return the code at ``account``, none where there is no contract.

        Args:
            account: The address.
            pending: Count what waits in the node's pool; a node that does not look there answers as of the latest block.
        """
        if pending:
            try:
                return self.read("eth_getCode", answers.data, account, "pending")
            except Refused:  # not every node has a pending block
                pass
        return self.read("eth_getCode", answers.data, account, "latest")

    def balance(self, account: Address) -> int:
        """Return the wei that ``account`` holds."""
        return self.read("eth_getBalance", answers.quantity, account, "latest")

    def nonce(self, account: Address) -> int:
        """Return the next nonce of ``account``, counting what waits in the node's pool."""
        return self.read("eth_getTransactionCount", answers.quantity, account, "pending")

    def logs(self, contract: Address, first: int, last: int) -> list[Log]:
        """Return the contract's logs of blocks ``first`` to ``last``, both included; their events are not decoded."""
        query = {"address": contract, "fromBlock": hex(first), "toBlock": hex(last)}
        return self.read("eth_getLogs", answers.logs, query)

    def call(self, transaction: Transaction, block: int | None = None) -> bytes:
        """Return what the call returns at a block, the latest without one. Raises what the contract refuses."""
        return self.read("eth_call", answers.data, _in_hex(transaction), _tag(block))

    def estimate_gas(self, transaction: Transaction) -> int:
        """Return the gas that the transaction would use. Raises what the contract refuses."""
        return self.read("eth_estimateGas", answers.quantity, _in_hex(transaction))

    def priority_fee(self, base_fee: int) -> int:
        """Return the tip that the node proposes over ``base_fee``, in wei per gas."""
        try:
            return self.read("eth_maxPriorityFeePerGas", answers.quantity)
        except Refused:  # not every node has the method; all propose a price, which is base fee and tip
            return max(self.gas_price() - base_fee, 0)

    def gas_price(self) -> int:
        """Return the price that the node proposes, in wei per gas."""
        return self.read("eth_gasPrice", answers.quantity)

    def hand_over(self, raw: bytes) -> None:
        """Give the node a signed transaction. Asks once: what follows from no answer is the sender's decision."""
        self.once("eth_sendRawTransaction", answers.hash32, "0x" + raw.hex())

    def receipt(self, transaction: Hash) -> Mined | None:
        """Return the receipt, None where no block has the transaction."""
        try:
            return self.read("eth_getTransactionReceipt", answers.receipt, hex32(transaction))
        except Refused as error:
            if _is_unknown(error):
                return None
            raise

    def knows(self, transaction: Hash) -> bool:
        """Return whether the node has the transaction, in a block or in its pool."""
        try:
            return self.read("eth_getTransactionByHash", answers.is_known, hex32(transaction))
        except Refused as error:
            if _is_unknown(error):
                return False
            raise


def _is_unknown(error: Refused) -> bool:
    """Whether a node words as an error what others answer with null (Geth while it indexes, some gateways always)."""
    return "transaction not found" in error.words or ("index" in error.words and "progress" in error.words)


def _tag(block: int | None) -> str:
    return "latest" if block is None else hex(block)


def _in_hex(transaction: Transaction) -> dict[str, str]:
    return {field: _hex(value) for field, value in transaction.items()}


def _hex(value: int | bytes | str) -> str:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return hex(value) if isinstance(value, int) else value
