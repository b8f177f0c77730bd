"""One small artifact of each kind, made by hand, for golden bytes and mutations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np

from protocol.model import Model, TensorClass, TensorSpec, decode_model, encode_model
from protocol.report import Derived, Statement, UpdateVerdict, decode_report, encode_report
from protocol.rewards import rewards_tree
from protocol.task import Consolidation, MergeRule, Task, Training, decode_task, encode_task
from protocol.types import Digest, FederationId, Hash, RoundId, address
from protocol.update import Update, decode_update, encode_update

ALICE = address("0x" + "a1" * 20)
BOB = address("0x" + "b0" * 20)
FEDERATION = FederationId(bytes([1]) * 32)
ROUND = RoundId(bytes([2]) * 32)
BASE = Digest(bytes([3]) * 32)
MERGED = Digest(bytes([4]) * 32)
ANCHOR = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"  # the empty file

KERNEL, VARIANCE, SEED = "00000.dense/kernel", "00001.norm/variance", "00002.seed"
SPECS = (
    TensorSpec(KERNEL, (2, 2), TensorClass.TRAINABLE, -20),
    TensorSpec(VARIANCE, (3,), TensorClass.STATISTIC, -16, non_negative=True),
    TensorSpec(SEED, (2,), TensorClass.CONSTANT, None, dtype="int64"),
)

TASK = Task(
    "tiny",
    merge=MergeRule(weighting="uniform", examples_cap=500),
    delta_type="int8",
    training=Training(learning_rate=Fraction(1, 3), momentum=Fraction(9, 10)),
    consolidation=Consolidation(strength=Fraction(10), combine="trimmed_mean", trim=1),
    min_updates=3,
    retention_seconds=86_400,
)

MODEL = Model(
    architecture=b'{"class_name": "Sequential"}',
    round=0,
    parents=(),
    specs=SPECS,
    mantissas={
        KERNEL: np.array([[1, -1], [(1 << 24) - 1, 0]], np.int32),
        VARIANCE: np.array([0, 65_536, 7], np.int32),
    },
    constants={SEED: np.array([5, -6], np.int64)},
)
CONSOLIDATED = replace(
    MODEL,
    round=7,
    parents=(BASE,),
    importance={KERNEL: np.array([[0, 65_536], [(1 << 32) - 1, 1]], np.uint32)},
    anchor=ANCHOR,
    server_state=Digest(bytes([8]) * 32),
    committee=Digest(bytes([9]) * 32),
)


def update(delta_type: str, shift: int = 0) -> Update:
    """An update of ``MODEL`` whose exponents lie ``shift`` above its grid."""
    return Update(
        federation=FEDERATION,
        round=ROUND,
        author=ALICE,
        base=BASE,
        examples=320,
        steps=50,
        software="rondo 0.1.0",
        exponents={KERNEL: -20 + shift, VARIANCE: -16 + shift},
        deltas={
            KERNEL: np.array([[1, -2], [127, -127]], delta_type),
            VARIANCE: np.array([0, -3, 100], delta_type),
        },
    )


CONSOLIDATING = replace(
    update("int16"),
    importance={KERNEL: np.array([[0, 1], [128, 255]], np.uint8)},
    importance_exponents={KERNEL: -9},
)

DERIVED = Derived(
    federation=FEDERATION,
    round=ROUND,
    base=BASE,
    updates_hash=Hash(bytes([5]) * 32),
    rule="fedavg",
    outcome="merged",
    stated=False,
    model=MERGED,
    merged=1,
    saturated=2,
    consolidated=False,
    updates=(
        UpdateVerdict(ALICE, Digest(bytes([6]) * 32), 2000, "accepted", "", 320, 50, 320, -707, 1000, 7_000 * 10**18),
        UpdateVerdict(BOB, Digest(bytes([7]) * 32), 90, "refused", "foreign-base", 0, 0, 0, 0, 0, 0),
    ),
    rewards_root=rewards_tree(ROUND, [(ALICE, 7_000 * 10**18)]).root,
    rewards_total=7_000 * 10**18,
)
STATEMENT = Statement({"accuracy": (91, 100)}, "rondo 0.1.0")

Files = Mapping[str, bytes]
FILES: dict[str, Files] = {
    "task": encode_task(TASK),
    "model": encode_model(MODEL),
    "consolidated model": encode_model(CONSOLIDATED),
    "int8 update": encode_update(update("int8", 15)),
    "int16 update": encode_update(update("int16", 7)),
    "int32 update": encode_update(update("int32")),
    "consolidating update": encode_update(CONSOLIDATING),
    "report": encode_report(DERIVED, STATEMENT),
}


def again(kind: str) -> Callable[[Files], Files]:
    """Decoding and encoding again, for the files of an artifact of ``kind``."""
    if kind == "task":
        return lambda files: encode_task(decode_task(files))
    if kind.endswith("model"):
        return lambda files: encode_model(decode_model(files))
    if kind.endswith("update"):
        return lambda files: encode_update(decode_update(files))
    return lambda files: encode_report(*decode_report(files))
