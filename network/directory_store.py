"""The embedded content store: a directory of blocks that any number of local processes share.

    <root>/blocks/3f/bafkrei...   one file a block, named by its CID, under the first byte of its digest
    <root>/pins/bafybei...        an empty file for each root that is kept
    <root>/leases/4242-9f0c...    what running processes rely on: network/leases.py
    <root>/scratch/.new-*         files being written; those older than a day are what killed processes left
    <root>/gate.lock, collector.lock    network/leases.py, network/garbage.py

A block's file appears by rename, whole and synced, so ``kill -9`` at any moment leaves nothing half-written under a
final name; and since disks err, every read is verified as well. Only ``network.garbage`` removes blocks.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from network.files import aside_name, hold_lock, make_directory, sync_directory, write_atomic, write_new
from network.leases import Leases
from network.store_faults import store_unavailable
from network.verified_files import VerifiedFiles
from protocol.cid import DAG_PB, MAX_BLOCK, RAW, Cid, check_block_size, parse_cid, verify_block
from protocol.errors import BlockCorrupt, BlockMissing, InvalidInput
from protocol.unixfs import Block, child_cids, walk_tree

_STALE_SECONDS = 86_400
_WRITERS = 4  # threads that hash and write side by side: an fsync waits for the disk, and disks like to have several

_Run = Callable[..., Iterable[object]]  # map, or that of a pool of threads


class DirectoryStore:
    """A ``ContentStore`` (network/store.py) in the directory ``root``, which is created where it is missing.

    One that exists can be read by those who cannot write it.

    Raises:
        StoreUnavailable: The directory cannot be created or written.
    """

    searches = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.gate, self.collector = root / "gate.lock", root / "collector.lock"
        self.blocks, self._scratch, self.pins = root / "blocks", root / "scratch", root / "pins"
        self._blocks_text = str(self.blocks)
        self._lease_files = root / "leases"
        self.verified = VerifiedFiles()
        self.leases = Leases(self._lease_files, self._scratch, self.gate)
        try:
            self._lay_out()
            self._sweep()
        except OSError as error:
            raise store_unavailable(self.root, error) from error

    @property
    def name(self) -> str:
        """How errors and tables call it."""
        return f"dir:{self.root}"

    def path(self, cid: Cid) -> Path:
        """Return where the file of ``cid`` is or would be."""
        return Path(self.path_text(cid))

    def path_text(self, cid: Cid) -> str:
        """Return `path` as text, which takes a fraction of the time."""
        return f"{self._blocks_text}/{cid.digest[0]:02x}/{cid}"

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        """Return the verified bytes of ``cid``.

        Raises:
            BlockMissing: Nobody has put it.
            BlockCorrupt: Its file was damaged; putting the block again repairs it.
            StoreUnavailable: The directory cannot be read, or is gone: then nothing is said about the block.
        """
        path = self.path(cid)
        try:
            data, stat = _read(path)
        except FileNotFoundError as error:
            if not self.blocks.is_dir():  # an unmounted disk must not look like a block that nobody has published
                raise store_unavailable(self.root, error) from error
            raise BlockMissing(str(cid), str(self.root)) from error
        except OSError as error:
            raise store_unavailable(self.root, error) from error
        self.verified.forget(cid)
        verify_block(cid, data, str(path))
        self.verified.remember(cid, stat)
        return data

    def has_block(self, cid: Cid) -> bool:
        """Say whether ``get_block`` would return the block: a damaged one counts as absent.

        So one that is there is read and hashed, the first time; after that, and after a put, it is looked at for
        changes alone. That costs about as much as asking for one that is not there: 20 µs.

        Raises:
            StoreUnavailable: The directory cannot be read.
        """
        if self.verified.is_unchanged(cid, self.path(cid)):
            return True
        try:
            self.get_block(cid)
        except (BlockMissing, BlockCorrupt):
            return False
        return True

    def put_block(self, block: Block) -> None:
        """Keep ``block`` durably; raises as ``put_blocks``."""
        self.put_blocks([block])

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        """Keep ``blocks`` durably, or none of those that were not there yet where one of them is refused.

        Names appear in the order of the blocks. A node's name is given only after what comes before it is on disk, name
        and all, so this holds after a power failure too: whoever finds a node finds what was put before it.

        Where a block is kept already its file is compared, byte for byte, and written again if it was damaged; and it
        counts as put now, so that no collector takes it from who relies on having put it.

        Raises:
            BlockCorrupt: Bytes are not those that their CID names.
            InvalidInput: A block is larger than IPFS nodes carry (2 MiB).
            StoreUnavailable: The disk is full or cannot be written; what was put whole stays, nothing else does.
        """
        for block in blocks:
            check_block_size(block.cid, block.data)
        asides: dict[Cid, Path] = {}
        try:
            with ThreadPoolExecutor(_WRITERS) as pool:
                run = map if len(blocks) == 1 else pool.map  # a thread is not worth starting for one block
                list(run(_verify, blocks))
                unique = {block.cid: block for block in blocks}
                found = self._find(unique.values())
                asides |= {cid: self._scratch / aside_name() for cid in unique if cid not in found}
                list(run(lambda cid: write_new(asides[cid], unique[cid].data), asides))
                for cids in _up_to_nodes(unique):
                    self._name(cids, asides, run)
        except OSError as error:
            raise store_unavailable(self.root, error) from error
        finally:  # when all threads have ended
            for left in asides.values():
                with contextlib.suppress(OSError):
                    left.unlink()

    def _find(self, blocks: Iterable[Block]) -> set[Cid]:
        """Return which of ``blocks`` are here and whole; their files become as young as if they were written now."""
        with hold_lock(self.gate):  # a collector is either done with them or will see how young they are
            found = [block for block in blocks if _touch(self.path(block.cid))]
        return {block.cid for block in found if self._holds(block)}

    def _holds(self, block: Block) -> bool:
        try:
            data, stat = _read(self.path(block.cid))
        except OSError:
            return False  # whatever the file has, writing it again mends it or says why not
        if data == block.data:
            self.verified.remember(block.cid, stat)
        return data == block.data

    def _name(self, cids: Sequence[Cid], asides: Mapping[Cid, Path], run: _Run) -> None:
        """Give the files of ``cids`` their names, in order, and put the names on disk, old ones included."""
        with hold_lock(self.gate):  # a collector must not see when a slow writer's file was written
            for cid in cids:
                if cid in asides:
                    asides[cid].rename(self.path(cid))
                    _touch(self.path(cid))
                    self.verified.remember(cid, self.path(cid).stat())
        list(run(sync_directory, {self.path(cid).parent for cid in cids}))

    def keep(self, cid: Cid) -> None:
        """Protect the tree of ``cid`` from garbage collection, once all its blocks were found here, and whole.

        Raises:
            BlockMissing: It names the first one, parents before children, that is not here or was damaged.
            StoreUnavailable: The directory cannot be read or written.
        """
        with self.lease(cid):  # so that what is found stays while the rest is looked for
            self._check_tree(cid)
            try:
                write_atomic(self.pins / str(cid), b"", scratch=self._scratch)
            except OSError as error:
                raise store_unavailable(self.root, error) from error

    def _check_tree(self, root: Cid) -> None:
        """Look at every block of the tree once, however often it is linked."""
        for _ in walk_tree(root, self._children):
            pass

    def _children(self, cid: Cid) -> tuple[Cid, ...]:
        try:
            if cid.codec == RAW and self.has_block(cid):
                return ()
            return child_cids(Block(cid, self.get_block(cid)))
        except BlockCorrupt as error:
            raise BlockMissing(str(cid), str(self.root)) from error

    def release(self, cid: Cid) -> None:
        """Protect the tree of ``cid`` no longer; nothing happens where it is not kept.

        Raises:
            StoreUnavailable: The directory cannot be written, or is gone.
        """
        try:
            (self.pins / str(cid)).unlink(missing_ok=True)
            sync_directory(self.pins)
        except OSError as error:
            raise store_unavailable(self.root, error) from error

    def kept(self) -> frozenset[Cid]:
        """Return the roots that are kept.

        Raises:
            StoreUnavailable: The directory cannot be read, or is gone: that does not look like an empty one.
        """
        try:
            return frozenset(filter(None, (cid_of_file(path.name) for path in self.pins.iterdir())))
        except OSError as error:
            raise store_unavailable(self.root, error) from error

    @contextmanager
    def lease(self, *roots: Cid) -> Iterator[None]:
        """Return a context in which garbage collection spares what is put, and all that is here below ``roots``.

        Leases nest, and there may be any number at once. Where the directory is read-only or its disk is full no lease
        can be written; collectors are then held off altogether until the context ends.

        Raises:
            StoreUnavailable: The directory is gone, or a collector in it has been stopped.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self.leases.take(roots))
            except OSError as error:
                raise store_unavailable(self.root, error) from error
            yield

    def _lay_out(self) -> None:
        fans = [self.blocks / f"{first:02x}" for first in range(256)]
        for place in (self.blocks, self._scratch, self.pins, self._lease_files):
            make_directory(place)
        if not fans[-1].is_dir():
            for fan in fans:
                fan.mkdir(exist_ok=True)
        for lock in (self.gate, self.collector):
            if not lock.exists():
                lock.touch()
        for place in (self.blocks, self.root):  # even if another process has made, but not yet synced them
            sync_directory(place)

    def _sweep(self) -> None:
        """Drop what killed processes left; a day is far more than any living process needs for a batch."""
        before = time.time() - _STALE_SECONDS
        with contextlib.suppress(OSError):  # it does no harm, and whoever only reads cannot remove it
            self.leases.live()
        for left in self._scratch.iterdir():
            with contextlib.suppress(OSError):
                if left.stat().st_mtime < before:
                    left.unlink()


def cid_of_file(name: str) -> Cid | None:
    """Return the CID that is the file name ``name``; None where it is the name of anything else."""
    try:
        return parse_cid(name)
    except InvalidInput:
        return None


def _verify(block: Block) -> None:
    verify_block(block.cid, block.data, "the block to put")


def _up_to_nodes(cids: Iterable[Cid]) -> Iterator[list[Cid]]:
    """Cut ``cids`` before every node."""
    part: list[Cid] = []
    for cid in cids:
        if part and cid.codec == DAG_PB:
            yield part
            part = []
        part.append(cid)
    if part:
        yield part


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        stat = os.fstat(file)  # before: whatever is written while we read will show
        left = min(stat.st_size, MAX_BLOCK) + 1
        parts = []
        while left and (part := os.read(file, left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts), stat
    finally:
        os.close(file)


def _touch(path: Path) -> bool:
    """Make the file young; say whether it is there and this user's own: of another's we write a copy of our own."""
    now = time.time_ns()
    try:
        os.utime(path, ns=(now, now))
    except (FileNotFoundError, PermissionError):
        return False
    return True
