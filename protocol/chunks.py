"""A stream cut into chunks, each with its CID: where an import spends its time, so two threads hash while one reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from protocol.cid import RAW, Cid, block_cid

HASHERS = (
    2  # threads; hashing leaves the interpreter to others, so reading and whoever takes the chunks go on meanwhile
)


def hashed_chunks(stream: BinaryIO, size: int) -> Iterator[tuple[Cid, bytes]]:
    """Yield the chunks of ``size`` bytes that ``stream`` holds, in order, each with its raw CID; the last may be shorter.

    An empty stream is one empty chunk. Memory is ``HASHERS + 1`` chunks and what the caller keeps; the result is that of one thread.
    """
    chunk = read_chunk(stream, size)
    if len(chunk) < size:
        yield block_cid(RAW, chunk), chunk
        return
    hashing: deque[tuple[Future[Cid], bytes]] = deque()
    with ThreadPoolExecutor(HASHERS, "chunks") as pool:
        while chunk:
            hashing.append((pool.submit(block_cid, RAW, chunk), chunk))
            if len(hashing) > HASHERS:
                yield _finish(hashing)
            chunk = read_chunk(stream, size) if len(chunk) == size else b""
        while hashing:
            yield _finish(hashing)


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


def _finish(hashing: deque[tuple[Future[Cid], bytes]]) -> tuple[Cid, bytes]:
    cid, chunk = hashing.popleft()
    return cid.result(), chunk
