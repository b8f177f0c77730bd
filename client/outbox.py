"""What a client has trained and must not lose: each round's update on disk before its digest goes to the chain.

A round is one folder: the update's files, the residual that rounding left, and ``record.json``, written last. A folder
without a readable record is an unfinished training and counts as absent; with one, the update is there to the byte, so
after a crash the worker neither trains again nor sends another digest. Whether the digest *is* on chain is asked there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from network.files import make_directory, write_atomic
from protocol.errors import NotCanonical
from protocol.state import RoundState
from protocol.types import Digest, Hash, RoundId
from protocol.unixfs import directory_digest

_RECORD, _RESIDUAL, _FILES = "record.json", "residual.npz", "update"


class Stage(StrEnum):
    """How far a round's update has come."""

    TRAINED = "trained"  # on disk; on chain or not: the chain knows
    PUBLISHED = "published"  # training closed and its bytes are in the store; left when the round is decided
    MERGED = "merged"  # terminal: the head moved to a model that holds it
    NOT_MERGED = "not-merged"  # terminal: the head stayed, or moved without it
    MISSED = "missed"  # terminal: training closed before the digest was on chain
    FOREIGN = "foreign"  # terminal: the chain has another digest of this account
    LOST = "lost"  # terminal: committed, but the files here are damaged

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do but to be paid."""
        return self not in (Stage.TRAINED, Stage.PUBLISHED)


@dataclass(frozen=True, slots=True)
class Entry:
    """One round's update. ``millis`` are those that were, or will be, stated on chain.

    ``base`` and ``terms_hash`` tell its round from one that a reorganised chain puts in its place under the same id.
    """

    round: RoundId
    index: int
    base: Digest
    terms_hash: Hash
    digest: Digest
    millis: int
    examples: int
    steps: int
    stage: Stage = Stage.TRAINED

    def belongs_to(self, round_: RoundState) -> bool:
        """Whether ``round_`` is the round that this was trained for, and not another under its id."""
        return (self.round, self.base, self.terms_hash) == (round_.id, round_.base, round_.terms_hash)


class Outbox:
    """The updates of one account for one federation, under ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, entry: Entry, files: Mapping[str, bytes], residual: bytes) -> None:
        """Write the update durably; on return it survives any crash."""
        folder = self._folder(entry.round)
        if folder.exists():  # a training that a crash left unfinished
            shutil.rmtree(folder)
        make_directory(folder / _FILES)
        for name, data in files.items():
            write_atomic(folder / _FILES / name, data)
        write_atomic(folder / _RESIDUAL, residual)
        self._write(entry)

    def get(self, round_id: RoundId) -> Entry | None:
        """The entry of a round, or None where there is none (or an unfinished one)."""
        try:
            fields = json.loads((self._folder(round_id) / _RECORD).read_text())
            return Entry(
                RoundId(bytes.fromhex(fields["round"])),
                int(fields["index"]),
                Digest(bytes.fromhex(fields["base"])),
                Hash(bytes.fromhex(fields["terms_hash"])),
                Digest(bytes.fromhex(fields["digest"])),
                int(fields["millis"]),
                int(fields["examples"]),
                int(fields["steps"]),
                Stage(fields["stage"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def files(self, entry: Entry) -> dict[str, bytes]:
        """The update's files.

        Raises:
            NotCanonical: They are damaged: they are not what the digest names.
        """
        try:
            files = {path.name: path.read_bytes() for path in (self._folder(entry.round) / _FILES).iterdir()}
            digest = directory_digest(files)
        except OSError:
            digest = Digest(b"")
        if digest != entry.digest:
            raise NotCanonical(
                f"The update of round {entry.index} in {self._folder(entry.round)} is damaged.",
                "Its files are not those whose digest was written down.",
                "Check the disk. An update that is on chain already counts as unavailable; otherwise the round is trained again.",
            )
        return files

    def residual(self, entry: Entry) -> bytes:
        """The bytes of the residual file that goes with the update; empty where it is lost, which costs only precision."""
        try:
            return (self._folder(entry.round) / _RESIDUAL).read_bytes()
        except OSError:
            return b""

    def mark(self, entry: Entry, stage: Stage) -> Entry:
        """Move ``entry`` to ``stage``, durably. A terminal stage also frees the space: the bytes are in the store."""
        changed = replace(entry, stage=stage)
        self._write(changed)
        if stage.is_done:
            shutil.rmtree(self._folder(entry.round) / _FILES, ignore_errors=True)
            (self._folder(entry.round) / _RESIDUAL).unlink(missing_ok=True)
        return changed

    def discard(self, entry: Entry) -> None:
        """Forget an update that never was, and never will be, on chain."""
        (self._folder(entry.round) / _RECORD).unlink(missing_ok=True)
        shutil.rmtree(self._folder(entry.round), ignore_errors=True)

    def entries(self) -> list[Entry]:
        """All finished entries, oldest first."""
        folders = self._root.iterdir() if self._root.is_dir() else ()
        found = (self.get(RoundId(bytes.fromhex(folder.name))) for folder in folders if len(folder.name) == 64)
        return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.index)

    def _folder(self, round_id: RoundId) -> Path:
        return self._root / round_id.hex()

    def _write(self, entry: Entry) -> None:
        fields = {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(entry).items()}
        write_atomic(self._folder(entry.round) / _RECORD, json.dumps(fields, sort_keys=True).encode())
