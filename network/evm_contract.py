"""One contract on an EVM node: calls encoded and answers decoded by its ABI."""

from __future__ import annotations

from typing import Any

from web3 import Web3
from web3.exceptions import Web3Exception

from network.contract_abi import decode_values
from network.rpc import Rpc
from protocol.errors import ChainUnavailable, InvalidInput
from protocol.types import Address

ERC20_ABI: list[dict[str, Any]] = [
    {
        "type": "function",
        "name": name,
        "stateMutability": kind,
        "inputs": [{"name": f"value{i}", "type": item} for i, item in enumerate(inputs)],
        "outputs": [{"name": "", "type": output}],
    }
    for name, kind, inputs, output in (
        ("balanceOf", "view", ("address",), "uint256"),
        ("allowance", "view", ("address", "address"), "uint256"),
        ("approve", "nonpayable", ("address", "uint256"), "bool"),
        ("transfer", "nonpayable", ("address", "uint256"), "bool"),
    )
]


class EvmContract:
    """The contract at ``address``, with ``abi``."""

    def __init__(self, rpc: Rpc, address: Address, abi: list[dict[str, Any]]) -> None:
        self._rpc, self.address = rpc, address
        self._encoder = Web3().eth.contract(abi=abi)
        self._outputs = {entry["name"]: entry["outputs"] for entry in abi if entry["type"] == "function"}

    def encode(self, function: str, *arguments: object) -> bytes:
        """Return the call's data.

        Raises:
            InvalidInput: An argument does not fit its type.
        """
        try:
            return bytes.fromhex(self._encoder.encode_abi(function, args=list(arguments)).removeprefix("0x"))
        except (Web3Exception, TypeError) as error:
            raise InvalidInput(
                f"The arguments of {function} do not fit their types.", str(error).strip(), "Check their ranges."
            ) from error

    def call(self, function: str, *arguments: object) -> Any:
        """Return the answer of a view: the value, a tuple where it is a struct, a list where there are several.

        Raises:
            ChainError: As `Rpc.call`; ChainUnavailable also where the address does not answer as this contract would.
        """
        transaction = {"to": self.address, "data": self.encode(function, *arguments)}
        try:
            values = decode_values(self._outputs[function], self._rpc.call(transaction))
        except ValueError as error:
            raise ChainUnavailable(
                f"{self.address} does not answer {function}.", f"{error}.", "Check the address and the chain."
            ) from error
        return values[0] if len(values) == 1 else values
