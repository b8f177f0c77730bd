"""A report: ``derived.json`` (integers that anyone recomputes to the byte) and ``statement.json`` (said, not recomputed).

Decoding checks form, types and ranges only, never whether the numbers are right: a readable but wrong report has to
reach an auditor's comparison, or a liar could hide behind his own mistakes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from protocol import canonical_json
from protocol.cid import directory_cid
from protocol.errors import WrongFiles
from protocol.fields import Field
from protocol.types import Address, Digest, FederationId, Hash, RoundId, hex32

DERIVED, STATEMENT = "derived.json", "statement.json"
MAX_DERIVED_BYTES = 64 * 1024 * 1024
# Both files together: what every reader fetches at most, so that none finds too large what another reads.
MAX_REPORT_BYTES = MAX_DERIVED_BYTES + canonical_json.MAX_BYTES
MAX_REPORTED = (
    100_000  # verdicts that fit for sure, however long they are; rounds of more are refused (protocol.bounds)
)
# So many verdicts make a derived.json of at most one chunk for sure, which then is a block under its own hash (S7).
RECORD_UPDATES = 2000
MAX_MILLIS = (1 << 40) - 1  # the contract's uint40
MAX_METRICS, MAX_SOFTWARE = 64, 200

_RULE = re.compile(r"[a-z0-9-]{0,64}")

Verdict = Literal["accepted", "refused", "unavailable"]
# Why the base stays, or that it does not.
Outcome = Literal["merged", "too-few-updates", "too-large", "unfit-model"]
VERSION = 2
MAX_AGREEMENT = 1000


@dataclass(frozen=True, slots=True)
class UpdateVerdict:
    """What became of one update, in chain order. ``rule`` is "" where accepted; numbers are 0 where not accepted."""

    client: Address
    digest: Digest
    millis: int
    verdict: Verdict
    rule: str
    examples: int
    steps: int
    weight: int  # in the merge of trainable tensors; 0 where the rule left it out
    agreement: int  # with the merged change: thousandths of the cosine, rounded towards 0; 0 where nothing was merged
    credit_millis: int
    reward: int  # base units of the token


@dataclass(frozen=True, slots=True)
class Derived:
    """Everything of a round that follows from the chain and the updates' bytes alone."""

    federation: FederationId
    round: RoundId
    base: Digest
    updates_hash: Hash
    rule: str  # bounding, rule and server step, such as "norm-bound-median-adam"
    outcome: Outcome
    stated: bool  # the model is the organization's word (distillation); everything else is recomputed all the same
    model: Digest
    merged: int  # updates in the merge
    saturated: int  # coordinates that left the grid's range and were saturated
    consolidated: bool
    updates: tuple[UpdateVerdict, ...]
    rewards_root: Hash
    rewards_total: int


@dataclass(frozen=True, slots=True)
class Statement:
    """What the organization says beside it. ``metrics`` maps a name to (correct, total)."""

    metrics: Mapping[str, tuple[int, int]]
    software: str


def encode_report(derived: Derived, statement: Statement) -> dict[str, bytes]:
    """Return the files of a report: one value, one set of bytes.

    Raises:
        WrongField, NotCanonical, TooLarge: It is not a report.
    """
    return {DERIVED: encode_derived(derived), STATEMENT: _encode_statement(statement)}


def decode_report(files: Mapping[str, bytes]) -> tuple[Derived, Statement]:
    """Return what ``files`` are the encoding of.

    Raises:
        ArtifactRefused: WrongFiles, TooLarge, NotCanonical or WrongField, by what is wrong.
    """
    if files.keys() != {DERIVED, STATEMENT}:
        raise WrongFiles(
            f"A report directory has {', '.join(sorted(map(ascii, files)))}.",
            f"It has {DERIVED} and {STATEMENT}.",
            "Publish it with encode_report.",
        )
    return decode_derived(files[DERIVED]), _decode_statement(files[STATEMENT])


def encode_derived(derived: Derived) -> bytes:
    """Return the bytes of ``derived.json``.

    Raises:
        WrongField, NotCanonical, TooLarge: A field is out of its range.
    """
    data = canonical_json.dumps(
        {
            "base": str(directory_cid(derived.base)),
            "consolidated": derived.consolidated,
            "federation": hex32(derived.federation),
            "merged": derived.merged,
            "model": str(directory_cid(derived.model)),
            "rewards_root": hex32(derived.rewards_root),
            "rewards_total": str(derived.rewards_total),
            "round": hex32(derived.round),
            "outcome": derived.outcome,
            "rule": derived.rule,
            "stated": derived.stated,
            "saturated": derived.saturated,
            "updates": [_verdict_json(update) for update in derived.updates],
            "updates_hash": hex32(derived.updates_hash),
            "version": VERSION,
        }
    )
    decode_derived(data)  # refuses what nobody could read
    return data


def derived_hash(derived: Derived) -> Hash:
    """Return the sha-256 of ``derived.json``, which is settled and attested."""
    return Hash(hashlib.sha256(encode_derived(derived)).digest())


def decode_derived(data: bytes) -> Derived:
    """Return what the bytes of a ``derived.json`` say.

    Raises:
        ArtifactRefused: TooLarge, NotCanonical or WrongField, by what is wrong.
    """
    names = [*Derived.__slots__, "version"]
    fields = Field(canonical_json.loads(data, MAX_DERIVED_BYTES), DERIVED).object(names)
    fields["version"].integer(VERSION, VERSION)
    return Derived(
        federation=FederationId(fields["federation"].hash()),
        round=RoundId(fields["round"].hash()),
        base=fields["base"].digest(),
        updates_hash=fields["updates_hash"].hash(),
        rule=_rule(fields["rule"]),
        outcome=cast("Outcome", fields["outcome"].choice(get_args(Outcome))),
        stated=fields["stated"].flag(),
        model=fields["model"].digest(),
        merged=fields["merged"].integer(0, MAX_REPORTED),
        saturated=fields["saturated"].integer(),
        consolidated=fields["consolidated"].flag(),
        updates=tuple(_read_verdict(update) for update in fields["updates"].array(MAX_REPORTED)),
        rewards_root=fields["rewards_root"].hash(),
        rewards_total=fields["rewards_total"].amount(),
    )


def _verdict_json(update: UpdateVerdict) -> dict[str, object]:
    return {
        "agreement": update.agreement,
        "client": update.client,
        "credit_millis": update.credit_millis,
        "digest": str(directory_cid(update.digest)),
        "examples": update.examples,
        "millis": update.millis,
        "reward": str(update.reward),
        "rule": update.rule,
        "steps": update.steps,
        "verdict": update.verdict,
        "weight": update.weight,
    }


def _read_verdict(item: Field) -> UpdateVerdict:
    fields = item.object(UpdateVerdict.__slots__)
    return UpdateVerdict(
        client=fields["client"].address(),
        digest=fields["digest"].digest(),
        millis=fields["millis"].integer(0, MAX_MILLIS),
        verdict=cast("Verdict", fields["verdict"].choice(get_args(Verdict))),
        rule=_rule(fields["rule"]),
        examples=fields["examples"].integer(),
        steps=fields["steps"].integer(),
        weight=fields["weight"].integer(),
        agreement=fields["agreement"].integer(-MAX_AGREEMENT, MAX_AGREEMENT),
        credit_millis=fields["credit_millis"].integer(0, MAX_MILLIS),
        reward=fields["reward"].amount(),
    )


def _rule(field: Field) -> str:
    if not _RULE.fullmatch(field.ascii(64)):
        raise field.refusal("a rule's name: lower-case letters, digits and hyphens")
    return field.ascii(64)


def _encode_statement(statement: Statement) -> bytes:
    metrics = {name: list(pair) for name, pair in statement.metrics.items()}
    data = canonical_json.dumps({"metrics": metrics, "software": statement.software, "version": 1})
    _decode_statement(data)
    return data


def _decode_statement(data: bytes) -> Statement:
    fields = Field(canonical_json.loads(data), STATEMENT).object(("metrics", "software", "version"))
    fields["version"].integer(1, 1)
    metrics = fields["metrics"].mapping(MAX_METRICS)
    return Statement(
        metrics={name: _read_metric(name, metrics[name]) for name in sorted(metrics)},
        software=fields["software"].ascii(MAX_SOFTWARE),
    )


def _read_metric(name: str, field: Field) -> tuple[int, int]:
    Field(name, field.path).ascii(64)
    pair = field.array(2)
    if len(pair) != 2:
        raise field.refusal("[correct, total]")
    total = pair[1].integer(1)
    return pair[0].integer(0, total), total
