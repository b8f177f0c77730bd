"""CAR files in and out of any content store, with memory of a few blocks and the nodes above the leaves.

A file is read twice before anything of it is kept: first all of it is verified, block by block and as a whole, and then
its blocks are put, leaves first and every node after what it links to. So a hostile file leaves nothing behind, and one
that was cut off by ``kill -9`` is simply imported again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from network.block_writer import BlockWriter
from network.files import sync_directory
from network.progress import OnProgress, silent
from network.store import ContentStore
from protocol.car import MAX_ROOTS, encode_car, read_car_blocks, read_car_header
from protocol.cid import DAG_PB, RAW, Cid
from protocol.errors import InvalidInput, NotCanonical, TooLarge
from protocol.unixfs import Block, child_cids, hides_links

# Most blocks of a file, and bytes in its nodes, which are held in memory: 100,000 updates of a round have 400,000 blocks,
# and nodes for a terabyte in leaves of 1 MiB have 50 MB.
MAX_BLOCKS = 500_000
MAX_NODE_BYTES = 64 * 1024 * 1024
MAX_FRAMING = MAX_BLOCKS * 40 + 16 * 1024 * 1024  # what is no block's bytes: lengths, CIDs, the header
_MOST_LOOKED_UP = 10_000  # links out of the file that are looked for in the store


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Return a file to write, as a context; what was written takes the place of ``path`` when the context ends well.

    Until then it is ``path.part``, which is removed where the context ends with an error.

    Raises:
        OSError: The file system says no; ``path`` is then as it was.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    sync_directory(path.parent)


def write_car(
    stream: BinaryIO, roots: Sequence[Cid], blocks: Iterable[Block], total: int, on_progress: OnProgress = silent
) -> int:
    """Write a CAR of ``blocks`` to ``stream`` and return its bytes; ``total`` is about what they will be.

    Raises:
        InvalidInput: More roots than a CAR names. OSError: The stream says no. All that ``blocks`` raises.
    """
    done = 0
    for part in encode_car(roots, blocks):
        stream.write(part)
        done += len(part)
        on_progress(min(done, total), total)
    return done


@dataclass(frozen=True, slots=True)
class RootOutcome:
    """A root of an imported file.

    Args:
        missing: A block of its tree that is neither in the file nor in the store.
        foreign: A node of its tree whose links, if it has any, are not of this profile, so nobody knows where they lead.
    """

    cid: Cid
    missing: Cid | None = None
    foreign: Cid | None = None

    @property
    def is_kept(self) -> bool:
        """Whether its tree is here, as far as it goes, so that keeping it asks nobody for more."""
        return self.missing is None and self.foreign is None

    @property
    def is_lacking(self) -> bool:
        """Whether the file names the root and does not have its own block."""
        return self.missing == self.cid


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import: the blocks of the file and the bytes in them, and its roots; whole ones are kept.

    ``stray`` blocks belong to none: they are trees for which there was no room among the roots, and are put, not kept.
    """

    blocks: int
    bytes: int
    roots: tuple[RootOutcome, ...]
    stray: int = 0


def import_car(store: ContentStore, path: Path, *, limit: int, on_progress: OnProgress = silent) -> Imported:
    """Put the blocks of the CAR at ``path`` into ``store`` and keep the trees of its roots that are whole.

    Importing a file again changes nothing, and completes what was interrupted. Trees that are not whole are not kept, nor
    are those with a node in which an IPFS node could find links that are not of this profile: it would follow them.

    Args:
        limit: Most bytes in all blocks together.
        on_progress: Takes the bytes of the file that are done with, and those that it has; reading it once is half.

    Raises:
        InvalidInput: The file cannot be read.
        TooLarge: Its blocks have more than ``limit`` bytes, or it has more blocks or nodes than any round has.
        NotCanonical: It is no CAR, is cut short, or has a block that belongs to none of its roots although it could have
            named more of them.
        BlockCorrupt: A block's bytes are not those that its CID names. Nothing was put in all of these cases.
        StoreUnavailable: The store failed; importing again goes on.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > limit + MAX_FRAMING:
                raise _too_large(path, f"It has {size} bytes, more than {limit} in blocks.", "Allow more with --limit.")
            file = _verify(stream, path, limit, lambda done: on_progress(done // 2, size))
            tree = _Tree(file, path, store)
            stream.seek(0)
            with store.lease(*file.roots):
                _put(store, stream, path, tree, lambda done: on_progress((size + done) // 2, size))
                for outcome in tree.outcomes:
                    if outcome.is_kept:
                        store.keep(outcome.cid)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read.", f"{error.strerror or error}.", "Name a CAR file.") from error
    return Imported(len(file.present), file.size, tree.outcomes, tree.stray)


@dataclass
class _File:
    """What the first reading finds."""

    roots: tuple[Cid, ...]
    size: int = 0  # bytes in its blocks
    present: set[Cid] = field(default_factory=set)
    nodes: dict[Cid, bytes] = field(default_factory=dict)


def _verify(stream: BinaryIO, path: Path, limit: int, on_read: Callable[[int], None]) -> _File:
    """Read the whole file, within its bounds, and keep its nodes."""
    file, node_bytes = _File(read_car_header(stream, str(path))), 0
    for count, block in enumerate(read_car_blocks(stream, str(path)), start=1):
        file.size += len(block.data)
        if file.size > limit:
            raise _too_large(path, f"Its blocks have more than {limit} bytes.", "Allow more with --limit.")
        if block.cid.codec == DAG_PB:
            file.nodes[block.cid] = block.data
            node_bytes += len(block.data)
        if count > MAX_BLOCKS or node_bytes > MAX_NODE_BYTES:
            raise _too_large(
                path,
                f"It has more than {MAX_BLOCKS} blocks, or {MAX_NODE_BYTES} bytes in nodes.",
                "No round has so many: ask for another file.",
            )
        file.present.add(block.cid)
        on_read(stream.tell())
    return file


class _Tree:
    """The nodes of a file in the order in which they are put, and what is missing below its roots.

    Raises:
        NotCanonical: A block is below none of the roots, which are not so many that others had no room.
        StoreUnavailable: The store failed.
    """

    def __init__(self, file: _File, path: Path, store: ContentStore) -> None:
        self._file, self._store = file, store
        self._kept = store.kept()
        self._missing: dict[Cid, Cid | None] = {}  # by node: the first block below it that is nowhere
        self._foreign: dict[Cid, Cid] = {}  # by node: the first one below it, or it itself, that hides links
        self._looked_up: dict[Cid, bool] = {}
        self._leaves: set[Cid] = set()  # those that were reached
        for root in file.roots:
            self._visit(root)
        self.outcomes = tuple(RootOutcome(root, self._missing_at(root), self._foreign.get(root)) for root in file.roots)
        self.stray = len(file.present) - len(self._leaves) - len(self._missing)
        if self.stray and len(file.roots) < MAX_ROOTS:
            reached = self._leaves | self._missing.keys()
            raise NotCanonical(
                f"Block {next(cid for cid in file.present if cid not in reached)} belongs to no root of {path}.",
                f"{self.stray} of its {len(file.present)} blocks do not.",
                "Ask for another file: one of `rondo export` or `ipfs dag export` has none.",
            )
        for node in file.nodes:
            self._visit(node)

    @property
    def nodes(self) -> Iterator[Block]:
        """The file's nodes, each after all that it links to."""
        return (Block(cid, self._file.nodes[cid]) for cid in self._missing)

    def _visit(self, root: Cid) -> None:
        """Walk the tree without recursion, however deep it is; children are done before their parents."""
        stack, entered = [root], set[Cid]()
        while stack:
            cid = stack[-1]
            if cid in self._missing or cid not in self._file.nodes:
                stack.pop()
                continue
            block = Block(cid, self._file.nodes[cid])
            children = dict.fromkeys(child_cids(block))
            if cid not in entered:
                entered.add(cid)
                stack += [child for child in children if child in self._file.nodes and child not in self._missing]
            else:
                gone = (self._missing_at(child) for child in children)
                self._missing[cid] = next((one for one in gone if one is not None), None)
                foreign = (
                    [cid] if hides_links(block) else [self._foreign[one] for one in children if one in self._foreign]
                )
                if foreign:
                    self._foreign[cid] = foreign[0]
                self._leaves.update(child for child in children if self._is_leaf(child))
                stack.pop()
        if self._is_leaf(root):
            self._leaves.add(root)

    def _is_leaf(self, cid: Cid) -> bool:
        return cid.codec == RAW and cid in self._file.present

    def _missing_at(self, cid: Cid) -> Cid | None:
        """The first block of the tree of ``cid`` that is nowhere; its node has been walked."""
        if cid in self._file.present:
            return self._missing.get(cid)
        return None if self._is_in_store(cid) else cid

    def _is_in_store(self, cid: Cid) -> bool:
        """Whether the store has the tree of ``cid`` itself: a leaf that is there, or a root that is kept."""
        if cid in self._kept:
            return True
        if cid.codec != RAW or (len(self._looked_up) >= _MOST_LOOKED_UP and cid not in self._looked_up):
            return False
        if cid not in self._looked_up:
            self._looked_up[cid] = self._store.has_block(cid)
        return self._looked_up[cid]


def _put(store: ContentStore, stream: BinaryIO, path: Path, tree: _Tree, on_read: Callable[[int], None]) -> None:
    """Read the file again and put its leaves, then its nodes."""
    read_car_header(stream, str(path))
    with BlockWriter(store) as writer:
        for block in read_car_blocks(stream, str(path)):
            if block.cid.codec == RAW:
                writer.emit(block)
            on_read(stream.tell())
        for node in tree.nodes:
            writer.emit(node)


def _too_large(path: Path, why: str, do: str) -> TooLarge:
    return TooLarge(f"{path} is too large.", why, do)
