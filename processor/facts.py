"""What the chain says of a round, as far as its result depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.replay import RoundState, UpdateState
from protocol.terms import RoundTerms
from protocol.types import Address, Digest, FederationId, Hash, RoundId


@dataclass(frozen=True)
class RoundFacts:
    """The inputs of a merge that come from the chain. ``updates`` are in chain order, one a client."""

    chain_id: int
    contract: Address
    federation: FederationId
    round: RoundId
    index: int
    base: Digest
    updates_hash: Hash
    terms: RoundTerms
    updates: tuple[UpdateState, ...]


def facts(chain_id: int, contract: Address, state: RoundState) -> RoundFacts:
    """Return the facts of the round that ``state`` describes, at any moment after its last update."""
    return RoundFacts(
        chain_id=chain_id,
        contract=contract,
        federation=state.federation,
        round=state.id,
        index=state.index,
        base=state.base,
        updates_hash=state.updates_hash,
        terms=state.terms,
        updates=state.updates,
    )
