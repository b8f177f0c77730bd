"""Error feedback: what rounding left out of one update is added to a later one (Karimireddy et al. 2019).

A residual is *pending* while its round is undecided. It replaces the kept one when the head moved to a model that merged
this client's update (the rest of the change has arrived, only the residual is missing); otherwise the kept one stays as it
was, for nothing of it arrived. It is clipped, and dropped after K rounds without a merge, when it describes a model that
no longer exists. Under differential privacy there is no feedback: a residual remembers what was hidden.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.files import write_atomic
from protocol.task import Feedback

Residual = Mapping[str, NDArray[np.int64]]  # tensor name -> grid steps

_ROUND = "round"  # the one array of a residual file that is no tensor; tensor names begin with digits


class FeedbackStore:
    """The residual that one account keeps for one federation, in one file that is replaced as a whole.

    Args:
        path: The ``.npz`` file. It is derived data: where it is damaged, it counts as absent.
        rule: The task's clipping and dropping.
    """

    def __init__(self, path: Path, rule: Feedback) -> None:
        self._path, self._rule = path, rule

    def kept(self, index: int) -> Residual | None:
        """Return what to add in round ``index``: None where nothing is kept or K rounds were missed since."""
        merged = self.merged_round()
        if merged is None or index - merged - 1 >= self._rule.drop_after:
            return None
        return decode_residual(self._path.read_bytes())[1]

    def merged_round(self) -> int | None:
        """Index of the round whose residual is kept, or None."""
        try:
            return decode_residual(self._path.read_bytes())[0]
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def commit(self, index: int, pending: bytes) -> None:
        """Keep the residual of round ``index``, whose update was merged. Idempotent; never goes back to an older round."""
        merged = self.merged_round()
        if merged is None or merged < index:
            write_atomic(self._path, pending)


def encode_residual(index: int, residual: Residual, rule: Feedback) -> bytes:
    """Return the bytes of a residual file: the round's index and each tensor, clipped at +-``rule.clip_steps``."""
    limit = rule.clip_steps
    arrays: dict[str, Any] = {name: np.clip(value, -limit, limit).astype(np.int32) for name, value in residual.items()}
    arrays[_ROUND] = np.array(index, np.int64)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def decode_residual(data: bytes) -> tuple[int, Residual]:
    """Return (round index, residual) of a residual file.

    Raises:
        EOFError, ValueError, KeyError, zipfile.BadZipFile: It is damaged.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        index = int(file[_ROUND])
        return index, {name: file[name].astype(np.int64) for name in file.files if name != _ROUND}
