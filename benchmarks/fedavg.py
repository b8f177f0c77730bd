"""Rounds to 97 % on MNIST, as McMahan et al. (AISTATS 2017), table 1, 2NN: through int16, and in plain float32 beside it.

    python -m benchmarks.fedavg            # the better part of an hour; writes results/fedavg.json, .md and, later, .svg
    python -m benchmarks.fedavg --quick    # a few rounds of a few clients; writes nothing

Runs are kept in ``--scratch`` as they end, so that a stopped benchmark goes on where it was. The exit code is 1 where a
limit is broken, 66 where there is no MNIST. What each key means is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks import mlp
from benchmarks.learners import Assignment, first_model, learners, round_id_of, seed_for, train_weights, weights_of
from benchmarks.machine import machine_facts
from benchmarks.methods import METHODS, Campaign
from benchmarks.mnist import Mnist, add_data_option, deal_iid, deal_shards, load_mnist
from benchmarks.results import RESULTS, lower_limit, today, write_results
from benchmarks.runs import Record, Runs, say
from network.console import print_error
from protocol.errors import RondoError
from protocol.task import Task, Training

TARGET = 0.97
SHARDS = 2  # of one label each, for every client of the non-IID split
LEAST_RATIO = 0.85  # of the rounds to 97 % by the two paths, the fewer over the more
LEAST_AGREEMENT = 0.99  # 1 - the mean gap between the best-so-far curves of runs that are stopped earlier
SEED, SWEEP_SEED, SWEEP_ROUNDS = 1, 100, 60
PAPER = {"iid_0.1": 87, "iid_1.0": 70, "non_iid_0.1": 664, "non_iid_1.0": 380}
RATES = {"iid": ("1/20", "1/10", "1/5", "3/10"), "non_iid": ("1/50", "1/20", "1/10")}


@dataclass(frozen=True)
class Setting:
    """Everything that decides one run.

    Args:
        path: "int16" is the real one; "float32" averages float32 weights that never saw a grid after the first.
        share: C, the clients of a round over all clients.
        rate: SGD's, a rational as a task spells it.
        most_rounds: The run ends here, or before where ``until`` is reached.
    """

    path: Literal["int16", "float32"]
    split: Literal["iid", "non_iid"]
    share: str
    rate: str
    most_rounds: int
    seed: int = SEED
    until: float = TARGET
    clients: int = 100
    examples: int = 600
    hidden: int = 200
    batch: int = 10
    epochs: int = 1
    test_examples: int = 10_000

    def task(self) -> Task:
        """Return the terms under which the federation trains."""
        training = Training(learning_rate=Fraction(self.rate), batch_size=self.batch, epochs=self.epochs)
        return Task("fedavg", training=training)

    @property
    def name(self) -> str:
        """Of the run's rounds, from which seeds come: the same for both paths, so that they see the same batches."""
        return f"{self.split} {self.share} {self.seed}"


class FloatCampaign:
    """FedAvg in float32: what `benchmarks.methods.Campaign` does, without grids and integers."""

    def __init__(self, setting: Setting, campaign: Campaign) -> None:
        self._name, self._task, self._learners = setting.name, setting.task(), campaign.learners
        self._weights = weights_of(campaign.model)
        self._index = 0

    def play_round(self, takers: Sequence[int]) -> None:
        """Train one round with the learners numbered ``takers`` and take the mean, weighted by examples."""
        self._index += 1
        round_id = round_id_of(self._name, self._index)
        sums, total = [np.zeros_like(each) for each in self._weights], 0
        for taker in takers:
            learner, weights = self._learners[taker], [each.copy() for each in self._weights]
            seed = seed_for(round_id, learner)
            _, examples, _ = train_weights(weights, self._task, learner.data, seed, Assignment())
            total += examples
            for one, weight in zip(sums, weights, strict=True):
                np.add(one, weight * np.float32(examples), out=one)
        self._weights = [one / np.float32(total) for one in sums]

    def accuracy(self, x: mlp.Floats, y: Any) -> float:
        """Return the share of examples that the model labels right."""
        return mlp.count_correct(self._weights, x, y) / len(y)


def play(setting: Setting, mnist: Mnist) -> Record:
    """Play until the target or the last round; return test accuracy after each round."""
    generator = np.random.default_rng(setting.seed)
    data = mnist.train.take(np.arange(setting.clients * setting.examples))
    deal = deal_iid(data, setting.clients, generator) if setting.split == "iid" else _shards(setting, mnist, generator)
    model = first_model((data.x.shape[1], setting.hidden, setting.hidden, 10), setting.seed)
    real = Campaign(setting.name, setting.task(), model, learners(deal), METHODS["fedavg"])
    campaign = real if setting.path == "int16" else FloatCampaign(setting, real)
    many = max(1, round(Fraction(setting.share) * setting.clients))
    test = mnist.test.take(np.arange(setting.test_examples))
    x = np.asarray(test.x, np.float32)
    curve: list[float] = []
    while len(curve) < setting.most_rounds and max(curve, default=0.0) < setting.until:
        campaign.play_round(sorted(generator.choice(setting.clients, many, replace=False).tolist()))
        curve.append(campaign.accuracy(x, test.y))
    return {"curve": curve}


def _shards(setting: Setting, mnist: Mnist, generator: np.random.Generator) -> list[Any]:
    return deal_shards(
        mnist.train.take(np.arange(setting.clients * setting.examples)), setting.clients, SHARDS, generator
    )


def best_so_far(curve: Sequence[float]) -> list[float]:
    """Return the curve made monotone, as the paper does: the best value at or before each round."""
    return list(accumulate(curve, max))


def rounds_to(curve: Sequence[float], target: float) -> float | None:
    """Return where the monotone curve crosses ``target``, linear between rounds (section 3 of the paper), or None."""
    best = [0.0, *best_so_far(curve)]
    for index in range(1, len(best)):
        if best[index] >= target:
            return round(index - 1 + (target - best[index - 1]) / (best[index] - best[index - 1]), 2)
    return None


def gaps(first: Sequence[float], second: Sequence[float]) -> dict[str, float]:
    """Return the largest and the mean distance of two curves, as they are and as best so far, where both have rounds."""
    length = min(len(first), len(second))
    found = {}
    for name, one, other in (
        ("raw", first, second),
        ("best", best_so_far(first), best_so_far(second)),
    ):
        distances = np.abs(np.asarray(one[:length]) - np.asarray(other[:length]))
        found[f"largest_{name}"] = round(float(distances.max()), 4)
        found[f"mean_{name}"] = round(float(distances.mean()), 4)
    return found


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


def sweep_rates(runs: Runs, mnist: Mnist, split: Literal["iid", "non_iid"], rounds: int) -> Record:
    """Return for each rate how far plain float32 came with C = 0.1 on the sweep's seed, and the rate that is best.

    The best is the one with the largest mean of its best-so-far curve over ``rounds`` rounds.
    """
    found: Record = {}
    for rate in RATES[split]:
        setting = Setting("float32", split, "0.1", rate, rounds, seed=SWEEP_SEED, until=1.0)
        curve = runs.record(asdict(setting), partial(play, setting, mnist))["curve"]
        found[rate] = {
            "mean_best_so_far": round(float(np.mean(best_so_far(curve))), 4),
            "rounds": rounds_to(curve, TARGET),
        }
        say(f"sweep {split} {rate}: {found[rate]}")
    return {
        "rates": found,
        "rounds_played": rounds,
        "chosen": max(found, key=lambda rate: found[rate]["mean_best_so_far"]),
    }


def run(mnist: Mnist, runs: Runs, quick: bool = False) -> Record:
    """Play every row of the table; return the document of results."""
    splits: tuple[Literal["iid", "non_iid"], ...] = ("iid", "non_iid")
    most = {"iid": 200, "non_iid": 200}
    sweeps = {split: sweep_rates(runs, mnist, split, 2 if quick else SWEEP_ROUNDS) for split in splits}
    rows: Record = {}
    for split in splits:
        for share in ("0.1",) if quick else ("0.1", "1.0"):
            setting = Setting("int16", split, share, sweeps[split]["chosen"], 3 if quick else most[split])
            int16, float32 = (
                runs.record(asdict(each), partial(play, each, mnist))
                for each in (setting, replace(setting, path="float32"))
            )
            rows[f"{split}_{share}"] = compare(int16, float32, PAPER[f"{split}_{share}"])
            say(f"{split} {share}: {rows[f'{split}_{share}']['rounds']} {rows[f'{split}_{share}']['gaps']}")
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
        split, share = name.rsplit("_", 1)
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
        "training": "SGD, E=1, B=10, no momentum; the rate by the sweep on another seed, in float32, with C=0.1, for both C",
        "int16": "client.quantise with error feedback as the client keeps it; processor merge; the model on its int32 grid",
        "float32": "the same first model, clients, batches and seeds; float32 weights and float32 mean",
        "accuracy": "all 10,000 test images after every round; rounds to a value on the monotone curve, linear between rounds",
        "first_round": "encoded, named, decoded, checked and merged: the same mantissas as in memory, or the run stops",
        "seed": SEED,
        "sweep_seed": SWEEP_SEED,
        "stopped": "where 97 % is reached, or after 200 rounds",
    }


def main() -> int:
    """Measure, print, and write the results unless ``--quick``."""
    parser = argparse.ArgumentParser(description="Rounds to 97 % on MNIST, through int16 and in float32.")
    parser.add_argument("--quick", action="store_true", help="a few rounds; write nothing")
    parser.add_argument("--scratch", type=Path, default=Path("build/benchmarks/fedavg"), help="where runs are kept")
    add_data_option(parser)
    options = parser.parse_args()
    try:
        document = run(load_mnist(options.data), Runs(None if options.quick else options.scratch), options.quick)
    except RondoError as error:
        print_error(error)
        return error.exit_code
    print(table(document) if not options.quick else json.dumps(document, indent=1))
    if options.quick:
        return 0
    write_results("fedavg", document)
    (RESULTS / "fedavg.md").write_text(table(document))
    return 0 if all(limit["holds"] for limit in document["limits"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
