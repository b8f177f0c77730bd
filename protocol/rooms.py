"""Memory that is lent again and again: getting it from the system anew costs more than what is done in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray


@contextmanager
def lent(rooms: list[NDArray[np.uint8]], size: int) -> Iterator[NDArray[np.uint8]]:
    """Lend ``size`` bytes or more, uint8 of shape (bytes,), out of ``rooms``, to which they return; any number of threads."""
    try:
        room = rooms.pop()
    except IndexError:
        room = np.empty(0, np.uint8)
    if room.size < size:
        room = np.empty(size, np.uint8)
    try:
        yield room
    finally:
        rooms.append(room)
