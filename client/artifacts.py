"""What a client reads of a round from the content store, each by a digest that the chain names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from network.past import hold, load_past, open_update
from network.probe import probe
from network.processors import usable_processors
from network.progress import Watch, unwatched
from network.standing import load_standing
from network.store import ContentStore
from network.transfer import fetch, fetch_file
from processor.round import derive_round, facts
from processor.runs import Threads
from protocol.cid import RAW, Cid, parse_cid
from protocol.errors import ArtifactRefused, BlockCorrupt, BlockMissing, ContentError, RondoError, StoreUnavailable
from protocol.model import Model, decode_model, decode_weights
from protocol.report import MAX_REPORT_BYTES, Derived, decode_derived, decode_report, derived_hash
from protocol.rewards import rewards_tree
from protocol.state import FederationState, RoundState, State
from protocol.task import MAX_TASK_BYTES, Task, decode_task
from protocol.types import Address, Digest, Hash

SEARCH_SECONDS = 60.0  # for all updates of a round together, before those not found count as unavailable


class RewardsUnknown(RondoError):
    """Nobody keeps what the rewards of a round are claimed by."""

    exit_code = 69


class Artifacts:
    """Fetches and decodes; tasks are kept, since a federation has one for ever.

    Args:
        chain_id, contract: What the round's hashes are made with.
        watch: Shows how far large fetches are.
    """

    def __init__(self, store: ContentStore, chain_id: int, contract: Address, watch: Watch = unwatched) -> None:
        self._store, self._chain_id, self._contract, self._watch = store, chain_id, contract, watch
        self._tasks: dict[Digest, Task] = {}

    def task(self, federation: FederationState) -> Task:
        """The federation's task. Raises: ContentError, ArtifactRefused."""
        digest = federation.terms.task
        if digest not in self._tasks:
            self._tasks[digest] = decode_task(fetch(self._store, digest, MAX_TASK_BYTES))
        return self._tasks[digest]

    def base(self, round_: RoundState, task: Task) -> Model:
        """The round's base model. Raises: ContentError, ArtifactRefused."""
        with self._watch("base model") as on_progress:
            return decode_model(fetch(self._store, round_.base, task.limits.model_bytes, on_progress=on_progress))

    def anchor(self, base: Model, task: Task) -> dict[str, NDArray[np.int32]] | None:
        """Mantissas of the weights that the penalty pulls to, None where there is no penalty.

        Raises:
            ContentError, ArtifactRefused.
        """
        if base.anchor is None or base.importance is None or task.consolidation.strength == 0:
            return None
        with self._watch("anchor") as on_progress:
            limit = task.limits.model_bytes
            data = fetch_file(self._store, parse_cid(base.anchor), limit, on_progress=on_progress)
        return decode_weights(data, base.specs)

    def standing(self, round_: RoundState, state: State, task: Task, account: Address) -> int:
        """The standing of ``account`` in ``round_``; 0 without a look where the task looks at none. Raises: ContentError."""
        return load_standing(self._store, state, round_, task, self._watch).get(account, 0)

    def merged(self, round_: RoundState, account: Address, digest: Digest) -> bool:
        """Whether the head moved to a model that holds this update; where nobody can tell (any more), it counts as not.

        Raises:
            StoreUnavailable: Ask again later.
        """
        settled = round_.settled
        if settled is None or not round_.phase.moves_head or settled.settlement.model == round_.base:
            return False
        derived = self._derived(round_, settled.settlement.derived_hash)
        if derived is None:
            return False
        mine = (one for one in derived.updates if one.client == account and one.digest == digest)
        return any(one.verdict == "accepted" and one.weight > 0 for one in mine)

    def rewards(self, round_: RoundState, state: State) -> list[tuple[Address, int]]:
        """All (client, base units) of a round that pays by result, proved by the root on chain.

        The record is looked for in the report, then by its hash alone (an auditor that reveals another result publishes
        it so), and at last computed from the updates themselves.

        Raises:
            RewardsUnknown: None of these leads to the root. ContentError: The store does not answer.
        """
        if round_.settled is None:
            return []
        deciding = round_.revealed or round_.settled.settlement
        derived = self._derived(round_, deciding.derived_hash)
        if derived is not None:
            rewards = [(one.client, one.reward) for one in derived.updates]
            if rewards_tree(round_.id, rewards).root == deciding.rewards_root:
                return rewards
        return self._recomputed(round_, state, deciding.rewards_root)

    def _derived(self, round_: RoundState, wanted: Hash) -> Derived | None:
        """The record that hashes to ``wanted``, None where it cannot be had. Raises: StoreUnavailable."""
        settled = self._settled(round_)
        if settled is not None and derived_hash(settled) == wanted:
            return settled
        try:
            # A sha-256 of bytes is also the CID of the same bytes as one raw block.
            return decode_derived(self._store.get_block(Cid(RAW, Digest(wanted))))
        except StoreUnavailable:
            raise
        except (ContentError, ArtifactRefused):
            return None

    def _settled(self, round_: RoundState) -> Derived | None:
        """The settled report's record, right or wrong; None where it cannot be had or read. Raises: StoreUnavailable."""
        if round_.settled is None:
            return None
        try:
            return decode_report(fetch(self._store, round_.settled.settlement.report, MAX_REPORT_BYTES))[0]
        except StoreUnavailable:
            raise
        except (ContentError, ArtifactRefused):
            return None

    def _recomputed(self, round_: RoundState, state: State, wanted_root: Hash) -> list[tuple[Address, int]]:
        task = self.task(state.federations[round_.federation])
        base, what = self.base(round_, task), facts(self._chain_id, self._contract, round_)
        read = partial(open_update, self._store, task=task, watch=self._watch)
        tried: set[frozenset[Address]] = set()
        with hold(self._store, round_, base):
            past = load_past(self._store, state, round_, task, base, self._watch)
            for absent in self._absences(round_, task):
                if absent in tried:
                    continue
                tried.add(absent)
                with contextlib.suppress(BlockMissing, BlockCorrupt):
                    derivation = derive_round(what, task, base, read, absent, past, Threads(usable_processors()))
                    if derivation.rewards.root == wanted_root:
                        return [(one.client, one.reward) for one in derivation.derived.updates]
        raise RewardsUnknown(
            f"The rewards of round {round_.index} cannot be proved now.",
            "The record behind its rewards root is in no store, and the updates do not lead to it either.",
            "Ask the auditors or the organization for the round's derived.json; unclaimed pay never expires.",
        )

    def _absences(self, round_: RoundState, task: Task) -> Iterator[frozenset[Address]]:
        """The sets of unavailable updates that the result may rest on: the report's, then what is missing here."""
        settled = self._settled(round_)
        if settled is not None:
            yield frozenset(one.client for one in settled.updates if one.verdict == "unavailable")
        digests = [update.digest for update in round_.updates]
        there = probe(self._store, digests, task.limits.update_bytes, SEARCH_SECONDS)
        yield frozenset(update.client for update in round_.updates if update.digest not in there)
