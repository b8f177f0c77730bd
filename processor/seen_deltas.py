"""Which changes have been seen in a round: two updates with the same change are one change posted twice."""

from __future__ import annotations

import hashlib

import numpy as np

from protocol.tensors import SPAN, Tensor, read_span
from protocol.types import Address
from protocol.update import Update

_SAMPLE = 1 << 12  # coordinates of each tensor that tell honest updates apart without reading all of them


class SeenDeltas:
    """The changes of a round so far.

    The whole of an update is hashed only where another one begins alike, so that honest updates cost nothing and a
    hostile one costs one hash of it, however many there are.
    """

    def __init__(self) -> None:
        self._first: dict[bytes, Update] = {}  # by sample: the first that begins so
        self._hashes: dict[bytes, dict[bytes, Address]] = {}  # by sample, where there are several: by whole hash

    def add(self, update: Update) -> Address | None:
        """Remember the change of ``update``; return the author of an earlier update that holds the same, or None."""
        sample = delta_hash(update, _SAMPLE)
        if sample not in self._first:
            self._first[sample] = update
            return None
        if sample not in self._hashes:
            first = self._first[sample]
            self._hashes[sample] = {delta_hash(first): first.author}
        whole, hashes = delta_hash(update), self._hashes[sample]
        if whole in hashes:
            return hashes[whole]
        hashes[whole] = update.author
        return None


def delta_hash(update: Update, coordinates: int | None = None) -> bytes:
    """Return the sha-256 of an update's change alone: its deltas and exponents, not what else it says.

    Over the tensors in name order: name (ASCII), exponent (int64, little-endian), deltas (little-endian, C order), of each
    tensor at most the first ``coordinates``. All updates of a round have the task's delta type and the base's shapes, so
    equal hashes are equal deltas.
    """
    hasher = hashlib.sha256()
    for name in sorted(update.deltas):
        hasher.update(name.encode("ascii"))
        hasher.update(update.exponents[name].to_bytes(8, "little", signed=True))
        _hash_tensor(hasher, update.deltas[name], coordinates)
    return hasher.digest()


def _hash_tensor(hasher: hashlib._Hash, tensor: Tensor, coordinates: int | None) -> None:
    end = tensor.size if coordinates is None else min(coordinates, tensor.size)
    for start in range(0, end, SPAN):
        part = read_span(tensor, start, min(start + SPAN, end))
        hasher.update(np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("<")).data)
