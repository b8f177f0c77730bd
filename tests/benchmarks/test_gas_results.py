"""The committed results: complete, within the limits, and those of the committed contract."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from benchmarks.gas import MANY_CLIENTS, MANY_UPDATES, README, SIZES, limits, readme_row
from benchmarks.results import ceil_div, read_results, replace_line, spread, upper_limit
from network.contract_abi import load_contract
from network.contract_code import expected_immutables, fill
from protocol.types import address

ROOT = Path(__file__).resolve().parent.parent.parent
OPERATIONS = (
    *("launch", "submitUpdate", "submitBatchPerUpdate", "claimTenRoundsPerRound", "settle", "attest", "claim"),
    "claimBatchPerClient",
)
ROUNDS = ("round_total", "round_total_batched", "roundWith3Attestations")


@pytest.fixture(scope="module")
def gas() -> dict[str, Any]:
    return read_results("gas")


@pytest.fixture(scope="module")
def artifact() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "network/abi/TrainingRounds.json").read_text())
    return document


def broken(records: dict[str, Any]) -> set[str]:
    return {name for name, record in records.items() if not record["holds"]}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_is_there(gas: dict[str, Any], operation: str) -> None:
    for size in SIZES:
        used = gas["operations"][operation][str(size)]
        assert 0 < used["min"] <= used["median"] <= used["max"]


def test_the_wide_ones_too(gas: dict[str, Any]) -> None:
    assert gas["operations"]["settle"][str(MANY_UPDATES)]["max"] > 0
    assert gas["operations"]["claim"][str(MANY_CLIENTS)]["count"] == 10


@pytest.mark.parametrize("key", ["join", "firstPayout", "claimByTime"])
def test_the_keys_without_limits(gas: dict[str, Any], key: str) -> None:
    assert 0 < gas[key]["median"] <= gas[key]["max"]


@pytest.mark.parametrize("key", ROUNDS)
@pytest.mark.parametrize("size", [str(size) for size in SIZES])
def test_whole_rounds_add_up(gas: dict[str, Any], key: str, size: str) -> None:
    each = gas[f"{key}_each"][size]
    assert gas[key][size] == max(each.values()) == sum(gas[f"{key}_parts"][size].values())
    assert min(each.values()) < gas[f"{key}_mean_of_seven"][size] < gas[key][size]
    assert len(each) >= 10
    fees = gas[f"{key}_parts"][size]
    assert set(fees) - {"submitUpdate", "submitUpdates"} == {
        *("launchRound", "settle", "attest", "claimAttestationFee", "withdraw", "claims"),
    }


def test_the_limits_hold(gas: dict[str, Any]) -> None:
    assert gas["limits"] == limits(gas)
    assert {name: limit["limit"] for name, limit in gas["limits"].items()} == {
        "submitUpdate": 63_000,
        "submitBatchPerUpdate": 37_000,
        "settle": 110_000,
        "settleDifference": 0,
        "claim": 68_000,
        "claimTenRoundsPerRound": 20_000,
        "round_total": 9_000_000,
        "round_total_batched": 6_200_000,
        "round_total_batched_own_claims": 6_200_000,
    }
    assert broken(gas["limits"]) == set()


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        (("operations", "submitUpdate", "10", "max"), "submitUpdate"),
        (("operations", "submitBatchPerUpdate", "100", "max"), "submitBatchPerUpdate"),
        (("operations", "settle", "10000", "max"), "settle"),
        (("settle_execution", "10000", "max"), "settleDifference"),
        (("operations", "claim", "100000", "max"), "claim"),
        (("operations", "claimTenRoundsPerRound", "100", "max"), "claimTenRoundsPerRound"),
        (("round_total", "100"), "round_total"),
        (("round_total_batched", "100"), "round_total_batched"),
        (("round_total_batched_own_claims", "100"), "round_total_batched_own_claims"),
    ],
)
def test_a_broken_limit_is_said(gas: dict[str, Any], path: tuple[str, ...], limit: str) -> None:
    dearer = copy.deepcopy(gas)
    place = dearer
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] += 10_000_000
    assert broken(limits(dearer)) == broken(gas["limits"]) | {limit}


def test_the_conditions_are_stated(gas: dict[str, Any]) -> None:
    conditions = gas["conditions"]
    assert (conditions["admission"], conditions["auditors"], conditions["quorum"]) == ("open", 1, 1)
    assert conditions["previous_round"] == "final"
    assert conditions["hardfork"] == "osaka"
    assert conditions["anvil"] in (ROOT / "package-lock.json").read_text()
    assert f'"@openzeppelin/contracts": "{conditions["openzeppelin"]}"' in (ROOT / "package.json").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", gas["date"])


def test_the_compiler_settings_are_foundrys_and_brownies(gas: dict[str, Any], artifact: dict[str, Any]) -> None:
    compiler = gas["compiler"]
    assert compiler == artifact["compiler"]
    profile = tomllib.loads((ROOT / "foundry.toml").read_text())["profile"]["default"]
    assert compiler["version"] in profile["solc"]
    assert compiler["evmVersion"] == profile["evm_version"]
    assert compiler["viaIR"] == profile["via_ir"]
    assert compiler["optimizer"] == {"enabled": profile["optimizer"], "runs": profile["optimizer_runs"]}
    brownie = (ROOT / "brownie-config.yaml").read_text()
    for line in (
        f"evm_version: {compiler['evmVersion']}",
        f"version: {compiler['version']}",
        f"runs: {compiler['optimizer']['runs']}",
        f"viaIR: {str(compiler['viaIR']).lower()}",
    ):
        assert re.search(rf"^ *{re.escape(line)}$", brownie, re.MULTILINE), line


def test_the_measured_code_is_the_committed_one(gas: dict[str, Any]) -> None:
    measured, committed = gas["contract"], load_contract("TrainingRounds")
    runtime = fill(committed, expected_immutables(measured["chain_id"], address(measured["address"])))
    again = "The contract has changed since. Run: make bench-gas"
    assert measured["runtime_code_keccak256"] == "0x" + keccak(runtime).hex(), again
    assert measured["creation_code_keccak256"] == "0x" + keccak(hexstr=committed.bytecode).hex(), again
    assert measured["runtime_bytes"] == len(runtime)


def test_the_readme_names_every_key(gas: dict[str, Any]) -> None:
    readme = README.read_text()
    for key in [*gas, *gas["operations"], *gas["limits"]]:
        assert f"`{re.sub(r'_(parts|each|mean_of_seven|first_without_claims)$', '', key)}" in readme, key


def test_the_readme_has_the_recorded_figures(gas: dict[str, Any]) -> None:
    assert README.read_text().splitlines().count(readme_row(gas)) == 1, "Run: make bench-gas"


def test_one_line_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "file.md"
    file.write_text("| a | 1 |\n| b | 2 |\n")
    replace_line(file, "| a |", "| a | 3 |")
    assert file.read_text() == "| a | 3 |\n| b | 2 |\n"


def test_figures_are_rounded_up() -> None:
    assert spread([3, 1, 2, 9]) == {"min": 1, "median": 3, "max": 9, "count": 4}
    assert (ceil_div(10, 10), ceil_div(11, 10)) == (1, 2)
    assert upper_limit(5, 5) == {"limit": 5, "measured": 5, "holds": True}
    assert not upper_limit(5, 6)["holds"]
