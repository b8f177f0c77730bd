"""Puts our contracts on a chain, and moves tokens: what tests and a demo need besides `Chain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eth_abi.abi import encode

from network.chain import Receipt
from network.contract_abi import load_contract
from network.evm_contract import ERC20_ABI, EvmContract
from network.revert_codec import RevertCodec
from network.rpc import Refused, Rpc
from network.sender import Sender
from protocol.errors import ChainUnavailable
from protocol.types import Address

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


def deploy(url: str, key: LocalAccount) -> Address:
    """Create one more TrainingRounds, at an address of its own, and return that; `ensure_contract` makes it only once.

    Raises as `Sender.send`.
    """
    return _create(url, key, "TrainingRounds", b"")


def deploy_test_token(url: str, key: LocalAccount, supply: int) -> Address:
    """Create a token that is worth nothing and return its address; ``key`` gets ``supply`` base units."""
    return _create(url, key, "TestToken", encode(["uint256"], [supply]))


def transfer_token(url: str, key: LocalAccount, token: Address, to: Address, amount: int) -> Receipt:
    """Send ``amount`` base units of ``token`` from ``key`` to ``to``. Raises InsufficientFunds, and as `Sender.send`."""
    rpc, sender = _open(url, key)
    receipt = sender.send(token, EvmContract(rpc, token, ERC20_ABI).encode("transfer", to, amount))
    return Receipt(receipt.transaction, receipt.gas_used, receipt.block)


def fund_gas(url: str, account: Address, wei: int) -> None:
    """Set what ``account`` holds to ``wei`` on a local anvil. Raises ChainUnavailable, also on any other node."""
    rpc = Rpc(url, RevertCodec([]))
    try:
        rpc.read("anvil_setBalance", lambda _: None, account, hex(wei))
    except Refused as error:
        raise ChainUnavailable(
            f"The node at {url} gives no gas money.", "It is no anvil.", "Send the account coins."
        ) from error


def _open(url: str, key: LocalAccount) -> tuple[Rpc, Sender]:
    rpc = Rpc(url, RevertCodec(load_contract("TrainingRounds").abi + load_contract("TestToken").abi))
    return rpc, Sender(rpc, key, rpc.chain_id())


def _create(url: str, key: LocalAccount, name: str, arguments: bytes) -> Address:
    _, sender = _open(url, key)
    bytecode = bytes.fromhex(load_contract(name).bytecode.removeprefix("0x"))
    created = sender.send(None, bytecode + arguments).created
    if created is None:
        raise ChainUnavailable(f"The deployment of {name} names no address.", "", "Look at the transaction.")
    return created
