"""Updates by digest, in bounded memory: merges walk over them as often as they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from protocol.types import Address, Digest
from protocol.update import Update, decode_update

Fetch = Callable[[Digest], Mapping[str, bytes]]  # the verified files of an artifact directory, by its digest
Load = Callable[[Digest], Update]

KEEP_BYTES = 256 << 20


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
    """Decodes updates and keeps the first ``keep_bytes`` of them; the others are fetched again on every reading.

    What is kept decides about time only: a digest names its bytes, so every reading gives the same update.
    """

    def __init__(self, fetch: Fetch, keep_bytes: int = KEEP_BYTES) -> None:
        self._fetch, self._room = fetch, keep_bytes
        self._kept: dict[Digest, Update] = {}

    def __call__(self, digest: Digest) -> Update:
        """Return the update behind ``digest``.

        Raises:
            ArtifactRefused: Its bytes are not an update in the one canonical encoding.
            Whatever ``fetch`` raises, such as BlockMissing.
        """
        if digest in self._kept:
            return self._kept[digest]
        files = self._fetch(digest)
        update = decode_update(files)
        size = sum(map(len, files.values()))
        if size <= self._room:
            self._room -= size
            self._kept[digest] = update
        return update
