"""What returns from rounds: unused reward pool, bonds and fees, to the organization; lost bonds, to ``forfeit_to``."""

from __future__ import annotations

from collections.abc import Callable

from network.chain import Chain
from protocol.errors import TransactionReverted
from protocol.replay import FederationState, RoundState, State
from protocol.terms import Phase


def owes_bond(round_: RoundState) -> bool:
    """Whether the round's bond is lost and not yet sent to ``forfeit_to``."""
    lost = round_.phase in (Phase.REJECTED, Phase.ABANDONED)
    return lost and round_.terms.bond > 0 and round_.forfeited == 0


def recover(chain: Chain, state: State, federation: FederationState, say: Callable[[str], None]) -> int:
    """Withdraw from, and forfeit the bonds of, all rounds of ``federation`` that can; the transactions that succeeded.

    Both are safe to repeat: the contract knows what has left a round.

    Raises:
        ChainError: The chain does not answer, or refuses a withdrawal.
    """
    done = 0
    for round_id in federation.rounds:
        round_ = state.rounds[round_id]
        if round_.withdrawable > 0:
            chain.withdraw(round_id)
            say(f"round {round_.index}: {round_.withdrawable} base units returned")
            done += 1
        if owes_bond(round_):
            done += _forfeit(chain, federation, round_, say)
    return done


def _forfeit(chain: Chain, federation: FederationState, round_: RoundState, say: Callable[[str], None]) -> bool:
    try:
        chain.forfeit(round_.id)
    except TransactionReverted as revert:
        # A recipient that cannot be paid, or another account's forfeit before ours: neither may hold up the rounds.
        say(f"round {round_.index}: the bond cannot be sent to {federation.terms.forfeit_to}: {revert.what}")
        return False
    say(f"round {round_.index}: bond of {round_.terms.bond} sent to {federation.terms.forfeit_to}")
    return True
