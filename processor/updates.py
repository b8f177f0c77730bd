"""Updates by digest: merges read their tensors span by span, as often as they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

from protocol.content import Files
from protocol.types import Address, Digest
from protocol.update import Update, decode_update

# The verified files of an artifact directory, by its digest: their bytes, or contents that are read when asked for.
Fetch = Callable[[Digest], Mapping[str, bytes] | Files]
Load = Callable[[Digest], Update]


@dataclass(frozen=True, slots=True)
class Accepted:
    """An update that takes part in the merge; its arrays stay behind its digest.

    Args:
        client: Who committed it. digest: Its artifact.
        examples: Examples trained on, at most the task's cap: its weight in the mean of statistics.
        steps: Optimizer steps. weight: Its weight in the merge of trainable tensors.
    """

    client: Address
    digest: Digest
    examples: int
    steps: int
    weight: int


class UpdateReader:
    """Decodes each update once. What it keeps is small where ``fetch`` gives contents that lie on disk, and all of the
    update where it gives bytes.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._decoded: dict[Digest, Update] = {}
        self._gate = Lock()
        self._turns: dict[
            Digest, Lock
        ] = {}  # threads that want the same update, which a copier names too, wait for one

    def __call__(self, digest: Digest) -> Update:
        """Return the update behind ``digest``.

        Raises:
            ArtifactRefused: Its bytes are not an update in the one canonical encoding.
            Whatever ``fetch`` raises, such as BlockMissing.
        """
        with self._gate:
            turn = self._turns.setdefault(digest, Lock())
        with turn:
            if digest not in self._decoded:
                self._decoded[digest] = decode_update(self._fetch(digest))
            return self._decoded[digest]
