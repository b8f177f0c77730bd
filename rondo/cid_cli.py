"""``rondo cid``: the name of a file or directory in IPFS, calculated here, without any store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from network.progress import OnProgress
    from protocol.unixfs import Block, Emit


def cid(
    path: Annotated[Path, typer.Argument(help="A file, or a directory with all below it.")],
    hidden: Annotated[
        bool, typer.Option("--hidden", "-H", help="Inside directories, take names that begin with a dot too.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--dereference-symlinks", help="Take what symbolic links lead to, not the links.")
    ] = False,
    json_mode: Annotated[bool, typer.Option("--json", help="One JSON document with the sizes, on stdout.")] = False,
) -> None:
    """Print the CID that IPFS gives to PATH, and nothing else on stdout; no store and no network is used.

    It is that of `ipfs add -r --cid-version=1 --raw-leaves --chunker=size-1048576 --max-file-links=1024` (profile
    unixfs-v1-2025): names that begin with a dot are left out, symbolic links are kept as links, modes and times are not.
    In JSON, size is the bytes of all files, total_size those of all blocks (Tsize, what `ipfs files stat` calls
    CumulativeSize; a block that occurs twice counts twice).
    """
    from network.console import Output
    from network.local_tree import bytes_to_import, import_path
    from network.progress import TransferProgress

    total = bytes_to_import(path, hidden=hidden, follow=follow)
    with TransferProgress(path.name) as on_progress:
        root = import_path(path, _counting(on_progress, total), hidden=hidden, follow=follow)
    if json_mode:
        facts = {"cid": str(root.cid), "size": root.size, "total_size": root.total_size, "path": str(path)}
        Output(json_mode=True).result(facts)
    else:
        print(root.cid, flush=True)


def _counting(on_progress: OnProgress, total: int) -> Emit:
    """Return what takes blocks and tells how many content bytes they were, of ``total``."""
    from protocol.cid import RAW

    done = 0

    def emit(block: Block) -> None:
        nonlocal done
        if block.cid.codec == RAW:
            done += len(block.data)
            on_progress(done, max(done, total))

    return emit
