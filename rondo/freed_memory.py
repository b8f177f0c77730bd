"""What becomes of memory that a merge's temporaries give back: they come by the hundred, of some megabytes each."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_… of glibc's malloc.h
KEPT = 128 * 1024 * 1024  # bytes at the end of the heap
LARGE = (
    32 * 1024 * 1024
)  # bytes from which on an array has a piece of the address space of its own; the most that is taken


def keep_freed_memory() -> None:
    """Let this process keep what it frees for what it asks for next, where its allocator is glibc's.

    By default each temporary array goes back to the system, which clears and hands out its pages one by one again: that
    takes longer than what is computed in them (mallopt(3), NOTES of M_MMAP_THRESHOLD).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and mallopt(_MMAP_THRESHOLD, LARGE):
        mallopt(_TRIM_THRESHOLD, KEPT)
