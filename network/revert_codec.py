"""Turns revert data into the error that says what the contract refused: decoded by the ABI, here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from network.contract_abi import decode_values, entries
from protocol.errors import ChainError, InsufficientFunds, TransactionReverted, UnknownFederation, UnknownRound

# What Solidity itself and ERC-20 tokens (EIP-6093) revert with.
COMMON_ERRORS: list[dict[str, Any]] = [
    {"type": "error", "name": name, "inputs": [{"name": f"value{i}", "type": kind} for i, kind in enumerate(kinds)]}
    for name, kinds in {
        "Error": ["string"],
        "Panic": ["uint256"],
        "ERC20InsufficientBalance": ["address", "uint256", "uint256"],
        "ERC20InsufficientAllowance": ["address", "uint256", "uint256"],
        "SafeCastOverflowedUintDowncast": ["uint8", "uint256"],
        "SafeERC20FailedOperation": ["address"],
        "ReentrancyGuardReentrantCall": [],
    }.items()
]

ADVICE: Mapping[str, str] = {
    "AlreadyAttested": "Nothing is left to do: this auditor's attestation is on the chain.",
    "AlreadyPaid": "Nothing is left to do: the reward was paid before.",
    "AlreadySubmitted": "Nothing is left to do: this client's update of the round is on the chain.",
    "EscrowNotReceived": "Use a token that moves exactly the amount it is asked to.",
    "FederationExists": "Use another salt.",
    "NotAuditor": "Attest with the key of one of the federation's auditors.",
    "NotJoined": "Join the federation with the client's admission proof first.",
    "NotOrganization": "Send with the key of the federation's organization.",
    "RoundIsLive": "Wait until the federation's last round is over.",
    "StaleBase": "Read the federation's head again and launch from it.",
    "StaleUpdates": "Read the round's updates again and derive its result from all of them.",
    "TermOutOfRange": "Change the round's terms to lie in the range.",
    "TooManyMillis": "Record no more than the time since the launch, and no more than the round's maximum.",
    "WrongPhase": "Look at the round's phase and deadlines.",
}


class RevertCodec:
    """Decodes revert data of a contract with this ABI."""

    def __init__(self, abi: list[dict[str, Any]]) -> None:
        self._by_selector = {hash[:4]: entry for hash, entry in entries(COMMON_ERRORS + abi, "error").items()}

    def error(self, data: bytes) -> ChainError:
        """Return the error for revert ``data``; an unknown one is a `TransactionReverted` named by its selector."""
        entry = self._by_selector.get(data[:4])
        if entry is None:
            return TransactionReverted("0x" + data[:4].hex() if data else "NoReason", (data[4:],) if data[4:] else ())
        try:
            arguments = tuple(decode_values(entry["inputs"], data[4:]))
        except ValueError:
            return TransactionReverted(entry["name"], (data[4:],))
        return _named(entry["name"], arguments)


def _named(name: str, arguments: tuple[Any, ...]) -> ChainError:
    do = "Check the id, the contract's address and the chain."
    match name:
        case "UnknownRound":
            return UnknownRound(f"The contract knows no round 0x{arguments[0].hex()}.", "", do)
        case "UnknownFederation":
            return UnknownFederation(f"The contract knows no federation 0x{arguments[0].hex()}.", "", do)
        case "ERC20InsufficientBalance":
            account, held, needed = arguments
            return InsufficientFunds(
                f"{account} holds {held} base units of the token, but {needed} are needed.", "", "Send it tokens."
            )
    return TransactionReverted(name, arguments, ADVICE.get(name, ""))
