"""The code check: no code but this version's, made for this address on this chain, passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.contract_abi import load_contract
from network.contract_code import CONTRACT, Kind, expected_immutables, fill, judge, require_ours
from protocol.errors import ForeignContract, InvalidInput
from protocol.types import address

PLACE, OTHER, CHAIN = address("0x" + "c0" * 20), address("0x" + "d0" * 20), 31337
OURS = load_contract(CONTRACT)


def code_for(place: str = PLACE, chain_id: int = CHAIN) -> bytes:
    return fill(OURS, expected_immutables(chain_id, address(place)))


HOLES = {start + offset for starts in OURS.immutables.values() for start in starts for offset in range(32)}


def test_every_immutable_is_known() -> None:
    assert expected_immutables(CHAIN, PLACE).keys() == OURS.immutables.keys()


def test_the_template_has_zeros_where_immutables_go() -> None:
    assert not any(OURS.runtime[place] for place in HOLES)


def test_this_versions_code() -> None:
    assert judge(code_for(), CHAIN, PLACE).kind is Kind.OURS
    require_ours(code_for(), CHAIN, PLACE, "node")


def test_no_code() -> None:
    assert judge(b"", CHAIN, PLACE).kind is Kind.NOTHING
    with pytest.raises(InvalidInput, match=r"no contract at 0xC0.*chain 31337 \(node\).*RONDO_CONTRACT.*rondo deploy"):
        require_ours(b"", CHAIN, PLACE, "node")


def test_a_copy_at_another_address() -> None:
    verdict = judge(code_for(OTHER), CHAIN, PLACE)
    assert verdict.kind is Kind.MISPLACED
    assert f"made for {OTHER} on chain 31337" in verdict.why


def test_a_copy_from_another_chain() -> None:
    verdict = judge(code_for(chain_id=1), CHAIN, PLACE)
    assert verdict.kind is Kind.MISPLACED
    assert f"made for {PLACE} on chain 1:" in verdict.why


@pytest.mark.parametrize("name", sorted(OURS.immutables))
def test_one_wrong_immutable_is_named(name: str) -> None:
    values = expected_immutables(CHAIN, PLACE) | {name: b"\x07" * 32}
    verdict = judge(fill(OURS, values), CHAIN, PLACE)
    assert verdict.kind is Kind.MISPLACED
    assert name in verdict.why


def test_the_template_itself() -> None:
    assert judge(OURS.runtime, CHAIN, PLACE).kind is Kind.MISPLACED


@given(st.integers(0, len(OURS.runtime) - 1), st.integers(1, 255))
def test_one_wrong_byte_anywhere(place: int, change: int) -> None:
    code = bytearray(code_for())
    code[place] ^= change
    verdict = judge(bytes(code), CHAIN, PLACE)
    assert verdict.kind is (Kind.MISPLACED if place in HOLES else Kind.FOREIGN)
    with pytest.raises(ForeignContract, match=r"not this version's TrainingRounds.*RONDO_ACCEPT_OTHER_CODE=1"):
        require_ours(bytes(code), CHAIN, PLACE, "node")


@pytest.mark.parametrize("change", [lambda code: code[:-1], lambda code: code + b"\0", lambda code: code[:100]])
def test_less_or_more_code(change: object) -> None:
    assert callable(change)
    assert judge(change(code_for()), CHAIN, PLACE).kind is Kind.FOREIGN


@pytest.mark.parametrize(
    "template",
    ["363d3d373d3d3d363d73{}5af43d82803e903d91602b57fd5bf3", "365f5f375f5f365f73{}5af43d5f5f3e5f3d91602a57fd5bf3"],
)
def test_a_minimal_proxy_names_its_target(template: str) -> None:
    verdict = judge(bytes.fromhex(template.format(OTHER[2:])), CHAIN, PLACE)
    assert verdict.kind is Kind.PROXY
    assert OTHER in verdict.why


def test_an_account_that_borrows_the_code() -> None:
    verdict = judge(bytes.fromhex("ef0100" + OTHER[2:]), CHAIN, PLACE)
    assert verdict.kind is Kind.DELEGATED
    assert OTHER in verdict.why


@given(st.binary(max_size=100))
def test_any_bytes_have_a_verdict(code: bytes) -> None:
    assert not judge(code, CHAIN, PLACE).is_ours


def test_a_short_string_is_at_most_31_bytes() -> None:
    values = expected_immutables(CHAIN, PLACE)
    assert values["_name"] == b"Rondo TrainingRounds".ljust(31, b"\0") + b"\x14"
    assert values["_version"] == b"1".ljust(31, b"\0") + b"\x01"
