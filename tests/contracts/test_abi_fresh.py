"""The committed ABI and bytecode are what the sources compile to, by the settings that everybody uses."""

import json
import tomllib
from pathlib import Path

import yaml

from scripts import write_abi

ROOT = Path(__file__).resolve().parents[2]
EIP_170_LIMIT = 24_576


def test_the_committed_abi_is_fresh():
    for name, text in write_abi.compile_contracts().items():
        assert (ROOT / "network" / "abi" / name).read_text() == text, "Run: python scripts/write_abi.py"


def test_brownie_and_forge_compile_alike():
    forge = tomllib.loads((ROOT / "foundry.toml").read_text())["profile"]["default"]
    brownie = yaml.safe_load((ROOT / "brownie-config.yaml").read_text())["compiler"]
    assert brownie["evm_version"] == forge["evm_version"]
    assert brownie["solc"]["optimizer"] == {"enabled": forge["optimizer"], "runs": forge["optimizer_runs"]}
    assert brownie["solc"]["viaIR"] == forge["via_ir"]
    assert f"solc-v{brownie['solc']['version']}" == Path(forge["solc"]).name


def test_brownies_build_has_the_same_abi(TrainingRounds):  # noqa: N803 - a contract
    committed = json.loads((ROOT / "network" / "abi" / "TrainingRounds.json").read_text())
    assert sorted(map(str, TrainingRounds.abi)) == sorted(map(str, committed["abi"]))


def test_the_contract_can_be_deployed(rounds):
    """EIP-170; and no owner, no upgrade: nothing of that kind in its interface."""
    assert len(rounds.bytecode) // 2 <= EIP_170_LIMIT
    names = {entry.get("name", "") for entry in rounds.abi}
    assert not names & {"owner", "transferOwnership", "upgradeTo", "upgradeToAndCall", "pause", "initialize"}
