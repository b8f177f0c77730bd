"""Where this version's contract is on every chain: CREATE2 through the factory that most chains have.

The address follows from factory, salt and creation bytecode alone, not from who sends the transaction or when. Nothing
in the contract depends on its creator either, so whoever deploys it first does everybody a favour and gains nothing.
"""

from __future__ import annotations

from eth_utils.crypto import keccak

from network.contract_abi import load_contract
from network.contract_code import CONTRACT
from protocol.types import Address, Hash, address

# The deterministic deployment proxy by Nick Johnson and Arachnid, at the same address wherever it is: its only
# transaction was signed by nobody's key. It takes salt and creation bytecode and returns the address.
FACTORY = Address("0x4e59b44847b379578588920cA78FbF26c0B4956C")
FACTORY_CODE = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0"
    "3601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
)
SALT = Hash(bytes(keccak(b"Rondo TrainingRounds")))  # for ever: a new version differs in its bytecode already


def creation_code(name: str = CONTRACT) -> bytes:
    """Return the creation bytecode of a contract without constructor arguments."""
    return bytes.fromhex(load_contract(name).bytecode.removeprefix("0x"))


def factory_call() -> bytes:
    """Return the data of the factory's call that creates this version's contract."""
    return SALT + creation_code()


def deterministic_address() -> Address:
    """Return this version's address on every chain with the factory (EIP-1014)."""
    factory = bytes.fromhex(FACTORY[2:])
    return address("0x" + keccak(b"\xff" + factory + SALT + keccak(creation_code()))[12:].hex())


def created_address(creator: Address, nonce: int) -> Address:
    """Return the address of the contract that transaction ``nonce`` of ``creator`` creates, if it creates one."""
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    item = number if 0 < nonce < 0x80 else bytes([0x80 + len(number)]) + number
    fields = bytes([0x80 + 20]) + bytes.fromhex(creator[2:]) + item  # RLP
    return address("0x" + keccak(bytes([0xC0 + len(fields)]) + fields)[12:].hex())
