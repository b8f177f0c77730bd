"""What to do when the outside fails: go on while money is at stake, and otherwise give up on what waiting cannot mend."""

from __future__ import annotations

from collections.abc import Callable

from protocol.errors import (
    ChainUnavailable,
    InvalidInput,
    KeyError_,
    LogsIncomplete,
    RondoError,
    SettingsError,
    StoreUnavailable,
    TransactionReverted,
    UnknownFederation,
    UnknownRound,
)

# Nothing outside is at fault, so nothing outside will change it.
_FATAL = (InvalidInput, SettingsError, KeyError_)
# Whoever is asked does not answer, or not yet completely.
_OUTAGES = (ChainUnavailable, StoreUnavailable, LogsIncomplete)
# What the contract answers where it is a little ahead of our view (confirmations, another worker): looking again helps.
_AHEAD = frozenset(["RoundIsLive", "StaleBase", "WrongPhase", "StaleUpdates"])
MAX_REVERTS = 3  # in a row, of any other kind, while nothing is at stake
MAX_UNKNOWN = 10  # looks in a row, likewise: a node may lag behind by some blocks, but a wrong id stays unknown


def until_done(
    step: Callable[[], bool],
    *,
    at_stake: Callable[[], bool],
    pause: Callable[[], None],
    stopped: Callable[[], bool],
    say: Callable[[str], None],
) -> bool:
    """Repeat ``step`` until it returns True, or until ``stopped()``; which of the two.

    While something is at stake (a live round, whose bond is lost if nobody settles it) only words, key and settings of
    our own are fatal: to give up would cost more than to look again.

    Args:
        at_stake: Asked only after a failure.
        pause: Waits a little, after every step that is not the last.

    Raises:
        RondoError: A fatal one; and while nothing is at stake whatever waiting does not mend: content that is missing
            or refused, funds that are short, a contract that keeps refusing, an id that stays unknown.
    """
    failures = 0  # in a row, of the kinds that are counted
    while not stopped():
        try:
            if step():
                return True
            failures = 0
        except RondoError as error:
            failures += not _is_ahead(error)
            if isinstance(error, _FATAL) or (failures > _patience(error) and not at_stake()):
                raise
            say(f"{error} Trying again.")
        pause()
    return False


def _is_ahead(error: RondoError) -> bool:
    return isinstance(error, _OUTAGES) or (isinstance(error, TransactionReverted) and error.name in _AHEAD)


def _patience(error: RondoError) -> float:
    """How many failures in a row are borne before this one, while nothing is at stake."""
    if _is_ahead(error):
        return float("inf")
    if isinstance(error, TransactionReverted):
        return MAX_REVERTS
    return MAX_UNKNOWN if isinstance(error, (UnknownFederation, UnknownRound)) else 0
