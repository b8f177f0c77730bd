"""The embedded content store: a directory of blocks that any number of local processes share.

    <root>/blocks/3f/a2/bafkrei...    one file a block, named by its CID, under the first two bytes of its digest
    <root>/scratch/.new-*             files being written; those older than a day are what killed processes left

A block's file appears by rename, whole and synced, so ``kill -9`` at any moment leaves nothing half-written under a
final name; and since disks err, every read is verified as well.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from network.files import make_directory, write_atomic
from protocol.cid import MAX_BLOCK, Cid, verify_block
from protocol.errors import BlockCorrupt, BlockMissing, InvalidInput, StoreUnavailable
from protocol.unixfs import Block

_STALE_SECONDS = 86_400


class DirectoryStore:
    """A ``ContentStore`` (network/store.py) in the directory ``root``, which is created where it is missing.

    Raises:
        StoreUnavailable: The directory cannot be created or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blocks, self._scratch = root / "blocks", root / "scratch"
        try:
            make_directory(self._blocks)
            make_directory(self._scratch)
            self._sweep()
        except OSError as error:
            raise self._unavailable(error) from error

    def path(self, cid: Cid) -> Path:
        """Return where the file of ``cid`` is or would be."""
        digits = cid.digest[:2].hex()
        return self._blocks / digits[:2] / digits[2:] / str(cid)

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        """Return the verified bytes of ``cid``.

        Raises:
            BlockMissing: Nobody has put it.
            BlockCorrupt: Its file was damaged; putting the block again repairs it.
            StoreUnavailable: The directory cannot be read, or is gone: then nothing is said about the block.
        """
        path = self.path(cid)
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BLOCK + 1)
        except FileNotFoundError as error:
            if not self._blocks.is_dir():  # an unmounted disk must not look like a block that nobody has published
                raise self._unavailable(error) from error
            raise BlockMissing(str(cid), str(self.root)) from error
        except OSError as error:
            raise self._unavailable(error) from error
        verify_block(cid, data, str(path))
        return data

    @property
    def name(self) -> str:
        """How errors and tables call it."""
        return f"dir:{self.root}"

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        """Keep ``blocks`` durably, in order; raises as ``put_block``."""
        for block in blocks:
            self.put_block(block)

    def put_block(self, block: Block) -> None:
        """Keep ``block`` durably; where it is kept already, only a damaged file is written again.

        Raises:
            BlockCorrupt: Its bytes are not those that its CID names.
            InvalidInput: It is larger than IPFS nodes carry (2 MiB).
            StoreUnavailable: The disk is full or cannot be written.
        """
        if len(block.data) > MAX_BLOCK:
            raise InvalidInput(
                f"Block {block.cid} has {len(block.data)} bytes.", f"IPFS carries {MAX_BLOCK}.", "Import it in chunks."
            )
        verify_block(block.cid, block.data, "the block to put")
        if self.has_block(block.cid):
            return
        path = self.path(block.cid)
        try:
            make_directory(path.parent)
            write_atomic(path, block.data, scratch=self._scratch)
        except OSError as error:
            raise self._unavailable(error) from error

    def has_block(self, cid: Cid) -> bool:
        """Say whether ``get_block`` would return the block: a damaged one counts as absent.

        Raises:
            StoreUnavailable: The directory cannot be read.
        """
        try:
            self.get_block(cid)
        except (BlockMissing, BlockCorrupt):
            return False
        return True

    def keep(self, cid: Cid) -> None:
        """Nothing is ever collected here."""

    def release(self, cid: Cid) -> None:
        """Nothing is ever collected here."""

    def kept(self) -> frozenset[Cid]:
        """Return the roots that are kept."""
        return frozenset()

    @contextmanager
    def lease(self, *roots: Cid) -> Iterator[None]:
        """Nothing is ever collected here."""
        yield

    def _sweep(self) -> None:
        """Drop what killed processes left; a day is far more than any living process needs for one block."""
        before = time.time() - _STALE_SECONDS
        for left in self._scratch.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process sweeps as well
                if left.stat().st_mtime < before:
                    left.unlink()

    def _unavailable(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(
            f"The content store in {self.root} cannot be used.",
            f"{type(error).__name__}: {error.strerror or error}.",
            "Check that the directory exists, is writable, and that its disk has room.",
        )
