"""Lists of clients and the proofs made of them: what is refused first, then that both ways to a proof agree."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.admission import AdmissionList, NotAdmitted, parse_clients, proof_document, read_proof
from protocol.errors import InvalidInput
from protocol.merkle import MerkleTree, admission_leaf, verify
from protocol.types import ZERO_HASH, Address, FederationId, address

ALICE, BOB, CAROL = (address("0x" + digit * 40) for digit in "123")
FEDERATION = FederationId(b"\7" * 32)
LIST = AdmissionList.of([ALICE, BOB, CAROL])


def numbered(count: int) -> list[Address]:
    return [address(f"0x{number:040x}") for number in range(1, count + 1)]


# --- lists that are refused ---


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["alice"], "line 1: 'alice': not an address"),
        (["# ours", "", ALICE[:-1]], "line 3: "),
        ([ALICE, BOB + "0"], "line 2: "),
        ([ALICE, f"{BOB}, {CAROL}"], "line 2: "),
        (["0x52908400098527886E0F7030069857D2E4169Ee7"], "line 1: .*: its checksum is wrong"),
        ([ALICE, "0x" + "0" * 40], "line 2: nobody has the zero address"),
        ([ALICE, BOB, "", ALICE], f"line 4: {ALICE} is on line 1 already"),
        (["0x" + "ab" * 20, "0X" + "AB" * 20], "line 2: .* is on line 1 already"),
        ([ALICE, "\0"], "line 2: "),
    ],
)
def test_lines_that_cannot_be_taken_are_named_by_number(lines: list[str], why: str) -> None:
    with pytest.raises(InvalidInput, match=f"clients.txt has 1 line that cannot be taken. {why}"):
        parse_clients("\n".join(lines), "clients.txt")


def test_all_wrong_lines_are_counted_and_the_first_are_named() -> None:
    with pytest.raises(InvalidInput, match=r"x has 9 lines .* line 1: .*; line 5: .*; and 4 more\."):
        parse_clients("\n".join(["?"] * 9), "x")


@pytest.mark.parametrize("text", ["", "\n\n", "# nobody yet\n"])
def test_a_list_of_nobody_is_refused_since_its_root_would_admit_everybody(text: str) -> None:
    assert AdmissionList.of(()).root == ZERO_HASH
    with pytest.raises(InvalidInput, match="lists nobody"):
        parse_clients(text, "clients.txt")


# --- proofs that are refused ---


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"7",
        b"{}",
        b'{"proofs":[]}',
        b'{"proofs":{"alice":[]}}',
        b"[" * 100_000,
        json.dumps(LIST.document(FEDERATION) | {"root": None}).encode(),
        json.dumps(LIST.document(FEDERATION) | {"federation": "0x12"}).encode(),
        json.dumps(LIST.document(FEDERATION) | {"proofs": {ALICE: "0x00"}}).encode(),
        json.dumps(LIST.document(FEDERATION) | {"proofs": {ALICE: ["0x00"]}}).encode(),
        json.dumps(LIST.document(FEDERATION) | {"proofs": {ALICE: [7]}}).encode(),
        json.dumps(LIST.document(FEDERATION) | {"proofs": {ALICE: ["0x" + "00" * 32] * 65}}).encode(),
    ],
)
def test_what_is_no_proof_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"proof\.json is no admission proof"):
        read_proof(data, ALICE, "proof.json")


def test_who_is_not_on_the_list_is_told_so() -> None:
    few = AdmissionList.of([ALICE, BOB])
    with pytest.raises(NotAdmitted, match=f"{CAROL} is not on the list. It has 2 other clients"):
        few.proof(FEDERATION, CAROL)
    with pytest.raises(NotAdmitted, match=CAROL):
        read_proof(json.dumps(few.document(FEDERATION)).encode(), CAROL, "proofs.json")
    with pytest.raises(NotAdmitted, match=CAROL):
        read_proof(json.dumps(proof_document(few.proof(FEDERATION, BOB))).encode(), CAROL, "proof.json")


def test_a_proof_that_leads_elsewhere_is_refused() -> None:
    good = LIST.proof(FEDERATION, ALICE)
    bad = replace(good, siblings=good.siblings[::-1])
    assert good.is_valid and not bad.is_valid
    with pytest.raises(InvalidInput, match="does not lead to the root"):
        read_proof(json.dumps(proof_document(bad)).encode(), ALICE, "proof.json")


# --- lists and proofs ---


def test_a_list_as_people_write_it() -> None:
    text = f"\ufeff# our clients\r\n{ALICE}\r\n\r\n  {BOB.lower()}   # bob\n0x{'3' * 40}"
    assert parse_clients(text, "clients.txt") == (ALICE, BOB, CAROL)


def test_the_root_does_not_depend_on_the_order() -> None:
    assert AdmissionList.of([CAROL, ALICE, BOB]).root == LIST.root
    assert LIST.root == MerkleTree(admission_leaf(one) for one in (ALICE, BOB, CAROL)).root


@given(st.integers(1, 40))
def test_every_client_has_a_proof_however_it_gets_it(count: int) -> None:
    clients = numbered(count)
    admitted = AdmissionList.of(clients)
    together = json.dumps(admitted.document(FEDERATION), indent=1).encode()
    for client in clients:
        proof = admitted.proof(FEDERATION, client)
        assert proof.is_valid and verify(admitted.root, admission_leaf(client), proof.siblings)
        assert read_proof(together, client, "proofs.json") == proof
        alone = json.dumps(proof_document(proof)).encode()
        assert read_proof(alone, client, "proof.json") == proof
