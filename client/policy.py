"""What a client agrees to: checks of federation, task and terms before any work is done."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.admission import is_joined
from protocol.bounds import check_bounds
from protocol.errors import ArithmeticRefused, InvalidInput, RondoError
from protocol.model import Model
from protocol.rewards import floor_credit_millis
from protocol.state import FederationState, RoundState
from protocol.task import Task
from protocol.types import Address, hex32

JOIN = (
    "Join with `rondo client join --list FILE` (the organization's list) or `--proof FILE` (your proof), or have the"
    " organization do it (`rondo org admit FILE --join`); a running client then goes on by itself."
)


class RoundRefused(RondoError):
    """This client takes no part in one round; later rounds may be different."""

    exit_code = 76


class NotJoined(RoundRefused):
    """The round admits listed clients only, and this account has not joined. It still can, while the list is the same."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the owner of the client decided.

    Args:
        allow_unaudited: Take part where the organization's word alone decides pay.
        trusted_auditors: Auditors that may decide pay; None trusts any.
        allow_unpaid: Take part in rounds whose terms can pay nothing.
    """

    allow_unaudited: bool = False
    trusted_auditors: frozenset[Address] | None = frozenset()
    allow_unpaid: bool = False


def check_base(base: Model) -> None:
    """Refuse a first model that names what only rounds make: nobody could derive a round from it, so no pay by result.

    Raises:
        RoundRefused: It names a server state or a committee.
    """
    if base.round == 0 and (base.server_state is not None or base.committee is not None):
        raise RoundRefused(
            "The federation's first model names a server state or a committee.",
            "Rounds make these, and it was made by none: no auditor can derive what follows from it.",
            "Take no part, or ask the organization for a federation that begins with a model alone.",
        )


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


def check_round(
    round_: RoundState, federation: FederationState, task: Task, account: Address, examples: int, policy: Policy
) -> None:
    """Refuse a round in which an honest update could go unpaid or unmerged.

    Checked in every federation, with p the task's publication window:

    - p < settlement window, or bytes published in time could come too late for the settlement;
    - the merge cannot overflow, whatever clients send (``protocol.bounds.check_bounds``);
    - the account is admitted to the round;
    - unless ``policy.allow_unpaid``: the rate is above 0, and so is the credit of this client's own planned steps.

    Checked in audited federations only, since elsewhere nobody re-derives and the organization's word decides:

    - p + re-derivation margin < challenge window, or auditors could not contest a wrong result in time;
    - unless ``policy.allow_unpaid``: the time cap is above 0, or an organization that is silent would pay nothing.

    Args:
        examples: Examples that the account would train on; those above the task's cap do not count.

    Raises:
        NotJoined: Nothing stands in the way but admission. RoundRefused: One of the others does not hold.
    """
    _check_windows(round_, task, audited=federation.terms.is_audited)
    try:
        check_bounds(task, round_.terms.max_updates)
    except ArithmeticRefused as error:
        _refuse(round_, error.what.rstrip("."), error.why)
    if not policy.allow_unpaid:
        _check_pay(round_, task, examples, audited=federation.terms.is_audited)
    _check_admission(round_, federation, account)


def check_standing(round_: RoundState, task: Task, standing: int) -> None:
    """Refuse a round that would refuse whatever this client trains, because of its own standing: no merge, no pay.

    Args:
        standing: The account's own in ``round_``, in thousandths.

    Raises:
        RoundRefused: The task admits by standing, and this one is too low.
    """
    if task.standing.use == "admit" and standing < task.standing.least:
        _refuse(
            round_,
            f"your standing is {standing}, the task admits {task.standing.least} and more",
            "An update would be refused for it, and not be paid by result.",
            "Wait: standing fades towards 0 with every round; `rondo standing` shows why it is low.",
        )


def admission_notice(federation: FederationState, account: Address) -> str | None:
    """What ``account`` has to do before the next launch to take part, None where it may."""
    if is_joined(federation, federation.admission_root, account):
        return None
    return (
        f"{account} has not joined: the next round will admit only who joined under"
        f" {hex32(federation.admission_root)}. {JOIN}"
    )


def pay_line(round_: RoundState, federation: FederationState) -> str:
    """What the round pays, for people: its rate, both caps, its bond and who gets a forfeited one."""
    terms = round_.terms
    return (
        f"{terms.reward_per_milli} base units per ms for up to {terms.max_millis} ms,"
        f" by time alone for up to {terms.time_cap_millis} ms; bond {terms.bond} base units,"
        f" forfeited to {_receiver(federation)}"
    )


def _receiver(federation: FederationState) -> str:
    """A bond that comes back to who should lose it, or goes to who decides that it is lost, binds nobody."""
    receiver = federation.terms.forfeit_to
    if receiver == federation.organization:
        return f"{receiver}, the organization itself: it loses nothing by silence"
    if receiver in federation.terms.auditors:
        return f"{receiver}, an auditor that decides over it"
    return receiver


def _check_admission(round_: RoundState, federation: FederationState, account: Address) -> None:
    root = round_.admission_root
    if is_joined(federation, root, account):
        return
    what = f"Round {round_.index} needs admission, and {account} has not joined"
    if root != federation.admission_root:
        raise NotJoined(
            f"{what}.",
            f"Its list, {hex32(root)}, is no longer the federation's: nobody can join under it any more.",
            "Wait for the next round.",
        )
    raise NotJoined(f"{what}.", f"It admits only who joined under {hex32(root)}; nothing was trained.", JOIN)


def _check_windows(round_: RoundState, task: Task, *, audited: bool) -> None:
    terms, p = round_.terms, task.publication_seconds
    if p >= terms.settlement_seconds:
        _refuse(
            round_,
            f"the settlement window is {terms.settlement_seconds} s, publication takes up to {p} s",
            "The organization could find updates unavailable that are published in time.",
        )
    needed = p + task.rederivation_margin_seconds
    if audited and needed >= terms.challenge_seconds:
        _refuse(
            round_,
            f"the challenge window is {terms.challenge_seconds} s, auditors need more than {needed} s",
            "Auditors could not contest a wrong result in time.",
        )


def _check_pay(round_: RoundState, task: Task, examples: int, *, audited: bool) -> None:
    do = "Wait for a round that pays, or pass --allow-unpaid to train for nothing."
    terms = round_.terms
    if terms.reward_per_milli == 0:
        _refuse(round_, "it pays 0 base units per millisecond", "Whatever is trained earns nothing.", do)
    if audited and terms.time_cap_millis == 0:
        _refuse(
            round_,
            "it pays 0 milliseconds by time",
            "An organization that never settles, or auditors that never agree, would leave you without pay.",
            do,
        )
    steps = task.training.planned_steps(min(examples, task.merge.examples_cap))
    if floor_credit_millis(terms.max_millis, steps, task.credit) == 0:
        _refuse(
            round_,
            f"the task's credit for {steps} steps is 0 ms",
            f"It credits {task.credit.reference_millis_per_step} ms per step times {task.credit.kappa}, rounded down.",
            do,
        )


def _refuse(round_: RoundState, what: str, why: str, do: str = "") -> None:
    do = do or "Wait for a round with other terms, or tell the organization."
    raise RoundRefused(f"Round {round_.index} is refused: {what}.", why, do)
