"""Settling a round: re-derive it, publish what the settlement names, then state it on chain."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata

from network.chain import Chain
from network.past import hold, load_past, open_update
from network.processors import usable_processors
from network.progress import Watch, unwatched
from network.store import ContentStore
from network.transfer import fetch, publish, publish_file
from organization.members import MemberModels
from organization.student import Student, require_student
from processor.round import Derivation, derive_round, facts
from processor.runs import Threads
from protocol.cid import directory_cid, parse_cid
from protocol.content import Files
from protocol.errors import BlockCorrupt, BlockMissing
from protocol.model import Model, decode_model, model_contents
from protocol.past import Past
from protocol.replay import RoundState
from protocol.report import Statement, derived_hash, encode_report
from protocol.task import Task
from protocol.terms import Settlement
from protocol.types import Address, Digest
from protocol.unixfs import directory_digest

# A metric's name to (correct, total), for the model that the round leads to.
Evaluator = Callable[[Model], Mapping[str, tuple[int, int]]]


@dataclass(frozen=True)
class Prepared:
    """A settlement whose content is published, with the account it follows from."""

    settlement: Settlement
    derivation: Derivation
    statement: Statement


def prepare_settlement(
    chain: Chain,
    store: ContentStore,
    round_: RoundState,
    task: Task,
    unavailable: frozenset[Address],
    evaluate: Evaluator | None = None,
    watch: Watch = unwatched,
    student: Student | None = None,
) -> Prepared:
    """Derive the round and publish its model and report; nothing is on chain yet, and doing it again is harmless.

    Args:
        round_: A round in phase Settlement.
        unavailable: Clients whose bytes were missing when the publication window was over.
        evaluate: Measures the resulting model for the report's statement; no verdict or reward reads it.
        watch: Shows how far large fetches are.
        student: Makes the model that is stated, where the task leaves it to our word.

    Raises:
        InvalidInput: The task leaves the model to our word, and there is no student.
        BlockMissing, BlockCorrupt, StoreUnavailable: The base, what it goes on from, or an update believed present cannot
            be fetched.
        ArtifactRefused: The base names a server state or a committee that is none; launching refuses such a base.
        ArithmeticRefused: A stated bound would be exceeded.
    """
    require_student(store, round_.base, task, student)
    with watch("base model") as on_progress:
        base = decode_model(fetch(store, round_.base, task.limits.model_bytes, on_progress=on_progress))
    whole: set[Digest] = set()

    def fetch_update(digest: Digest) -> Files:
        files = open_update(store, digest, task, watch)
        whole.add(digest)
        return files

    def derive(past: Past) -> Derivation:
        return derive_round(
            facts(chain.chain_id, chain.contract, round_),
            task,
            base,
            fetch_update,
            unavailable,
            past,
            Threads(usable_processors()),
        )

    with hold(store, round_, base):
        past = load_past(store, chain.state(), round_, task, base, watch)
        derivation = derive(past)
        if derivation.demand is not None and student is not None:
            limits = task.limits
            models = MemberModels(store, model_bytes=limits.model_bytes, update_bytes=limits.update_bytes, watch=watch)
            stated = student(derivation.demand, models)
            derivation = derive(replace(past, stated=(directory_digest(model_contents(stated)), stated)))
    _publish_result(store, derivation)
    result = derivation.model or base
    statement = Statement(dict(evaluate(result)) if evaluate else {}, software_name())
    derived = derivation.derived
    report = publish(store, encode_report(derived, statement))
    for digest in sorted(whole):
        # A verdict obliges to serve the bytes it rests on (DESIGN 3), refusals too: auditors re-derive them all. A tree
        # that is no artifact is left out: its own canonical blocks say so, and what it links to is nobody's to keep.
        store.keep(directory_cid(digest))
    settlement = Settlement(
        updates_hash=derived.updates_hash,
        model=derived.model,
        report=report,
        derived_hash=derived_hash(derived),
        rewards_root=derived.rewards_root,
        rewards_total=derived.rewards_total,
    )
    return Prepared(settlement, derivation, statement)


def _publish_result(store: ContentStore, derivation: Derivation) -> None:
    """Publish and keep the merged model, after what it names, so that whoever finds it finds all of it."""
    for files in derivation.artifacts:
        publish(store, files)
    for file in derivation.anchors:
        publish_file(store, file)
    if derivation.model_files is not None:
        publish(store, derivation.model_files)
        _keep_anchor(store, derivation.model)


def _keep_anchor(store: ContentStore, model: Model | None) -> None:
    """Keep the weights that the model's importance is anchored at: the base they were a file of may be let go.

    One of an earlier round that is lost is no reason to lose the bond as well; `rondo pins` says so.
    """
    if model is not None and model.anchor is not None:
        with contextlib.suppress(BlockMissing, BlockCorrupt):
            store.keep(parse_cid(model.anchor))


def software_name() -> str:
    """What made the settlement, for the report's statement: package and version."""
    try:
        return f"rondo-fl {metadata.version('rondo-fl')}"
    except metadata.PackageNotFoundError:  # run from a checkout
        return "rondo-fl from source"
