"""Write network/abi/*.json (ABI, bytecode, compiler settings), which the running system uses instead of solc.

    python scripts/write_abi.py            # write
    python scripts/write_abi.py --check    # exit 1 where a file is not what the sources compile to

Needs the compiler of `node scripts/install_solc.mjs` and nothing but Python's standard library. The settings are those
of foundry.toml, and the bytecode carries no hash of its sources, so that a comment does not change it. Beside the
creation bytecode stands the code that a deployment has on chain, with zeros where its immutables go, and where they go.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ABI = ROOT / "network" / "abi"
CONTRACTS = {
    "TrainingRounds": "contracts/TrainingRounds.sol",
    "TestToken": "contracts/testing/TestToken.sol",
}
OUTPUTS = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences"]


def compiler_settings() -> dict[str, Any]:
    """Return the standard-JSON settings that foundry.toml states."""
    profile = tomllib.loads((ROOT / "foundry.toml").read_text())["profile"]["default"]
    return {
        "evmVersion": profile["evm_version"],
        "metadata": {"bytecodeHash": profile["bytecode_hash"]},
        "optimizer": {"enabled": profile["optimizer"], "runs": profile["optimizer_runs"]},
        "remappings": profile["remappings"],
        "viaIR": profile["via_ir"],
    }


def compile_contracts() -> dict[str, str]:
    """Compile the contracts; return the text of each file of network/abi by its name."""
    solc = ROOT / tomllib.loads((ROOT / "foundry.toml").read_text())["profile"]["default"]["solc"]
    if not solc.exists():
        raise SystemExit(f"{solc} is missing. Run: node scripts/install_solc.mjs")
    settings = compiler_settings()
    request = {
        "language": "Solidity",
        "sources": {path: {"content": (ROOT / path).read_text()} for path in CONTRACTS.values()},
        "settings": {**settings, "outputSelection": {"*": {"*": OUTPUTS, "": ["ast"]}}},
    }
    done = subprocess.run(
        [solc, "--standard-json"], input=json.dumps(request), capture_output=True, text=True, check=True, cwd=ROOT
    )
    output = json.loads(done.stdout)
    refused = [error["formattedMessage"] for error in output.get("errors", []) if _is_ours(error)]
    if refused:
        raise SystemExit("\n".join(refused))
    compiler = {"name": "solc", "version": solc.name.removeprefix("solc-v"), **settings}
    variables = variable_names(output["sources"])
    texts = {}
    for name, path in CONTRACTS.items():
        built = output["contracts"][path][name]
        artifact = {
            "abi": built["abi"],
            "bytecode": "0x" + built["evm"]["bytecode"]["object"],
            "compiler": compiler,
            "immutables": immutables(built["evm"]["deployedBytecode"]["immutableReferences"], variables),
            "runtime": "0x" + built["evm"]["deployedBytecode"]["object"],
        }
        texts[f"{name}.json"] = json.dumps(artifact, indent=1, sort_keys=True) + "\n"
    return texts


def variable_names(sources: dict[str, Any]) -> dict[int, str]:
    """Return the names of all variables by the ids that this compilation gave them."""
    names: dict[int, str] = {}
    waiting: list[Any] = [source["ast"] for source in sources.values()]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if node.get("nodeType") == "VariableDeclaration":
                names[node["id"]] = node["name"]
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return names


def immutables(references: dict[str, list[dict[str, int]]], variables: dict[int, str]) -> dict[str, list[int]]:
    """Return where each immutable's 32 bytes begin in the runtime code, by its name: ids change with every edit."""
    places: dict[str, list[int]] = {}
    for id, uses in references.items():
        name = variables[int(id)]
        if name in places or any(use["length"] != 32 for use in uses):
            raise SystemExit(f"The immutable {name} is not one word, or two have its name.")
        places[name] = sorted(use["start"] for use in uses)
    return places


def _is_ours(error: dict[str, Any]) -> bool:
    """Say whether ``error`` stops us: any error, and any warning about our own sources."""
    file = (error.get("sourceLocation") or {}).get("file", "")
    return error["severity"] != "warning" or not file.startswith("node_modules/")


def main(arguments: list[str]) -> int:
    texts = compile_contracts()
    stale = [name for name, text in texts.items() if not (ABI / name).exists() or (ABI / name).read_text() != text]
    if "--check" in arguments:
        for name in stale:
            print(f"network/abi/{name} is not what contracts/ compile to. Run: python scripts/write_abi.py")
        return 1 if stale else 0
    for name in stale:
        temporary = ABI / f"{name}.tmp"
        temporary.write_text(texts[name])
        temporary.replace(ABI / name)  # whoever reads it meanwhile reads a whole file
        print(f"wrote network/abi/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
