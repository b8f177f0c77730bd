"""``rondo export`` and ``rondo import``: one round as a CAR file, for any IPFS node and for audits without a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from network.round_content import Found, Item, Missing
    from network.store import ContentStore
    from protocol.cid import Cid
    from protocol.state import RoundState

STDOUT = Path("-")
DEFAULT_LIMIT = 64 * 1024**3  # bytes


def export(
    round_reference: Annotated[
        str, typer.Argument(metavar="ROUND", help="Round id (0x…), or its index in the configured federation.")
    ],
    output_file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="round-<index>.car by default; - is stdout.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Write what there is, though an audit could not decide by it.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; ./rondo.toml by default.")] = None,
    json_mode: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Write all artifacts of ROUND to a CAR file, which `rondo import` and `ipfs dag import` read.

    In it are the task, the base model with its anchor, every update that is there, the report, the resulting model and
    a revealed record; with it and the chain alone `rondo audit ROUND` decides. The same round gives the same file.
    FILE appears when it is whole. Exit code 69: something that an audit reads is missing.
    """
    from rich.text import Text

    from network.console import Output
    from network.round_content import Missing, round_items
    from network.session import open_chain, open_content
    from network.settings import load_settings
    from protocol.errors import InvalidInput
    from protocol.reference import resolve_round

    if output_file == STDOUT and json_mode:
        raise InvalidInput("--json and -o - both want stdout.", "The CAR would be mixed up with it.", "Name a file.")
    settings = load_settings(config)
    state = open_chain(settings, with_key=False).state()
    round_ = state.rounds[resolve_round(state, settings.federation, round_reference)]
    store = open_content(settings)
    items = round_items(store, state, round_)
    with store.lease(*(item.cid for item in items)):
        looked = _look(store, items)
        missing = [one for one in looked if isinstance(one, Missing)]
        if not partial:
            _require(round_, missing)
        found = [one for one in looked if not isinstance(one, Missing)]
        path = output_file or Path(f"round-{round_.index}.car")
        size = _write(store, found, path, f"round {round_.index}")
    output = Output(json_mode)
    if path == STDOUT:
        print(_words(round_, path, size, found, missing), file=sys.stderr)
    else:
        words = _words(round_, path, size, found, missing)
        output.result(_document(round_, path, size, found, missing), lambda: Text(words))
    if round_.settled is None:
        print("The round is not settled: there is nothing to audit yet.", file=sys.stderr)


def import_(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A CAR file, as `rondo export` writes.")],
    limit: Annotated[int, typer.Option(min=0, help="Most bytes in its blocks; more is refused.")] = DEFAULT_LIMIT,
    config: Annotated[Path | None, typer.Option(help="Settings file; ./rondo.toml by default.")] = None,
    json_mode: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Put the blocks of a CAR file into the configured store, and keep the trees of its roots that are whole.

    All of the file is verified before any of it is put. Importing it again changes nothing, and completes an import
    that was interrupted. Exit code 69: the file names a root that it does not have.
    """
    from rich.text import Text

    from network.car_file import import_car
    from network.console import Output
    from network.progress import TransferProgress
    from network.session import open_content
    from network.settings import load_settings
    from protocol.errors import BlockMissing

    store = open_content(load_settings(config))
    with TransferProgress(f"import of {path.name}") as on_progress:
        done = import_car(store, path, limit=limit, on_progress=on_progress)
    roots = [
        {
            "cid": str(root.cid),
            "kept": root.is_kept,
            "missing": None if root.missing is None else str(root.missing),
            "foreign": None if root.foreign is None else str(root.foreign),
        }
        for root in done.roots
    ]
    whole = sum(root.is_kept for root in done.roots)
    lines = [f"{path}: {done.blocks} blocks, {done.bytes} bytes; {whole} of {len(roots)} roots are whole and kept"]
    if done.stray:
        lines.append(
            f"{done.stray} blocks had no room among the roots: `rondo pins --repair` keeps what is needed of them"
        )
    lines += [f"{root.cid} is not kept: block {root.missing} is not here" for root in done.roots if root.missing]
    lines += [
        f"{root.cid} is not kept: {root.foreign} is no node of the profile unixfs-v1-2025"
        for root in done.roots
        if root.foreign and not root.missing
    ]
    Output(json_mode).result(
        {
            "file": str(path),
            "store": store.name,
            "blocks": done.blocks,
            "bytes": done.bytes,
            "roots": roots,
            "stray": done.stray,
        },
        lambda: Text("\n".join(lines)),
    )
    for root in done.roots:
        if root.is_lacking:
            raise BlockMissing(str(root.cid), f"{path}, which names it as a root")


def _look(store: ContentStore, items: Sequence[Item]) -> list[Found | Missing]:
    from network.round_content import look_at

    return [look_at(store, item) for item in items]


def _require(round_: RoundState, missing: Sequence[Missing]) -> None:
    """Raise ContentError where an audit could not decide."""
    from protocol.errors import ContentError

    needed = [one for one in missing if one.item.audited]
    if needed:
        raise ContentError(
            f"An audit of round {round_.index} needs {len(needed)} artifacts that are not there.",
            " ".join(f"{one.item.what} {one.item.cid}: {one.why}" for one in needed),
            "Add another source or run `rondo pins --repair`, or write what there is with --partial.",
        )


def _write(store: ContentStore, found: Sequence[Found], path: Path, name: str) -> int:
    """Write the CAR and return its bytes. Whole trees are its first roots; those without room are in it all the same."""
    from network.car_file import replacing, write_car
    from network.progress import TransferProgress
    from network.round_content import item_blocks
    from protocol.car import MAX_ROOTS

    ordered = sorted(found, key=lambda one: bool(one.refused))
    roots, total = [one.item.cid for one in ordered[:MAX_ROOTS]], sum(one.bytes for one in ordered)
    seen: set[Cid] = set()
    blocks = (block for one in ordered for block in item_blocks(store, one.item, seen))
    with TransferProgress(f"export of {name}") as on_progress:
        if path == STDOUT:
            return write_car(sys.stdout.buffer, roots, blocks, total, on_progress)
        with replacing(path) as stream:
            return write_car(stream, roots, blocks, total, on_progress)


def _document(
    round_: RoundState, path: Path, size: int, found: Sequence[Found], missing: Sequence[Missing]
) -> dict[str, Any]:
    return {
        "round": "0x" + round_.id.hex(),
        "index": round_.index,
        "settled": round_.settled is not None,
        "file": str(path),
        "bytes": size,
        "complete": not any(one.item.audited for one in missing),
        "artifacts": [
            {"what": one.item.what, "cid": str(one.item.cid), "bytes": one.bytes, "refused": one.refused or None}
            for one in found
        ],
        "missing": [
            {"what": one.item.what, "cid": str(one.item.cid), "audited": one.item.audited, "why": one.why}
            for one in missing
        ],
    }


def _words(round_: RoundState, path: Path, size: int, found: Sequence[Found], missing: Sequence[Missing]) -> str:
    lines = [f"round {round_.index}: {len(found)} artifacts, {size} bytes, in {'stdout' if path == STDOUT else path}"]
    lines += [
        f"{one.item.what} {one.item.cid} is no artifact, as an audit finds: {one.refused}"
        for one in found
        if one.refused
    ]
    lines += [f"{one.item.what} {one.item.cid} is missing: {one.why}" for one in missing]
    return "\n".join(lines)
