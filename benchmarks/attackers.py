"""What hostile clients post: each a way to turn an honest training into an attack on the round.

None of them knows what the others post: bytes are published only after training closes. They state the most examples that
the task counts, since nobody can check that, and the steps that belong to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.learners import Assignment, Learner, train_locally
from client.data import Dataset
from client.quantise import quantise, quantise_importance
from protocol import tensors
from protocol.grid import to_float32
from protocol.model import Model
from protocol.task import Task
from protocol.update import DELTA, WINDOW, Update, encode_update

SCALE = 1000
NOISE = 3  # grid steps by which one client's many updates differ, so that none is a copy

Files = Mapping[str, bytes]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """What the attackers of one round have: the base, the task, and each one's own honest update.

    Args:
        attackers: Who they are, with their data. honest: Their own trainings, as updates, in the same order.
        victim: An honest client's update, as if it had been seen before the deadline; only the copy uses it.
        seed: Of this round's choices.
    """

    base: Model
    task: Task
    attackers: Sequence[Learner]
    honest: Sequence[Update]
    victim: Update
    seed: int


Attack = Callable[[Scene], Sequence[Files]]


def not_a_number(scene: Scene) -> Sequence[Files]:
    """Floats, all of them NaN, in place of integers."""
    poison = {name: np.full(delta.shape, np.nan, np.float32) for name, delta in scene.victim.deltas.items()}
    return [{**encode_update(_loud(one, scene)), DELTA: tensors.dumps(poison)} for one in scene.honest]


def absurd_exponents(scene: Scene) -> Sequence[Files]:
    """Changes multiplied by 2^1000 through their exponents."""
    return [
        encode_update(replace(one, exponents=dict.fromkeys(one.exponents, 1000)))
        for one in (_loud(each, scene) for each in scene.honest)
    ]


def overflow(scene: Scene) -> Sequence[Files]:
    """The largest change that the window holds, in every coordinate, to overflow a sum or saturate the model."""
    shift, limit = WINDOW[scene.task.delta_type]
    posted = []
    for number, one in enumerate(scene.honest):
        deltas = {name: _array(delta) * 0 + limit - number for name, delta in one.deltas.items()}
        exponents = {spec.name: spec.grid + shift for spec in scene.base.specs}
        posted.append(encode_update(_loud(replace(one, deltas=deltas, exponents=exponents), scene)))
    return posted


def wrong_shapes(scene: Scene) -> Sequence[Files]:
    """The right numbers in tensors of another shape."""
    return [
        encode_update(replace(one, deltas={name: _array(delta).reshape(1, -1) for name, delta in one.deltas.items()}))
        for one in (_loud(each, scene) for each in scene.honest)
    ]


def scaled(scene: Scene) -> Sequence[Files]:
    """The honest change a thousand times, as far as the window holds it."""
    return [_moved(one, scene, SCALE) for one in scene.honest]


def sign_flipped(scene: Scene) -> Sequence[Files]:
    """The honest change backwards."""
    return [_moved(one, scene, -1) for one in scene.honest]


def sign_flipped_scaled(scene: Scene) -> Sequence[Files]:
    """The honest change backwards, ten times."""
    return [_moved(one, scene, -10) for one in scene.honest]


def label_flipped(scene: Scene) -> Sequence[Files]:
    """An honest training on labels y -> 9 - y."""
    return [
        encode_update(_lied(attacker, one, scene)) for attacker, one in zip(scene.attackers, scene.honest, strict=True)
    ]


def duplicated(scene: Scene) -> Sequence[Files]:
    """Another client's change under one's own name, as if the rule against publishing early had been broken."""
    stolen = {"deltas": scene.victim.deltas, "exponents": scene.victim.exponents}
    return [encode_update(_loud(replace(one, **stolen), scene)) for one in scene.honest]  # type: ignore[arg-type]


def zero(scene: Scene) -> Sequence[Files]:
    """No change at all, for the pay."""
    nothing = {name: _array(delta) * 0 for name, delta in scene.victim.deltas.items()}
    return [encode_update(_loud(replace(one, deltas=nothing), scene)) for one in scene.honest]


def sybil(scene: Scene) -> Sequence[Files]:
    """One client's label-flipped training under many names, each a few steps apart so that none is a copy."""
    random = np.random.default_rng(scene.seed)
    lie = _lied(scene.attackers[0], scene.honest[0], scene)
    limit = WINDOW[scene.task.delta_type][1]
    posted = []
    for one in scene.honest:
        noisy = {
            name: np.clip(_array(delta) + random.integers(-NOISE, NOISE + 1, delta.shape), -limit, limit).astype(
                delta.dtype
            )
            for name, delta in lie.deltas.items()
        }
        posted.append(encode_update(replace(lie, author=one.author, deltas=noisy)))
    return posted


ATTACKS: Mapping[str, Attack] = {
    "nan": not_a_number,
    "exponents": absurd_exponents,
    "overflow": overflow,
    "shapes": wrong_shapes,
    "scaled": scaled,
    "sign-flipped": sign_flipped,
    "sign-flipped x10": sign_flipped_scaled,
    "label-flipped": label_flipped,
    "duplicated": duplicated,
    "zero": zero,
    "sybil": sybil,
}


def _array(tensor: tensors.Tensor) -> NDArray[np.signedinteger]:
    return tensors.whole(tensor)


def _loud(update: Update, scene: Scene) -> Update:
    """The same with the most examples that count."""
    most = scene.task.merge.examples_cap
    return replace(update, examples=most, steps=scene.task.training.planned_steps(most))


def _moved(update: Update, scene: Scene, factor: int) -> Files:
    """The update's change times ``factor``, quantised as any other."""
    weights = {
        spec.name: to_float32(scene.base.mantissas[spec.name], spec.grid)
        + (factor * _array(update.deltas[spec.name]).astype(np.float64) * 2.0 ** update.exponents[spec.name]).astype(
            np.float32
        )
        for spec in scene.base.specs
    }
    quantised = quantise(scene.base, weights, scene.task.delta_type)
    return encode_update(_loud(replace(update, deltas=quantised.deltas, exponents=quantised.exponents), scene))


def _lied(attacker: Learner, update: Update, scene: Scene) -> Update:
    """The attacker's update after training on flipped labels."""
    flipped = Dataset(attacker.data.x, 9 - attacker.data.y)
    kind = Assignment(importance="at_reached" if update.importance is not None else "none")
    trained = train_locally(scene.base, scene.task, flipped, scene.seed, kind)
    quantised = quantise(scene.base, trained.weights, scene.task.delta_type)
    changed = replace(update, deltas=quantised.deltas, exponents=quantised.exponents)
    if trained.importance is not None:
        posted = {name: quantise_importance(value) for name, value in trained.importance.items()}
        changed = replace(
            changed,
            importance={name: value for name, (value, _) in posted.items()},
            importance_exponents={name: exponent for name, (_, exponent) in posted.items()},
        )
    return _loud(changed, scene)
