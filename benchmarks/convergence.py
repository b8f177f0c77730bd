"""One run of federated averaging on MNIST, by the real integers or in plain float32, and how two curves compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Any, Literal

import numpy as np

from benchmarks import mlp
from benchmarks.learners import Assignment, first_model, learners, round_id_of, seed_for, train_weights, weights_of
from benchmarks.methods import METHODS, Campaign
from benchmarks.mnist import Mnist, deal_iid, deal_shards
from benchmarks.runs import Record
from protocol.task import Task, Training

TARGET = 0.97
SHARDS = 2  # of one label each, for every client of the non-IID split
Split = Literal["iid", "non_iid"]


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
    split: Split
    share: str
    rate: str
    most_rounds: int
    seed: int = 1
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
