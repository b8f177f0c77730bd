"""A round's artifacts in a store on disk, large enough for several spans and leaves, and what the round makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from network.directory_store import DirectoryStore
from network.transfer import publish
from processor.blocks import CHUNK
from protocol.cid import directory_cid
from protocol.model import encode_model
from protocol.task import encode_task
from protocol.types import Digest
from protocol.update import Update, encode_update
from tests.processor.factory import TinyRound, tiny_model, tiny_specs, tiny_terms

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("alice", "bob", "carol", "dave", "erin")
KERNEL = (700, 1000)  # more than five spans, and int16 deltas of two leaves
assert KERNEL[0] * KERNEL[1] > 5 * CHUNK


class MergeWorld:
    """A store in ``root`` with a base, a task and one update of each of `NAMES`."""

    def __init__(self, root: Path, consolidate: bool = False) -> None:
        self.root, self.store = root, DirectoryStore(root / "store")
        self.round = ring(consolidate)
        self.base = self.put(encode_model(self.round.base))
        self.task = self.put(encode_task(self.round.task))
        self.updates = [self.put(self.round.files[one.digest]) for one in self.round.updates]

    @property
    def expected(self) -> str:
        """The CID of the model that the round's derivation makes."""
        return expected(self.round.terms.consolidate)

    def put(self, files: dict[str, bytes]) -> str:
        """Publish an artifact and return its CID."""
        return str(directory_cid(publish(self.store, files)))

    def put_update(self, name: str, **changes: object) -> str:
        """Publish an update of ``name`` with other fields and return its CID."""
        return self.put(encode_update(replace(self.round.update(name), **changes)))  # type: ignore[arg-type]

    def rondo(self, *words: object, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run the command as a user does."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("RONDO_", "RAY_"))}
        env = {**clean, "PYTHONPATH": str(ROOT), "HOME": str(self.root), "RONDO_STORE": f"dir:{self.root / 'store'}"}
        command = [sys.executable, "-m", "rondo", *map(str, words)]
        return subprocess.run(
            command, cwd=self.root, env={**env, **settings}, capture_output=True, text=True, check=False, timeout=240
        )

    def merge(self, *words: object, updates: Iterable[str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``rondo merge`` on the base and ``updates``, all by default."""
        return self.rondo("merge", self.base, *(self.updates if updates is None else updates), *words)


@cache
def ring(consolidate: bool) -> TinyRound:
    """The round, made once a process."""
    specs = tiny_specs(KERNEL)
    return TinyRound(base=tiny_model(specs=specs), terms=tiny_terms(consolidate=consolidate)).post_all(NAMES)


@cache
def expected(consolidate: bool) -> str:
    """The CID of the model that the round's derivation makes."""
    return str(directory_cid(Digest(ring(consolidate).derive().derived.model)))


def swapped(update: Update) -> dict[str, object]:
    """The fields by which another's update can be passed off as one's own."""
    return {"deltas": update.deltas, "exponents": update.exponents}
