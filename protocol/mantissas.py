"""The mantissas of a model as they come out of the file of its weights: span by span, several at once where one can."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from protocol.grid import all_inside, check_exponent, unsnap, unsnap_in_place
from protocol.runs import Run, serial
from protocol.specs import TensorSpec
from protocol.tensors import SPAN, Tensor, empty_arrays, pieces_of, read_span, read_span_into

_IN_FILE_ORDER = sys.byteorder == "little"
_Piece = tuple[str, int, int]


def read_mantissas(
    weights: Mapping[str, Tensor], specs: Sequence[TensorSpec], run: Run = serial
) -> dict[str, NDArray[np.int32]]:
    """Return the mantissas of the float32 tensors of ``specs`` in ``weights``, read-only.

    Args:
        run: Who reads and converts the pieces, in this process: each goes to its own place in the result.

    Raises:
        NotCanonical, NotFinite, OutsideWindow: As `protocol.grid.unsnap`, of the first span of 2^16 coordinates that holds
            something to refuse.
        BlockMissing, BlockCorrupt, StoreUnavailable: From the file.
    """
    grids = {spec.name: spec.grid for spec in specs}
    mantissas: dict[str, NDArray[np.int32]] = empty_arrays(
        {spec.name: spec.shape for spec in specs}, np.dtype(np.int32)
    )

    def fill(piece: _Piece) -> None:
        name, start, stop = piece
        _unsnap_into(mantissas[name].reshape(-1)[start:stop], weights[name], start, grids[name], f"Tensor {name}")

    for _ in run(fill, pieces_of(mantissas)):
        pass
    for array in mantissas.values():
        array.flags.writeable = False
    return mantissas


def outside(mantissas: Mapping[str, NDArray[np.int32]], run: Run = serial) -> set[str]:
    """Return the names of those tensors of which a mantissa is 2^24 or more; ``run`` looks at pieces, in this process."""
    flat = {name: array.reshape(-1) for name, array in mantissas.items()}

    def is_inside(piece: _Piece) -> bool:
        name, start, stop = piece
        return all_inside(flat[name][start:stop])

    pieces = pieces_of(flat)
    return {name for (name, _, _), fine in zip(pieces, run(is_inside, pieces), strict=True) if not fine}


def _unsnap_into(out: NDArray[np.int32], tensor: Tensor, start: int, exponent: int, subject: str) -> None:
    """Fill ``out`` with the mantissas of ``tensor`` from ``start`` on."""
    check_exponent(exponent, subject)
    if _IN_FILE_ORDER:
        read_span_into(tensor, start, out.view(np.float32))
        if unsnap_in_place(out, exponent):
            return
    for at in range(0, out.size, SPAN):
        part = out[at : at + SPAN]
        part[:] = unsnap(read_span(tensor, start + at, start + at + part.size), exponent, subject)
