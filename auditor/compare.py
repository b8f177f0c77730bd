"""Where two accounts of a round differ: the organization's and the one re-derived."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from processor.round import Derivation
from protocol.report import Derived
from protocol.terms import Settlement
from protocol.types import Hash


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where what was said is not what follows. ``where`` is a path such as ``report.updates[3].credit_millis``."""

    where: str
    said: str
    derived: str


def shown(value: object) -> str:
    """A value as people and programs read it."""
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


def record_differences(where: str, said: object, derived: object) -> Iterator[Difference]:
    """Field-by-field differences of two records of the same frozen dataclass."""
    for item in fields(derived):  # type: ignore[arg-type]
        one, other = getattr(said, item.name), getattr(derived, item.name)
        if one != other and item.name != "updates":
            yield Difference(f"{where}.{item.name}", shown(one), shown(other))


def report_differences(said: Derived, derived: Derived) -> Iterator[Difference]:
    """Differences of ``derived.json``, down to the field of one update."""
    yield from record_differences("report", said, derived)
    if len(said.updates) != len(derived.updates):
        yield Difference("report.updates", f"{len(said.updates)} updates", f"{len(derived.updates)} updates")
        return
    for index, (one, other) in enumerate(zip(said.updates, derived.updates, strict=True)):
        if one != other:
            yield from record_differences(f"report.updates[{index}]", one, other)


def chain_differences(settlement: Settlement, derivation: Derivation, derived_hash: Hash) -> Iterator[Difference]:
    """Differences of the settlement's values on chain, everything that pays."""
    derived = derivation.derived
    pairs: tuple[tuple[str, object, object], ...] = (
        ("updates_hash", settlement.updates_hash, derived.updates_hash),
        ("model", settlement.model, derived.model),
        ("derived_hash", settlement.derived_hash, derived_hash),
        ("rewards_root", settlement.rewards_root, derived.rewards_root),
        ("rewards_total", settlement.rewards_total, derived.rewards_total),
    )
    for name, said, follows in pairs:
        if said != follows:
            yield Difference(f"chain.{name}", shown(said), shown(follows))
