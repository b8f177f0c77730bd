"""Directories of any names and depth, and symbolic links: what ``ipfs add -r`` makes of a place on disk.

As artifacts (protocol/unixfs.py) in the profile ``unixfs-v1-2025`` of IPIP-499, but with any names that are UTF-8, in the
order of their bytes. A directory whose node would be over 256 KiB is hashed (HAMT) by that profile, and so by Kubo: this
module makes no such directory, it refuses. (Kubo without the profile begins later, at 256 KiB of names and binary CIDs
alone; so whatever is made here has one CID with both.) Sources: https://specs.ipfs.tech/ipips/ipip-0499/ and, for the
exact rule, boxo's ``ipld/unixfs/io`` (``SizeEstimationBlock``, ``HAMTShardingSize``): over, not at, the threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protocol.cid import DAG_PB, block_cid
from protocol.dag_pb import MAX_DIRECTORY_BYTES, Kind, Node, PbLink, encode_node, encode_symlink, link_bytes
from protocol.errors import InvalidInput
from protocol.unixfs import Block, Emit, Root, emit_node


def link_directory(entries: Mapping[str, Root], emit: Emit, where: str) -> Root:
    """Emit the directory of ``entries`` (imported already; by name, whatever the order) and return its facts.

    ``size`` is that of all files in it and below; ``where`` names the directory in messages.

    Raises:
        InvalidInput: As ``checked_names``, or its node would be over 256 KiB.
    """
    names = checked_names(entries, where)
    links = tuple(PbLink(entries[name].cid, name, entries[name].total_size) for name in names)
    node = Node(Kind.DIRECTORY, links)
    _refuse_sharded(len(encode_node(node)), len(links), where)
    return emit_node(node, sum(root.size for root in entries.values()), emit)


def link_symlink(target: bytes, emit: Emit) -> Root:
    """Emit the node of a symbolic link to ``target`` and return its facts; its ``size`` is 0: it holds no file's bytes."""
    data = encode_symlink(target)
    cid = block_cid(DAG_PB, data)
    emit(Block(cid, data))
    return Root(cid, 0, len(data))


def checked_names(names: Iterable[str], where: str) -> list[str]:
    """Return ``names`` in the order of a directory, so that one that cannot be made is refused before a file is read.

    Raises:
        InvalidInput: A name is empty, ``.`` or ``..``, holds a slash or NUL, is not UTF-8 or over 255 bytes; or there
            are so many that IPFS would hash the directory even if all its files were empty. No more are taken then.
    """
    taken: list[str] = []
    least = _EMPTY_DIRECTORY
    for name in names:
        _check_name(name, where)
        taken.append(name)
        least += link_bytes(name, 0)
        _refuse_sharded(least, len(taken), where)
    return sorted(taken)  # by code points, which is the order of their UTF-8 bytes


def _check_name(name: str, where: str) -> None:
    try:
        length = len(name.encode("utf-8"))
    except UnicodeEncodeError:  # how Python shows a name on disk that is not UTF-8
        raise _refused(f"A name in {where} is not UTF-8: {name!r}.", "Names in IPFS are text.") from None
    if name in ("", ".", "..") or "/" in name or "\0" in name or length > 255:
        raise _refused(f"{name!r} in {where} is no file's name.", "Names have 1 to 255 bytes and no slash.")


def _refuse_sharded(size: int, entries: int, where: str) -> None:
    if size > MAX_DIRECTORY_BYTES:
        raise InvalidInput(
            f"{where} is too large for one directory: its first {entries} entries take {size} bytes.",
            f"IPFS hashes (HAMT) a directory whose node is over {MAX_DIRECTORY_BYTES} bytes, which Rondo does not make.",
            f"Spread its files over subdirectories, some {MAX_DIRECTORY_BYTES * entries // size} in each, or pack them.",
        )


def _refused(what: str, why: str) -> InvalidInput:
    return InvalidInput(what, why, "Rename it.")


_EMPTY_DIRECTORY = len(encode_node(Node(Kind.DIRECTORY, ())))
