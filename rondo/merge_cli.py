"""``rondo merge``: updates into a base model, from the configured store, on this machine or on a Ray cluster."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.types import Digest


def merge(
    base: Annotated[str | None, typer.Argument(metavar="BASE_CID", help="The CID of the base model.")] = None,
    updates: Annotated[
        list[str] | None,
        typer.Argument(metavar="UPDATE_CID…", help="CIDs of updates; @FILE reads more of them, one a line."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="The task: its CID, or a file as `rondo org create` takes. Default: plain FedAvg."),
    ] = None,
    rule: Annotated[str | None, typer.Option(help="Merge by this rule instead of the task's.")] = None,
    trim: Annotated[int | None, typer.Option(min=0, help="With trimmed-mean: values dropped at each end.")] = None,
    byzantine: Annotated[
        int | None, typer.Option(min=0, help="With krum, multi-krum, bulyan: most hostile updates.")
    ] = None,
    keep: Annotated[int | None, typer.Option(min=0, help="With multi-krum: how many are selected; 0 is n - f.")] = None,
    consolidate: Annotated[
        bool, typer.Option("--consolidate", help="Consolidate the updates' importances too.")
    ] = False,
    index: Annotated[
        int | None, typer.Option(min=1, help="The round's index in the model; default: the base's + 1.")
    ] = None,
    round_reference: Annotated[
        str | None, typer.Option("--round", metavar="ROUND", help="Re-derive a settled round of the chain instead.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads, or processors of `--ray local`; default: all.")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Merge on the Ray cluster at ADDRESS, or local.")
    ] = None,
    ray_store: Annotated[
        str | None, typer.Option(help="The store setting of the cluster's workers; default: the configured one.")
    ] = None,
    publish: Annotated[bool, typer.Option("--publish", help="Put the model into the store and keep it there.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; ./rondo.toml by default.")] = None,
    json_mode: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Merge updates of the configured store into BASE_CID and print the CID of the model that results.

    Every block is verified, and every update checked as a round checks it; one that is refused ends the merge. The CID
    is a function of the base, the task and the set of updates: no order, thread or machine can change it.

    With --round, the round is re-derived from chain and store alone, and the CID of its model is printed beside the
    settled one; exit code 0: they agree; 1: they differ; 2: could not decide.
    """
    from protocol.errors import InvalidInput

    if (round_reference is None) == (base is None):
        raise InvalidInput(
            "Name a base and updates, or --round, not both.",
            "",
            "For example: rondo merge BASE_CID UPDATE_CID, or rondo merge --round 3",
        )
    if round_reference is not None:
        if ray is not None:
            raise InvalidInput("--ray goes with a base and updates.", "A round is re-derived here.", "Drop --ray.")
        _rederive(round_reference, config, json_mode)
        return
    assert base is not None  # noqa: S101 - decided above; tells the type checker
    terms = {"rule": rule, "trim": trim, "byzantine": byzantine, "keep": keep}
    _merge(
        base,
        updates or [],
        task,
        {name: value for name, value in terms.items() if value is not None},
        consolidate=consolidate,
        index=index,
        workers=workers,
        ray=ray,
        ray_store=ray_store,
        publish=publish,
        config=config,
        json_mode=json_mode,
    )


def _merge(
    base: str,
    updates: Sequence[str],
    task: str | None,
    terms: dict[str, Any],
    *,
    consolidate: bool,
    index: int | None,
    workers: int | None,
    ray: str | None,
    ray_store: str | None,
    publish: bool,
    config: Path | None,
    json_mode: bool,
) -> None:
    from network.console import Output
    from network.session import open_content
    from network.settings import load_settings
    from protocol.cid import directory_cid
    from rondo.freed_memory import keep_freed_memory
    from rondo.merge_session import MergeSession

    keep_freed_memory()
    settings = load_settings(config)
    base_digest, digests = _digest(base), [_digest(one) for one in _named(updates)]
    with ExitStack() as stack:
        run = stack.enter_context(_run(ray, workers))
        session = MergeSession(
            open_content(settings), run, threads=workers, on_cluster=(ray_store or settings.store) if ray else None
        )
        result = session.merge(base_digest, digests, task, terms, consolidate=consolidate, index=index, publish=publish)
    if not json_mode:
        print(directory_cid(result.digest), flush=True)
        return
    Output(json_mode=True).result(result.as_json())


def _run(ray: str | None, workers: int | None) -> Any:
    """Return a context that gives who does the work."""
    from contextlib import nullcontext

    if ray is not None:
        from rondo.ray_run import RayRun

        return RayRun(ray, workers)
    from network.processors import usable_processors
    from processor.runs import Threads

    return nullcontext(Threads(workers or usable_processors()))


def _named(updates: Sequence[str]) -> list[str]:
    """Return the CIDs that ``updates`` are, those of files in place of the files."""
    found: list[str] = []
    for one in updates:
        found += _lines(Path(one[1:])) if one.startswith("@") else [one]
    return found


def _lines(path: Path) -> list[str]:
    from protocol.errors import InvalidInput

    try:
        return path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read.", f"{error}.", "Name a text file of CIDs.") from error


def _digest(text: str) -> Digest:
    from protocol.cid import DAG_PB, parse_cid
    from protocol.errors import InvalidInput

    cid = parse_cid(text)
    if cid.codec != DAG_PB:
        raise InvalidInput(f"{text} is the CID of a file.", "Models and updates are directories.", "Name one of those.")
    return cid.digest


def _rederive(reference: str, config: Path | None, json_mode: bool) -> None:
    from auditor.rederive import Verdict, audit_round
    from network.console import Output
    from network.progress import TransferProgress
    from network.session import open_chain, open_content
    from network.settings import load_settings
    from protocol.cid import directory_cid
    from protocol.reference import resolve_round

    settings = load_settings(config)
    chain, store = open_chain(settings, with_key=False), open_content(settings)
    state = chain.state()
    round_ = state.rounds[resolve_round(state, settings.federation, reference)]
    audit = audit_round(chain, store, round_.id, watch=TransferProgress)
    settled = round_.settled.settlement.model if round_.settled else None
    derived = audit.derivation.derived.model if audit.derivation else None
    verdict = Verdict.UNDECIDED if derived is None else Verdict.MATCH if derived == settled else Verdict.MISMATCH
    Output(json_mode).result(
        {
            "round": "0x" + round_.id.hex(),
            "index": round_.index,
            "verdict": str(verdict),
            "model": None if derived is None else str(directory_cid(derived)),
            "settled": None if settled is None else str(directory_cid(settled)),
            **({"reason": audit.reason} if audit.reason else {}),
        }
    )
    raise typer.Exit(verdict.exit_code)
