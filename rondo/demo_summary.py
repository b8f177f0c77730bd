"""What a demo run comes to: read from the chain and the reports, nothing taken from the processes' own words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from network.chain import Chain
from network.store import ContentStore
from network.transfer import fetch
from protocol import hashing
from protocol.cid import directory_cid
from protocol.events import (
    Attested,
    BondForfeited,
    EscrowReturned,
    Event,
    RewardPaid,
    RewardsPaid,
    RoundLaunched,
    RoundSettled,
    UpdateSubmitted,
)
from protocol.report import MAX_REPORT_BYTES, Derived, Statement, decode_report
from protocol.state import RoundState, State
from protocol.types import Address, FederationId, Hash, RoundId

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

GAS_KEYS = ("launch", "submit", "settle", "attest", "claim", "withdraw")
GAS_OF_EVENT = {
    RoundLaunched: "launch",
    UpdateSubmitted: "submit",
    RoundSettled: "settle",
    Attested: "attest",
    RewardPaid: "claim",
    RewardsPaid: "claim",
    EscrowReturned: "withdraw",
    BondForfeited: "withdraw",
}


@dataclass(frozen=True)
class Summary:
    """The demo's outcome. ``problems`` is empty exactly where every audit matched and every token is accounted for."""

    document: dict[str, Any]
    problems: tuple[str, ...]


def summarize(
    chain: Chain, store: ContentStore, federation: FederationId, audits: Mapping[RoundId, str], clients: list[Address]
) -> Summary:
    """Sum up all rounds of a federation.

    Args:
        audits: The auditor's verdict of each round.
        clients: All clients, also those that earned nothing.
    """
    state = chain.state()
    rounds = [state.rounds[round_id] for round_id in state.federations[federation].rounds]
    gas = gas_by_round(chain)
    document: dict[str, Any] = {
        "rounds": [round_row(store, round_, gas[round_.id], audits.get(round_.id, "none")) for round_ in rounds],
        "clients": [{"address": client, "earned": str(earned(rounds, client))} for client in clients],
        "escrow": {key: str(value) for key, value in escrow_totals(rounds).items()},
    }
    return Summary(document, tuple(problems_of(chain, state, federation, rounds, audits)))


def gas_by_round(chain: Chain) -> dict[RoundId, dict[str, int]]:
    """Gas of each round's transactions by kind; a transaction over several rounds counts where its first payment is."""
    totals: dict[RoundId, dict[str, int]] = defaultdict(lambda: dict.fromkeys(GAS_KEYS, 0))
    seen: set[Hash] = set()
    for logged in chain.logs():
        kind = GAS_OF_EVENT.get(type(logged.event))
        if kind is None or logged.transaction in seen:
            continue
        seen.add(logged.transaction)
        totals[round_of(logged.event)][kind] += chain.gas_used(logged.transaction)
    return totals


def round_of(event: Event) -> RoundId:
    """Return the round that a round's event is of, of a batch's payments the first's."""
    if isinstance(event, RewardsPaid):
        return hashing.round_id(event.federation, event.payments[0].index)
    return event.round  # type: ignore[union-attr]


def read_report(store: ContentStore, round_: RoundState) -> tuple[Derived, Statement] | None:
    """The round's published report, or None where nothing was settled."""
    if round_.settled is None:
        return None
    return decode_report(fetch(store, round_.settled.settlement.report, MAX_REPORT_BYTES))


def round_row(store: ContentStore, round_: RoundState, gas: Mapping[str, int], audit: str) -> dict[str, Any]:
    """One round as the demo's JSON has it."""
    report = read_report(store, round_)
    correct, total = report[1].metrics.get("accuracy", (0, 0)) if report else (0, 0)
    model = round_.settled.settlement.model if round_.settled else round_.base
    return {
        "round": round_.index,
        "base_cid": str(directory_cid(round_.base)),
        "model_cid": str(directory_cid(model)),
        "updates": len(round_.updates),
        "credited_ms": sum(update.credit_millis for update in report[0].updates) if report else 0,
        "accuracy": round(correct / total, 4) if total else None,
        "consolidated": report[0].consolidated if report else False,
        "outcome": round_.phase.name.lower(),
        "gas": dict(gas),
        "audit": audit,
    }


def earned(rounds: list[RoundState], client: Address) -> int:
    """Base units paid to one client."""
    return sum(update.paid or 0 for round_ in rounds for update in round_.updates if update.client == client)


def escrow_totals(rounds: list[RoundState]) -> dict[str, int]:
    """Base units in and out over all rounds."""
    return {
        "in": sum(round_.escrow for round_ in rounds),
        "paid_clients": sum(round_.paid_clients for round_ in rounds),
        "paid_auditors": sum(sum(round_.paid_auditors.values()) for round_ in rounds),
        "returned": sum(round_.returned for round_ in rounds),
        "forfeited": sum(round_.forfeited for round_ in rounds),
    }


def problems_of(
    chain: Chain,
    state: State,
    federation: FederationId,
    rounds: list[RoundState],
    audits: Mapping[RoundId, str],
) -> list[str]:
    """Everything that makes the demo fail, in words."""
    found = [
        f"round {round_.index}: audit says {audits.get(round_.id, 'nothing')}"
        for round_ in rounds
        if audits.get(round_.id) != "match"
    ]
    totals = escrow_totals(rounds)
    out = sum(amount for key, amount in totals.items() if key != "in")
    if totals["in"] != out:
        found.append(f"escrow: {totals['in']} base units went in, {out} came out")
    held = chain.balance_of(state.federations[federation].terms.token, chain.contract)
    if held:
        found.append(f"the contract still holds {held} base units")
    return found


def tokens(base_units: str) -> str:
    """Base units of an 18-decimal token as whole tokens, exact."""
    whole, part = divmod(int(base_units), 10**18)
    return f"{whole:,}.{part:018d}".rstrip("0").rstrip(".")


def render(document: dict[str, Any]) -> RenderableType:
    """The tables that a person reads at the end."""
    from rich.console import Group
    from rich.table import Table

    rounds = Table("round", "base model", "updates", "credited", "accuracy", "gas", "audit", title="Rounds")
    for row in document["rounds"]:
        accuracy = "-" if row["accuracy"] is None else f"{row['accuracy']:.3f}"
        name = f"{row['round']}{' (consolidates)' if row['consolidated'] else ''}"
        gas = f"{sum(row['gas'].values()):,}"
        credited = f"{row['credited_ms'] / 1000:.3f} s"
        rounds.add_row(name, row["base_cid"], str(row["updates"]), credited, accuracy, gas, row["audit"])
    clients = Table("client", "earned (RTT)", title="Clients")
    for row in document["clients"]:
        clients.add_row(row["address"], tokens(row["earned"]))
    escrow = document["escrow"]
    money = Table("escrow in", "paid to clients", "paid to auditors", "returned", "forfeited", title="Escrow (RTT)")
    money.add_row(*(tokens(escrow[key]) for key in ("in", "paid_clients", "paid_auditors", "returned", "forfeited")))
    nodes = [_nodes_table(document["ipfs"]["daemons"])] if document["ipfs"]["kind"] == "kubo" else []
    return Group(rounds, clients, money, *nodes)


def _nodes_table(daemons: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("node", "Kubo", "peers", "bytes from its peer", "bytes from elsewhere", title="IPFS")
    for row in daemons:
        elsewhere = row["received_bytes"] - row["received_from_peer_bytes"]
        table.add_row(
            row["name"],
            row["version"],
            ", ".join(row["peers_ever_seen"]),
            f"{row['received_from_peer_bytes']:,}",
            f"{elsewhere:,}",
        )
    return table
