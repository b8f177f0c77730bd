"""Several stores as one, in order: a cache on disk before a node of one's own, that before gateways of strangers.

Reading goes through them in order until one has the block, which then is put into the local stores before it, so that it
is there the next time, and so that a damaged copy is mended. Writing goes to every store that takes blocks.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from network.store import BlockSource, ContentStore, takes_blocks
from protocol.cid import DAG_PB, Cid
from protocol.errors import BlockCorrupt, BlockMissing, ContentError, SearchUnfinished, StoreUnavailable
from protocol.unixfs import Block, child_cids, walk_tree

REST_SECONDS = 20.0  # for which a source that did not answer is not asked again: its retries would slow every block
_LEAST_SECONDS = 0.05  # what the last source is given, however long those before it took

_Answers = list[tuple[BlockSource, ContentError]]


class LayeredStore:
    """A ``ContentStore`` (network/store.py) of ``sources``, of which at least one is given; one for many threads.

    A source that is unavailable keeps nobody from what the others have, and rests for ``rest_seconds``. That a block is
    *missing* is said only where a source that searches a network said so (or no such source is there): money hangs on it.
    """

    def __init__(self, sources: Sequence[BlockSource], rest_seconds: float = REST_SECONDS) -> None:
        self.sources = tuple(sources)
        self._writable = [source for source in sources if takes_blocks(source)]
        self._rest_seconds = rest_seconds
        self._resting: dict[int, tuple[float, StoreUnavailable]] = {}  # index to when it ends, and why
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """How errors and tables call it: as the ``store`` setting does."""
        return ", ".join(source.name for source in self.sources)

    @property
    def searches(self) -> bool:
        """Whether any of them asks a network for what it lacks."""
        return any(source.searches for source in self.sources)

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        """Return the verified bytes of ``cid`` from the first source that has them.

        Those that search a network share ``seconds``, so that a slow one leaves some to those after it.

        Raises:
            BlockMissing: No source has it. BlockCorrupt: The same, and what one of them has is damaged.
            StoreUnavailable: No source that could know answered.
        """
        until = None if seconds is None else time.monotonic() + seconds
        answers: _Answers = []
        for index, source in enumerate(self.sources):
            try:
                data = self._ask(index, cid, until)
            except (BlockMissing, BlockCorrupt, StoreUnavailable) as error:
                answers.append((source, _forget_where(error)))
            else:
                self._pass_on(Block(cid, data), answers)
                return data
        raise _nobody(cid, answers)

    def has_block(self, cid: Cid) -> bool:
        """Say whether every store that takes blocks has it (where none does: whether any source has)."""
        if self._writable:
            return all(store.has_block(cid) for store in self._writable)
        return any(source.has_block(cid) for source in self.sources)

    def put_block(self, block: Block) -> None:
        """Put one block, as ``put_blocks``."""
        self.put_blocks([block])

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        """Put ``blocks`` into every store that takes them, also where one of them fails.

        Raises:
            StoreUnavailable: One failed (the first that did), or none takes blocks.
            BlockCorrupt, InvalidInput: As the stores.
        """
        self._each(lambda store: store.put_blocks(blocks))

    def keep(self, cid: Cid) -> None:
        """Keep the tree of ``cid`` in every store that takes blocks; what one lacks is fetched from the others first.

        How much that is the caller knows: it has read the tree, within its limit, or has put it.

        Raises:
            BlockMissing, BlockCorrupt: A block of it is nowhere. StoreUnavailable: As ``put_blocks``.
        """
        self._each(lambda store: self._keep_in(store, cid))

    def release(self, cid: Cid) -> None:
        """Keep the tree of ``cid`` no longer, in any of them; raises StoreUnavailable."""
        self._each(lambda store: store.release(cid))

    def kept(self) -> frozenset[Cid]:
        """Return the roots that every store that takes blocks keeps; raises StoreUnavailable."""
        kept = [store.kept() for store in self._writable]
        return frozenset.intersection(*kept) if kept else frozenset()

    @contextmanager
    def lease(self, *roots: Cid) -> Iterator[None]:
        """Return a context in which no store collects what is put, or is below ``roots``; raises StoreUnavailable."""
        with contextlib.ExitStack() as stack:
            for store in self._writable:
                stack.enter_context(store.lease(*roots))
            yield

    # --- reading ---

    def _ask(self, index: int, cid: Cid, until: float | None) -> bytes:
        """Ask one source, unless it rests: then its last error is its answer."""
        source = self.sources[index]
        with self._lock:
            rests_until, error = self._resting.get(index, (0.0, None))
        if error is not None and time.monotonic() < rests_until:
            raise StoreUnavailable(error.what, error.why, error.do)  # one of its own: several threads may raise it
        share = self._share(source, index, until)
        try:
            data = source.get_block(cid, share)
        except StoreUnavailable as why:
            # Cut off by us it is not to blame: it may have the next block, though it looked too long for a withheld one.
            if share is None or not isinstance(why, SearchUnfinished):
                with self._lock:
                    said = StoreUnavailable(why.what, why.why, why.do)
                    self._resting[index] = time.monotonic() + self._rest_seconds, said
            raise
        with self._lock:
            self._resting.pop(index, None)
        return data

    def _share(self, source: BlockSource, index: int, until: float | None) -> float | None:
        """Return the seconds that ``source`` has: an equal part of what is left, for it and those after it."""
        if until is None or not source.searches:
            return None
        after = sum(one.searches for one in self.sources[index:])
        return max((until - time.monotonic()) / after, _LEAST_SECONDS)

    def _pass_on(self, block: Block, answers: _Answers) -> None:
        """Put what was found into the local stores that lack it. They are caches here: one that is full fails at writing."""
        for source, error in answers:
            if takes_blocks(source) and not source.searches and not isinstance(error, StoreUnavailable):
                with contextlib.suppress(StoreUnavailable):
                    source.put_block(block)

    # --- keeping ---

    def _keep_in(self, store: ContentStore, cid: Cid) -> None:
        try:
            if store.searches and len(self.sources) > 1:
                self._complete(store, cid)  # a node would search its network for what lies beside it
            store.keep(cid)
        except BlockMissing:
            self._complete(store, cid)
            store.keep(cid)

    def _complete(self, store: ContentStore, root: Cid) -> None:
        """Put into ``store`` what it lacks of the tree, nodes after what they link to."""
        nodes: dict[Cid, Block] = {}

        def children(cid: Cid) -> tuple[Cid, ...]:
            return child_cids(nodes[cid]) if cid in nodes else ()

        for cid in walk_tree(root, children):
            if cid.codec == DAG_PB:
                nodes[cid] = Block(cid, self.get_block(cid))
            elif not store.has_block(cid):
                store.put_block(Block(cid, self.get_block(cid)))
        for node in reversed(nodes.values()):
            if not store.has_block(node.cid):
                store.put_block(node)

    def _each(self, action: Callable[[ContentStore], None]) -> None:
        """Do ``action`` with every store that takes blocks, then raise the first failure."""
        if not self._writable:
            self._refuse_writing()
        failures: list[StoreUnavailable] = []
        for store in self._writable:
            try:
                action(store)
            except StoreUnavailable as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _refuse_writing(self) -> NoReturn:
        raise StoreUnavailable(
            f"Nothing can be put into {self.name}.",
            "These sources only give blocks.",
            "Name a directory or a Kubo node as well: store = 'dir:/path, gateway:https://…'.",
        )


def _forget_where(error: ContentError) -> ContentError:
    """Return ``error`` without its traceback, whose frames would hold the block that another source gives after it."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def _nobody(cid: Cid, answers: _Answers) -> BlockMissing | BlockCorrupt | StoreUnavailable:
    """Return what it means that no source gave the block; it names each source and what that said."""
    said = "; ".join(f"{source.name}: {_short(error)}" for source, error in answers)
    definite = [error for _, error in answers if not isinstance(error, StoreUnavailable)]
    if not _is_decided(answers):
        kind = (
            SearchUnfinished if any(isinstance(error, SearchUnfinished) for _, error in answers) else StoreUnavailable
        )
        return kind(
            f"Block {cid} cannot be looked for.", f"{said}.", "Mend one of these sources, or add one to `store`."
        )
    if any(isinstance(error, BlockCorrupt) for error in definite):
        return BlockCorrupt(str(cid), f"every source that has it ({said})")
    return BlockMissing(str(cid), f"any source ({said})")


def _is_decided(answers: _Answers) -> bool:
    """Whether the answers say that nobody has the block, not only that those who might have it did not answer.

    Where sources search a network, one of them must have said so, and every node of one's own: a stranger's gateway may
    not have searched at all, and while one's own node restarts nothing can be published either.
    """
    asked = [pair for pair in answers if pair[0].searches] or answers
    silent = [source for source, error in asked if isinstance(error, StoreUnavailable)]
    return len(silent) < len(asked) and not any(takes_blocks(source) for source in silent)


def _short(error: ContentError) -> str:
    if isinstance(error, BlockMissing):
        return "not there"
    return "damaged" if isinstance(error, BlockCorrupt) else f"{error.what} {error.why}".rstrip(". ")
