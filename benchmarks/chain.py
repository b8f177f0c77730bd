"""An anvil for measurements: hardfork pinned, raw signed transactions, and nothing believed but their receipts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Self, cast

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from web3 import HTTPProvider, Web3
from web3.contract import Contract
from web3.types import TxReceipt

from network.contract_abi import load_contract
from network.node import LocalNode, find_anvil
from protocol.errors import ChainError

HARDFORK = "osaka"
BLOCK_GAS = 60_000_000
TRANSACTION_GAS = 2**24  # EIP-7825's cap, which anvil enforces here
ONE_CALL_GAS = 1_000_000  # for a call that is no batch, so that many fit a block
FEE = 10**12  # wei per gas; far above any base fee that a short run reaches
OPTIONS = (
    *("--hardfork", HARDFORK, "--gas-limit", str(BLOCK_GAS), "--enable-tx-gas-limit"),
    *("--order", "fifo", "--no-mining"),
)


class CallFailed(ChainError):
    """A measured transaction did not succeed, so its gas means nothing."""


@dataclass(frozen=True)
class Call:
    """One transaction to be sent: what it does, who sends it, and to which contract (None creates one)."""

    name: str
    sender: LocalAccount
    to: str | None
    data: str
    gas: int = ONE_CALL_GAS


def anvil_version() -> str:
    """Return the first line of ``anvil --version``, without its name."""
    done = subprocess.run([find_anvil(), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0].rpartition(" ")[2]


class MeasuredChain:
    """A fresh chain that mines when told to; use it as a context manager."""

    def __init__(self) -> None:
        self.node = LocalNode(block_time=None, options=OPTIONS)
        self.w3 = Web3(HTTPProvider(self.node.url))
        # Signing is most of the work, and pure Python.
        self._signers = ProcessPoolExecutor(mp_context=get_context("spawn"))
        self._nonces: dict[str, int] = {}

    def __enter__(self) -> Self:
        self.node.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._signers.shutdown(cancel_futures=True)
        self.node.stop()

    @property
    def id(self) -> int:
        """The chain's id."""
        return self.node.chain_id

    @property
    def hardfork(self) -> str:
        """The hardfork whose gas schedule holds, as anvil says it."""
        return str(self.node.rpc("anvil_nodeInfo")["hardFork"]).lower()

    def person(self, name: str) -> LocalAccount:
        """Return the account that is always ``name``'s, with money for gas."""
        account = key_of(name)
        self.node.rpc("anvil_setBalance", account.address, hex(10**24))
        return account

    def keys(self, names: Sequence[str]) -> list[LocalAccount]:
        """Return the accounts that are always ``names``'s, without money."""
        return list(self._signers.map(key_of, names, chunksize=64))

    def deploy(self, name: str, sender: LocalAccount, *arguments: object) -> Contract:
        """Create the contract ``name`` of network/abi and return it."""
        file = load_contract(name)
        data = str(
            self.w3.eth.contract(abi=file.abi, bytecode=file.bytecode).constructor(*arguments).data_in_transaction
        )
        (receipt,) = self.receipts([Call(f"deploy {name}", sender, None, data, TRANSACTION_GAS)])
        return self.w3.eth.contract(cast("ChecksumAddress", receipt["contractAddress"]), abi=file.abi)

    def send(self, calls: Sequence[Call]) -> list[int]:
        """Send ``calls``, in this order; return the gas that each used.

        Raises:
            CallFailed: One was reverted.
        """
        return [receipt["gasUsed"] for receipt in self.receipts(calls)]

    def receipts(self, calls: Sequence[Call]) -> list[TxReceipt]:
        """The same; return their receipts."""
        signed = self._signers.map(_sign_transaction, [self._fields(call) for call in calls], chunksize=16)
        hashes = [self.w3.eth.send_raw_transaction(HexBytes(raw)) for raw in signed]
        found: dict[bytes, TxReceipt] = {}
        while any(hash not in found for hash in hashes):
            self.node.rpc("evm_mine")
            mined = self.w3.eth.get_block_receipts("latest")
            if not mined:
                raise CallFailed("anvil mines no transaction.", f"{len(hashes) - len(found)} of them wait.", "")
            found |= {bytes(receipt["transactionHash"]): receipt for receipt in mined}
        for call, hash in zip(calls, hashes, strict=True):
            if found[hash]["status"] != 1:
                raise CallFailed(f"{call.name} was reverted.", self._reason(call), "Does the play follow the contract?")
        return [found[hash] for hash in hashes]

    def sign_hashes(self, work: Iterable[tuple[LocalAccount, bytes]]) -> list[bytes]:
        """Return each account's signature of its 32 bytes."""
        return list(self._signers.map(_sign_hash, [(bytes(who.key), what) for who, what in work], chunksize=16))

    def pass_time(self, seconds: int) -> None:
        """Let the next block be ``seconds`` later."""
        self.node.rpc("evm_increaseTime", hex(seconds))

    def _fields(self, call: Call) -> tuple[bytes, dict[str, Any]]:
        sender = call.sender.address
        nonce = self._nonces.get(sender, 0)
        self._nonces[sender] = nonce + 1
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": self.id,
            "nonce": nonce,
            "gas": call.gas,
            "maxFeePerGas": FEE,
            "maxPriorityFeePerGas": 1,
            "value": 0,
            "data": call.data,
        }
        return bytes(call.sender.key), fields if call.to is None else {**fields, "to": call.to}

    def _reason(self, call: Call) -> str:
        try:
            self.w3.eth.call({"from": call.sender.address, "to": call.to or "", "data": HexBytes(call.data)})
        except Exception as error:
            return f"{error}."
        return "Called again it is not."


@lru_cache(maxsize=65536)
def key_of(name: str) -> LocalAccount:
    """Return the account that is always ``name``'s."""
    return _account(bytes(keccak(text=name)))


@lru_cache(maxsize=1024)
def _account(key: bytes) -> LocalAccount:
    account: LocalAccount = Account.from_key(key)
    return account


def _sign_transaction(work: tuple[bytes, dict[str, Any]]) -> bytes:
    key, fields = work
    return bytes(_account(key).sign_transaction(fields).raw_transaction)


def _sign_hash(work: tuple[bytes, bytes]) -> bytes:
    key, what = work
    return bytes(Account.unsafe_sign_hash(what, key).signature)
