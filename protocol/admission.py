"""Whom an organization admits: the list as people write it, its tree, and the proofs that clients join with. All public.

The root alone is on chain (`setAdmission`); whoever has the list, or the proof made of it, can join a listed client.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protocol.canonical_json import is_nested_deeper
from protocol.errors import InvalidInput, RondoError
from protocol.merkle import MAX_PROOF, MerkleTree, admission_leaf, verify
from protocol.state import FederationState, State
from protocol.types import ZERO_ADDRESS, Address, FederationId, Hash, address, hex32

MAX_PROOFS_BYTES = 1 << 28  # proofs for 100,000 clients are 130 MB
SHOWN_LINES = 5

_HASH = re.compile("0x[0-9a-f]{64}")


class NotAdmitted(RondoError):
    """An account is on no list that counts."""

    exit_code = 77


@dataclass(frozen=True, slots=True)
class AdmissionProof:
    """That ``client`` is under ``root``, an admission root of ``federation``."""

    federation: FederationId
    root: Hash
    client: Address
    siblings: tuple[Hash, ...]

    @property
    def is_valid(self) -> bool:
        """Whether the contract would take it while ``root`` is the federation's."""
        return verify(self.root, admission_leaf(self.client), self.siblings)


def parse_clients(text: str, name: str) -> tuple[Address, ...]:
    """Return the clients of a list: an address a line; empty lines, and what follows a ``#``, do not count.

    Args:
        name: The file's, for errors.

    Raises:
        InvalidInput: A line is no address, the zero address, or an address that an earlier line has; or there is none.
    """
    found: dict[Address, int] = {}
    wrong: list[str] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        try:
            client = address(word)
        except InvalidInput as error:
            why = "its checksum is wrong" if "checksum" in error.why else "not an address"
            wrong.append(f"line {number}: {word[:60]!r}: {why}")
            continue
        if client == ZERO_ADDRESS:
            wrong.append(f"line {number}: nobody has the zero address")
        elif client in found:
            wrong.append(f"line {number}: {client} is on line {found[client]} already")
        else:
            found[client] = number
    if wrong:
        more = f"; and {len(wrong) - SHOWN_LINES} more" if len(wrong) > SHOWN_LINES else ""
        raise InvalidInput(
            f"{name} has {len(wrong)} line{'' if len(wrong) == 1 else 's'} that cannot be taken.",
            "; ".join(wrong[:SHOWN_LINES]) + more + ".",
            "Correct them: one address (0x and 40 hex digits) a line, each once.",
        )
    if not found:
        # Its root would be 0, which is open admission: the opposite of a list that admits nobody.
        raise InvalidInput(f"{name} lists nobody.", "A list admits at least one client.", "Write one address a line.")
    return tuple(found)


@dataclass(frozen=True)
class AdmissionList:
    """The clients under one root, in the list's order."""

    clients: tuple[Address, ...]
    tree: MerkleTree

    @classmethod
    def of(cls, clients: Sequence[Address]) -> AdmissionList:
        """The list of ``clients``; its root does not depend on their order."""
        return cls(tuple(clients), MerkleTree(admission_leaf(client) for client in clients))

    @property
    def root(self) -> Hash:
        """What goes on chain."""
        return self.tree.root

    def proof(self, federation: FederationId, client: Address) -> AdmissionProof:
        """Return the proof with which ``client`` joins ``federation``.

        Raises:
            NotAdmitted: It is not on the list.
        """
        leaf = admission_leaf(client)
        if leaf not in self.tree:
            raise _not_listed(client, len(self.clients))
        return AdmissionProof(federation, self.root, client, self.tree.proof(leaf))

    def document(self, federation: FederationId) -> dict[str, Any]:
        """Return the proofs of all clients as one JSON object."""
        proofs = {client: [hex32(one) for one in self.tree.proof(admission_leaf(client))] for client in self.clients}
        return {"federation": hex32(federation), "root": hex32(self.root), "proofs": proofs}


def proof_document(proof: AdmissionProof) -> dict[str, Any]:
    """Return one client's proof as a JSON object."""
    return {
        "federation": hex32(proof.federation),
        "root": hex32(proof.root),
        "client": proof.client,
        "proof": [hex32(one) for one in proof.siblings],
    }


def read_proof(data: bytes, client: Address, name: str) -> AdmissionProof:
    """Return the proof of ``client`` in JSON text: one client's (`proof_document`) or all (`AdmissionList.document`).

    Raises:
        InvalidInput: It is neither, or the proof does not lead to the root that it states.
        NotAdmitted: It has none for ``client``.
    """
    document = _json_object(data, name)
    proofs = document.get("proofs", {document.get("client"): document.get("proof")})
    if not isinstance(proofs, Mapping):
        raise _no_proofs(name)
    try:
        by_client = {address(str(key)): value for key, value in proofs.items()}
    except InvalidInput:
        raise _no_proofs(name) from None
    if client not in by_client:
        raise _not_listed(client, len(by_client))
    siblings = by_client[client]
    if not isinstance(siblings, list) or len(siblings) > MAX_PROOF:
        raise _no_proofs(name)
    proof = AdmissionProof(
        FederationId(_hash(document.get("federation"), name)),
        _hash(document.get("root"), name),
        client,
        tuple(_hash(one, name) for one in siblings),
    )
    if not proof.is_valid:
        raise InvalidInput(
            f"The proof of {client} in {name} does not lead to the root it states, {hex32(proof.root)}.",
            "The file was changed, or was made for another list.",
            "Ask the organization for it again.",
        )
    return proof


def is_joined(federation: FederationState, root: Hash, client: Address) -> bool:
    """Whether ``client`` may take part in rounds that admit by ``root``."""
    return not any(root) or (root, client) in federation.joined


def counts_from(state: State, federation: FederationState, root: Hash) -> int:
    """Return the index of the first round that admits by ``root``, where the federation's root is, or will now be, that.

    A round keeps the root that it was launched with, so a new one counts from the next launch.
    """
    index = len(federation.rounds) + 1
    for round_id in reversed(federation.rounds):
        if state.rounds[round_id].admission_root != root:
            break
        index -= 1
    return index


def _json_object(data: bytes, name: str) -> dict[str, Any]:
    if len(data) > MAX_PROOFS_BYTES or is_nested_deeper(data, 3):
        raise _no_proofs(name)
    try:
        document = json.loads(data)
    except ValueError:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise _no_proofs(name) from None
    if not isinstance(document, dict):
        raise _no_proofs(name)
    return document


def _hash(value: object, name: str) -> Hash:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise _no_proofs(name)
    return Hash(bytes.fromhex(value[2:]))


def _no_proofs(name: str) -> InvalidInput:
    return InvalidInput(
        f"{name} is no admission proof.",
        "Expected JSON with federation, root, and client and proof, or proofs.",
        "Take it as `rondo org admit --proofs` or the organization's service wrote it.",
    )


def _not_listed(client: Address, others: int) -> NotAdmitted:
    return NotAdmitted(
        f"{client} is not on the list.",
        f"It has {others} other client{'' if others == 1 else 's'}.",
        "Ask the organization to admit this account, or set keystore to the one that it admitted.",
    )
