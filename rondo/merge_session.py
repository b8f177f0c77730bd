"""What ``rondo merge`` does between its words and its answer: task, base and updates out of a store, a model back in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from network.arrival import Arrived, await_artifacts, open_artifact
from network.processors import usable_processors
from network.progress import TransferProgress
from network.store import ContentStore
from network.transfer import fetch, publish
from processor.runs import Run, Threads
from protocol.cid import directory_cid, parse_cid
from protocol.errors import ArtifactRefused, InvalidInput
from protocol.merge_terms import MAX_EXAMPLES_CAP, MergeRule
from protocol.model import WEIGHTS, Model, decode_model, model_contents
from protocol.task import MAX_TASK_BYTES, DeltaType, Limits, Task, decode_task, encode_task, load_task_toml
from protocol.types import Address, Digest
from protocol.unixfs import directory_digest, list_directory
from protocol.update import WINDOW
from rondo.merging import Named, check_updates, decode_updates, members_of, merge_model

LIMIT = 16 * 1024**3  # bytes of an artifact where no task says less
Work = TypeVar("Work")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome:
    """A merge that was done.

    Args:
        digest: The model's. rule: What it was merged by. weights: Of each client; 0 where the rule left it out.
        saturated: Coordinates that left the grid's range.
    """

    digest: Digest
    base: Digest
    rule: str
    weights: Mapping[Address, int]
    saturated: int
    consolidated: bool
    published: bool

    def as_json(self) -> dict[str, Any]:
        """The outcome as a JSON object."""
        return {
            "cid": str(directory_cid(self.digest)),
            "base": str(directory_cid(self.base)),
            "rule": self.rule,
            "updates": len(self.weights),
            "weights": dict(self.weights),
            "saturated": self.saturated,
            "consolidated": self.consolidated,
            "published": self.published,
        }


class MergeSession:
    """Merges of artifacts of ``store``.

    Args:
        run: Who does the work.
        threads: That hash; by default one a processor that this process may use.
        on_cluster: Where ``run`` is other machines': the store setting by which they find the updates themselves.
    """

    def __init__(
        self, store: ContentStore, run: Run, *, threads: int | None = None, on_cluster: str | None = None
    ) -> None:
        self._store, self._run, self._on_cluster = store, run, on_cluster
        self._threads = threads or usable_processors()

    def merge(
        self,
        base: Digest,
        updates: Sequence[Digest],
        task: str | None,
        terms: Mapping[str, Any],
        *,
        consolidate: bool,
        index: int | None,
        publish: bool,
    ) -> Outcome:
        """Merge ``updates`` into ``base`` and publish the model where asked.

        Args:
            task: A task's CID or file; None is plain FedAvg of whatever type the updates have.
            terms: What to replace of the task's merge rule, by the names of `protocol.merge_terms.MergeRule`.
            index: Of the round, for the model; by default one more than the base's.

        Raises:
            RondoError: As `rondo.merging` says; InvalidInput where ``task`` and ``terms`` are none.
        """
        with self._store.lease(directory_cid(base), *map(directory_cid, updates)):
            settled = self._task(task)
            limits = settled.limits if settled else Limits(LIMIT, LIMIT)
            with ThreadPoolExecutor(
                1, "base"
            ) as aside:  # what decodes the base waits for nothing that the updates need
                opening = aside.submit(self._base, base, limits.model_bytes)
                arrived = self._updates(updates, limits.update_bytes)
                named = decode_updates(updates, arrived.files)
                model = opening.result()
            settled = _with_terms(settled or _plain_task(named[0], len(named)), terms)
            needed = settled.needs_importance(consolidate)
            size = sum(tensor.size * tensor.dtype.itemsize for one in named for tensor in one.update.deltas.values())
            named = check_updates(named, base, model, settled, needed, self._watched("checking", size))
            result, merged = merge_model(
                base,
                model,
                members_of(named, settled),
                settled,
                index=model.round + 1 if index is None else index,
                anchor=self._anchor(base, limits.model_bytes) if consolidate else None,
                run=self._watched("merging", size),
                shares_memory=self._on_cluster is None,
            )
            arrived.verify()
            digest = self._finish(result, publish)
        rule = settled.merge.rule
        return Outcome(digest, base, rule, merged.weights, merged.saturated, consolidate, publish)

    def _task(self, name: str | None) -> Task | None:
        if name is None:
            return None
        try:
            cid = parse_cid(name)
        except InvalidInput:
            return load_task_toml(Path(name))
        return decode_task(fetch(self._store, cid.digest, MAX_TASK_BYTES))

    def _updates(self, digests: Sequence[Digest], limit: int) -> Arrived:
        if self._on_cluster is not None:
            from network.shipped_content import open_shipped

            return Arrived([open_shipped(self._on_cluster, digest, limit) for digest in digests])
        with TransferProgress("updates") as on_progress:
            return await_artifacts(self._store, digests, limit, workers=self._threads, on_progress=on_progress)

    def _base(self, digest: Digest, limit: int) -> Model:
        return decode_model(
            open_artifact(self._store, digest, limit, workers=self._threads), run=Threads(self._threads)
        )

    def _anchor(self, base: Digest, limit: int) -> str:
        """Return the CID of the base's weights, which stands in its directory: that was verified."""
        return str(list_directory(directory_cid(base), self._store.get_block, limit)[WEIGHTS].cid)

    def _watched(self, name: str, size: int) -> Run:
        """Return ``run`` that shows how far each pass over ``size`` bytes of updates is."""
        inner = self._run

        def watched(function: Callable[[Work], Result], items: Sequence[Work]) -> Iterator[Result]:
            with TransferProgress(name) as on_progress:
                for done, result in enumerate(inner(function, items), 1):
                    yield result
                    on_progress(size * done // len(items), size)

        return watched

    def _finish(self, model: Model, wanted: bool) -> Digest:
        threads = Threads(self._threads)
        files = model_contents(model, threads)
        return publish(self._store, files) if wanted else directory_digest(files, threads)


def _plain_task(first: Named, count: int) -> Task:
    """Return the task of a merge that names none: FedAvg by examples, for deltas of the type that the first update has."""
    types = {tensor.dtype.name for tensor in first.update.deltas.values()} & WINDOW.keys()
    dtype = min(types, default="int16")  # one that has none, or several, is refused when it is checked
    cap = MAX_EXAMPLES_CAP // count
    rule = MergeRule(examples_cap=cap)
    return Task("merge", merge=rule, delta_type=cast("DeltaType", dtype), limits=Limits(LIMIT, LIMIT))


def _with_terms(task: Task, terms: Mapping[str, Any]) -> Task:
    changed = replace(task, merge=replace(task.merge, **terms))
    changed = replace(changed, min_updates=max(changed.min_updates, changed.merge.least_updates()))
    try:
        encode_task(changed)
    except ArtifactRefused as error:
        raise InvalidInput(error.what, error.why, error.do) from error
    return changed
