"""Turns the contract's raw logs into the records of `protocol.events`, by the ABI alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from network.contract_abi import decode_values, entries
from network.words import payment_of
from protocol import events
from protocol.errors import LogsIncomplete
from protocol.events import Event, Logged
from protocol.terms import FederationTerms, PayBasis, RoundTerms, Settlement, SkipReason
from protocol.types import Hash

EVENTS: Mapping[str, type] = {kind.__name__: kind for kind in events.Event.__args__}
STRUCTS: Mapping[str, type] = {kind.__name__: kind for kind in (FederationTerms, RoundTerms, Settlement)}
ENUMS: Mapping[str, type] = {kind.__name__: kind for kind in (PayBasis, SkipReason)}


class EventCodec:
    """Decodes logs of a contract with this ABI; the records have the ABI's fields in the ABI's order."""

    def __init__(self, abi: list[dict[str, Any]]) -> None:
        self._by_topic = {topic: entry for topic, entry in entries(abi, "event").items() if entry["name"] in EVENTS}

    def decode(self, log: Mapping[str, Any]) -> Logged | None:
        """Return the log with its event, None for an event that is not the protocol's (such as a library's).

        Args:
            log: As ``eth_getLogs`` gives it: topics, data, blockNumber, logIndex, transactionHash.

        Raises:
            LogsIncomplete: It is no log, or names an event of ours but does not decode as it.
        """
        name = "something"
        try:
            topics = [_bytes(topic) for topic in _field(log, "topics", list, tuple)]
            entry = self._by_topic.get(topics[0]) if topics else None
            if entry is None:
                return None
            name = entry["name"]
            event = _event(entry, topics[1:], _bytes(_field(log, "data", bytes)))
            transaction = _bytes(_field(log, "transactionHash", bytes), 32)
            return Logged(event, _field(log, "blockNumber", int), _field(log, "logIndex", int), Hash(transaction))
        except ValueError as error:  # all that the log can be blamed for; a TypeError is a mistake of ours
            raise LogsIncomplete(f"A log of {name} does not decode: {error}.") from error


def _field(log: Mapping[str, Any], name: str, *kinds: type) -> Any:
    """Return a field of one of these types; a number is not negative, and no bool."""
    value = log.get(name)
    if not isinstance(value, kinds) or isinstance(value, bool) or (isinstance(value, int) and value < 0):
        raise ValueError(f"its {name} is {value!r:.80}")
    return value


def _bytes(value: object, length: int | None = None) -> bytes:
    if not isinstance(value, bytes) or length not in (None, len(value)):
        raise ValueError(f"{value!r:.80} is not {'' if length is None else f'{length} '}bytes")
    return bytes(value)


def _event(entry: dict[str, Any], topics: list[bytes], data: bytes) -> Event:
    inputs = entry["inputs"]
    indexed = [item for item in inputs if item["indexed"]]
    plain = [item for item in inputs if not item["indexed"]]
    from_topics = iter(decode_values(indexed, b"".join(topics)))
    from_data = iter(decode_values(plain, data))
    values = [_value(item, next(from_topics if item["indexed"] else from_data)) for item in inputs]
    event: Event = EVENTS[entry["name"]](*values)
    return event


def _value(item: dict[str, Any], value: Any) -> Any:
    """Return ``value`` as the protocol's own type: struct, enum, or as it is."""
    name = item.get("internalType", "").split(" ")[-1].split(".")[-1]
    if item["type"] == "tuple":
        parts = zip(item["components"], value, strict=True)
        return STRUCTS[name](*(_value(component, part) for component, part in parts))
    if name == "RoundPayment[]":
        return tuple(payment_of(word) for word in value)
    return ENUMS[name](value) if name in ENUMS else value
