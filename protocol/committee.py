"""A committee of machines: member models that vote, published as a manifest of the artifacts that they are made of.

A directory of one file, ``committee.json``. A member is a base model and an update of it: base + update, exactly, is the
member's model (processor.committee), so nothing is stored twice and whoever has the rounds' artifacts has the committee.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast, get_args

from protocol import canonical_json
from protocol.cid import directory_cid
from protocol.errors import WrongFiles
from protocol.fields import Field
from protocol.merge_terms import MAX_COMMITTEE_ROUNDS
from protocol.types import Address, Digest

COMMITTEE = "committee.json"
VERSION = 1
# A whole round always fits, since a round takes at most protocol.bounds.MAX_REPORTED updates; a member takes less than 400
# bytes (two CIDs of 59, an address of 42, two integers of at most 16 digits, names), so all of them stay below the limit.
MAX_MEMBERS = 1 << 17
MAX_COMMITTEE_BYTES = 64 * 1024 * 1024

Ballot = Literal["soft", "majority"]

_MEMBER_FIELDS = ("base", "client", "round", "update", "weight")


@dataclass(frozen=True, slots=True)
class CommitteeMember:
    """One member: ``base`` + ``update``, made by ``client`` in round ``round`` of the federation, voting with ``weight``."""

    round: int
    base: Digest
    update: Digest
    client: Address
    weight: int


@dataclass(frozen=True, slots=True)
class CommitteeManifest:
    """Who votes, and how.

    Args:
        vote: "soft" (the weighted mean of the members' probabilities) or "majority" (a weighted count of the classes that
            they give the largest probability).
        members: At least one, ascending by round and then by the client's address; one base a round, one update a client.
    """

    vote: Ballot
    members: tuple[CommitteeMember, ...]


def encode_committee(committee: CommitteeManifest) -> dict[str, bytes]:
    """Return the files of ``committee``: one value, one set of bytes.

    Raises:
        ArtifactRefused: It is no committee, as ``decode_committee`` says.
    """
    members = [_member_json(member) for member in committee.members]
    files = {COMMITTEE: canonical_json.dumps({"members": members, "version": VERSION, "vote": committee.vote})}
    decode_committee(files)  # refuses what nobody could read
    return files


def decode_committee(files: Mapping[str, bytes]) -> CommitteeManifest:
    """Return the committee that ``files`` are the encoding of.

    Raises:
        ArtifactRefused: WrongFiles, TooLarge, NotCanonical or WrongField, by what is wrong.
    """
    if files.keys() != {COMMITTEE}:
        raise WrongFiles(
            f"A committee directory has {', '.join(sorted(map(ascii, files)))}.",
            f"It has {COMMITTEE} alone.",
            "Publish it with encode_committee.",
        )
    root = Field(canonical_json.loads(files[COMMITTEE], MAX_COMMITTEE_BYTES), COMMITTEE)
    fields = root.object(("members", "version", "vote"))
    fields["version"].integer(VERSION, VERSION)
    members = tuple(_read_member(item) for item in fields["members"].array(MAX_MEMBERS))
    _check_members(members, fields["members"])
    return CommitteeManifest(cast("Ballot", fields["vote"].choice(get_args(Ballot))), members)


def _member_json(member: CommitteeMember) -> dict[str, object]:
    return {
        "base": str(directory_cid(member.base)),
        "client": member.client,
        "round": member.round,
        "update": str(directory_cid(member.update)),
        "weight": member.weight,
    }


def _read_member(item: Field) -> CommitteeMember:
    fields = item.object(_MEMBER_FIELDS)
    return CommitteeMember(
        round=fields["round"].integer(1),
        base=fields["base"].digest(),
        update=fields["update"].digest(),
        client=fields["client"].address(),
        weight=fields["weight"].integer(1),
    )


def _check_members(members: tuple[CommitteeMember, ...], field: Field) -> None:
    """Refuse what no round can have made: an order of its own, two updates of one client, two bases of one round."""
    if not members:
        raise field.refusal("at least one member")
    if any((one.round, one.client.lower()) >= (other.round, other.client.lower()) for one, other in pairwise(members)):
        raise field.refusal("members in strictly ascending order of round and client")
    if any(one.round == other.round and one.base != other.base for one, other in pairwise(members)):
        raise field.refusal("one base for all members of a round")
    if len({member.round for member in members}) > MAX_COMMITTEE_ROUNDS:
        raise field.refusal(f"members of at most {MAX_COMMITTEE_ROUNDS} rounds")
