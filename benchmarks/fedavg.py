"""Rounds to 97 % on MNIST, as McMahan et al. (AISTATS 2017), table 1, 2NN: through int16, and in plain float32 beside it.

    python -m benchmarks.fedavg            # the better part of an hour; writes results/fedavg.json and .md
    python -m benchmarks.fedavg --quick    # three rounds of a few clients; writes nothing

Runs are kept in ``--scratch`` as they end, so that a stopped benchmark goes on where it was. The exit code is 1 where a
limit is broken, 66 where there is no MNIST. What each key means is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from benchmarks.convergence import TARGET, Setting, Split, best_so_far, gaps, play, rounds_to
from benchmarks.machine import machine_facts
from benchmarks.mnist import Mnist, add_data_option, load_mnist
from benchmarks.results import RESULTS, lower_limit, today, write_results
from benchmarks.runs import Record, Runs, say
from network.console import print_error
from protocol.errors import RondoError

LEAST_RATIO = 0.85  # of the rounds to 97 % by the two paths, the fewer over the more
LEAST_AGREEMENT = 0.99  # 1 - the mean gap between the best-so-far curves of runs that are stopped earlier
SEED, SWEEP_SEED, SWEEP_ROUNDS = 1, 100, 60
PAPER = {"iid_0.1": 87, "iid_1.0": 70, "non_iid_0.1": 664, "non_iid_1.0": 380}
MOST_ROUNDS = {"iid_0.1": 200, "iid_1.0": 200, "non_iid_0.1": 150, "non_iid_1.0": 5}
RATES: dict[Split, tuple[str, ...]] = {
    "iid": ("1/20", "1/10", "1/5", "3/10"),
    "non_iid": ("1/10",),
}  # one rate: not swept
QUICK = {"clients": 10, "examples": 60, "hidden": 32, "test_examples": 200, "most_rounds": 3, "until": 2.0}


def compare(int16: Record, float32: Record, paper: int | None) -> Record:
    """Return what is published of one row of the table."""
    curves = {"int16": int16["curve"], "float32": float32["curve"]}
    reached = {path: rounds_to(curve, TARGET) for path, curve in curves.items()}
    row: Record = {"paper_rounds": paper, "rate": int16["setting"]["rate"], "rounds": reached}
    if None not in reached.values():
        row["ratio"] = round(min(reached.values()) / max(reached.values()), 4)  # type: ignore[type-var, operator]
    row["best"] = {path: round(max(curve), 4) for path, curve in curves.items()}
    row["rounds_to"] = {
        str(target): {path: rounds_to(curve, target) for path, curve in curves.items()} for target in (0.9, 0.95, 0.96)
    }
    row["gaps"] = gaps(*curves.values())
    row["seconds"] = {path: record["seconds"] for path, record in (("int16", int16), ("float32", float32))}
    row["curves"] = {path: [round(each, 4) for each in curve] for path, curve in curves.items()}
    return row


def sweep_rates(runs: Runs, mnist: Mnist, split: Split, changes: Record) -> Record:
    """Return for each rate how far plain float32 came with C = 0.1 on the sweep's seed, and the rate that is best.

    The best is the one with the largest mean of its best-so-far curve.

    Args:
        changes: What differs from the published setting, for quick runs.

    Where there is one rate only, it is taken and nothing is run.
    """
    found: Record = {}
    if len(RATES[split]) == 1:
        return {"rates": {}, "rounds_played": 0, "chosen": RATES[split][0]}
    for rate in RATES[split]:
        setting = Setting("float32", split, "0.1", rate, SWEEP_ROUNDS, seed=SWEEP_SEED, until=1.0)
        setting = replace(setting, **changes)
        curve = runs.record(asdict(setting), partial(play, setting, mnist))["curve"]
        mean = round(float(np.mean(best_so_far(curve))), 4)
        found[rate] = {"mean_best_so_far": mean, "rounds": rounds_to(curve, TARGET)}
        say(f"sweep {split} {rate}: {found[rate]}")
    chosen = max(found, key=lambda rate: float(found[rate]["mean_best_so_far"]))
    return {"rates": found, "rounds_played": SWEEP_ROUNDS, "chosen": chosen}


def run(mnist: Mnist, runs: Runs, changes: Record | None = None) -> Record:
    """Play every row of the table; return the document of results.

    Args:
        changes: What differs from the published settings, for quick runs.
    """
    changes = changes or {}
    sweeps = {split: sweep_rates(runs, mnist, split, changes) for split in RATES}
    rows: Record = {}
    for name, paper in PAPER.items():
        split, share = split_share(name)
        setting = replace(Setting("int16", split, share, sweeps[split]["chosen"], MOST_ROUNDS[name], SEED), **changes)
        int16, float32 = (
            runs.record(asdict(each), partial(play, each, mnist))
            for each in (setting, replace(setting, path="float32"))
        )
        rows[name] = compare(int16, float32, paper)
        say(f"{name}: {rows[name]['rounds']} {rows[name]['gaps']}")
    return {
        "what": "rounds to 97 % on MNIST, 2NN, as McMahan et al. 2017, table 1, through int16 and in plain float32",
        "date": today(),
        "conditions": _conditions(),
        "sweep": sweeps,
        "rows": rows,
        "limits": limits(rows),
        "seconds": round(runs.seconds),
        "machine": machine_facts("numpy", "scipy"),
    }


def split_share(name: str) -> tuple[Split, str]:
    """Return what the name of a row says: the split and C."""
    split, share = name.rsplit("_", 1)
    return cast("Split", split), share


def limits(rows: Record) -> Record:
    """Return the limits: rounds to 97 % within 15 % of each other; curves of runs that were stopped, close together."""
    found = {}
    for name, row in rows.items():
        if name.startswith("iid"):
            found[f"rounds_ratio.{name}"] = lower_limit(LEAST_RATIO, row.get("ratio", 0.0))
        else:
            found[f"agreement.{name}"] = lower_limit(LEAST_AGREEMENT, round(1 - row["gaps"]["mean_best"], 4))
    return found


def table(document: Record) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| split, C | paper | int16 | float32 | best int16 | best float32 | mean gap | largest gap |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in document["rows"].items():
        split, share = split_share(name)
        reached = [_spell(row, path) for path in ("int16", "float32")]
        best = [f"{row['best'][path]:.4f}" for path in ("int16", "float32")]
        gap = [f"{row['gaps'][kind]:.4f}" for kind in ("mean_best", "largest_best")]
        title = f"{split.replace('_', '-').replace('iid', 'IID')}, {share}"
        lines.append(f"| {' | '.join([title, str(row['paper_rounds']), *reached, *best, *gap])} |")
    return "\n".join(lines) + "\n"


def _spell(row: Record, path: str) -> str:
    reached = row["rounds"][path]
    return f"not in {len(row['curves'][path])}" if reached is None else f"{reached:.1f}"


def _conditions() -> Record:
    return {
        "network": "784-200-200-10, rectified linear, Glorot weights and zero biases, pixels from 0 to 1",
        "clients": "100 of 600 examples; IID: dealt at random; non-IID: two of 200 shards of 300 examples sorted by label",
        "training": "SGD, E=1, B=10, no momentum; the rate of IID by the sweep on another seed, in float32, "
        "with C=0.1, for both C; of non-IID 1/10, not swept",
        "int16": "client.quantise with error feedback as the client keeps it; processor merge; the model on its int32 grid",
        "float32": "the same first model, clients, batches and seeds; float32 weights and float32 mean",
        "accuracy": "all 10,000 test images after every round; rounds to a value on the monotone curve, linear between rounds",
        "first_round": "encoded, named, decoded, checked and merged: the same mantissas as in memory, or the run stops",
        "seed": SEED,
        "sweep_seed": SWEEP_SEED,
        "stopped": "where 97 % is reached, or after so many rounds",
        "most_rounds": MOST_ROUNDS,
    }


def main() -> int:
    """Measure, print, and write the results unless ``--quick``."""
    parser = argparse.ArgumentParser(description="Rounds to 97 % on MNIST, through int16 and in float32.")
    parser.add_argument("--quick", action="store_true", help="three rounds of a few clients; write nothing")
    parser.add_argument("--scratch", type=Path, default=Path("build/benchmarks/fedavg"), help="where runs are kept")
    add_data_option(parser)
    options = parser.parse_args()
    try:
        mnist = load_mnist(options.data)
        document = run(mnist, Runs(None), QUICK) if options.quick else run(mnist, Runs(options.scratch))
    except RondoError as error:
        print_error(error)
        return error.exit_code
    if options.quick:
        print(json.dumps(document, indent=1))
        return 0
    print(table(document))
    write_results("fedavg", document)
    (RESULTS / "fedavg.md").write_text(table(document))
    return 0 if all(limit["holds"] for limit in document["limits"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
