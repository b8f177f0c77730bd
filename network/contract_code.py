"""Says whether the code at an address is this version's contract, to the byte.

The compiler leaves holes in the code for immutables. All of ours follow from the chain's id and the contract's address,
so the exact code that a deployment must have is computed and compared: neither a prefix nor the holes are believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from eth_utils.crypto import keccak

from network.contract_abi import ContractFile, load_contract
from protocol.errors import ForeignContract, InvalidInput
from protocol.hashing import DOMAIN_NAME, DOMAIN_VERSION, domain_separator
from protocol.types import Address, address

CONTRACT = "TrainingRounds"
# EIP-1167's minimal proxy, as most libraries write it and as it is since PUSH0: the target's address goes between.
_CLONES = (
    (bytes.fromhex("363d3d373d3d3d363d73"), bytes.fromhex("5af43d82803e903d91602b57fd5bf3")),
    (bytes.fromhex("365f5f375f5f365f73"), bytes.fromhex("5af43d5f5f3e5f3d91602a57fd5bf3")),
)
_DELEGATION = bytes.fromhex("ef0100")  # EIP-7702: an account that lends its address to a contract's code


class Kind(Enum):
    """What code can turn out to be."""

    OURS = "ours"
    NOTHING = "nothing"
    MISPLACED = "misplaced"  # this version's code, made for another address or chain
    PROXY = "proxy"
    DELEGATED = "delegated"
    FOREIGN = "foreign"


@dataclass(frozen=True)
class Verdict:
    """What is at an address, and why that is not this version's contract (empty where it is)."""

    kind: Kind
    why: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is this version's contract."""
        return self.kind is Kind.OURS


def expected_immutables(chain_id: int, contract: Address) -> dict[str, bytes]:
    """Return the 32 bytes of each immutable of a TrainingRounds at ``contract``, by its name in the source."""
    return {
        "_cachedChainId": chain_id.to_bytes(32, "big"),
        "_cachedDomainSeparator": domain_separator(chain_id, contract),
        "_cachedThis": bytes(12) + bytes.fromhex(contract[2:]),
        "_hashedName": bytes(keccak(DOMAIN_NAME.encode())),
        "_hashedVersion": bytes(keccak(DOMAIN_VERSION.encode())),
        "_name": _short_string(DOMAIN_NAME),
        "_version": _short_string(DOMAIN_VERSION),
    }


def fill(contract: ContractFile, values: Mapping[str, bytes]) -> bytes:
    """Return the runtime code with the immutables' ``values`` put in, each 32 bytes."""
    code = bytearray(contract.runtime)
    for name, starts in contract.immutables.items():
        for start in starts:
            code[start : start + 32] = values[name]
    return bytes(code)


def judge(code: bytes, chain_id: int, contract: Address) -> Verdict:
    """Say what ``code`` at ``contract`` on chain ``chain_id`` is."""
    ours = load_contract(CONTRACT)
    expected = expected_immutables(chain_id, contract)
    if code == fill(ours, expected):
        return Verdict(Kind.OURS)
    if not code:
        return Verdict(Kind.NOTHING, "No code is there.")
    if code.startswith(_DELEGATION) and len(code) == 23:
        target = _address(code[3:])
        return Verdict(
            Kind.DELEGATED, f"An account is there that runs the code of {target} as long as its owner likes."
        )
    for head, tail in _CLONES:
        if code.startswith(head) and code.endswith(tail) and len(code) == len(head) + 20 + len(tail):
            return Verdict(Kind.PROXY, f"It is a proxy that runs the code of {_address(code[len(head) :][:20])}.")
    blank = dict.fromkeys(ours.immutables, bytes(32))
    if len(code) == len(ours.runtime) and fill(_with_runtime(ours, code), blank) == ours.runtime:
        return Verdict(Kind.MISPLACED, _misplaced(ours, code, expected))
    return Verdict(Kind.FOREIGN, "Its code is of another contract, or of another version of this one.")


def require_ours(code: bytes, chain_id: int, contract: Address, url: str) -> None:
    """Refuse code that is not this version's contract.

    Raises:
        InvalidInput: There is no code.
        ForeignContract: There is other code.
    """
    verdict = judge(code, chain_id, contract)
    if verdict.kind is Kind.NOTHING:
        raise InvalidInput(
            f"There is no contract at {contract} on chain {chain_id} ({url}).",
            "The address is of another chain, or the chain was started afresh.",
            "Set RONDO_CONTRACT to the address that the deployment printed, or deploy one: rondo deploy",
        )
    if not verdict.is_ours:
        raise ForeignContract(
            f"{contract} on chain {chain_id} ({url}) is not this version's TrainingRounds.",
            verdict.why,
            "Unset RONDO_CONTRACT to find this version's, use the Rondo that it was deployed with, or, "
            "if you know that contract, set RONDO_ACCEPT_OTHER_CODE=1.",
        )


def _short_string(text: str) -> bytes:
    """``text`` as OpenZeppelin's ShortString: up to 31 bytes, zeros, and the length in the last byte."""
    raw = text.encode()
    return raw.ljust(31, b"\0") + bytes([len(raw)])


def _address(raw: bytes) -> Address:
    return address("0x" + raw.hex())


def _with_runtime(contract: ContractFile, runtime: bytes) -> ContractFile:
    return ContractFile(contract.abi, contract.bytecode, runtime, contract.immutables)


def _misplaced(ours: ContractFile, code: bytes, expected: Mapping[str, bytes]) -> str:
    """Say which immutables are not as they must be, and for where the code was made if it says so consistently."""
    found = {name: code[starts[0] : starts[0] + 32] for name, starts in ours.immutables.items()}
    chain_id, this = int.from_bytes(found["_cachedChainId"], "big"), found["_cachedThis"]
    if not any(this[:12]) and code == fill(ours, expected_immutables(chain_id, _address(this[12:]))):
        where = f"It is this version's code, made for {_address(this[12:])} on chain {chain_id}: "
        return where + "a copy, or the chain changed its id."
    wrong = sorted(name for name, value in found.items() if value != expected[name])
    return f"It is this version's code with other values in it: {', '.join(wrong)}."
