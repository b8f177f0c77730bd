"""What is forgotten when one task follows another, with and without consolidation: ``make bench-forgetting``.

    python -m benchmarks.forgetting            # about an hour; writes results/forgetting.json and .md
    python -m benchmarks.forgetting --quick    # two tiny tasks; writes nothing

Every method runs through the real integers: int16 updates with error feedback, u8 importance, the processor's merge and
consolidation. Runs are kept in ``--scratch`` as they end, so that a stopped benchmark goes on where it was. The exit code is
1 where a limit is broken, 66 where there is no MNIST. What each key means is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

from benchmarks.machine import machine_facts
from benchmarks.mnist import Mnist, add_data_option, load_mnist
from benchmarks.results import RESULTS, lower_limit, today, write_results
from benchmarks.runs import Record, Runs, say
from benchmarks.sequences import Setting, mean_after, play
from network.console import print_error
from protocol.errors import RondoError

SEEDS, SWEEP_SEED = (1, 2, 3), 100
SEEDS_OF = dict.fromkeys(("ewc_moving_base", "fisher_merge"), (1,))  # others: all three
LEAST = {3: 0.92, 5: 0.90}  # mean accuracy over so many tasks, after the last of them
OURS = "rondo"
TITLES = {
    "fedavg": "FedAvg alone",
    "l2": "L2 to the task's end",
    "fedcurv": "FedCurv",
    "ewc_moving_base": "EWC anchored at the moving base",
    "fisher_merge": "Fisher-weighted merging",
    "rondo": "EWC as Rondo has it",
}

# What each method's own sweep tries, on the sweep's seed: the penalty's strength, or the floor of the merge's weights.
SWEEPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "fedavg": ("strength", ("0",)),
    "l2": ("strength", ("1/1000", "1/300", "1/100")),
    "fedcurv": ("strength", ("1/1000", "1/100", "1/30")),
    "ewc_moving_base": ("strength", ("1/10", "1/3", "1")),
    "fisher_merge": ("floor", ("1",)),  # the task's default
    "rondo": ("strength", ("1/300", "1/100", "1/30", "1/10")),
}
SWEEP_TASKS = {"fedcurv": 3}  # others are swept over all five

# What else could be chosen for ours, at a strength of its own, on the sweep's seed.
VARIANTS: tuple[dict[str, str | int], ...] = (
    {"decay": "1", "strength": "1/300"},
    {"decay": "1", "strength": "1/100"},
    {"decay": "1", "strength": "1/30"},
)

# Milder training, in which less is forgotten: three tasks, one seed, the strengths given.
MILD: dict[str, tuple[dict[str, str], str]] = {
    "sgd_0.1": ({"rate": "1/10"}, "1/100"),
    "adam_0.001": ({"optimizer": "adam", "rate": "1/1000"}, "1"),
}
MILD_TASKS, MILD_SEED = 3, 1

DIGITS = Setting(
    "fedavg",
    SWEEP_SEED,
    data="split_digits",
    tasks=2,
    clients=5,
    examples=0,
    hidden=64,
    rate="1/2",
    batch=16,
    importance_examples=1024,
    test_examples=0,
)
DIGITS_STRENGTHS = ("1/1000", "1/100", "1/10", "1")


def best_of(runs: Runs, mnist: Mnist | None, setting: Setting, field: str, values: Sequence[str]) -> Record:
    """Play ``setting`` with each of ``values`` in ``field``; return their means after the last task, and the best."""
    if len(values) == 1:
        return {"field": field, "mean": {}, "chosen": values[0]}
    means = {}
    for value in values:
        one = replace(setting, **{field: value})  # type: ignore[arg-type]
        means[value] = mean_after(runs.record(one.json(), partial(play, one, mnist)), setting.tasks)
        say(f"sweep {setting.data} {setting.optimizer} {setting.rate} {setting.method} {field} {value}: {means[value]}")
    return {"field": field, "mean": means, "chosen": max(means, key=lambda value: means[value])}


def sweep(runs: Runs, mnist: Mnist) -> Record:
    """Return each method's own sweep on the sweep's seed."""
    found = {}
    for method, (field, values) in SWEEPS.items():
        setting = Setting(method, SWEEP_SEED, tasks=SWEEP_TASKS.get(method, 5))
        found[method] = best_of(runs, mnist, setting, field, values)
    return found


def variants(runs: Runs, mnist: Mnist, chosen: str) -> list[Record]:
    """Return what other settings do to ours: what is changed, and the means over three and over all tasks."""
    found = []
    for changes in ({}, *VARIANTS):
        setting = replace(Setting(OURS, SWEEP_SEED), **{"strength": chosen, **changes})  # type: ignore[arg-type]
        record = runs.record(setting.json(), partial(play, setting, mnist))
        found.append({"changes": changes, "three": mean_after(record, 3), "five": mean_after(record, 5)})
        say(f"variant {found[-1]}")
    return found


def main_runs(runs: Runs, mnist: Mnist, sweeps: Record) -> Record:
    """Return every method's accuracies on its seeds, each with the strength of its own sweep."""
    found: Record = {}
    for method, swept in sweeps.items():
        seeds: Record = {}
        for seed in SEEDS_OF.get(method, SEEDS):
            setting = replace(Setting(method, seed), **{swept["field"]: swept["chosen"]})
            record = runs.record(setting.json(), partial(play, setting, mnist))
            seeds[str(seed)] = {"after": record["after"], "curve": record["curve"], "seconds": record["seconds"]}
            say(f"seed {seed} {method}: {record['after'][-1]}")
        found[method] = {"seeds": seeds}
        for name, tasks in (("three", 3), ("five", 5)):
            means = [mean_after(record, tasks) for record in seeds.values()]
            found[method][name] = {"mean": round(fmean(means), 4), "min": min(means), "max": max(means)}
    return found


def mild_runs(runs: Runs, mnist: Mnist) -> Record:
    """Return FedAvg and ours where training is milder."""
    found: Record = {}
    for name, (changes, strength) in MILD.items():
        found[name] = {}
        for method in ("fedavg", OURS):
            setting = replace(Setting(method, MILD_SEED, tasks=MILD_TASKS), **changes)  # type: ignore[arg-type]
            if method == OURS:
                setting = replace(setting, strength=strength)
            record = runs.record(setting.json(), partial(play, setting, mnist))
            mean = mean_after(record, MILD_TASKS)
            found[name][method] = {"strength": setting.strength, "after": record["after"], "mean": mean}
            say(f"mild {name} {method}: {mean}")
    return found


def digits_runs(runs: Runs) -> Record:
    """Return the label-split digits: with masked logits, and with a single head, as the known limit."""
    found: Record = {}
    for name, masked in (("masked_logits", True), ("single_head", False)):
        found[name] = {}
        for method in ("fedavg", "l2", OURS):
            setting = replace(DIGITS, method=method, masked=masked)
            swept = best_of(runs, None, setting, "strength", ("0",) if method == "fedavg" else DIGITS_STRENGTHS)
            finals = [replace(setting, seed=seed, strength=swept["chosen"]) for seed in SEEDS]
            records = [runs.record(each.json(), partial(play, each, None)) for each in finals]
            found[name][method] = {
                "sweep": swept,
                "after": {str(seed): record["after"] for seed, record in zip(SEEDS, records, strict=True)},
                "mean": round(fmean(mean_after(record, 2) for record in records), 4),
            }
            say(f"digits {name} {method}: {found[name][method]['mean']}")
    return found


def run(mnist: Mnist, runs: Runs) -> Record:
    """Play everything; return the document of results."""
    digits = digits_runs(runs)
    sweeps = sweep(runs, mnist)
    permuted = main_runs(runs, mnist, sweeps)
    return {
        "what": "accuracy on every task of a sequence, through int16 updates and u8 importance, with several methods",
        "date": today(),
        "conditions": conditions(),
        "sweep": sweeps,
        "permuted_mnist": permuted,
        "variants": variants(runs, mnist, sweeps[OURS]["chosen"]),
        "mild": mild_runs(runs, mnist),
        "split_digits": digits,
        "limits": limits(permuted),
        "seconds": round(runs.seconds),
        "machine": machine_facts("numpy", "scipy", "scikit-learn"),
    }


def limits(permuted: Record) -> Record:
    """Return the limits: ours, the mean over tasks and seeds."""
    return {
        "three_tasks": lower_limit(LEAST[3], permuted[OURS]["three"]["mean"]),
        "five_tasks": lower_limit(LEAST[5], permuted[OURS]["five"]["mean"]),
    }


def conditions() -> Record:
    """Return how everything was measured."""
    setting = Setting(OURS, 0)
    return {
        "data": "MNIST, each task with its own permutation of the pixels (the first with none) and its own 12,000 training "
        "examples, dealt IID to 10 clients; all 10,000 test images under every permutation",
        "network": "784-100-10, rectified linear; digits: 64-64-10",
        "training": f"SGD {setting.rate}, E={setting.epochs}, B={setting.batch}, {setting.rounds} rounds a task",
        "path": "client.quantise to int16 with error feedback, u8 importance, processor merge and consolidation; the first "
        "round of each run also encoded, named, decoded and checked, with the same mantissas, or the run stops",
        "strength": "of each method by its own sweep on the sweep's seed, over five tasks (FedCurv: three): the best "
        "mean after the last; the floor of Fisher-weighted merging and the strengths in mild training as stated, not swept",
        "ours": "importance of each task's last round, measured at its base, which becomes the anchor; median; decay 9/10",
        "l2": "as ours, with the same importance for every coordinate",
        "ewc_moving_base": "importance as ours, but the penalty pulls to each round's own base",
        "seeds": {method: list(SEEDS_OF.get(method, SEEDS)) for method in SWEEPS},
        "sweep_seed": SWEEP_SEED,
    }


def table(document: Record) -> str:
    """Return the results as Markdown tables."""
    lines = [
        "Accuracy on permuted MNIST after the last task: mean over tasks and seeds (least and most of a seed).",
        "",
        "| method | set by its sweep | seeds | three tasks | five tasks | each of the five |",
        "|---|---|---|---|---|---|",
    ]
    for method, result in document["permuted_mnist"].items():
        swept = document["sweep"][method]
        setting = "" if swept["chosen"] == "0" else f"{swept['field']} {swept['chosen']}"
        spans = [f"{one['mean']:.3f} ({one['min']:.3f}–{one['max']:.3f})" for one in (result["three"], result["five"])]
        finals = [record["after"][-1] for record in result["seeds"].values()]
        each = " ".join(f"{fmean(values):.3f}" for values in zip(*finals, strict=True))
        lines.append(f"| {' | '.join([TITLES[method], setting, str(len(finals)), *spans, each])} |")
    lines += ["", "| elsewhere | FedAvg alone | L2 to the task's end | EWC as Rondo has it |", "|---|---|---|---|"]
    others = {f"three permuted tasks, {name.replace('_', ' ')}": each for name, each in document["mild"].items()}
    others |= {f"digits 0–4, then 5–9, {name.replace('_', ' ')}": one for name, one in document["split_digits"].items()}
    for name, results in others.items():
        figures = [f"{results[method]['mean']:.3f}" if method in results else "" for method in ("fedavg", "l2", OURS)]
        lines.append(f"| {' | '.join([name, *figures])} |")
    return "\n".join(lines) + "\n"


def quick(mnist: Mnist) -> Record:
    """Play two tiny tasks with every method."""
    small = {"tasks": 2, "rounds": 2, "clients": 3, "examples": 200, "hidden": 16, "test_examples": 500}
    found = {}
    for method, (field, values) in SWEEPS.items():
        setting = replace(Setting(method, SWEEP_SEED), **small, **{field: values[-1]})  # type: ignore[arg-type]
        found[method] = play(setting, mnist)["after"]
    return found


def main() -> int:
    """Measure, print, and write the results unless ``--quick``."""
    parser = argparse.ArgumentParser(description="What is forgotten when one task follows another.")
    parser.add_argument("--quick", action="store_true", help="two tiny tasks; write nothing")
    parser.add_argument("--scratch", type=Path, default=Path("build/benchmarks/forgetting"), help="where runs are kept")
    add_data_option(parser)
    options = parser.parse_args()
    try:
        mnist = load_mnist(options.data)
        if options.quick:
            print(json.dumps(quick(mnist), indent=1))
            return 0
        document = run(mnist, Runs(options.scratch))
    except RondoError as error:
        print_error(error)
        return error.exit_code
    print(table(document))
    write_results("forgetting", document)
    (RESULTS / "forgetting.md").write_text(table(document))
    return 0 if all(limit["holds"] for limit in document["limits"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
