"""What a content store is, and how one is named in the settings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

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


def open_store(url: str) -> ContentStore:
    """Return the store that ``url`` names.

    ``dir:/var/lib/rondo/blocks`` is a directory on disk, ``memory:`` a new empty store in memory, and
    ``kubo:/ip4/127.0.0.1/tcp/5001`` the API of a Kubo node by its multiaddress.

    Raises:
        InvalidInput: It names none.
        StoreUnavailable: The directory cannot be created or written.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "dir" and rest:
        return DirectoryStore(Path(rest).expanduser())
    if scheme == "memory" and not rest:
        return MemoryStore()
    if scheme == "kubo" and rest:
        from network.ipfs import KuboStore  # the client library takes a third of a second to import

        return KuboStore(rest)
    raise InvalidInput(
        f"{url!r} names no content store.", "Unknown form.", "Use dir:/path, memory: or kubo:/ip4/127.0.0.1/tcp/5001."
    )
