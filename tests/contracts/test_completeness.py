"""Nothing of the contract is left untested by name: each error and event with all of its values, each function a file."""

import json
import re
from pathlib import Path

import pytest
from support import ASSERTED_ERRORS, ASSERTED_EVENTS, SkipReason, Term

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
ABI = json.loads((ROOT / "network" / "abi" / "TrainingRounds.json").read_text())["abi"]

# What is in the ABI and never comes.
UNREACHABLE = {
    "InvalidShortString": "OpenZeppelin reads the domain's name and version, which are shorter than a word",
    "StringTooLong": "likewise, and in the constructor only",
    "EIP712DomainChanged": "the domain never changes",
}


@pytest.fixture(scope="module")
def whole_suite(request):
    """Only a run of every file knows what is asserted; these tests come last (conftest.py)."""
    run = {item.path for item in request.session.items}
    if request.config.option.keyword or not set(HERE.rglob("test_*.py")) <= run:
        pytest.skip("not the whole suite")


def names(kind):
    return {entry["name"] for entry in ABI if entry["type"] == kind}


def snake(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def test_every_error_is_asserted_with_its_values(whole_suite):
    assert sorted(names("error") - UNREACHABLE.keys() - ASSERTED_ERRORS.keys()) == []


def test_every_event_is_asserted_with_its_values(whole_suite):
    assert sorted(names("event") - UNREACHABLE.keys() - ASSERTED_EVENTS.keys()) == []


def test_what_is_asserted_has_the_values_that_the_abi_says():
    """So that no error passes for another of the same name, or without its values."""
    inputs = {entry["name"]: len(entry["inputs"]) for entry in ABI if entry["type"] == "error"}
    for name, asserted in ASSERTED_ERRORS.items():
        if name in inputs:
            assert {len(arguments) for arguments in asserted} == {inputs[name]}, name


def test_every_term_out_of_range_is_asserted(whole_suite):
    assert sorted(set(Term) - {arguments[0] for arguments in ASSERTED_ERRORS["TermOutOfRange"]}) == []


def test_every_reason_to_skip_an_update_is_asserted(whole_suite):
    assert sorted(set(SkipReason) - {values["reason"] for values in ASSERTED_EVENTS["UpdateSkipped"]}) == []


def test_every_function_that_changes_anything_has_a_file_of_its_own():
    functions = {
        entry["name"] for entry in ABI if entry["type"] == "function" and entry["stateMutability"] == "nonpayable"
    }
    files = {path.stem for path in HERE.glob("test_*.py")}
    assert sorted(name for name in functions if f"test_{snake(name)}" not in files) == []


def test_those_files_begin_with_what_is_refused():
    for entry in ABI:
        if entry["type"] == "function" and entry["stateMutability"] == "nonpayable":
            text = (HERE / f"test_{snake(entry['name'])}.py").read_text()
            assert re.search(r"^def test_(\w+)", text, re.MULTILINE)[1].startswith("refuses"), entry["name"]


def test_every_view_is_called_by_some_test():
    texts = "".join(path.read_text() for path in HERE.rglob("*.py"))
    views = {entry["name"] for entry in ABI if entry["type"] == "function"}
    assert sorted(name for name in views if f"rounds.{name}(" not in texts) == []
