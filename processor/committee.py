"""The committee of machines (Tresp, *Committee Machines*, 2001): a round's updates kept as an ensemble, in integers.

Each member is the model that one client's update alone makes of its base. What a vote says is left to whoever asks it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from processor.facts import RoundFacts
from processor.updates import Accepted
from protocol.committee import MAX_MEMBERS, CommitteeManifest, CommitteeMember, encode_committee
from protocol.fixed_point import saturate
from protocol.grid import MANTISSA_LIMIT
from protocol.merge_terms import Committee
from protocol.model import Model
from protocol.specs import merged_specs
from protocol.tensors import whole
from protocol.types import Address
from protocol.unixfs import directory_digest
from protocol.update import Update, check_update


def renewed(
    terms: Committee,
    before: CommitteeManifest | None,
    facts: RoundFacts,
    accepted: Sequence[Accepted],
    weights: Mapping[Address, int],
) -> CommitteeManifest | None:
    """Return the committee after a round that merged, None where the task keeps none.

    The round's updates join with the weights that the merge gave them, those that the rule left out (weight 0) do not;
    kept are the last ``terms.rounds`` rounds that merged, of these only as many whole rounds as `MAX_MEMBERS` holds.

    Args:
        before: The base's committee; None at the beginning.
        accepted: The round's accepted updates, in any order.
        weights: Of each accepted client, as the report has them.
    """
    if terms.vote == "none":
        return None
    joining = [
        CommitteeMember(facts.index, facts.base, one.digest, one.client, weights[one.client])
        for one in sorted(accepted, key=lambda one: one.client.lower())
        if weights[one.client] > 0
    ]
    members = (*(before.members if before else ()), *joining)
    by_round = [tuple(group) for _, group in groupby(members, key=lambda member: member.round)]
    kept: tuple[CommitteeMember, ...] = ()
    for group in reversed(by_round[-terms.rounds :]):
        if len(group) + len(kept) > MAX_MEMBERS:
            break
        kept = (*group, *kept)
    return CommitteeManifest(terms.vote, kept) if kept else None


def check_past(terms: Committee, base: Model, committee: CommitteeManifest | None) -> None:
    """Raise ValueError unless ``committee`` is the one that ``base`` names: the caller of a derivation has fetched it."""
    if terms.vote == "none":
        return
    found = None if committee is None else directory_digest(encode_committee(committee))
    if found != base.committee:
        raise ValueError("the committee of the past is not the one that the base names")


def member_model(base: Model, update: Update) -> Model:
    """Return the member that ``update`` makes of ``base``: q' = q + delta * 2^(e - E), saturated at ±(2^24 - 1), exactly.

    All else is the base's. |q| < 2^24 and |delta * 2^(e - E)| < 2^22, so int32 holds every sum.

    Raises:
        ArtifactRefused: The update does not fit the base (protocol.update.check_update).
    """
    delta_type = next(iter(update.deltas.values())).dtype.name if update.deltas else "int16"
    check_update(update, base=base, delta_type=delta_type, importance=update.importance is not None)
    mantissas = {}
    for spec in merged_specs(base.specs):
        before = base.mantissas[spec.name]
        change = whole(update.deltas[spec.name]).astype(np.int32) << (update.exponents[spec.name] - spec.grid)
        after, _ = saturate((before + change).astype(np.int64), MANTISSA_LIMIT - 1)
        mantissas[spec.name] = after.astype(np.int32).reshape(spec.shape)
    return replace(base, mantissas=mantissas)
