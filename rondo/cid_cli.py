"""``rondo cid``: the name of a file or directory in IPFS, calculated here, without any store."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

    from protocol.unixfs import Block

QUIET_SECONDS = 1.0  # before a terminal shows progress
LINE_SECONDS = 10.0  # before, and between, lines of progress in a log


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
    from network.local_tree import import_path

    with _Progress() as progress:
        root = import_path(path, progress.emit, hidden=hidden, follow=follow)
    if json_mode:
        facts = {"cid": str(root.cid), "size": root.size, "total_size": root.total_size, "path": str(path)}
        Output(json_mode=True).result(facts)
    else:
        print(root.cid, flush=True)


class _Progress:
    """Says on stderr how much is hashed, where that takes a while: a bar on a terminal, now and then a line in a log."""

    def __init__(self) -> None:
        self._bytes = 0
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic() + (QUIET_SECONDS if self._terminal else LINE_SECONDS)
        self._bar: Progress | None = None

    def emit(self, block: Block) -> None:
        """Count one block."""
        self._bytes += len(block.data)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._bytes)
        elif time.monotonic() >= self._next:
            self._show()

    def _show(self) -> None:
        if self._terminal:
            self._bar = _bar()
            self._bar.add_task("hashed", total=None, completed=self._bytes)
            self._bar.start()
        else:
            print(f"hashed {self._bytes / 1e6:.0f} MB", file=sys.stderr, flush=True)
            self._next = time.monotonic() + LINE_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar() -> Progress:
    """Return what a terminal shows; it is wiped when done, so that the CID stands alone."""
    from rich.console import Console
    from rich.progress import (
        DownloadColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TransferSpeedColumn,
    )

    columns = (SpinnerColumn(), TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
