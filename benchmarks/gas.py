"""Gas of every call and of whole rounds, on anvil, from receipts: ``make bench-gas``.

    python -m benchmarks.gas            # a few minutes; writes benchmarks/results/gas.json
    python -m benchmarks.gas --quick    # a minute or two: fewer rounds, of 100 clients alone; writes nothing

The exit code is 1 where a limit is broken. What each key means is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from benchmarks import federation as terms
from benchmarks import scenes
from benchmarks.chain import BLOCK_GAS, TRANSACTION_GAS, MeasuredChain, anvil_version
from benchmarks.federation import Federation, Round, World, people
from benchmarks.machine import machine_facts
from benchmarks.results import ceil_div, replace_line, spread, today, upper_limit, write_results
from benchmarks.scenes import TEN, Play
from protocol.errors import RondoError

SIZES = (10, 100)
MANY_UPDATES, MANY_CLIENTS = 10_000, 100_000
PAGE = 7  # successive rounds of a federation that share the slot of a client's updates
INTRINSIC, ZERO_BYTE, OTHER_BYTE = 21_000, 4, 16  # what a transaction costs before it runs

README = Path(__file__).resolve().parent / "README.md"
ROW = "| **Rondo** |"

Document = dict[str, Any]


class Measurement:
    """Collects one results document, scene by scene, on one chain.

    Args:
        chain: A fresh one.
        quick: Play just enough for the limits, but a settlement after 10,000 updates: rounds of 100 alone.
    """

    def __init__(self, chain: MeasuredChain, quick: bool) -> None:
        self.world, self.quick = World(chain), quick
        self.document: Document = {"operations": {}}
        self._settle_execution: dict[str, list[int]] = {}

    def run(self) -> Document:
        """Play everything; return the document."""
        for size in SIZES[-1:] if self.quick else SIZES:
            self._federations(size)
        self._wide()
        if not self.quick:
            self._many_updates()
            self._singles()
        self.document["settle_execution"] = {size: spread(used) for size, used in self._settle_execution.items()}
        self.document["limits"] = limits(self.document)
        return self.document

    def _federations(self, size: int) -> None:
        names = people(size)
        self.world.admit(names)
        tens = 1 if self.quick else 2
        own = self._timed(Federation(self.world, f"own calls of {size}"), names, tens, batched=False)
        batched = self._timed(Federation(self.world, f"batches of {size}"), names, tens, batched=True)
        both = [*own.rounds, *batched.rounds]
        self._operation("launch", size, [r.gas["launchRound"][0] for r in both if r.index > 1])
        self._operation("submitUpdate", size, own.all("submitUpdate"))
        self._operation("submitUpdateClosing", size, [round.gas["submitUpdate"][-1] for round in own.rounds])
        self._operation("submitBatchPerUpdate", size, [ceil_div(used, size) for used in batched.each("submitUpdates")])
        for function in ("settle", "attest", "claimAttestationFee", "withdraw"):
            self._operation(function, size, own.all(function) + batched.all(function))
        self._operation("claim", size, own.singles)
        self._operation("claimTenRoundsPerRound", size, [ceil_div(used, TEN) for used in own.tens])
        self._operation("claimBatchPerClient", size, [ceil_div(used, size) for used in batched.singles])
        share = min(size, scenes.CLIENTS_A_CALL) * TEN
        self._operation("claimBatchTenRoundsPerRound", size, [ceil_div(used, share) for used in batched.tens])
        self._settle_execution[str(size)] = [settle_execution(round) for round in both]
        self._whole_rounds("round_total", size, own)
        self._whole_rounds("round_total_batched", size, batched)
        claims = max(round.claims_share for round in own.whole)
        dearest = max(round.total - round.claims_share for round in batched.whole) + claims
        self.document.setdefault("round_total_batched_own_claims", {})[str(size)] = dearest

    def _timed(self, federation: Federation, names: Sequence[str], tens: int, *, batched: bool) -> Play:
        started = time.monotonic()
        played = scenes.play(federation, names, tens=tens, batched=batched)
        say(f"{federation.name}: {len(played.rounds)} rounds in {time.monotonic() - started:.0f} s")
        return played

    def _operation(self, name: str, size: int, used: Sequence[int]) -> None:
        self.document["operations"].setdefault(name, {})[str(size)] = spread(used)

    def _whole_rounds(self, key: str, size: int, played: Play) -> None:
        """Record whole rounds: the dearest, its parts, the dearest seven in a row, and the federation's first round."""
        totals = [round.total for round in played.whole]
        worst = max(played.whole, key=lambda round: round.total)
        pages = [ceil_div(sum(totals[start : start + PAGE]), PAGE) for start in range(len(totals) - PAGE + 1)]
        first = played.rounds[0]
        for suffix, value in {
            "": worst.total,
            "_parts": worst.parts(),
            "_mean_of_seven": max(pages),
            "_each": {str(round.index): round.total for round in played.whole},
            "_first_without_claims": first.total,
        }.items():
            self.document.setdefault(key + suffix, {})[str(size)] = value

    def _wide(self) -> None:
        self._operation("claim", MANY_CLIENTS, scenes.claims_of_a_wide_round(self.world))

    def _many_updates(self) -> None:
        started = time.monotonic()
        round = scenes.settlement_of(self.world, MANY_UPDATES)
        self._operation("settle", MANY_UPDATES, round.gas["settle"])
        self._settle_execution[str(MANY_UPDATES)] = [settle_execution(round)]
        say(f"a round of {MANY_UPDATES:,} updates in {time.monotonic() - started:.0f} s")

    def _singles(self) -> None:
        joined, updates = scenes.joining(self.world)
        self.document["join"] = spread(joined)
        self.document["submitUpdateOfJoined"] = spread(updates)
        self.document["firstPayout"] = spread(scenes.first_payouts(self.world))
        self.document["claimByTime"] = spread(scenes.claims_by_time(self.world))
        for size in SIZES:
            audited = Federation(self.world, f"three auditors and {size}", auditors=3, quorum=2)
            played = self._timed(audited, people(size), 1, batched=False)
            self._whole_rounds("roundWith3Attestations", size, played)


def settle_execution(round: Round) -> int:
    """Return what a settlement used beside the bytes of its arguments, of which zeros are cheaper: by chance some."""
    data = bytes.fromhex(round.settlement_data.removeprefix("0x"))
    zeros = data.count(0)
    return round.gas["settle"][0] - INTRINSIC - zeros * ZERO_BYTE - (len(data) - zeros) * OTHER_BYTE


def limits(document: Document) -> Document:
    """Return the record of every limit, against the dearest call that was measured."""
    operations = document["operations"]

    def dearest(name: str, *sizes: int) -> int:
        measured: dict[str, dict[str, int]] = operations[name]
        return max(measured[str(size)]["max"] for size in sizes or map(int, measured))

    execution = document["settle_execution"].values()
    spread_of_settle = max(used["max"] for used in execution) - min(used["min"] for used in execution)
    return {
        "submitUpdate": upper_limit(63_000, dearest("submitUpdate")),
        "submitBatchPerUpdate": upper_limit(37_000, dearest("submitBatchPerUpdate", 100)),
        "settle": upper_limit(110_000, dearest("settle")),
        "settleDifference": upper_limit(0, spread_of_settle),
        "claim": upper_limit(68_000, dearest("claim")),
        "claimTenRoundsPerRound": upper_limit(20_000, dearest("claimTenRoundsPerRound")),
        "round_total": upper_limit(9_000_000, document["round_total"]["100"]),
        "round_total_batched": upper_limit(6_200_000, document["round_total_batched"]["100"]),
        "round_total_batched_own_claims": upper_limit(6_200_000, document["round_total_batched_own_claims"]["100"]),
    }


def circumstances(world: World) -> Document:
    """Return what the figures hold for: conditions, compiler, the very code, machine, date."""
    artifact = json.loads(files("network.abi").joinpath("TrainingRounds.json").read_text())
    creation = bytes.fromhex(artifact["bytecode"].removeprefix("0x"))
    runtime = bytes(world.chain.w3.eth.get_code(world.rounds.address))
    return {
        "what": "Gas used, as receipts of a real anvil state it. Keys: benchmarks/README.md.",
        "date": today(),
        "conditions": {
            "admission": "open",
            "auditors": 1,
            "quorum": 1,
            "previous_round": "final",
            "recipients": "hold the token already",
            "allowance": "unlimited, given once, not in any sum",
            "token": "contracts/testing/TestToken.sol: OpenZeppelin's ERC20, by the same compiler",
            "openzeppelin": openzeppelin_version(),
            "node": "anvil",
            "anvil": anvil_version(),
            "hardfork": world.chain.hardfork,
            "block_gas_limit": BLOCK_GAS,
            "transaction_gas_limit": TRANSACTION_GAS,
            "updates_a_batch": terms.UPDATES_A_CALL,
            "clients_a_batch_of_ten_rounds": scenes.CLIENTS_A_CALL,
            "millis": [terms.LEAST_MILLIS, terms.MOST_MILLIS],
            "reward_per_milli": str(terms.RATE),
        },
        "compiler": artifact["compiler"],
        "contract": {
            "chain_id": world.chain.id,
            "address": world.rounds.address,
            "creation_code_keccak256": "0x" + keccak(creation).hex(),
            "runtime_code_keccak256": "0x" + keccak(runtime).hex(),
            "runtime_bytes": len(runtime),
        },
        "machine": machine_facts("web3", "eth-account"),
    }


def readme_row(document: Document) -> str:
    """Return Rondo's row of README.md's table, which stands beside figures of other contracts."""
    update, total = document["operations"]["submitUpdate"]["100"], document["round_total"]["100"]
    mean = document["round_total_mean_of_seven"]["100"]
    includes = (
        "launch, escrow, updates, settlement, attestation and its fee, withdrawal, and every client paid in an ERC-20"
    )
    return (
        f"{ROW} {update['max']:,} ({update['median']:,} later in a page) | {total:,} (mean of a page {mean:,}) "
        f"| {includes} (ten rounds a call) |"
    )


def openzeppelin_version() -> str:
    """Return the version of the library that the token and the contract are built with."""
    package = Path(__file__).resolve().parent.parent / "node_modules" / "@openzeppelin" / "contracts" / "package.json"
    return str(json.loads(package.read_text())["version"])


def say(line: str) -> None:
    """Tell who waits how far it is."""
    print(line, file=sys.stderr, flush=True)


def show(document: Document) -> None:
    """Print the figures and the limits."""
    for name, sizes in document["operations"].items():
        for size, used in sizes.items():
            print(f"{name:<28} {size:>7} {used['median']:>12,} median {used['max']:>12,} max")
    for key in ("round_total", "round_total_batched", "roundWith3Attestations"):
        for size, total in document.get(key, {}).items():
            mean = document[f"{key}_mean_of_seven"][size]
            print(f"{key:<28} {size:>7} {mean:>12,} a page {total:>12,} worst")
            print("  " + ", ".join(f"{name} {used:,}" for name, used in document[f"{key}_parts"][size].items()))
    for key in ("join", "submitUpdateOfJoined", "firstPayout", "claimByTime"):
        if used := document.get(key):
            print(f"{key:<28} {'':>7} {used['median']:>12,} median {used['max']:>12,} max")
    print(f"{'runtime code':<28} {document['contract']['runtime_bytes']:>20,} bytes")
    for name, limit in document["limits"].items():
        verdict = "holds" if limit["holds"] else "BROKEN"
        print(f"{verdict:<6} {name:<24} {limit['measured']:>12,} of {limit['limit']:>12,}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gas", description="Measure gas on anvil.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, of 100 clients alone; write nothing")
    options = parser.parse_args(arguments)
    try:
        with MeasuredChain() as chain:
            measurement = Measurement(chain, options.quick)
            document = circumstances(measurement.world) | measurement.run()
    except RondoError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    show(document)
    if not options.quick:
        print(f"wrote {write_results('gas', document)}")
        replace_line(README, ROW, readme_row(document))
    return 0 if all(limit["holds"] for limit in document["limits"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
