"""What a content store is, and how one is named in the settings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeGuard

from network.directory_store import DirectoryStore
from network.memory_store import MemoryStore
from protocol.cid import Cid
from protocol.errors import InvalidInput
from protocol.unixfs import Block


class BlockSource(Protocol):
    """A place to read blocks from. Whatever it does inside, it gives only verified bytes and raises only these errors."""

    @property
    def name(self) -> str:
        """How errors and tables call it, in the words of the ``store`` setting."""
        ...

    @property
    def searches(self) -> bool:
        """Whether it asks a network for what it lacks, so that its word on what is missing counts."""
        ...

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        """Return the verified bytes of ``cid``; raises BlockMissing, BlockCorrupt, StoreUnavailable.

        A source that asks others looks no longer than ``seconds``, where given, and never longer than its own limit.
        """
        ...

    def has_block(self, cid: Cid) -> bool:
        """Say whether the block is in this source, without asking any other; raises StoreUnavailable."""
        ...


class ContentStore(BlockSource, Protocol):
    """A source that also takes blocks, and that can be told which trees to keep."""

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        """Keep ``blocks``, durably where the store is durable; idempotent; raises BlockCorrupt, StoreUnavailable.

        Whoever finds one of them finds those before it. A batch is a few dozen MiB at most; see ``BlockWriter``.
        """
        ...

    def put_block(self, block: Block) -> None:
        """Keep one block, as ``put_blocks``."""
        ...

    def keep(self, cid: Cid) -> None:
        """Protect the complete tree of ``cid`` from garbage collection (pin it).

        Raises:
            BlockMissing: A block of the tree is not here (and, where the store asks others, nowhere else).
            StoreUnavailable: The store failed.
        """
        ...

    def release(self, cid: Cid) -> None:
        """Protect the tree of ``cid`` no longer; nothing happens where it is not kept; raises StoreUnavailable."""
        ...

    def kept(self) -> frozenset[Cid]:
        """Return the roots that are kept; raises StoreUnavailable."""
        ...

    def lease(self, *roots: Cid) -> AbstractContextManager[None]:
        """Return a context in which garbage collection spares what is put, and every tree of ``roots``, kept or not.

        It ends with the process at the latest, however that ends. Raises StoreUnavailable.
        """
        ...


def takes_blocks(source: BlockSource) -> TypeGuard[ContentStore]:
    """Say whether ``source`` is a ``ContentStore``, and not one that only gives."""
    return hasattr(source, "put_blocks")


def open_store(setting: str) -> ContentStore:
    """Return the store that ``setting`` names; of several, with commas between them, the combination in that order.

    ``dir:/var/lib/rondo/blocks`` is a directory on disk, ``memory:`` a new empty store in memory,
    ``kubo:/ip4/127.0.0.1/tcp/5001`` the API of a Kubo node by its multiaddress, and ``gateway:https://host`` a trustless
    gateway, which only gives. See `network.layered_store` for what a combination does.

    Raises:
        InvalidInput: It names none, or one of the parts is wrong; the message names that part.
        StoreUnavailable: A directory cannot be created or written.
    """
    from network.layered_store import LayeredStore

    sources = [_open_source(part.strip()) for part in setting.split(",")]
    if len(sources) == 1 and takes_blocks(sources[0]):
        return sources[0]
    return LayeredStore(sources)


def _open_source(url: str) -> BlockSource:
    scheme, _, rest = url.partition(":")
    if scheme == "dir" and rest:
        return DirectoryStore(Path(rest).expanduser())
    if scheme == "memory" and not rest:
        return MemoryStore()
    if scheme == "kubo" and rest:
        from network.ipfs import KuboStore  # the client library takes a third of a second to import

        return KuboStore(rest)
    if scheme == "gateway" and rest:
        from network.gateway import GatewaySource

        return GatewaySource(rest)
    raise InvalidInput(
        f"{url.rpartition('@')[2]!r} names no content store.",  # what stands before it may be a password
        "Unknown form.",
        "Use dir:/path, memory:, kubo:/ip4/127.0.0.1/tcp/5001 or gateway:https://host; commas between several.",
    )
