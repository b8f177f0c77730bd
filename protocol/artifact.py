"""Reading an artifact: a directory whose digest stands on chain, whole, verified, and canonical or refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protocol.cid import Cid, directory_cid
from protocol.errors import NotCanonical
from protocol.types import Digest
from protocol.unixfs import (
    CHUNK,
    Get,
    Leaf,
    directory_digest,
    directory_of_roots,
    list_directory,
    read_file,
    root_of_leaves,
)


def load_directory(digest: Digest, get: Get, limit: int) -> dict[str, bytes]:
    """Return the files of the artifact ``digest`` by name; at most ``limit`` content bytes together.

    Reading bounds what is fetched; that the digest is the one of this content is then decided by importing the files
    again, so no second tree (other sizes, other chunks, other fields) can name them.

    Raises:
        InvalidInput: The digest is not 32 bytes.
        BlockMissing, BlockCorrupt, StoreUnavailable: From ``get``; BlockCorrupt also when the bytes it gave are others.
        TooLarge: The files declare more than ``limit`` bytes; nothing but top nodes has been fetched then.
        NotCanonical: The tree is not the one that ``import_directory`` makes of its files.
    """
    tops: dict[Cid, bytes] = {}  # the directory's node and those of its large files, which both passes need

    def get_once(cid: Cid) -> bytes:
        return tops[cid] if cid in tops else get(cid)

    def get_top(cid: Cid) -> bytes:
        tops[cid] = get_once(cid)
        return tops[cid]

    links = list_directory(directory_cid(digest), get_top, limit)
    # a raw file's true length shows only when it is read: one leaf is allowed, the comparison below finds the lie
    files = {name: read_file(link.cid, get_once, max(link.size, CHUNK)) for name, link in links.items()}
    check_directory(digest, files)
    return files


def check_directory(digest: Digest, files: Mapping[str, bytes]) -> None:
    """Check that ``digest`` is the one of the artifact of ``files``, by importing them again.

    Raises:
        NotCanonical: It is another one's.
    """
    _refuse_other(digest, directory_digest(files))


def check_leaves(digest: Digest, files: Mapping[str, Iterable[Leaf]]) -> None:
    """Check that ``digest`` is the one of the artifact whose files are cut into these leaves; nothing of them is hashed.

    Each leaf must have been verified, and its size be that of its bytes: then this says what ``check_directory`` says.

    Raises:
        NotCanonical: It is another one's.
    """
    roots = {name: root_of_leaves(leaves) for name, leaves in files.items()}
    _refuse_other(digest, directory_of_roots(roots, lambda _: None).cid.digest)


def _refuse_other(digest: Digest, canonical: Digest) -> None:
    if canonical != digest:
        raise NotCanonical(
            f"{directory_cid(digest)} is not canonical:",
            "its files imported again have another digest.",
            "Import the content again with the profile unixfs-v1-2025.",
        )
