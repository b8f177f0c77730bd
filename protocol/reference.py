"""How people name a round: by its id, or by its index within the configured federation."""

from __future__ import annotations

from protocol.errors import InvalidInput, UnknownFederation, UnknownRound
from protocol.replay import FederationState, State
from protocol.types import FederationId, RoundId, bytes32, hex32

MAX_INDEX_DIGITS = 20  # the contract counts rounds in a uint64


def resolve_federation(state: State, federation: FederationId | None) -> FederationState:
    """Return the configured federation.

    Raises:
        InvalidInput: None is configured.
        UnknownFederation: The contract has none of that id.
    """
    if federation is None:
        raise InvalidInput(
            "No federation is configured.",
            "This needs to know which federation is meant.",
            "Set federation in rondo.toml (or RONDO_FEDERATION) to the id that `rondo org create` printed.",
        )
    found = state.federations.get(federation)
    if found is None:
        raise UnknownFederation(
            f"The contract has no federation {hex32(federation)}.",
            f"It knows {len(state.federations)}; the id is wrong, or belongs to another chain or contract.",
            "Set federation to the id that `rondo org create` printed.",
        )
    return found


def resolve_round(state: State, federation: FederationId | None, text: str) -> RoundId:
    """Return the round that ``text`` names.

    Args:
        federation: The configured federation; needed for an index only.
        text: A round id (0x and 64 hex digits), or an index within the federation, counted from 1.

    Raises:
        InvalidInput: ``text`` is neither, or is an index while no federation is configured.
        UnknownFederation: The contract has no such federation.
        UnknownRound: There is no such round.
    """
    text = text.strip()
    if text[:2].lower() == "0x":
        round_id = RoundId(bytes32(text.lower()))
        if round_id not in state.rounds:
            raise UnknownRound(
                f"The contract has no round {hex32(round_id)}.",
                "The id is wrong, or belongs to another chain or contract.",
                "`rondo org status` lists the rounds of the configured federation.",
            )
        return round_id
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_INDEX_DIGITS):
        raise InvalidInput(
            f"{text[:80]!r} names no round.",
            "A round is named by its id (0x and 64 hex digits) or by its index within the federation.",
            "`rondo org status` lists both.",
        )
    rounds = resolve_federation(state, federation).rounds
    index = int(text)
    if not 1 <= index <= len(rounds):
        raise UnknownRound(
            f"There is no round {index}.",
            f"The federation has {len(rounds)} rounds, counted from 1." if rounds else "The federation has none yet.",
            "`rondo org status` lists them.",
        )
    return rounds[index - 1]


def latest_round(federation: FederationState) -> RoundId:
    """Return the federation's last round. Raises: UnknownRound where it has none yet."""
    if not federation.rounds:
        raise UnknownRound("The federation has no rounds yet.", "", "Launch one with `rondo org launch`.")
    return federation.rounds[-1]
