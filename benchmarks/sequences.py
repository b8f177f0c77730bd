"""One task after another: what is played, with which setting, and how well every task is still known at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal, cast

import numpy as np

from benchmarks import mlp
from benchmarks.digits import CLASSES, allowed_classes, load_label_tasks
from benchmarks.learners import first_model, learners
from benchmarks.methods import METHODS, Campaign
from benchmarks.mnist import Mnist, deal_iid, permute_pixels
from client.data import Dataset
from protocol.task import Consolidation, MergeRule, Task, Training


@dataclass(frozen=True)
class Setting:
    """Everything that decides one sequence. Rationals are strings, as a task spells them.

    Args:
        method: A key of `benchmarks.methods.METHODS`.
        seed: Of the first weights, the permutations, the split and every client's training.
        strength, decay, combine, trim, importance_examples: As `protocol.task.Consolidation`.
        consolidations: How many of each task's last rounds consolidate.
        floor: Of Fisher-weighted merging.
        hidden: Units of the hidden layer.
        sizes: Train on this many examples a client; 0 is all there are.
        masked: Only the task's own logits take part, in training and in testing.
        measured_every: Rounds between two points of the curve.
    """

    method: str
    seed: int
    data: Literal["permuted_mnist", "split_digits"] = "permuted_mnist"
    tasks: int = 5
    rounds: int = 25
    clients: int = 10
    examples: int = 1200
    hidden: int = 100
    optimizer: str = "sgd"
    rate: str = "7/10"
    epochs: int = 2
    batch: int = 50
    strength: str = "0"
    decay: str = "9/10"
    combine: str = "median"
    trim: int = 0
    importance_examples: int = 256
    consolidations: int = 1
    floor: str = "1/10"
    masked: bool = False
    test_examples: int = 10_000
    measured_every: int = 5

    def json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)

    def task(self) -> Task:
        """Return the terms under which the federation trains."""
        return Task(
            "forgetting",
            merge=MergeRule(fisher_floor=Fraction(self.floor)),
            training=Training(
                optimizer=cast("Literal['sgd', 'adam']", self.optimizer),
                learning_rate=Fraction(self.rate),
                batch_size=self.batch,
                epochs=self.epochs,
            ),
            consolidation=Consolidation(
                strength=Fraction(self.strength),
                decay=Fraction(self.decay),
                combine=cast("Literal['median', 'trimmed_mean']", self.combine),
                trim=self.trim,
                examples=self.importance_examples,
            ),
        )


@dataclass(frozen=True)
class Stage:
    """One task of a sequence: each client's examples, the test's, and the logits that take part."""

    shares: Sequence[Dataset]
    test: Dataset
    allowed: mlp.Allowed


def stages_of(setting: Setting, mnist: Mnist | None) -> list[Stage]:
    """Return the tasks of ``setting``, one after another; ``mnist`` is needed for permuted MNIST."""
    generator = np.random.default_rng(setting.seed)
    if setting.data == "split_digits":
        return _digits(setting, generator)
    assert mnist is not None
    return _permuted(setting, mnist, generator)


def play(setting: Setting, mnist: Mnist | None) -> dict[str, Any]:
    """Play the sequence.

    Returns:
        ``after``: accuracy on each task so far after each task; ``curve``: [round, accuracies on the tasks so far].
    """
    stages = stages_of(setting, mnist)
    pixels = stages[0].test.x.shape[1]
    model = first_model((pixels, setting.hidden, CLASSES), setting.seed)
    name = f"{setting.data} {setting.seed}"  # not the method: all see the same batches
    people = learners([stages[0].shares[0]] * setting.clients)
    campaign = Campaign(name, setting.task(), model, people, METHODS[setting.method])
    after: list[list[float]] = []
    curve: list[tuple[int, list[float]]] = []
    for number, stage in enumerate(stages):
        for person, share in zip(people, stage.shares, strict=True):
            person.data = share
        for turn in range(1, setting.rounds + 1):
            campaign.play_round(range(setting.clients), turn > setting.rounds - setting.consolidations, stage.allowed)
            if turn % setting.measured_every == 0 or turn == setting.rounds:
                curve.append((campaign.index, _accuracies(campaign, stages[: number + 1])))
        after.append(curve[-1][1])
    return {"after": after, "curve": curve}


def mean_after(record: dict[str, Any], tasks: int) -> float:
    """Return the mean accuracy over the first ``tasks`` tasks, right after the last of them."""
    accuracies: list[float] = record["after"][tasks - 1]
    return round(sum(accuracies) / len(accuracies), 4)


def _accuracies(campaign: Campaign, stages: Sequence[Stage]) -> list[float]:
    return [
        round(campaign.accuracy(np.asarray(stage.test.x, np.float32), stage.test.y, stage.allowed), 4)
        for stage in stages
    ]


def _permuted(setting: Setting, mnist: Mnist, generator: np.random.Generator) -> list[Stage]:
    """Permuted MNIST: the first task's pixels lie as they are; no two tasks share a training example."""
    pixels = mnist.train.x.shape[1]
    orders = [None, *(generator.permutation(pixels) for _ in range(setting.tasks - 1))]
    rows = generator.permutation(len(mnist.train))
    test = mnist.test.take(np.arange(setting.test_examples))
    each = setting.clients * setting.examples
    stages = []
    for number, order in enumerate(orders):
        own = permute_pixels(mnist.train.take(np.sort(rows[number * each : (number + 1) * each])), order)
        stages.append(Stage(deal_iid(own, setting.clients, generator), permute_pixels(test, order), None))
    return stages


def _digits(setting: Setting, generator: np.random.Generator) -> list[Stage]:
    return [
        Stage(deal_iid(train, setting.clients, generator), test, allowed_classes(number) if setting.masked else None)
        for number, (train, test) in enumerate(load_label_tasks())
    ]
