"""Pins: what a store keeps of what federations need, mending the difference, and letting go of the rest.

Nothing is remembered but in the store, and every step is whole by itself and safe to repeat: a process that is killed
between two of them leaves what the next run mends. Let go is only what the log names and what is recognized
(network/recognition.py), so pins of others on the same store stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from enum import StrEnum

from network.artifact_tree import check_local
from network.directory_store import DirectoryStore
from network.needs import Needs
from network.reader import Arrival, Reader
from network.recognition import is_recognized
from network.store import BlockSource, ContentStore
from protocol.cid import DAG_PB, Cid
from protocol.errors import ArtifactRefused, BlockCorrupt, BlockMissing, StoreUnavailable
from protocol.retention import ATTACHED, Kind, Mention, Reason, needed_by_all
from protocol.state import State
from protocol.task import MAX_ARTIFACT_BYTES
from protocol.types import FederationId
from protocol.unixfs import Block, Leaf

SEARCH_SECONDS = 30.0  # for one block of what must be there
SHORT_SEARCH_SECONDS = 2.0  # for one block of what may never have been published


class Standing(StrEnum):
    """Where something stands."""

    KEPT = "kept"
    UNPINNED = "missing pin"  # it is all here, and the next garbage collection may take it
    MISSING = "missing content"
    ABSENT = "not there"  # and nobody has to have it
    REFUSED = "no artifact"  # what is here is none, so there is no tree to keep
    RELEASABLE = "releasable"  # kept, named by the log, and needed by no federation of the contract
    UNKNOWN = "not recognized"  # likewise, but it may be somebody else's pin: let it go by hand


@dataclass(frozen=True, slots=True)
class Pin:
    """One CID and where it stands. ``reason`` is None where nothing needs it; ``why`` explains what is wrong, if anything."""

    cid: Cid
    kind: Kind
    standing: Standing
    reason: Reason | None = None
    why: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether something needed is not kept."""
        return self.reason is not None and self.standing in (Standing.UNPINNED, Standing.MISSING)


class Keeper:
    """Keeps and lets go in one store for the federations of one contract.

    Args:
        rounds_kept: K of ``protocol.retention``.
    """

    def __init__(self, store: ContentStore, rounds_kept: int) -> None:
        self._store = store
        self.needs = Needs(store, rounds_kept)

    def survey(
        self,
        state: State,
        federations: Collection[FederationId],
        *,
        deep: bool = False,
        seen: Collection[Cid] = (),
    ) -> list[Pin]:
        """Return where all stands that ``federations`` need, then what of theirs can be let go.

        Args:
            deep: Whether to look at every block of what is kept, and not to take the store's word for it.
            seen: What was looked at so just now, and is not again.

        Raises:
            StoreUnavailable: The store failed.
        """
        wanted = needed_by_all({id: self.needs.of(state, state.federations[id]) for id in federations})
        kept = self._store.kept()
        pins = [self._needed(cid, reason, cid in kept, deep and cid not in seen) for cid, reason in wanted.items()]
        return pins + self.spare(state, federations)

    def spare(self, state: State, federations: Collection[FederationId]) -> list[Pin]:
        """Return what is kept, named by the log of ``federations``, and needed by no federation of the contract.

        Raises:
            StoreUnavailable: The store failed.
        """
        mentions: dict[Cid, tuple[Mention, ...]] = {}
        for id in federations:
            for cid, found in self.needs.named(state, state.federations[id]).items():
                mentions[cid] = mentions.get(cid, ()) + found
        kept = self._store.kept() & mentions.keys()
        wanted = needed_by_all(self.needs.of_all(state)) if kept else {}
        uncertain = self.needs.uncertain(wanted)
        return [self._spare(cid, mentions[cid], state, uncertain) for cid in sorted(kept - wanted.keys(), key=str)]

    def mend(
        self,
        state: State,
        federations: Collection[FederationId],
        *,
        fetch: bool,
        deep: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> list[Pin]:
        """Survey and repair until nothing more can be mended, and return where all stands then.

        What was fetched tells what else is needed: a task its limits, a report its verdicts, a model what it names.

        Args: As ``survey`` and ``repair``. Raises: StoreUnavailable.
        """
        before, seen = None, frozenset[Cid]()
        while seen != before:
            pins = self.repair(self.survey(state, federations, deep=deep, seen=seen), fetch=fetch, say=say)
            before, seen = seen, frozenset(pin.cid for pin in pins if pin.standing is Standing.KEPT)
        return pins

    def repair(self, pins: Iterable[Pin], *, fetch: bool, say: Callable[[str], None] = lambda line: None) -> list[Pin]:
        """Keep what is needed and not kept, and return where that stands now.

        Args:
            fetch: Whether missing content is looked for elsewhere, within its limit, as far as the store can.
            say: Takes one line for each thing fetched.

        Where the store fails, that is said of each thing that it failed for.
        """
        return [self._repaired(pin, fetch, say) for pin in pins]

    def release(self, pins: Iterable[Pin]) -> list[Pin]:
        """Let go of those of ``pins`` that are releasable, and return them.

        What models name goes before the models: once those are gone nobody could tell what it was.

        Raises:
            StoreUnavailable: The store failed; what is released already stays released.
        """
        gone = [pin for pin in pins if pin.standing is Standing.RELEASABLE]
        gone.sort(key=lambda pin: pin.kind not in ATTACHED)
        for pin in gone:
            self._store.release(pin.cid)
        return gone

    def lease(self, state: State, federations: Collection[FederationId]) -> AbstractContextManager[None]:
        """Return a context in which garbage collection spares all that ``federations`` need, kept or not.

        So the blocks that prove that an update is no artifact outlive a collection, though no pin can hold them.
        """
        wanted = needed_by_all({id: self.needs.of(state, state.federations[id]) for id in federations})
        return self._store.lease(*wanted) if wanted else nullcontext()

    # --- one at a time ---

    def _needed(self, cid: Cid, reason: Reason, kept: bool, deep: bool) -> Pin:
        if kept and not deep:
            return Pin(cid, reason.kind, Standing.KEPT, reason)
        try:
            check_local(self._store, cid, reason.kind, MAX_ARTIFACT_BYTES if reason.limit is None else reason.limit)
        except ArtifactRefused as refusal:
            return Pin(cid, reason.kind, Standing.REFUSED, reason, str(refusal))
        except (BlockMissing, BlockCorrupt) as error:
            return _missing(cid, reason, error)
        return Pin(cid, reason.kind, Standing.KEPT if kept else Standing.UNPINNED, reason)

    def _spare(self, cid: Cid, mentions: Sequence[Mention], state: State, uncertain: frozenset[Kind]) -> Pin:
        kind = next((mention.kind for mention in mentions if mention.kind in uncertain), None)
        if kind is not None:
            why = f"a model that is needed is not here, and it may name this {kind}"
            return Pin(cid, kind, Standing.UNKNOWN, None, why)
        recognized = is_recognized(self._store, cid, mentions, state.federations)
        standing = Standing.RELEASABLE if recognized else Standing.UNKNOWN
        why = "" if recognized else "its content is not what the log calls it, or not here; it may be another's pin"
        return Pin(cid, mentions[0].kind, standing, None, why)

    def _repaired(self, pin: Pin, fetch: bool, say: Callable[[str], None]) -> Pin:
        reason, absent = pin.reason, pin.standing in (Standing.MISSING, Standing.ABSENT)
        if reason is None or not (pin.standing is Standing.UNPINNED or (absent and fetch)):
            return pin
        if reason.limit is None:
            return replace(pin, why="How large it may be stands in the task, which is not here.")
        try:
            with self._store.lease(pin.cid):
                if absent:
                    size = self._fetch(pin.cid, reason, reason.limit)
                    say(f"fetched {pin.cid} ({reason.text}), {size} bytes")
                self._store.keep(pin.cid)
        except ArtifactRefused as refusal:
            return replace(pin, standing=Standing.REFUSED, why=str(refusal))
        except (BlockMissing, BlockCorrupt) as error:
            return _missing(pin.cid, reason, error)
        except StoreUnavailable as error:  # of one source perhaps: others may have the next one
            return replace(pin, why=str(error))
        return replace(pin, standing=Standing.KEPT, why="")

    def _fetch(self, cid: Cid, reason: Reason, limit: int) -> int:
        """Bring the tree here from wherever the store finds it; return its content bytes."""
        source = _Noting(self._store, SHORT_SEARCH_SECONDS if reason.if_there else SEARCH_SECONDS)
        reader, size = Reader(source), 0
        for arrivals in self._files(reader, cid, reason.kind, limit):
            for leaf, data in arrivals:
                size += leaf.size
                if data is not None and not self._store.has_block(leaf.cid):
                    self._store.put_block(Block(leaf.cid, data))  # a store may pass on what it finds without taking it
        self._store.put_blocks(source.nodes[::-1])  # the root last: whoever finds it finds all below it
        return size

    def _files(self, reader: Reader, cid: Cid, kind: Kind, limit: int) -> Iterator[Iterator[Arrival]]:
        def have(leaf: Leaf) -> bool:
            return self._store.has_block(leaf.cid)

        if kind in (Kind.ANCHOR, Kind.RECORD):
            yield reader.leaves(cid, limit, have)
            return
        for link in reader.directory(cid, limit).values():
            yield reader.linked_leaves(link, have)


class _Noting:
    """A source that notes the nodes that it gives, and looks for no block longer than ``seconds``."""

    def __init__(self, source: BlockSource, seconds: float) -> None:
        self._source, self._seconds = source, seconds
        self.name, self.searches, self.has_block = source.name, source.searches, source.has_block
        self.nodes: list[Block] = []

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        data = self._source.get_block(cid, self._seconds if seconds is None else min(seconds, self._seconds))
        if cid.codec == DAG_PB:
            self.nodes.append(Block(cid, data))
        return data


def embedded_part(store: BlockSource) -> DirectoryStore | None:
    """Return the part of ``store`` whose garbage this process can collect, None where it has none."""
    if isinstance(store, DirectoryStore):
        return store
    return next((found for part in getattr(store, "sources", ()) if (found := embedded_part(part))), None)


def _missing(cid: Cid, reason: Reason, error: BlockMissing | BlockCorrupt) -> Pin:
    absent = reason.if_there and isinstance(error, BlockMissing)
    return Pin(cid, reason.kind, Standing.ABSENT if absent else Standing.MISSING, reason, error.what)
