"""The task: the fixed terms under which a federation trains, an artifact of one file, ``task.json``.

The fields of ``task.json`` are those of the dataclasses, by the same names; rationals are strings in lowest terms.
People write tasks as TOML or JSON (``load_task_toml``), where everything but the name has a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast, get_args

from protocol import canonical_json
from protocol.errors import ArtifactRefused, InvalidInput, WrongFiles
from protocol.fields import Field
from protocol.merge_terms import (
    BYZANTINE,
    MAX_EXAMPLES_CAP,
    MAX_RATIO,
    MAX_STANDING_FACTOR,
    MAX_UPDATES,
    NEEDS_IMPORTANCE,
    Committee,
    MergeRule,
    ServerStep,
    Standing,
    field_names,
    read_committee,
    read_merge,
    read_server,
    read_standing,
)
from protocol.written_file import overlay, read_written

__all__ = [
    "TASK",
    "Committee",
    "Consolidation",
    "CreditRule",
    "DeltaType",
    "Feedback",
    "Limits",
    "MergeRule",
    "ServerStep",
    "Standing",
    "Task",
    "Training",
    "decode_task",
    "encode_task",
    "load_task_toml",
]

TASK = "task.json"

# Bounds that only have to keep every later product small; none is a recommendation.
MAX_EPOCHS = 1 << 12  # examples_cap * epochs < 2^53, so planned steps are integers that JSON keeps
MAX_SECONDS = 30 * 24 * 3600  # the contract's longest settlement and challenge windows
VERSION = 2
MAX_ARTIFACT_BYTES = 1 << 40

MAX_TASK_BYTES = 1024 * 1024  # a task is a page of settings

DeltaType = Literal["int8", "int16", "int32"]
ImportanceAt = Literal["base", "reached"]


@dataclass(frozen=True, slots=True)
class Training:
    """What a client does. ``learning_rate`` and ``momentum`` are exact rationals."""

    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Fraction = Fraction(1, 10)
    momentum: Fraction = Fraction(0)
    batch_size: int = 32
    epochs: int = 5
    loss: Literal["sparse_categorical_crossentropy"] = "sparse_categorical_crossentropy"

    def planned_steps(self, examples: int) -> int:
        """Optimizer steps for ``examples`` examples: ceil(examples / batch) * epochs (SPECIFICATION P4)."""
        return -(-examples // self.batch_size) * self.epochs


@dataclass(frozen=True, slots=True)
class Consolidation:
    """Elastic Weight Consolidation (Kirkpatrick 2017; online form, Schwarz 2018)."""

    # lambda of the penalty lambda/2 * sum F (theta - theta*)^2 with F of mean 1; 0 turns it off. On the demo's digits 1/100
    # costs no accuracy, and 1/10 already holds the model at its anchor.
    strength: Fraction = Fraction(1, 100)
    decay: Fraction = Fraction(9, 10)  # gamma: F <- floor(gamma F) + combination
    combine: Literal["median", "trimmed_mean"] = "median"
    trim: int = 0  # updates dropped at each end of a coordinate by trimmed_mean
    examples: int = 256  # most examples that a client measures its importance on


@dataclass(frozen=True, slots=True)
class CreditRule:
    """Credit = min(recorded ms, floor(steps * reference_millis_per_step * kappa))."""

    reference_millis_per_step: Fraction = Fraction(5)
    kappa: Fraction = Fraction(4)


@dataclass(frozen=True, slots=True)
class Feedback:
    """Client-side error feedback: the rounding residual is clipped at ``clip_steps`` grid steps and dropped after ``drop_after`` missed rounds."""

    clip_steps: int = 32_767
    drop_after: int = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest artifacts in bytes, all files of the directory together."""

    model_bytes: int = 512 * 1024 * 1024
    update_bytes: int = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Task:
    """The fixed terms of a federation."""

    name: str
    merge: MergeRule = field(default_factory=MergeRule)
    server: ServerStep = field(default_factory=ServerStep)
    committee: Committee = field(default_factory=Committee)
    standing: Standing = field(default_factory=Standing)
    delta_type: DeltaType = "int16"
    training: Training = Training()
    consolidation: Consolidation = Consolidation()
    credit: CreditRule = CreditRule()
    feedback: Feedback = Feedback()
    limits: Limits = Limits()
    min_updates: int = 1  # fewer accepted updates merge nothing: the model stays the base
    publication_seconds: int = 60  # p: bytes may be published this long after training closes
    rederivation_margin_seconds: int = 60  # time an auditor needs after p, within the challenge window
    retention_seconds: int | None = None  # how long accepted updates are kept; None is for ever

    def after_losses(self, lost: int) -> Task:
        """The task for the updates that are left of a round when so many do not count."""
        return replace(self, merge=self.merge.after_losses(lost))

    def least_updates(self) -> int:
        """The fewest accepted updates that change the model: ``min_updates``, or what the rule needs where all posted ones count."""
        return max(self.min_updates, self.merge.least_updates())

    def needs_importance(self, consolidate: bool) -> bool:
        """Whether updates carry importance: in rounds whose terms say ``consolidate``, and wherever the rule uses it."""
        return self.importance_at(consolidate) is not None

    def importance_at(self, consolidate: bool) -> ImportanceAt | None:
        """Return the weights at which a client measures importance, None where none is needed.

        In rounds that consolidate at the "base", where the new anchor is; for a rule that uses it at the weights that the
        client "reached" (Matena and Raffel 2022; Shoham et al. 2019). "fisher-weighted" has one measure for both.
        """
        if consolidate and self.merge.rule != "fedcurv":
            return "base"
        return "reached" if self.merge.rule in NEEDS_IMPORTANCE else None

    def largest_weight(self) -> int:
        """The most that one update weighs in the merge of trainable tensors."""
        weight = self.merge.examples_cap if self.merge.weighting == "examples" else 1
        return weight * MAX_STANDING_FACTOR if self.standing.use == "weight" else weight


def encode_task(task: Task) -> dict[str, bytes]:
    """Return the files of ``task``: one value, one set of bytes.

    Raises:
        WrongField, NotCanonical: A field is out of its range.
    """
    files = {TASK: canonical_json.dumps(_to_json(task))}
    decode_task(files)  # refuses what nobody could read
    return files


def decode_task(files: Mapping[str, bytes]) -> Task:
    """Return the task that ``files`` are the encoding of.

    Raises:
        ArtifactRefused: WrongFiles, TooLarge, NotCanonical or WrongField, by what is wrong.
    """
    if files.keys() != {TASK}:
        raise WrongFiles(
            f"A task directory has {', '.join(sorted(map(ascii, files)))}.",
            f"It has {TASK} alone.",
            "Publish it again.",
        )
    return _read_task(canonical_json.loads(files[TASK]), TASK)


def load_task_toml(path: Path) -> Task:
    """Return the task that a person wrote at ``path``, as TOML, or as JSON where the name ends in .json.

    All fields but ``name`` may be left out; rationals may be written "1/10", "0.1", 0.1 or 1.

    Raises:
        InvalidInput: The file cannot be read, or a field (named by its path) is unknown, missing or out of range.
    """
    defaults = asdict(Task(name=""))
    del defaults["name"]  # the one field without a default
    written = overlay({**defaults, "version": VERSION}, read_written(path))
    try:
        return _read_task(_spell(written), path.name)
    except ArtifactRefused as error:
        raise InvalidInput(error.what, error.why, error.do) from None


def _to_json(task: Task) -> object:
    return _spell({**asdict(task), "version": VERSION})


def _spell(value: object) -> object:
    if isinstance(value, dict):
        return {name: _spell(item) for name, item in value.items()}
    return str(value) if isinstance(value, Fraction) else value


def _read_task(value: object, path: str) -> Task:
    found = Field(value, path).object([*field_names(Task), "version"])
    found["version"].integer(VERSION, VERSION)
    merge, consolidation = read_merge(found["merge"]), _read_consolidation(found["consolidation"])
    min_updates = found["min_updates"].integer(1, MAX_UPDATES)
    if min_updates <= 2 * consolidation.trim:
        raise found["min_updates"].refusal("more than 2 * consolidation.trim, or trimming could drop every update")
    committee = read_committee(found["committee"])
    if merge.rule == "distilled" and committee.vote == "none":
        raise found["committee"].refusal("one that votes: distilled makes one model of a committee")
    forever = found["retention_seconds"].value is None
    return Task(
        name=found["name"].text(100, 1),
        merge=merge,
        server=read_server(found["server"]),
        committee=committee,
        standing=read_standing(found["standing"]),
        delta_type=_read_delta_type(found["delta_type"], merge),
        training=_read_training(found["training"]),
        consolidation=consolidation,
        credit=_read_credit(found["credit"]),
        feedback=_read_feedback(found["feedback"]),
        limits=_read_limits(found["limits"]),
        min_updates=min_updates,
        publication_seconds=found["publication_seconds"].integer(1, MAX_SECONDS),
        rederivation_margin_seconds=found["rederivation_margin_seconds"].integer(0, MAX_SECONDS),
        retention_seconds=None if forever else found["retention_seconds"].integer(1),
    )


def _read_delta_type(field: Field, merge: MergeRule) -> DeltaType:
    found = cast("DeltaType", field.choice(get_args(DeltaType)))
    if found == "int32" and merge.rule in BYZANTINE:
        raise field.refusal(f"int8 or int16 for {merge.rule}, whose distances are exact for these alone")
    return found


def _read_training(field: Field) -> Training:
    found = field.object(field_names(Training))
    optimizer = found["optimizer"].choice(["sgd", "adam"])
    momentum = found["momentum"].rational(0, 1)
    if momentum == 1 or (momentum and optimizer == "adam"):
        raise found["momentum"].refusal("less than 1, and 0 for adam, which has its own moments")
    learning_rate = found["learning_rate"].rational(0, MAX_RATIO)
    if not learning_rate:
        raise found["learning_rate"].refusal("more than 0")
    return Training(
        optimizer=cast('Literal["sgd", "adam"]', optimizer),
        learning_rate=learning_rate,
        momentum=momentum,
        batch_size=found["batch_size"].integer(1, MAX_EXAMPLES_CAP),
        epochs=found["epochs"].integer(1, MAX_EPOCHS),
        loss=cast(
            'Literal["sparse_categorical_crossentropy"]', found["loss"].choice(["sparse_categorical_crossentropy"])
        ),
    )


def _read_consolidation(field: Field) -> Consolidation:
    found = field.object(field_names(Consolidation))
    combine = found["combine"].choice(["median", "trimmed_mean"])
    trim = found["trim"].integer(0, MAX_UPDATES)
    if trim and combine == "median":
        raise found["trim"].refusal("0 for the median, which trims nothing")
    return Consolidation(
        strength=found["strength"].rational(0, MAX_RATIO),
        decay=found["decay"].rational(0, 1),
        combine=cast('Literal["median", "trimmed_mean"]', combine),
        trim=trim,
        examples=found["examples"].integer(1, MAX_EXAMPLES_CAP),
    )


def _read_credit(field: Field) -> CreditRule:
    found = field.object(field_names(CreditRule))
    return CreditRule(
        reference_millis_per_step=found["reference_millis_per_step"].rational(0, MAX_RATIO),
        kappa=found["kappa"].rational(0, MAX_RATIO),
    )


def _read_feedback(field: Field) -> Feedback:
    found = field.object(field_names(Feedback))
    return Feedback(
        clip_steps=found["clip_steps"].integer(0, (1 << 24) - 1), drop_after=found["drop_after"].integer(0, 1_000_000)
    )


def _read_limits(field: Field) -> Limits:
    found = field.object(field_names(Limits))
    return Limits(
        model_bytes=found["model_bytes"].integer(1, MAX_ARTIFACT_BYTES),
        update_bytes=found["update_bytes"].integer(1, MAX_ARTIFACT_BYTES),
    )
