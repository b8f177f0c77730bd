"""Files and directories as trees of blocks, so that one content has one digest: the profile ``unixfs-v1-2025``.

Of IPIP-499 (https://specs.ipfs.tech/ipips/ipip-0499/): CIDv1, sha2-256, raw leaves of 1 MiB, a balanced tree of width
1024, no mode or mtime; artifacts are flat directories far below the size where hashed ones (HAMT) begin. The result is
what Kubo calculates for ``ipfs add -r --cid-version=1 --raw-leaves --chunker=size-1048576 --max-file-links=1024``.

A file of at most 1 MiB is one raw block. A larger one has the least depth that holds it; every node but the last of a
level is full. So the size of a file alone decides the shape of its tree, which is how reading refuses foreign shapes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from protocol.chunks import hashed_chunks
from protocol.cid import DAG_PB, RAW, Cid, block_cid, verify_block
from protocol.content import Files, Held, open_stream
from protocol.dag_pb import MAX_DIRECTORY_LINKS, Kind, Node, PbLink, decode_node, encode_node, may_link
from protocol.errors import InvalidInput, NotCanonical, TooLarge
from protocol.leaves import leaf_cids
from protocol.runs import Run
from protocol.types import Digest

CHUNK = 1024 * 1024  # bytes in a leaf
WIDTH = 1024  # links in a node of a file
MAX_ENTRIES = 8  # files in an artifact directory

_DO = "Import the content again with the profile unixfs-v1-2025."


@dataclass(frozen=True, slots=True)
class Block:
    """The unit that stores and networks carry."""

    cid: Cid
    data: bytes


@dataclass(frozen=True, slots=True)
class Root:
    """The top of a tree: ``size`` content bytes, ``total_size`` bytes in all its blocks (Tsize)."""

    cid: Cid
    size: int
    total_size: int


@dataclass(frozen=True, slots=True)
class Link:
    """One file of a directory, by what its directory and its top node declare: sizes as in ``Root``."""

    cid: Cid
    size: int
    total_size: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """One raw block of a file: ``size`` bytes of its content, the first of which is byte ``offset``."""

    cid: Cid
    offset: int
    size: int


Emit = Callable[[Block], None]
Get = Callable[[Cid], bytes]


def import_file(stream: BinaryIO, emit: Emit) -> Root:
    """Cut ``stream`` into blocks, hand each to ``emit`` (children before parents) and return the top one's facts.

    Memory is a few leaves and at most 1024 links a level, whatever the size of the file. ``emit`` is called by the
    caller's own thread alone; where it raises, so does this.
    """
    tree = _Tree(emit)
    for cid, data in hashed_chunks(stream, CHUNK):
        emit(Block(cid, data))
        tree.add(0, Root(cid, len(data), len(data)))
        del data  # before the next one is read
    return tree.finish()


def root_of_leaves(leaves: Iterable[Leaf]) -> Root:
    """Return what ``import_file`` returns for the file that is cut into ``leaves``, without their bytes."""
    return _root_of((leaf.cid, leaf.size) for leaf in leaves)


def import_directory(files: Mapping[str, bytes] | Files, emit: Emit) -> Root:
    """Import ``files`` (content by name, whatever the order) and the directory of them, which is emitted last.

    Raises:
        InvalidInput: More than 8 files, or a name that is not 1 to 255 printable ASCII characters without a slash.
    """
    _require_names(files)
    return directory_of_roots({name: import_file(open_stream(files[name]), emit) for name in sorted(files)}, emit)


def directory_of_roots(roots: Mapping[str, Root], emit: Emit) -> Root:
    """Emit the node of the directory whose files, of good names, have the tops ``roots``, and return its facts."""
    links = tuple(PbLink(roots[name].cid, name, roots[name].total_size) for name in sorted(roots))
    return emit_node(Node(Kind.DIRECTORY, links), sum(root.size for root in roots.values()), emit)


def directory_digest(files: Mapping[str, bytes] | Files, run: Run | None = None) -> Digest:
    """Return the digest that names the directory of ``files`` on chain, without keeping a block.

    Args:
        run: Who reads and hashes the leaves, in this process, several files' side by side; each of its threads holds 2 MiB.
            None is as ``import_directory`` does.

    Raises:
        InvalidInput: As ``import_directory``.
    """
    if run is None:
        return import_directory(files, lambda _: None).cid.digest
    _require_names(files)
    contents = {name: Held(file) if isinstance(file, bytes) else file for name, file in files.items()}
    roots = {name: _root_of(leaves) for name, leaves in leaf_cids(contents, CHUNK, run).items()}
    return directory_of_roots(roots, lambda _: None).cid.digest


def read_file(cid: Cid, get: Get, limit: int) -> bytes:
    """Return the bytes of the file ``cid``, fetched with ``get`` and verified block by block.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: From ``get``; BlockCorrupt also when the bytes it gave are others.
        TooLarge: The file has more than ``limit`` bytes; known from its top node, before any leaf is fetched.
        NotCanonical: The tree is not the one that ``import_file`` makes of any file.
    """
    if cid.codec == RAW:
        return _raw_file(cid, get, limit)
    out = io.BytesIO()
    for leaf in file_leaves(cid, get, limit):
        out.write(read_leaf(leaf, get))
    return out.getvalue()


def file_leaves(cid: Cid, get: Get, limit: int) -> Iterator[Leaf]:
    """Yield the leaves of the file ``cid`` in order, fetching nothing but the nodes above the next one.

    Depth and fan-out follow from the size that the top node declares, so a hostile tree can neither nest, nor loop, nor
    hold more than it says. A file that is one raw block yields itself: it is fetched for its size.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: From ``get``; BlockCorrupt also when the bytes it gave are others.
        TooLarge: The file has more than ``limit`` bytes; known from its top node, before any leaf is fetched.
        NotCanonical: The tree is not the one that ``import_file`` makes of any file; known before the leaf it concerns.
    """
    if cid.codec == RAW:
        yield Leaf(cid, 0, len(_raw_file(cid, get, limit)))
        return
    node, block_size = _top_node(cid, get)
    _refuse_larger(node.size, limit, cid)
    yield from _leaves_below(cid, node, block_size, 0, _depth(node.size), get)


def read_leaf(leaf: Leaf, get: Get) -> bytes:
    """Return the verified bytes of ``leaf``; raises as ``read_file``, NotCanonical where its length is another."""
    data = _get(leaf.cid, get)
    _refuse(len(data) != leaf.size, leaf.cid, f"it holds {len(data)} bytes where its node says {leaf.size}")
    return data


def child_cids(block: Block) -> tuple[Cid, ...]:
    """Return what ``block`` links to, in order; nothing where it is a leaf or no node of this profile.

    Directories of any names (protocol/tree.py) are followed as well, so that whoever keeps one keeps all of it.
    """
    if block.cid.codec == RAW:
        return ()
    try:
        return tuple(link.cid for link in decode_node(block.data, MAX_DIRECTORY_LINKS).links)
    except NotCanonical:
        return ()


def walk_tree(root: Cid, children: Callable[[Cid], Iterable[Cid]]) -> Iterator[Cid]:
    """Yield ``root`` and all below it, each once however often it is linked, parents before children and those in order.

    It neither recurses nor loops, whatever is linked to what. ``children`` is asked for a CID's after that was yielded.
    """
    waiting, seen = [root], {root}
    while waiting:
        cid = waiting.pop()
        yield cid
        new = [child for child in dict.fromkeys(children(cid)) if child not in seen]
        seen.update(new)
        waiting += reversed(new)


def hides_links(block: Block) -> bool:
    """Whether ``block`` may link to what ``child_cids`` does not see: it is a node, though none of this profile.

    An IPFS node that pins it follows those links, however much lies behind them.
    """
    if block.cid.codec == RAW:
        return False
    try:
        decode_node(block.data, MAX_DIRECTORY_LINKS)
    except NotCanonical:
        return may_link(block.data)
    return False


def list_directory(cid: Cid, get: Get, limit: int) -> dict[str, Link]:
    """Return the files of the artifact directory ``cid`` by name; fetches its node and the top nodes of large files.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: As ``read_file``.
        TooLarge: The files together have more than ``limit`` bytes.
        NotCanonical: It is no directory, has more than 8 entries, or its names are not plain ASCII in ascending order.
    """
    _refuse(cid.codec != DAG_PB, cid, "a raw block is no directory")
    node = decode_node(_get(cid, get))
    names = [link.name for link in node.links]
    _refuse(node.kind is not Kind.DIRECTORY, cid, "it is a file where a directory must be")
    _refuse(len(names) > MAX_ENTRIES, cid, f"{len(names)} entries are more than {MAX_ENTRIES}")
    _refuse(not all(map(_is_name, names)), cid, "a name is not plain ASCII")
    _refuse(names != sorted(set(names)), cid, "its names are not in ascending order")
    links = {link.name: _open_link(link, get) for link in node.links}
    _refuse_larger(sum(link.size for link in links.values()), limit, cid)
    return links


def emit_node(node: Node, size: int, emit: Emit) -> Root:
    """Emit the block of ``node``, below which are ``size`` content bytes, and return its facts."""
    data = encode_node(node)
    cid = block_cid(DAG_PB, data)
    emit(Block(cid, data))
    return Root(cid, size, len(data) + sum(link.total_size for link in node.links))


def _root_of(leaves: Iterable[tuple[Cid, int]]) -> Root:
    """Return the top of the tree over leaves of which the CID and the size are known."""
    tree = _Tree(lambda _: None)
    for cid, size in leaves:
        tree.add(0, Root(cid, size, size))
    return tree.finish()


class _Tree:
    """The right edge of a balanced tree that is being built: per level the links that still wait for their node."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._levels: list[list[Root]] = []

    def add(self, level: int, root: Root) -> None:
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(root)
        if len(self._levels[level]) == WIDTH:
            self._close(level)

    def _close(self, level: int) -> None:
        below, self._levels[level] = self._levels[level], []
        links = tuple(PbLink(root.cid, "", root.total_size) for root in below)
        node = Node(Kind.FILE, links, tuple(root.size for root in below))
        self.add(level + 1, emit_node(node, node.size, self._emit))

    def finish(self) -> Root:
        """Close what is open from the leaves up. A lone link below the top gets its node too: all depths are equal."""
        level = 0
        while level < len(self._levels) - 1 or len(self._levels[level]) != 1:
            if self._levels[level]:
                self._close(level)
            level += 1
        return self._levels[level][0]


def _depth(size: int) -> int:
    """Return the levels of nodes above the leaves of a file of ``size`` bytes."""
    depth = 0
    while CHUNK * WIDTH**depth < size:
        depth += 1
    return depth


def _get(cid: Cid, get: Get) -> bytes:
    data = get(cid)
    verify_block(cid, data)
    return data


def _raw_file(cid: Cid, get: Get, limit: int) -> bytes:
    """Fetch the one block of a file of at most one leaf."""
    data = _get(cid, get)
    _refuse(len(data) > CHUNK, cid, f"a leaf of {len(data)} bytes is over {CHUNK}")
    _refuse_larger(len(data), limit, cid)
    return data


def _top_node(cid: Cid, get: Get) -> tuple[Node, int]:
    """Fetch the top node of a file that is larger than one leaf; return it and the length of its block."""
    data = _get(cid, get)
    node = _file_node(cid, data)
    _refuse(node.size <= CHUNK, cid, "a file of at most one leaf has no node")
    return node, len(data)


def _file_node(cid: Cid, data: bytes) -> Node:
    node = decode_node(data)
    _refuse(node.kind is not Kind.FILE, cid, "it is a directory where a file must be")
    return node


def _leaves_below(
    cid: Cid, node: Node, block_size: int, offset: int, depth: int, get: Get
) -> Generator[Leaf, None, int]:
    """Yield the leaves below ``node``, which stands ``depth`` levels above them; return the node's own Tsize."""
    each = CHUNK * WIDTH ** (depth - 1)
    sizes = tuple(min(each, node.size - at) for at in range(0, node.size, each))
    _refuse(node.sizes != sizes or len(node.links) != len(sizes), cid, "its bytes are not divided as they must be")
    total = block_size
    for link, size in zip(node.links, sizes, strict=True):
        _refuse(link.name != "" or link.cid.codec != (RAW if depth == 1 else DAG_PB), cid, "a link is of another kind")
        if depth == 1:
            found = size
            _refuse_other_total(link, found, cid)
            yield Leaf(link.cid, offset, size)
        else:
            data = _get(link.cid, get)
            below = _file_node(link.cid, data)
            _refuse(below.size != size, link.cid, f"it holds {below.size} bytes where its node says {size}")
            found = yield from _leaves_below(link.cid, below, len(data), offset, depth - 1, get)
            _refuse_other_total(link, found, cid)
        total, offset = total + found, offset + size
    return total


def _open_link(link: PbLink, get: Get) -> Link:
    if link.cid.codec == RAW:
        _refuse(link.total_size > CHUNK, link.cid, f"a leaf of {link.total_size} bytes is over {CHUNK}")
        return Link(link.cid, link.total_size, link.total_size)
    return Link(link.cid, _top_node(link.cid, get)[0].size, link.total_size)


def _refuse_other_total(link: PbLink, found: int, cid: Cid) -> None:
    _refuse(link.total_size != found, cid, f"a link says {link.total_size} bytes in all, there are {found}")


def _is_name(name: str) -> bool:
    printable = name.isascii() and name.isprintable() and "/" not in name
    return printable and 1 <= len(name) <= 255 and name not in (".", "..")


def _require_names(files: Collection[str]) -> None:
    if len(files) > MAX_ENTRIES or not all(map(_is_name, files)):
        raise InvalidInput(
            f"These files make no artifact: {sorted(files)!r}.",
            f"A directory has at most {MAX_ENTRIES} files with plain ASCII names.",
            "Use the names that the artifact's kind fixes.",
        )


def _refuse(broken: bool, cid: Cid, why: str) -> None:
    if broken:
        raise NotCanonical(f"{cid} is not canonical:", f"{why}.", _DO)


def _refuse_larger(size: int, limit: int, cid: Cid) -> None:
    if size > limit:
        raise TooLarge(f"{cid} holds {size} bytes.", f"At most {limit} are allowed.", "Publish a smaller artifact.")
