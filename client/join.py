"""Joining a federation that admits listed clients only: once for each list, with a proof made from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from network.chain import Chain
from network.session import open_chain
from network.settings import load_settings
from protocol.admission import MAX_PROOFS_BYTES, AdmissionList, AdmissionProof, counts_from, parse_clients, read_proof
from protocol.errors import InvalidInput, KeyError_, TransactionReverted
from protocol.reference import resolve_federation
from protocol.state import FederationState
from protocol.types import ZERO_HASH, Address, FederationId, Hash, hex32

# Makes the proof of one account for one federation.
Prover = Callable[[FederationId, Address], AdmissionProof]


def prover_of(proof: Path | None, listed: Path | None) -> Prover:
    """Return what proves by the file ``proof``, or by the public list in ``listed``; a list is read and checked at once.

    Raises:
        InvalidInput: Both are named, or neither, or the file cannot be read, or a line of the list cannot be taken.
    """
    if (proof is None) == (listed is None):
        raise InvalidInput(
            "Joining needs --proof or --list.",
            "The contract takes an account only with the proof that it is on the organization's list.",
            "Name the file with your proof, or the list itself, not both.",
        )
    if listed is not None:
        try:
            text = _read(listed).decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidInput(f"{listed} is no UTF-8 text.", "", "Name the organization's list of clients.") from None
        return AdmissionList.of(parse_clients(text, str(listed))).proof
    assert proof is not None  # noqa: S101 - decided above; tells the type checker
    data = _read(proof)
    return lambda federation, account: read_proof(data, account, str(proof))


def join_federation(chain: Chain, federation_id: FederationId, prove: Prover) -> dict[str, Any]:
    """Join the chain's account, once; says what counts now. Safe to repeat.

    Raises:
        NotAdmitted: The account is not on the list.
        InvalidInput: The proof is for another federation, or for a list that is no longer the federation's.
        KeyError_: The chain was opened without an account. UnknownFederation, ChainError.
    """
    account = chain.account
    if account is None:
        raise KeyError_("Joining needs an account.", "No keystore is configured.", "Set keystore.")
    state = chain.state()
    federation = resolve_federation(state, federation_id)
    root = federation.admission_root
    transaction = None
    if root != ZERO_HASH and (root, account) not in federation.joined:
        proof = prove(federation_id, account)
        _check(proof, federation)
        transaction = _send(chain, proof)
    return {
        "account": account,
        "federation": hex32(federation_id),
        "open": root == ZERO_HASH,
        "root": None if root == ZERO_HASH else hex32(root),
        "joined": root != ZERO_HASH,
        "transaction": None if transaction is None else hex32(transaction),
        "counts_from_round": counts_from(state, federation, root),
    }


def join_configured(config: Path | None, prove: Prover) -> dict[str, Any]:
    """`join_federation` for the configured account and federation. Raises: as it does, and SettingsError."""
    settings = load_settings(config)
    federation = settings.require_federation()
    return join_federation(open_chain(settings, with_key=True), federation, prove)


def _check(proof: AdmissionProof, federation: FederationState) -> None:
    """Refuse what the contract would, before gas is spent on it."""
    if proof.federation != federation.id:
        raise InvalidInput(
            f"The proof is for federation {hex32(proof.federation)}.",
            f"The configured one is {hex32(federation.id)}.",
            "Take the proof for this federation, or set federation to the other.",
        )
    if proof.root != federation.admission_root:
        raise InvalidInput(
            f"The proof leads to the admission root {hex32(proof.root)}.",
            f"The federation's is {hex32(federation.admission_root)} now: the list is an earlier one, or another.",
            "Ask the organization for its present list, or for your proof.",
        )


def _send(chain: Chain, proof: AdmissionProof) -> Hash | None:
    """Send the transaction; None where the account was joined meanwhile, by whomever."""
    try:
        return chain.join(proof.federation, proof.client, proof.siblings).transaction
    except TransactionReverted as error:
        if error.name != "AlreadyJoined":
            raise
        return None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PROOFS_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read.", f"{error.strerror}.", "Check the path.") from None
    if len(data) > MAX_PROOFS_BYTES:
        raise InvalidInput(f"{path} has more than {MAX_PROOFS_BYTES} bytes.", "", "Name a list or a proof.")
    return data
