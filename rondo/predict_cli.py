"""``rondo predict``: what a model, or a committee of them, says of examples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rondo.prediction import Prediction

DEFAULT_LIMIT = 16 * 1024**3  # bytes of one artifact
ROWS = 20  # that people are shown


def predict(
    cid: Annotated[str, typer.Argument(help="The CID of a model or of a committee.")],
    data: Annotated[Path, typer.Option(help="Examples, a .npz with x, and y where there are labels.")],
    committee: Annotated[
        bool, typer.Option("--committee", help="Ask the committee that the model names, and not the model.")
    ] = False,
    vote: Annotated[
        Literal["soft", "majority"] | None,
        typer.Option(help="A weighted mean of probabilities, or a weighted count; as the committee says by default."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write classes and probabilities there, a .npz; never over what is there.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most bytes of one model or update to fetch.")] = DEFAULT_LIMIT,
    config: Annotated[Path | None, typer.Option(help="Settings file; ./rondo.toml by default.")] = None,
    json_mode: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Predict the class of each example, with its probabilities, by a model or a committee from the configured store.

    Everything is fetched verified, and only built-in Keras layers are ever built. A soft vote is the mean of the members'
    probabilities by their weights, a majority a weighted count of the classes that they find most probable; of equal
    classes the smallest wins. With labels the accuracy is told, as correct/total.
    """
    from network.console import Output
    from network.session import open_content
    from network.settings import load_settings
    from organization.examples import load_examples
    from protocol.cid import parse_cid
    from rondo.prediction import check_out, predict_examples, write_out

    wanted = parse_cid(cid)
    check_out(out)
    examples = load_examples(data, "--data")
    store = open_content(load_settings(config))
    found = predict_examples(store, wanted, examples, committee=committee, vote=vote, limit=limit)
    if out is not None:
        write_out(out, found)
    Output(json_mode).result(as_json(cid, found, out), lambda: _rendered(found, out))


def as_json(cid: str, found: Prediction, out: Path | None) -> dict[str, Any]:
    """The prediction as a JSON object; classes and probabilities stand in it unless they were written to a file."""
    accuracy = None if found.accuracy is None else {"correct": found.accuracy[0], "total": found.accuracy[1]}
    arrays = {"classes": found.classes.tolist(), "probabilities": found.probabilities.tolist()}
    return {
        "cid": cid,
        "kind": found.kind,
        "vote": found.vote,
        "members": found.members,
        "examples": len(found.classes),
        "accuracy": accuracy,
        **({"out": str(out)} if out is not None else arrays),
    }


def _rendered(found: Prediction, out: Path | None) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    who = "model" if found.vote is None else f"committee of {found.members} members, {found.vote} vote"
    lines = [f"{who}: {len(found.classes)} examples"]
    if found.accuracy is not None:
        lines.append("accuracy: {}/{}".format(*found.accuracy))
    if out is not None:
        return Text("\n".join([*lines, f"classes and probabilities: {out}"]))
    table = Table("example", "class", "probability")
    for row in range(min(ROWS, len(found.classes))):
        chosen = found.probabilities[row].max(axis=-1)
        table.add_row(str(row), str(found.classes[row]), str(chosen.round(4)))
    more = len(found.classes) - ROWS
    rest = [Text(f"and {more} more: --out FILE.npz or --json has them all")] if more > 0 else []
    return Group(Text("\n".join(lines)), table, *rest)
