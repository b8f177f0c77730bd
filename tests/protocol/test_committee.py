"""The committee's manifest: what it is not comes first, then that it is what it says, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import canonical_json
from protocol.bounds import MAX_REPORTED
from protocol.cid import directory_cid
from protocol.committee import (
    COMMITTEE,
    MAX_COMMITTEE_BYTES,
    MAX_MEMBERS,
    CommitteeManifest,
    CommitteeMember,
    decode_committee,
    encode_committee,
)
from protocol.errors import ArtifactRefused, NotCanonical, WrongField, WrongFiles
from protocol.merge_terms import MAX_COMMITTEE_ROUNDS
from protocol.types import Digest, address
from protocol.unixfs import directory_digest

ALICE, BOB = address("0x" + "a1" * 20), address("0x" + "b0" * 20)
FIRST = CommitteeMember(2, Digest(bytes([3]) * 32), Digest(bytes([6]) * 32), ALICE, 320)
SECOND = replace(FIRST, update=Digest(bytes([7]) * 32), client=BOB, weight=1)
LATER = CommitteeMember(5, Digest(bytes([4]) * 32), Digest(bytes([8]) * 32), ALICE, 7)
COMMITTEE_OF_THREE = CommitteeManifest("soft", (FIRST, SECOND, LATER))
FILES = encode_committee(COMMITTEE_OF_THREE)


def changed(change: Callable[[Any], None]) -> Mapping[str, bytes]:
    """The three's files after ``change`` of the JSON value, still canonical."""
    value: Any = canonical_json.loads(FILES[COMMITTEE])
    change(value)
    return {COMMITTEE: canonical_json.dumps(value)}


def first(**fields: object) -> Callable[[Any], None]:
    return lambda value: value["members"][0].update(fields)


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({}, WrongFiles),
        ({"model.json": b"{}"}, WrongFiles),
        ({**FILES, "notes.txt": b""}, WrongFiles),
        ({COMMITTEE: b"[]"}, WrongField),
        ({COMMITTEE: FILES[COMMITTEE] + b"\n"}, NotCanonical),
        (changed(lambda value: value.update(version=2)), WrongField),
        (changed(lambda value: value.update(vote="loud")), WrongField),
        (changed(lambda value: value.update(members=[])), WrongField),
        (changed(lambda value: value.pop("vote")), WrongField),
        (changed(first(weight=0)), WrongField),
        (changed(first(weight=-1)), WrongField),
        (changed(first(weight=True)), WrongField),
        (changed(first(round=0)), WrongField),
        (changed(first(client=ALICE.lower())), WrongField),
        (changed(first(base="bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")), WrongField),  # a file's
        (changed(first(note="")), WrongField),
        (changed(first(base=str(directory_cid(LATER.base)))), WrongField),  # two bases in round 2
        (changed(lambda value: value["members"].reverse()), WrongField),
        (changed(lambda value: value["members"].insert(0, value["members"][0])), WrongField),
    ],
)  # fmt: skip
def test_what_is_no_committee_is_refused_by_name(files: Mapping[str, bytes], error: type[ArtifactRefused]) -> None:
    with pytest.raises(error):
        decode_committee(files)


def test_nothing_is_encoded_that_would_not_be_read() -> None:
    for members in (
        (),
        (SECOND, FIRST),
        (FIRST, FIRST),
        (replace(FIRST, weight=0),),
        (replace(FIRST, weight=1 << 53),),
    ):
        with pytest.raises(ArtifactRefused):
            encode_committee(CommitteeManifest("soft", members))


def test_members_of_too_many_rounds_are_refused() -> None:
    members = tuple(replace(FIRST, round=number) for number in range(1, MAX_COMMITTEE_ROUNDS + 2))
    encode_committee(CommitteeManifest("majority", members[1:]))
    with pytest.raises(WrongField, match="at most 64 rounds"):
        encode_committee(CommitteeManifest("majority", members))


def test_the_bytes_are_these() -> None:
    value: Any = canonical_json.loads(FILES[COMMITTEE])
    assert value == {
        "version": 1,
        "vote": "soft",
        "members": [
            {
                "base": str(directory_cid(member.base)),
                "client": member.client,
                "round": member.round,
                "update": str(directory_cid(member.update)),
                "weight": member.weight,
            }
            for member in (FIRST, SECOND, LATER)
        ],
    }


def test_the_largest_committee_fits_its_limit() -> None:
    """The bound that the module states: any whole round fits, and so does whatever is below MAX_MEMBERS."""
    widest = canonical_json.dumps([changed_member() for _ in range(2)])
    each = len(widest) - len(canonical_json.dumps([changed_member()]))
    assert each < 400 and MAX_REPORTED <= MAX_MEMBERS and MAX_MEMBERS * 400 < MAX_COMMITTEE_BYTES


def changed_member() -> dict[str, object]:
    digest = str(directory_cid(Digest(b"\xff" * 32)))
    largest = canonical_json.MAX_INTEGER
    return {"base": digest, "client": ALICE, "round": largest, "update": digest, "weight": largest}


digests = st.binary(min_size=32, max_size=32).map(Digest)
addresses = st.binary(min_size=20, max_size=20).map(lambda data: address("0x" + data.hex()))


@given(
    vote=st.sampled_from(["soft", "majority"]),
    bases=st.dictionaries(st.integers(1, (1 << 53) - 1), digests, min_size=1, max_size=4),
    people=st.dictionaries(addresses, st.tuples(digests, st.integers(1, (1 << 53) - 1)), min_size=1, max_size=5),
)
def test_what_is_encoded_is_decoded_and_one_value_has_one_digest(
    vote: Any, bases: dict[int, Digest], people: dict[Any, tuple[Digest, int]]
) -> None:
    members = tuple(
        CommitteeMember(number, bases[number], update, client, weight)
        for number in sorted(bases)
        for client, (update, weight) in sorted(people.items(), key=lambda item: item[0].lower())
    )
    committee = CommitteeManifest(vote, members)
    files = encode_committee(committee)
    assert decode_committee(files) == committee
    other = replace(committee, vote="soft" if vote == "majority" else "majority")
    assert directory_digest(encode_committee(other)) != directory_digest(files)
