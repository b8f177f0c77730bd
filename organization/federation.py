"""Creating a federation: its task and first model are published, then it is put on chain, once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from network.chain import Chain
from network.files import make_directory, write_atomic
from network.store import ContentStore
from network.transfer import publish
from processor.server_step import check_step
from protocol.bounds import check_bounds
from protocol.canonical_json import MAX_INTEGER
from protocol.cid import directory_cid
from protocol.errors import InvalidInput, KeyError_, SettingsError, TooLarge, TransactionReverted
from protocol.hashing import federation_id
from protocol.model import Model, encode_model
from protocol.server_state import MOMENTS
from protocol.specs import trainable_specs
from protocol.task import Task, encode_task
from protocol.terms import FederationTerms
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Digest, FederationId, Hash, bytes32, hex32

MAX_AUDITORS = 32

# Nobody holds its key, so nobody gains by a forfeited bond: neither the organization nor those who judge it.
BURN_ADDRESS = Address("0x000000000000000000000000000000000000dEaD")


@dataclass(frozen=True, slots=True)
class Bench:
    """Who decides on a federation's results, fixed for ever: ``quorum`` of ``auditors``, ascending; both empty: unaudited."""

    auditors: tuple[Address, ...]
    quorum: int


@dataclass(frozen=True, slots=True)
class Created:
    """A federation on chain. ``existed`` says that an earlier call had created it already."""

    federation: FederationId
    terms: FederationTerms
    salt: Hash
    existed: bool


def name_auditors(auditors: Sequence[Address], quorum: int | None, unaudited: bool) -> Bench:
    """Return the auditors in the contract's order with their quorum (a majority where None).

    Raises:
        InvalidInput: No auditors without ``unaudited``, or both; more than 32; one named twice; a quorum that is no majority.
    """
    if unaudited and (auditors or quorum):
        raise InvalidInput("--unaudited excludes auditors and quorum.", "", "Name auditors, or --unaudited, not both.")
    if unaudited:
        return Bench((), 0)
    if not auditors:
        raise InvalidInput(
            "No auditor is named.",
            "Without auditors the organization's word alone decides on pay, and clients refuse such federations.",
            "Name at least one with --auditor ADDRESS, or say --unaudited.",
        )
    ordered = tuple(sorted(auditors, key=lambda auditor: int(auditor, 16)))
    if len(set(ordered)) != len(ordered) or len(ordered) > MAX_AUDITORS:
        raise InvalidInput(
            f"{len(ordered)} auditors, {len(set(ordered))} of them different.",
            f"Each is named once, and at most {MAX_AUDITORS} are.",
            "Check the list for repetitions.",
        )
    votes = len(ordered) // 2 + 1 if quorum is None else quorum
    if not (0 < votes <= len(ordered) < 2 * votes):
        raise InvalidInput(
            f"A quorum of {votes} out of {len(ordered)} auditors cannot be.",
            "It must be a majority of them, so that two quorums never disagree.",
            f"Use a number from {len(ordered) // 2 + 1} to {len(ordered)}.",
        )
    return Bench(ordered, votes)


def create_federation(
    chain: Chain,
    store: ContentStore,
    home: Path,
    *,
    task: Task,
    model: Model,
    token: Address,
    bench: Bench,
    forfeit_to: Address = BURN_ADDRESS,
    salt: Hash | None = None,
    fresh_salt: Callable[[], bytes],
) -> Created:
    """Publish ``task`` and ``model`` and create the federation, or find the one that an interrupted call created.

    Called again with the same arguments it finds the same federation: the salt is on disk before the transaction is
    sent. A second federation of equal terms needs a ``salt`` of its own.

    Args:
        home: Directory of local state; the salt is kept in it.
        forfeit_to: Receives forfeited bonds; by default an address that nobody can spend from.
        salt: 32 bytes, else one drawn by ``fresh_salt``.

    Raises:
        InvalidInput: Not a first model, or the salt belongs to other terms.
        TooLarge: The model, or what rounds add to it, is over the task's own limit.
        ArithmeticRefused: Not even the fewest updates of the task can be merged exactly, or its server step cannot be
            held on the model's grids.
        KeyError_: The chain was opened without a key.
        StoreUnavailable, ChainError: The outside does not work as configured.
    """
    organization = chain.account
    if organization is None:
        raise KeyError_("Creating a federation needs a key.", "The chain was opened to read only.", "Set keystore.")
    files = _first_model(model, task)
    check_bounds(task, task.least_updates())
    check_step(task.server, model.specs)
    if forfeit_to == ZERO_ADDRESS:
        raise InvalidInput("Forfeited bonds cannot go to the zero address.", "", "Name another with --forfeit-to.")
    terms = FederationTerms(
        token=token,
        task=publish(store, encode_task(task)),
        model=publish(store, files),
        forfeit_to=forfeit_to,
        quorum=bench.quorum,
        admission_root=ZERO_HASH,
        auditors=bench.auditors,
    )
    salt = salt or _kept_salt(_salt_file(home, chain, organization, terms), fresh_salt)
    federation = federation_id(chain.chain_id, chain.contract, organization, salt)
    if _exists(chain, federation, terms):
        return Created(federation, terms, salt, existed=True)
    try:
        chain.create_federation(salt, terms)
    except TransactionReverted as revert:
        # An earlier transaction of ours was mined between our look and this one.
        if revert.name != "FederationExists" or not _exists(chain, federation, terms):
            raise
    return Created(federation, terms, salt, existed=False)


def _first_model(model: Model, task: Task) -> dict[str, bytes]:
    if model.round != 0 or model.parents or model.importance is not None or model.server_state or model.committee:
        raise InvalidInput(
            f"The model is of round {model.round}.", "A federation starts from a first model.", "Build one afresh."
        )
    files = encode_model(model)
    size = _largest_bytes(model, task)
    if size > task.limits.model_bytes:
        raise TooLarge(
            f"The model would have {size} bytes with parents, anchor and importance, which later rounds add.",
            f"The task's limits.model_bytes is {task.limits.model_bytes}: a result above it would never be merged.",
            f"Set the limit to {size} or more in the task, or use a smaller model.",
        )
    return files


def _largest_bytes(first: Model, task: Task) -> int:
    """Bytes of the largest model that rounds of ``task`` can make of ``first``: every tensor keeps its size, the rest is
    added.
    """
    digest = Digest(bytes(32))
    grown = replace(
        first,
        round=MAX_INTEGER,
        parents=(digest,),
        importance={spec.name: np.zeros(spec.shape, dtype=np.uint32) for spec in trainable_specs(first.specs)},
        anchor=str(directory_cid(digest)),
        server_state=digest if MOMENTS[task.server.step] else None,
        committee=None if task.committee.vote == "none" else digest,
    )
    return sum(map(len, encode_model(grown).values()))


def _exists(chain: Chain, federation: FederationId, terms: FederationTerms) -> bool:
    found = chain.state().federations.get(federation)
    if found is not None and found.terms != terms:
        raise InvalidInput(
            f"Federation {hex32(federation)} exists with other terms.", "Its salt was used before.", "Use another salt."
        )
    return found is not None


def _salt_file(home: Path, chain: Chain, organization: Address, terms: FederationTerms) -> Path:
    """Where the salt of one creation lives: named by all that makes it this creation and no other."""
    fields = {key: value.hex() if isinstance(value, bytes) else value for key, value in asdict(terms).items()}
    named = json.dumps([chain.chain_id, chain.contract, organization, fields], sort_keys=True)
    return home / "organization" / f"salt-{hashlib.sha256(named.encode()).hexdigest()[:32]}"


def _kept_salt(path: Path, fresh_salt: Callable[[], bytes]) -> Hash:
    """The salt in ``path``; drawn and written there first where there is none yet."""
    try:
        if path.exists():
            return Hash(bytes32(path.read_text().strip()))
        salt = Hash(fresh_salt())
        make_directory(path.parent)
        write_atomic(path, hex32(salt).encode() + b"\n")
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be used: {error.strerror}.",
            "A federation's salt is kept there before the transaction, so that it is created once.",
            "Set home to a directory that can be written.",
        ) from error
    return salt
