"""Admission: setting the list of clients whose root is on chain, keeping it so that each can get a proof, joining them.

A list is no secret: who joins is on chain, and a leaf of its tree is the hash of an address.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from network.chain import Chain
from network.files import make_directory, write_atomic
from organization.launch import check_organization
from protocol.admission import AdmissionList, AdmissionProof, NotAdmitted, is_joined, parse_clients
from protocol.errors import InvalidInput, SettingsError, TransactionReverted
from protocol.state import FederationState
from protocol.types import ZERO_HASH, Address, Hash, hex32


class Lists:
    """The lists that this organization has set, each in a file under ``home`` that is named by its root."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "organization" / "admission"
        self._last: AdmissionList | None = None  # the one that is asked for again and again

    def keep(self, admitted: AdmissionList) -> None:
        """Write the list down, durably. Raises: SettingsError where ``home`` cannot be written."""
        path = self._path(admitted.root)
        try:
            make_directory(path.parent)
            write_atomic(path, "".join(f"{client}\n" for client in admitted.clients).encode())
        except OSError as error:
            raise SettingsError(
                f"{path} cannot be written: {error.strerror}.",
                "The list is kept there before its root goes on chain, so that every client can get its proof.",
                "Set home to a directory that can be written.",
            ) from error

    def get(self, root: Hash) -> AdmissionList | None:
        """The list with this root; None where it is not here, or damaged."""
        last = self._last
        if last is not None and last.root == root:
            return last
        try:
            kept = AdmissionList.of(parse_clients(self._path(root).read_text(encoding="utf-8"), "the list"))
        except (OSError, UnicodeDecodeError, InvalidInput):
            return None
        if kept.root != root:
            return None
        self._last = kept
        return kept

    def proof(self, federation: FederationState, client: Address) -> AdmissionProof:
        """The proof with which ``client`` joins ``federation`` under its present root.

        Raises:
            NotAdmitted: Admission is open, the list is not here, or ``client`` is not on it.
        """
        root = federation.admission_root
        if root == ZERO_HASH:
            raise NotAdmitted("Admission is open.", "Nobody needs a proof.", "Take part without one.")
        admitted = self.get(root)
        if admitted is None:
            raise NotAdmitted(
                f"The list of admission root {hex32(root)} is not here.",
                "It was set from another home, or its file is damaged.",
                "Ask the organization; `rondo org admit FILE`, run once more, keeps the list here.",
            )
        return admitted.proof(federation.id, client)

    def _path(self, root: Hash) -> Path:
        return self._folder / f"{root.hex()}.txt"


def read_list(path: Path) -> AdmissionList:
    """The list in the text file ``path``. Raises: InvalidInput where it cannot be read or a line cannot be taken."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = str(error.strerror) if isinstance(error, OSError) else "It is no UTF-8 text"
        raise InvalidInput(f"The list {path} cannot be read.", f"{why}.", "Check the path.") from None
    return AdmissionList.of(parse_clients(text, str(path)))


def set_admission(chain: Chain, federation: FederationState, root: Hash) -> bool:
    """Make ``root`` the federation's (``ZERO_HASH`` opens it); False where it is so already.

    Raises:
        InvalidInput: The account is not the organization. KeyError_, ChainError.
    """
    check_organization(chain, federation)
    if federation.admission_root == root:
        return False
    chain.set_admission(federation.id, root)
    return True


def join_all(
    chain: Chain, federation: FederationState, admitted: AdmissionList, say: Callable[[str], None]
) -> list[Address]:
    """Join everyone on the list who has not joined; return those who joined by this. Safe to repeat.

    One transaction for each: the contract keeps no lists. ``admitted`` must be the federation's on chain by now.

    Raises:
        ChainError: A transaction failed; those before it stand.
    """
    joined = []
    for client in admitted.clients:
        if is_joined(federation, admitted.root, client):
            continue
        try:
            chain.join(federation.id, client, admitted.proof(federation.id, client).siblings)
        except TransactionReverted as revert:
            if revert.name != "AlreadyJoined":  # by its client, meanwhile
                raise
            continue
        say(f"joined {client}")
        joined.append(client)
    return joined
