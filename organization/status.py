"""What a federation and its rounds look like to its organization: one pure view of the chain's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protocol.cid import directory_cid
from protocol.replay import FederationState, RoundState, State
from protocol.terms import PayBasis, Phase
from protocol.types import ZERO_HASH, hex32

if TYPE_CHECKING:
    from rich.console import RenderableType


UNAUDITED = "UNAUDITED: the organization's word alone decides pay"


def next_deadline(round_: RoundState) -> int | None:
    """Chain time at which the round's phase changes at the latest by itself; None where it is over."""
    if round_.phase is Phase.TRAINING:
        return round_.training_ends
    if round_.phase is Phase.SETTLEMENT:
        return round_.settlement_ends
    if round_.phase is Phase.CHALLENGE:
        return round_.challenge_ends
    if round_.phase is Phase.REJECTED and round_.basis is PayBasis.UNDECIDED:
        return round_.reveal_ends
    return None


def round_view(round_: RoundState, *, audited: bool) -> dict[str, Any]:
    """The round as a JSON object; amounts in base units as strings, times in chain seconds.

    Args:
        audited: Whether its federation is; where not, the organization's word alone decides pay.
    """
    settled = round_.settled
    return {
        "round": hex32(round_.id),
        "index": round_.index,
        "phase": round_.phase.name.lower(),
        "until": next_deadline(round_),
        "audited": audited,
        "admission_root": None if round_.admission_root == ZERO_HASH else hex32(round_.admission_root),
        "consolidates": round_.terms.consolidate,
        "base": str(directory_cid(round_.base)),
        "updates": len(round_.updates),
        "max_updates": round_.terms.max_updates,
        "settled": settled is not None,
        "model": None if settled is None else str(directory_cid(settled.settlement.model)),
        "report": None if settled is None else str(directory_cid(settled.settlement.report)),
        "attestations": len(round_.attestations),
        "pay": round_.basis.name.lower(),
        "escrow": str(round_.escrow),
        "paid_clients": str(round_.paid_clients),
        "paid_auditors": str(sum(round_.paid_auditors.values())),
        "returned": str(round_.returned),
        "forfeited": str(round_.forfeited),
        "withdrawable": str(round_.withdrawable),
    }


def federation_view(state: State, federation: FederationState) -> dict[str, Any]:
    """The federation as a JSON object, its rounds with it."""
    root, audited = federation.admission_root, federation.terms.is_audited
    return {
        "federation": hex32(federation.id),
        "now": state.now,
        "organization": federation.organization,
        "token": federation.terms.token,
        "task": str(directory_cid(federation.terms.task)),
        "head": str(directory_cid(federation.head)),
        "audited": audited,
        "auditors": list(federation.terms.auditors),
        "quorum": federation.terms.quorum,
        "forfeit_to": federation.terms.forfeit_to,
        "open_admission": root == ZERO_HASH,
        "admission_root": None if root == ZERO_HASH else hex32(root),
        "joined": sum(under == root for under, _ in federation.joined),
        "rounds": [round_view(state.rounds[one], audited=audited) for one in federation.rounds],
    }


def render(view: dict[str, Any]) -> RenderableType:
    """``federation_view`` for people."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    audit = f"{view['quorum']} of {len(view['auditors'])} auditors" if view["audited"] else UNAUDITED
    admission = f"admission by list {view['admission_root']}, {view['joined']} joined"
    admission = "open admission" if view["open_admission"] else admission
    lines = Text(
        f"federation {view['federation']}\nhead {view['head']}\n{audit}\n{admission}\nchain time {view['now']}"
    )
    table = Table("round", "phase", "until", "updates", "attested", "pay", "returned", "withdrawable")
    for one in view["rounds"]:
        name = f"{one['index']}{' (consolidates)' if one['consolidates'] else ''}"
        until = "" if one["until"] is None else str(one["until"])
        updates = f"{one['updates']} of {one['max_updates']}"
        attested = f"{one['attestations']} of {len(view['auditors'])}" if one["audited"] else "unaudited"
        table.add_row(name, one["phase"], until, updates, attested, one["pay"], one["returned"], one["withdrawable"])
    return Group(lines, table)
