"""``rondo fetch`` and ``rondo put``: files and artifacts between this disk and the configured content store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_LIMIT = 16 * 1024**3  # bytes


def fetch(
    cid: Annotated[str, typer.Argument(help="The CID of a file or an artifact directory.")],
    path: Annotated[Path, typer.Argument(help="Where it goes; what is there already is never overwritten.")],
    limit: Annotated[
        int, typer.Option(min=0, help="Most bytes to fetch; more is refused before any of it is fetched.")
    ] = DEFAULT_LIMIT,
    config: Annotated[Path | None, typer.Option(help="Settings file; ./rondo.toml by default.")] = None,
    json_mode: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Fetch a file or an artifact directory from the configured store to PATH, every block verified.

    PATH appears when it is whole. What came before is kept in PATH.part, whatever ended the command; the same command
    goes on from there, and where PATH is whole already it fetches nothing.
    """
    from network.console import Output
    from network.download import download
    from network.part_file import part_of
    from network.progress import TransferProgress
    from network.session import open_content
    from network.settings import load_settings
    from protocol.cid import parse_cid
    from protocol.errors import TooLarge

    wanted, part = parse_cid(cid), part_of(path)
    store = open_content(load_settings(config))
    try:
        with TransferProgress(path.name) as on_progress, store.lease(wanted):
            size = download(store, wanted, path, limit=limit, on_progress=on_progress)
    except TooLarge as error:
        raise TooLarge(error.what, error.why, "Allow more with --limit.") from error
    except BaseException:
        if part.exists():
            print(f"What came is kept in {part}; the same command goes on from there.", file=sys.stderr)
        raise
    Output(json_mode).result({"cid": cid, "path": str(path), "size": size})


def put(
    path: Annotated[Path, typer.Argument(help="A file, or an artifact directory: at most 8 files, no folders.")],
    config: Annotated[Path | None, typer.Option(help="Settings file; ./rondo.toml by default.")] = None,
    json_mode: Annotated[bool, typer.Option("--json", help="One JSON document with the sizes, on stdout.")] = False,
) -> None:
    """Put a file or an artifact directory into the configured store, keep it there, and print its CID.

    It is that of `rondo cid -H --dereference-symlinks PATH`: names that begin with a dot go in, links are followed.
    In JSON, size is the bytes of all files, total_size those of all blocks (Tsize).
    """
    from network.console import Output
    from network.progress import TransferProgress
    from network.session import open_content
    from network.settings import load_settings
    from network.transfer import publish_path

    store = open_content(load_settings(config))
    with TransferProgress(path.name) as on_progress:
        root = publish_path(store, path, on_progress)
    if json_mode:
        facts = {"cid": str(root.cid), "size": root.size, "total_size": root.total_size, "path": str(path)}
        Output(json_mode=True).result({**facts, "store": store.name})
    else:
        print(root.cid, flush=True)
