"""A stream cut into chunks, each with its CID: where an import spends its time, so threads hash while one reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from protocol.cid import RAW, Cid
from protocol.sha256_lanes import sha256_each, together
from protocol.types import Digest

HASHERS = (
    2  # threads; hashing leaves the interpreter to others, so reading and whoever takes the chunks go on meanwhile
)
AHEAD = 3  # chunks that are read while a group of them is hashed side by side
MOST_CHUNKS = 8 + AHEAD  # that are held at once where they are; a thread each takes fewer

_Hashing = tuple[Future[list[bytes]], deque[bytes]]


def hashed_chunks(stream: BinaryIO, size: int) -> Iterator[tuple[Cid, bytes]]:
    """Yield the chunks of ``size`` bytes that ``stream`` holds, in order, each with its raw CID; the last may be shorter.

    An empty stream is one empty chunk. Where the processor hashes several side by side (protocol/sha256_lanes.py) they
    go to one thread in groups of 8, else to two threads one by one. Memory is ``MOST_CHUNKS`` or ``HASHERS + 1`` chunks
    and what the caller keeps; the result is that of one thread.
    """
    chunk = read_chunk(stream, size)
    if len(chunk) < size:
        yield _cid(*sha256_each([chunk])), chunk
        return
    hashing: deque[_Hashing] = deque()
    waiting: deque[bytes] = deque()
    with ThreadPoolExecutor(HASHERS, "chunks") as pool:
        while chunk:
            waiting.append(chunk)
            group = together(size)
            if len(waiting) >= group:
                hashing.append((pool.submit(sha256_each, tuple(waiting)), waiting))
                waiting = deque()
            most = HASHERS if group == 1 else MOST_CHUNKS - 1
            while sum(len(chunks) for _, chunks in hashing) + len(waiting) > most:
                yield from _finished(hashing)
            chunk = read_chunk(stream, size) if len(chunk) == size else b""
        if waiting:
            hashing.append((pool.submit(sha256_each, tuple(waiting)), waiting))
        while hashing:
            yield from _finished(hashing)


def read_chunk(stream: BinaryIO, size: int) -> bytes:
    """Return the next ``size`` bytes, fewer only at the end: pipes and sockets give less than they are asked for."""
    chunk = stream.read(size)
    if len(chunk) == size or not chunk:
        return chunk
    parts, missing = [chunk], size - len(chunk)
    while missing and (more := stream.read(missing)):
        parts.append(more)
        missing -= len(more)
    return b"".join(parts)


def _finished(hashing: deque[_Hashing]) -> Iterator[tuple[Cid, bytes]]:
    """Yield the chunks of the first group, each let go of when the next is asked for."""
    digests, chunks = hashing.popleft()
    for digest in digests.result():
        yield _cid(digest), chunks.popleft()


def _cid(digest: bytes) -> Cid:
    return Cid(RAW, Digest(digest))
