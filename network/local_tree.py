"""Importing what lies on this machine's disk: a file, or a directory with all below it, as ``ipfs add -r`` reads it.

Nothing recurses and no file is held in memory; only the names of the directories between the top and the present file
are. Files are opened without following links, so a name that is exchanged meanwhile leads nowhere else.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from protocol.errors import FileChanged, InvalidInput
from protocol.tree import checked_names, link_directory, link_symlink
from protocol.unixfs import Emit, Root, import_file

_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # opening a pipe that took a file's place must not wait for a writer


def import_path(path: Path, emit: Emit, *, hidden: bool = False, follow: bool = False) -> Root:
    """Hand the blocks of the file or directory ``path`` to ``emit``, children before parents; return the top one's facts.

    ``path`` itself is taken whatever its name is. Modes and times are not kept.

    Args:
        hidden: Whether names that begin with a dot are taken inside directories (``ipfs add --hidden``).
        follow: Whether what symbolic links lead to is taken in their place (``ipfs add --dereference-symlinks``);
            otherwise a link is a node of its own that holds the path, ``path`` itself included.

    Raises:
        InvalidInput: Something is missing or may not be read, is neither file, directory nor symbolic link, leads back
            to a directory above it, or makes no directory (protocol/tree.py).
        FileChanged: A file or directory was changed while it was read.
        OSError: The disk failed.
    """
    return _Walk(emit, hidden, follow).run(path)


def bytes_to_import(path: Path, *, hidden: bool = False, follow: bool = False) -> int:
    """Return how many content bytes ``import_path`` would read, as far as it can be seen; for progress, so it refuses nothing.

    Where links are followed, a directory counts once however many lead to it.
    """
    total, waiting, seen = 0, [path], set[tuple[int, int]]()
    while waiting:
        one = waiting.pop()
        try:
            found = one.stat(follow_symlinks=follow)
            if stat.S_ISDIR(found.st_mode) and (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                waiting += [below for below in one.iterdir() if hidden or not below.name.startswith(".")]
        except OSError:
            continue
        total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


@dataclass(slots=True)
class _Open:
    """A directory that is being imported: the names still to come, last first, and what the others came to."""

    path: Path
    found: os.stat_result
    waiting: list[str]
    entries: dict[str, Root]


class _Walk:
    """One walk through a tree, deepest first, with a stack of its own."""

    def __init__(self, emit: Emit, hidden: bool, follow: bool) -> None:
        self._emit, self._hidden, self._follow = emit, hidden, follow
        self._open: list[_Open] = []

    def run(self, path: Path) -> Root:
        done = self._enter(path)
        while done is None or self._open:
            top = self._open[-1]
            if done is not None:
                top.entries[top.waiting.pop()] = done
            done = self._enter(top.path / top.waiting[-1]) if top.waiting else self._leave()
        return done

    def _enter(self, path: Path) -> Root | None:
        """Import the file or link ``path``; of a directory read the names, and return None."""
        try:
            found = path.stat(follow_symlinks=self._follow)
        except OSError as error:
            if self._open and not os.path.lexists(path):
                raise FileChanged(str(path), "It is gone.") from None
            _refuse_unreadable(path, error)
        if stat.S_ISDIR(found.st_mode):
            self._open.append(self._list(path, found))
            return None
        if stat.S_ISREG(found.st_mode):
            return self._file(path)
        if stat.S_ISLNK(found.st_mode):
            target = os.readlink(os.fsencode(path))  # noqa: PTH115 - a Path would tidy it up
            return link_symlink(target, self._emit)
        raise InvalidInput(
            f"{path} is neither a file nor a directory.",
            f"It is {_kind(found.st_mode)}.",
            "Leave it out, or name a file.",
        )

    def _list(self, path: Path, found: os.stat_result) -> _Open:
        if self._follow and any(os.path.samestat(found, above.found) for above in self._open):
            raise InvalidInput(f"{path} leads back to a directory above it.", "It would never end.", "Remove the link.")
        try:
            with os.scandir(path) as entries:
                names = (entry.name for entry in entries)
                taken = checked_names((name for name in names if self._hidden or not name.startswith(".")), str(path))
        except OSError as error:
            _refuse_unreadable(path, error)
        return _Open(path, found, taken[::-1], {})

    def _leave(self) -> Root:
        done = self._open.pop()
        try:
            now = done.path.stat()
        except FileNotFoundError:
            raise FileChanged(str(done.path), "It is gone.") from None
        if (now.st_mtime_ns, now.st_ino, now.st_dev) != (done.found.st_mtime_ns, done.found.st_ino, done.found.st_dev):
            raise FileChanged(str(done.path), "Files were added to it, renamed or removed.")
        return link_directory(done.entries, self._emit, str(done.path))

    def _file(self, path: Path) -> Root:
        try:
            handle = os.open(path, _OPEN | (0 if self._follow else os.O_NOFOLLOW))
        except OSError as error:
            _refuse_unreadable(path, error)
        with os.fdopen(handle, "rb", buffering=0) as file:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                raise FileChanged(str(path), f"It became {_kind(before.st_mode)}.")
            root = import_file(file, self._emit)
            after = os.fstat(handle)
        if root.size != before.st_size or (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            raise FileChanged(
                str(path), f"It had {before.st_size} bytes, {root.size} were read, and now it has {after.st_size}."
            )
        return root


def _refuse_unreadable(path: Path, error: OSError) -> NoReturn:
    why = error.strerror or type(error).__name__
    raise InvalidInput(f"{path} cannot be read.", f"{why}.", "Check that it exists and may be read.") from error


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    return kinds.get(stat.S_IFMT(mode), "of another kind")
