"""All artifacts of one round, and which of them an audit reads: what an export holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from network.artifact_tree import artifact_file, artifact_leaves
from network.store import BlockSource
from protocol.artifact import load_directory
from protocol.cid import RAW, Cid, directory_cid
from protocol.committee import MAX_COMMITTEE_BYTES
from protocol.errors import ArtifactRefused, BlockCorrupt, BlockMissing
from protocol.model import MANIFEST, MAX_MANIFEST_BYTES
from protocol.report import DERIVED, MAX_DERIVED_BYTES, MAX_REPORT_BYTES, decode_derived
from protocol.retention import Kind, attached_to
from protocol.server_state import state_limit
from protocol.standing import counts, deciding
from protocol.state import RoundState, State
from protocol.task import MAX_TASK_BYTES, Task, decode_task
from protocol.types import Address, Digest
from protocol.unixfs import CHUNK, Block, read_leaf

_GONE = (BlockMissing, BlockCorrupt)


@dataclass(frozen=True, slots=True)
class Item:
    """One artifact of a round. ``audited``: an audit of the round reads it, and cannot decide without it."""

    what: str
    cid: Cid
    kind: Kind
    limit: int
    audited: bool


@dataclass(frozen=True, slots=True)
class Found:
    """An artifact that is there. ``blocks`` and ``bytes`` are those of its blocks.

    Where it is ``refused`` it is no artifact: an audit finds that by the blocks that it reads, and those are what counts.
    """

    item: Item
    blocks: int
    bytes: int
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """An artifact that is not there, or not whole; ``why`` names a block and where it was looked for."""

    item: Item
    why: str


def round_items(source: BlockSource, state: State, round_: RoundState) -> list[Item]:
    """Return the artifacts of ``round_``: task, base model and what it names, updates, report, result, revealed record,
    and the records of earlier rounds where standings follow from them.

    Updates that the report calls unavailable are left out, like a result that is the base.

    Raises:
        BlockMissing, BlockCorrupt, ArtifactRefused: The task cannot be had, in which all limits stand.
        StoreUnavailable: The store failed.
    """
    terms = state.federations[round_.federation].terms
    task = decode_task(load_directory(terms.task, source.get_block, MAX_TASK_BYTES))
    settled = None if round_.settled is None else round_.settled.settlement
    items = [
        Item("task", directory_cid(terms.task), Kind.TASK, MAX_TASK_BYTES, True),
        Item("base model", directory_cid(round_.base), Kind.MODEL, task.limits.model_bytes, True),
    ]
    for cid, kind in _attached(source, round_.base, task).items():
        items.append(Item(f"{kind} of the base model", cid, kind, _limit(kind, task), kind is not Kind.ANCHOR))
    absent = frozenset[Address]() if settled is None else _unavailable(source, settled.report)
    for update in round_.updates:
        if update.client not in absent:
            cid = directory_cid(update.digest)
            what = f"update of {update.client}"
            items.append(Item(what, cid, Kind.UPDATE, task.limits.update_bytes, settled is not None))
    if counts(task.standing):
        for one in deciding(state, state.federations[round_.federation], task.standing, round_):
            kind, limit = (Kind.RECORD, CHUNK) if one.revealed else (Kind.REPORT, MAX_REPORT_BYTES)
            items.append(Item(f"record of round {one.round.index}", one.cid, kind, limit, True))
    if settled is not None:
        items.append(Item("report", directory_cid(settled.report), Kind.REPORT, MAX_REPORT_BYTES, True))
        if settled.model != round_.base:
            result = directory_cid(settled.model)
            is_stated = task.merge.rule == "distilled"  # then no audit can make it again
        items.append(Item("result model", result, Kind.MODEL, task.limits.model_bytes, is_stated))
    if round_.revealed is not None:
        record = Cid(RAW, Digest(round_.revealed.derived_hash))
        items.append(Item("revealed record", record, Kind.RECORD, CHUNK, False))
    return list({item.cid: item for item in reversed(items)}.values())[::-1]


def look_at(source: BlockSource, item: Item) -> Found | Missing:
    """Look whether the whole of ``item`` can be had, fetching what ``source`` has not itself.

    Raises:
        StoreUnavailable: The store failed.
    """
    sizes: dict[Cid, int] = {}

    def get(cid: Cid) -> bytes:
        data = source.get_block(cid)
        sizes[cid] = len(data)
        return data

    try:
        for leaf in artifact_leaves(item.cid, item.kind, item.limit, get):
            if leaf.cid not in sizes:
                if not source.has_block(leaf.cid):
                    get(leaf.cid)
                sizes[leaf.cid] = leaf.size
    except ArtifactRefused as refusal:
        return Found(item, len(sizes), sum(sizes.values()), str(refusal))
    except _GONE as error:
        return Missing(item, error.what)
    return Found(item, len(sizes), sum(sizes.values()))


def item_blocks(source: BlockSource, item: Item, seen: set[Cid]) -> Iterator[Block]:
    """Yield the blocks of ``item`` that are not in ``seen``, parents before children, and add them to it.

    Where it is no artifact these are the blocks that an audit reads until it knows.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: A block cannot be had any more.
    """
    read: list[Block] = []

    def get(cid: Cid) -> bytes:
        if read and read[-1].cid == cid:  # a file of one block is read for its size, and then for its bytes
            return read[-1].data
        data = source.get_block(cid)
        read.append(Block(cid, data))
        return data

    def fresh() -> Iterator[Block]:
        for block in read:
            if block.cid not in seen:
                seen.add(block.cid)
                yield block
        del read[:-1]

    try:
        for leaf in artifact_leaves(item.cid, item.kind, item.limit, get):
            if leaf.cid not in seen:
                read_leaf(leaf, get)
            yield from fresh()
    except ArtifactRefused:
        pass
    yield from fresh()


def _attached(source: BlockSource, base: Digest, task: Task) -> dict[Cid, Kind]:
    with suppress(ArtifactRefused, *_GONE):
        return attached_to(artifact_file(base, MANIFEST, source.get_block, task.limits.model_bytes, MAX_MANIFEST_BYTES))
    return {}


def _limit(kind: Kind, task: Task) -> int:
    limits = {Kind.STATE: state_limit(task.limits.model_bytes), Kind.COMMITTEE: MAX_COMMITTEE_BYTES}
    return limits.get(kind, task.limits.model_bytes)


def _unavailable(source: BlockSource, report: Digest) -> frozenset[Address]:
    with suppress(ArtifactRefused, *_GONE):
        data = artifact_file(report, DERIVED, source.get_block, MAX_REPORT_BYTES, MAX_DERIVED_BYTES)
        return frozenset(one.client for one in decode_derived(data).updates if one.verdict == "unavailable")
    return frozenset()
