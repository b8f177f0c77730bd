"""Accuracy under attack of every merge rule, on scikit-learn's digits: ``make bench-attacks``.

    python -m benchmarks.attacks            # some minutes; writes benchmarks/results/attacks.json and attacks.md
    python -m benchmarks.attacks --quick    # two rounds of two rules and two attacks; writes nothing

Ten clients, ten rounds; everything but the training itself is what runs in a federation: artifacts, screening, merge,
verdicts (`processor.round.derive_round`). What each key means is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks import mlp
from benchmarks.attackers import ATTACKS, Scene
from benchmarks.learners import (
    Assignment,
    Learner,
    first_model,
    learners,
    pull_of,
    round_id_of,
    seed_for,
    train_locally,
    weights_of,
)
from benchmarks.machine import machine_facts
from benchmarks.results import RESULTS, lower_limit, today, write_results
from client.data import Dataset
from processor.facts import RoundFacts
from processor.round import Derivation, derive_round
from protocol.merge_terms import MergeRule, ServerStep
from protocol.model import Model, decode_weights, model_contents
from protocol.past import Past
from protocol.replay import UpdateState
from protocol.server_state import decode_state
from protocol.task import Task, Training
from protocol.terms import RoundTerms
from protocol.types import Address, Digest, FederationId, Hash, RoundId
from protocol.unixfs import directory_digest
from protocol.update import encode_update

CLIENTS, ROUNDS, SEEDS = 10, 10, (1, 2, 3)
ATTACKERS = (1, 3)  # of ten clients: 10 % and 30 %
SIZES = (64, 32, 10)
TEST_SHARE = 5  # every fifth digit tests
CAP = 200  # examples that count; an honest client has 143 or 144
MOST_LOST = 0.05  # accuracy that a robust rule may lose to 10 % attackers, against no attackers under the same rule
NOBODY = "none"

# Three of ten may be hostile; Bulyan needs 4 f + 3 updates, so of ten it can bear one.
RULES: Mapping[str, MergeRule] = {
    "fedavg": MergeRule("fedavg"),
    "fedavg, norms bounded": MergeRule("fedavg", bound="median"),
    "fisher-weighted": MergeRule("fisher-weighted"),
    "fedcurv": MergeRule("fedcurv"),
    "median": MergeRule("median"),
    "trimmed-mean (3)": MergeRule("trimmed-mean", trim=3),
    "krum (3)": MergeRule("krum", byzantine=3),
    "multi-krum (3)": MergeRule("multi-krum", byzantine=3),
    "bulyan (1)": MergeRule("bulyan", byzantine=1),
    "median, norms bounded": MergeRule("median", bound="median"),
}
ROBUST = ("median", "trimmed-mean (3)", "multi-krum (3)", "median, norms bounded")
ADAM = ServerStep("adam", rate=Fraction(1, 50))

FEDERATION = FederationId(bytes(31) + b"\x01")
CONTRACT = Address("0x" + "00" * 19 + "01")


@dataclass(frozen=True)
class Played:
    """One federation's ten rounds: accuracy after the last, and what became of the attackers' updates in all rounds."""

    accuracy: float
    refused: Mapping[str, int]
    merged: int
    stalled: int


def task_of(rule: MergeRule, server: ServerStep = ServerStep()) -> Task:  # noqa: B008 - frozen
    """Return the task of one federation."""
    merge = replace(rule, examples_cap=CAP)
    training = Training(learning_rate=Fraction(1, 5), batch_size=16, epochs=3)
    return Task("digits under attack", merge=merge, server=server, training=training)


def digits(seed: int) -> tuple[list[Dataset], Dataset]:
    """Return the ten clients' shares, drawn by ``seed``, and the test set."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    every = Dataset((pixels / 16).astype(np.float32), labels.astype(np.int64))
    rows = np.arange(len(every))
    testing = rows % TEST_SHARE == 0
    dealt = np.random.default_rng(seed).permutation(rows[~testing])
    return [every.take(np.sort(part)) for part in np.array_split(dealt, CLIENTS)], every.take(rows[testing])


def play(task: Task, attack: str, attackers: int, seed: int, rounds: int = ROUNDS) -> Played:
    """Play a federation whose last ``attackers`` clients attack in every round."""
    shares, test = digits(seed)
    people = learners(shares)
    model, past, anchor = first_model(SIZES, seed), Past(), None
    refused: dict[str, int] = {}
    merged = stalled = 0
    for index in range(1, rounds + 1):
        derivation = _round(model, past, pull_of(model, anchor, task), task, people, attack, attackers, index, seed)
        hostile = {learner.account for learner in people[CLIENTS - attackers :]}
        for verdict in derivation.derived.updates:
            if verdict.client in hostile:
                merged += verdict.weight > 0
                if verdict.rule:
                    refused[verdict.rule] = refused.get(verdict.rule, 0) + 1
        stalled += derivation.model is None
        model = derivation.model or model
        past = _past_of(derivation, model, task) if derivation.model else past
        for file in derivation.anchors:
            anchor = decode_weights(file, model.specs)
    weights = weights_of(model)
    return Played(
        mlp.count_correct(weights, np.asarray(test.x, np.float32), test.y) / len(test), refused, merged, stalled
    )


def _round(
    base: Model,
    past: Past,
    pull: mlp.Pull | None,
    task: Task,
    people: Sequence[Learner],
    attack: str,
    attackers: int,
    index: int,
    seed: int,
) -> Derivation:
    """Train, attack, and derive one round."""
    round_id, digest = round_id_of(f"attacks {seed}", index), directory_digest(model_contents(base))
    kind = Assignment(pull, "at_reached" if task.needs_importance(consolidate=False) else "none")
    honest = []
    for learner in people:
        trained = train_locally(base, task, learner.data, seed_for(round_id, learner), kind)
        update = learner.update(base, task, trained, round_id, index)
        honest.append(replace(update, base=digest, federation=FEDERATION))
    loyal = CLIENTS - attackers
    posted: list[Mapping[str, bytes]] = [encode_update(update) for update in honest[:loyal]]
    if attackers:
        scene = Scene(base, task, people[loyal:], honest[loyal:], honest[0], seed * 1000 + index)
        posted += ATTACKS[attack](scene)
    files = {directory_digest(each): each for each in posted}
    states = [
        UpdateState(update.author, place, 1000, number)
        for number, (update, place) in enumerate(zip(honest, map(directory_digest, posted), strict=True))
    ]
    return derive_round(_facts(round_id, digest, index, states), task, base, files.__getitem__, frozenset(), past)


def _past_of(derivation: Derivation, model: Model, task: Task) -> Past:
    """Return what the next round goes on from: the state of the server's step, where there is one."""
    for files in derivation.artifacts:
        if directory_digest(files) == model.server_state:
            return Past(moments=decode_state(files, task.server, model))
    return Past()


def _facts(round_id: RoundId, base: Digest, index: int, states: Sequence[UpdateState]) -> RoundFacts:
    terms = RoundTerms(1, 10_000, 10_000, CLIENTS, 600, 600, 600, 0, 0, False)
    return RoundFacts(31337, CONTRACT, FEDERATION, round_id, index, base, Hash(bytes(32)), terms, tuple(states))


def measure(tasks: Mapping[str, Task], attacks: Sequence[str], seeds: Sequence[int], rounds: int) -> dict[str, Any]:
    """Play every rule under every attack; return the accuracies by rule, attack and number of attackers."""
    found: dict[str, Any] = {}
    for rule, task in tasks.items():
        found[rule] = {NOBODY: {"0": _mean([play(task, NOBODY, 0, seed, rounds) for seed in seeds])}}
        for attack in attacks:
            found[rule][attack] = {
                str(count): _mean([play(task, attack, count, seed, rounds) for seed in seeds]) for count in ATTACKERS
            }
        print(rule, file=sys.stderr, flush=True)
    return found


def _mean(played: Sequence[Played]) -> dict[str, Any]:
    rules = {rule for one in played for rule in one.refused}
    return {
        "accuracy": round(fmean(one.accuracy for one in played), 4),
        "seeds": [round(one.accuracy, 4) for one in played],
        "hostile_updates_merged": sum(one.merged for one in played),
        "hostile_updates_refused": {rule: sum(one.refused.get(rule, 0) for one in played) for rule in sorted(rules)},
        "rounds_without_merge": sum(one.stalled for one in played),
    }


def limits(accuracy: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must hold: against 10 % attackers no robust rule loses more than `MOST_LOST` to any attack."""
    worst = {
        rule: min(each["1"]["accuracy"] for attack, each in accuracy[rule].items() if attack != NOBODY)
        for rule in ROBUST
    }
    return {
        f"{rule}: worst of all attacks by 10 %": lower_limit(
            round(accuracy[rule][NOBODY]["0"]["accuracy"] - MOST_LOST, 4), worst[rule]
        )
        for rule in ROBUST
    }


def table(document: Mapping[str, Any]) -> str:
    """Return the accuracies as a Markdown table: a row for each attack and number of attackers, a column for each rule."""
    accuracy = document["accuracy"]
    rules = list(accuracy)
    lines = [
        f"Accuracy on digits after {ROUNDS} rounds, mean of {len(SEEDS)} seeds; in brackets the updates of attackers that "
        "were merged, of all they posted.",
        "",
        f"| attack | attackers | {' | '.join(rules)} |",
        f"|---|---|{'---|' * len(rules)}",
        f"| none | 0 % | {' | '.join(format(accuracy[rule][NOBODY]['0']['accuracy'], '.3f') for rule in rules)} |",
    ]
    for attack in ATTACKS:
        for count in ATTACKERS:
            cells = []
            for rule in rules:
                cell = accuracy[rule][attack][str(count)]
                share = cell["hostile_updates_merged"] / (count * ROUNDS * len(SEEDS))
                cells.append(f"{cell['accuracy']:.3f} ({share:.0%})")
            lines.append(f"| {attack} | {count * 100 // CLIENTS} % | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print, and write the results unless ``--quick``."""
    parser = argparse.ArgumentParser(description="Accuracy under attack of every merge rule.")
    parser.add_argument("--quick", action="store_true", help="two rounds of two rules and attacks; write nothing")
    options = parser.parse_args()
    if options.quick:
        quick = {rule: task_of(RULES[rule]) for rule in ("fedavg", "median")}
        print(json.dumps(measure(quick, ["nan", "scaled"], SEEDS[:1], rounds=2), indent=1))
        return 0
    tasks = {rule: task_of(terms) for rule, terms in RULES.items()}
    tasks["fedavg, server adam"] = task_of(RULES["fedavg"], ADAM)
    accuracy = measure(tasks, list(ATTACKS), SEEDS, ROUNDS)
    document: dict[str, Any] = {
        "what": "accuracy under attack of every merge rule, scikit-learn's digits",
        "date": today(),
        "conditions": {"clients": CLIENTS, "rounds": ROUNDS, "seeds": list(SEEDS), "network": list(SIZES), "cap": CAP},
        "machine": machine_facts("numpy", "scikit-learn"),
        "accuracy": accuracy,
        "limits": limits(accuracy),
    }
    write_results("attacks", document)
    (RESULTS / "attacks.md").write_text(table(document))
    print(table(document))
    return 0 if all(limit["holds"] for limit in document["limits"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
