"""What a client agrees to: checks of federation, task and terms before any work is done."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.errors import ArithmeticRefused, InvalidInput, RondoError
from protocol.state import FederationState, RoundState
from protocol.task import Task, check_bounds
from protocol.types import ZERO_HASH, Address


class RoundRefused(RondoError):
    """This client takes no part in one round; later rounds may be different."""

    exit_code = 76


@dataclass(frozen=True, slots=True)
class Policy:
    """What the owner of the client decided.

    Args:
        allow_unaudited: Take part where the organization's word alone decides pay.
        trusted_auditors: Auditors that may decide pay; None trusts any.
    """

    allow_unaudited: bool = False
    trusted_auditors: frozenset[Address] | None = frozenset()


def check_federation(federation: FederationState, policy: Policy) -> None:
    """Refuse a federation whose deciders of pay the client's owner does not trust.

    Raises:
        InvalidInput: It is unaudited, or names an auditor outside the owner's list.
    """
    if not federation.terms.is_audited:
        if not policy.allow_unaudited:
            raise InvalidInput(
                "The federation has no auditors.",
                "The organization's word alone would decide what you are paid.",
                "Pass --allow-unaudited if you accept that.",
            )
        return
    if policy.trusted_auditors is None:
        return
    strangers = sorted(set(federation.terms.auditors) - policy.trusted_auditors)
    if strangers:
        raise InvalidInput(
            f"The federation names auditors that you have not trusted: {', '.join(strangers)}.",
            "A majority of its auditors decides what you are paid.",
            f"Pass --trust-auditor {strangers[0]} for each that you trust, or --trust-auditor any.",
        )


def check_round(round_: RoundState, federation: FederationState, task: Task, account: Address) -> None:
    """Refuse a round in which an honest update could go unpaid or unmerged.

    Raises:
        RoundRefused: A window is too short for publication or for auditors, the merge could overflow, or the account
            is not admitted.
    """
    terms, p = round_.terms, task.publication_seconds
    if p >= terms.settlement_seconds:
        _refuse(
            round_,
            f"the settlement window is {terms.settlement_seconds} s, publication takes up to {p} s",
            "The organization could find updates unavailable that are published in time.",
        )
    needed = p + task.rederivation_margin_seconds
    if federation.terms.is_audited and needed >= terms.challenge_seconds:
        _refuse(
            round_,
            f"the challenge window is {terms.challenge_seconds} s, auditors need more than {needed} s",
            "Auditors could not contest a wrong result in time.",
        )
    try:
        check_bounds(task, terms.max_updates)
    except ArithmeticRefused as error:
        _refuse(round_, error.what.rstrip("."), error.why)
    if round_.admission_root != ZERO_HASH and (round_.admission_root, account) not in federation.joined:
        _refuse(
            round_,
            f"{account} has not joined the federation",
            "It admits listed clients only.",
            "Ask the organization for your admission proof and join.",
        )


def _refuse(round_: RoundState, what: str, why: str, do: str = "") -> None:
    do = do or "Wait for a round with other terms, or tell the organization."
    raise RoundRefused(f"Round {round_.index} is refused: {what}.", why, do)
