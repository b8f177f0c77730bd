"""Launching a round: its terms are checked against the task and the purse before any transaction is sent."""

from __future__ import annotations

from network.chain import Chain
from network.past import load_moments
from network.store import ContentStore
from network.transfer import fetch
from processor.server_step import check_step
from protocol.bounds import check_bounds
from protocol.errors import InsufficientFunds, InvalidInput, KeyError_
from protocol.model import decode_model
from protocol.reference import resolve_federation
from protocol.replay import FederationState, State
from protocol.task import MAX_TASK_BYTES, Task, decode_task
from protocol.terms import RoundTerms
from protocol.types import Address, FederationId, RoundId

DAY_SECONDS = 24 * 60 * 60

# Field: (least, most) as ITrainingRounds.sol has them.
_RANGES = {
    "reward_per_milli": (0, 2**96 - 1),
    "max_millis": (1, 2**40 - 1),
    "time_cap_millis": (0, 2**40 - 1),
    "max_updates": (1, 2**24 - 1),
    "training_seconds": (1, 90 * DAY_SECONDS),
    "settlement_seconds": (1, 30 * DAY_SECONDS),
    "challenge_seconds": (0, 30 * DAY_SECONDS),
    "bond": (0, 2**96 - 1),
    "attestation_fee": (0, 2**96 - 1),
}
_MOST_TIME_CAP_TOTAL = 2**56 - 1  # timeCapMillis * maxUpdates


def check_terms(terms: RoundTerms, task: Task, audited: bool) -> None:
    """Refuse terms that the contract would refuse, or under which a round of ``task`` could not end well.

    The publication window p must end before settlement does, or a client could void a settlement by keeping its bytes
    back; p and the re-derivation margin must end before the challenge does, or no auditor could decide (DESIGN 2).

    Raises:
        InvalidInput: A term is out of range, or contradicts the task or another term.
        ArithmeticRefused: A merge of max_updates updates could overflow 64 bits.
    """
    for name, (least, most) in _RANGES.items():
        if not least <= getattr(terms, name) <= most:
            _refuse(name, getattr(terms, name), f"The contract takes {least} to {most}.")
    if terms.time_cap_millis > terms.max_millis:
        _refuse("time_cap_millis", terms.time_cap_millis, f"It is at most max_millis, {terms.max_millis}.")
    if terms.time_cap_millis * terms.max_updates > _MOST_TIME_CAP_TOTAL:
        _refuse("time_cap_millis", terms.time_cap_millis, f"times max_updates it is at most {_MOST_TIME_CAP_TOTAL}.")
    if terms.max_updates < task.min_updates:
        _refuse("max_updates", terms.max_updates, f"The task merges nothing below {task.min_updates} updates.")
    window = task.publication_seconds
    if terms.settlement_seconds <= window:
        _refuse("settlement_seconds", terms.settlement_seconds, f"It must exceed the publication window, {window} s.")
    needed = window + task.rederivation_margin_seconds
    if audited and terms.challenge_seconds <= needed:
        _refuse(
            "challenge_seconds",
            terms.challenge_seconds,
            f"It must exceed publication window and re-derivation margin together, {needed} s.",
        )
    if terms.consolidate and task.merge.rule == "fedcurv":
        _refuse(
            "consolidate", 1, "fedcurv renews importance and anchor in every round, and nothing else is consolidated."
        )
    check_bounds(task, terms.max_updates)


def _refuse(name: str, value: int, why: str) -> None:
    raise InvalidInput(f"The round's {name} is {value}.", why, f"Set --{name.replace('_', '-')} accordingly.")


def check_funds(chain: Chain, federation: FederationState, terms: RoundTerms) -> None:
    """Refuse a launch whose escrow the account does not hold. Gas is the chain's own check, before it sends.

    Raises:
        InsufficientFunds: The account holds less of the token than the escrow.
    """
    account = _account(chain)
    escrow = terms.escrow(len(federation.terms.auditors))
    held = chain.balance_of(federation.terms.token, account)
    if held < escrow:
        raise InsufficientFunds(
            f"{account} holds {held} base units of token {federation.terms.token}; the escrow is {escrow}.",
            f"Reward pool {terms.reward_pool}, bond {terms.bond}, "
            f"fees {terms.attestation_fee} x {len(federation.terms.auditors)} auditors.",
            f"Send {escrow - held} more to the account, or lower the terms.",
        )


def load_task(store: ContentStore, federation: FederationState) -> Task:
    """The federation's task from the store.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: It cannot be fetched.
        ArtifactRefused: What is there is not a task.
    """
    return decode_task(fetch(store, federation.terms.task, MAX_TASK_BYTES))


def launch_round(
    chain: Chain, store: ContentStore, state: State, federation_id: FederationId, terms: RoundTerms
) -> RoundId:
    """Launch the federation's next round from its head.

    A launch that was interrupted is not repeated: what counts is whether the chain has a live round.

    Raises:
        InvalidInput: A round is live, the account is not the organization, or the terms are refused.
        ArithmeticRefused, InsufficientFunds: See `check_terms` and `check_funds`.
        BlockMissing, BlockCorrupt, ArtifactRefused: Task, head model or its server state cannot be fetched, or is none, so
            that no client could train, or nobody settle.
    """
    federation = resolve_federation(state, federation_id)
    check_organization(chain, federation)
    check_no_live_round(state, federation)
    task = load_task(store, federation)
    check_terms(terms, task, federation.terms.is_audited)
    check_funds(chain, federation, terms)
    head = decode_model(fetch(store, federation.head, task.limits.model_bytes))
    check_step(task.server, head.specs)
    load_moments(store, task, head)
    return chain.launch_round(federation_id, federation.head, terms)


def check_organization(chain: Chain, federation: FederationState) -> None:
    """Raises: InvalidInput where the account is not the federation's organization; KeyError_ where there is no key."""
    if _account(chain) != federation.organization:
        raise InvalidInput(
            f"{chain.account} is not the organization of this federation.",
            f"Only {federation.organization} can launch and settle its rounds.",
            "Set keystore to the organization's.",
        )


def check_no_live_round(state: State, federation: FederationState) -> None:
    """Raises: InvalidInput where the federation's last round can still change its outcome."""
    last = state.rounds[federation.rounds[-1]] if federation.rounds else None
    if last is not None and last.phase.is_live:
        raise InvalidInput(
            f"Round {last.index} is live: {last.phase.name.lower()}.",
            "A federation has one live round at a time.",
            "Wait until it is over; `rondo org status` says when.",
        )


def _account(chain: Chain) -> Address:
    if chain.account is None:
        raise KeyError_("This needs a key.", "The chain was opened to read only.", "Set keystore.")
    return chain.account
