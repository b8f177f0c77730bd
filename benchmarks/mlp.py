"""A perceptron with rectified linear hidden layers in plain numpy, float32: what a client's training computes, but faster.

Keras's overhead is many times the arithmetic of networks this small. Every formula here is that of `client.trainer`,
`client.penalty` and `client.importance`, and tests hold them against each other. One network is trained at a time: its
weights then stay in the processor's cache, which is faster than a batch of networks that do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import sgemm  # type: ignore[import-untyped]

Floats = NDArray[np.float32]
Weights = list[Floats]  # kernel (inputs, outputs) and bias (outputs,) of each layer in turn
Allowed = NDArray[np.bool_] | None  # which logits take part; None is all

ROWS_AT_ONCE = 2000  # of a forward pass over a whole test set


def first_weights(sizes: Sequence[int], generator: np.random.Generator) -> Weights:
    """Return Glorot-uniform kernels (Glorot and Bengio 2010, eq. 16) and zero biases, as Keras's Dense begins."""
    weights: Weights = []
    for inputs, outputs in pairwise(sizes):
        limit = np.sqrt(6.0 / (inputs + outputs))
        weights.append(generator.uniform(-limit, limit, (inputs, outputs)).astype(np.float32))
        weights.append(np.zeros(outputs, np.float32))
    return weights


class Optimizer(Protocol):
    """Changes weights in place, given each layer's inputs (batch, inputs) and the loss's slopes (batch, outputs)."""

    def step(self, weights: Weights, inputs: Sequence[Floats], slopes: Sequence[Floats]) -> None:
        """Make one step."""


class Sgd:
    """theta <- theta - rate * gradient; gradient and step are one BLAS call a kernel."""

    def __init__(self, rate: float) -> None:
        self._rate = np.float32(rate)

    def step(self, weights: Weights, inputs: Sequence[Floats], slopes: Sequence[Floats]) -> None:
        """Make one step."""
        for layer, (before, slope) in enumerate(zip(inputs, slopes, strict=True)):
            kernel = weights[2 * layer]
            # kernel^T <- kernel^T - rate * slope^T before: the transposes are what BLAS calls column-major, without a copy.
            done = sgemm(-self._rate, slope.T, before.T, 1.0, kernel.T, trans_b=1, overwrite_c=1)
            assert np.shares_memory(done, kernel), "BLAS worked on a copy"
            weights[2 * layer + 1] -= self._rate * slope.sum(axis=0)


class Adam:
    """Adam (Kingma and Ba 2015, alg. 1) as Keras writes it, its state new in every round as a client's is."""

    beta_1, beta_2, epsilon = 0.9, 0.999, 1e-7

    def __init__(self, rate: float) -> None:
        self._rate, self._steps = rate, 0
        self._first: Weights = []
        self._second: Weights = []

    def step(self, weights: Weights, inputs: Sequence[Floats], slopes: Sequence[Floats]) -> None:
        """Make one step."""
        if not self._steps:
            self._first, self._second = ([np.zeros_like(each) for each in weights] for _ in range(2))
        self._steps += 1
        rate = self._rate * np.sqrt(1 - self.beta_2**self._steps) / (1 - self.beta_1**self._steps)
        parts = zip(inputs, slopes, strict=True)
        gradients = [each for before, slope in parts for each in (before.T @ slope, slope.sum(axis=0))]
        for weight, gradient, first, second in zip(weights, gradients, self._first, self._second, strict=True):
            np.add(first, (gradient - first) * np.float32(1 - self.beta_1), out=first)
            np.add(second, (np.square(gradient) - second) * np.float32(1 - self.beta_2), out=second)
            way = first * np.float32(rate) / (np.sqrt(second) + np.float32(self.epsilon))
            np.subtract(weight, way, out=weight)


class Pull:
    """The penalty's proximal step, theta <- (theta + c theta*) / (1 + c): `client.penalty` says where it comes from.

    Args:
        strengths: c = eta lambda F of each weight. anchor: theta* of each.
    """

    def __init__(self, strengths: Sequence[Floats], anchor: Sequence[Floats]) -> None:
        shares = [c.astype(np.float64) / (1.0 + c) for c in strengths]
        self._kept = [np.asarray(1.0 - share, dtype=np.float32) for share in shares]
        self._targets = [np.asarray(share * each, dtype=np.float32) for share, each in zip(shares, anchor, strict=True)]

    def apply(self, weights: Weights) -> None:
        """Move every weight once, in place."""
        for weight, kept, target in zip(weights, self._kept, self._targets, strict=True):
            np.multiply(weight, kept, out=weight)
            np.add(weight, target, out=weight)

    def of_inputs(self, rows: NDArray[np.int64]) -> Pull:
        """Return the same for a network with these rows of the first kernel only."""
        part = copy(self)
        part._kept = [self._kept[0][rows], *self._kept[1:]]
        part._targets = [self._targets[0][rows], *self._targets[1:]]
        return part

    def apply_alone(self, kernel: Floats, rows: NDArray[np.int64], steps: int) -> None:
        """Move these rows of the first kernel ``steps`` times, in place, with nothing in between."""
        moved, kept, target = kernel[rows], self._kept[0][rows], self._targets[0][rows]
        for _ in range(steps):
            moved = moved * kept + target
        kernel[rows] = moved


def train(
    weights: Weights,
    x: Floats,
    y: NDArray[np.int64],
    batches: Iterable[NDArray[np.int64]],
    optimizer: Optimizer,
    pull: Pull | None = None,
    allowed: Allowed = None,
) -> int:
    """Train ``weights`` in place on the mean cross-entropy of each batch of rows; return the number of steps.

    The kernel's rows of pixels that are 0 in every example have no gradient, and only the penalty moves them: they are
    left out meanwhile, and what remains fits the cache.
    """
    bright = x.any(axis=0)
    seen, dark = np.flatnonzero(bright), np.flatnonzero(~bright)
    whole, x = weights[0], np.ascontiguousarray(x[:, seen])
    weights = [np.ascontiguousarray(whole[seen]), *weights[1:]]
    pull_seen = None if pull is None else pull.of_inputs(seen)
    steps = 0
    for rows in batches:
        labels = y[rows]
        inputs, logits = forward(weights, x[rows])
        slope = _softmax(logits, allowed)
        slope[np.arange(len(rows)), labels] -= 1
        slope /= np.float32(len(rows))
        optimizer.step(weights, inputs, backward(weights, inputs, slope))
        if pull_seen is not None:
            pull_seen.apply(weights)
        steps += 1
    whole[seen] = weights[0]
    if pull is not None:
        pull.apply_alone(whole, dark, steps)
    return steps


def forward(weights: Weights, x: Floats) -> tuple[list[Floats], Floats]:
    """Return what goes into each layer, and the logits (batch, classes)."""
    inputs = [x]
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        inputs.append(np.maximum(inputs[-1] @ kernel + bias, np.float32(0)))
    return inputs, inputs[-1] @ weights[-2] + weights[-1]


def backward(weights: Weights, inputs: Sequence[Floats], slope: Floats) -> list[Floats]:
    """Return the slopes of each layer's output before its activation, given those of the logits."""
    slopes = [slope]
    for layer in range(len(inputs) - 1, 0, -1):
        slopes.append((slopes[-1] @ weights[2 * layer].T) * (inputs[layer] > 0))
    return slopes[::-1]


def fisher(weights: Weights, x: Floats, labels: NDArray[np.int64], allowed: Allowed = None) -> Weights:
    """Return the mean over examples of the squared slope of log p(label | x) in each weight, float32.

    A kernel's slope for one example is the outer product of its input and its slope, so the sum of the squares is the
    matrix product of the squares.

    Args:
        labels: One for each example; for the Fisher information they are drawn from the model, by `sample_labels`.
    """
    inputs, logits = forward(weights, x)
    slope = _softmax(logits, allowed)
    slope[np.arange(len(x)), labels] -= 1
    squares: Weights = []
    for before, each in zip(inputs, backward(weights, inputs, slope), strict=True):
        squared = np.square(each)
        count = np.float32(len(x))
        squares += [np.asarray(np.square(before).T @ squared / count), squared.sum(axis=0) / count]
    return squares


def sample_labels(
    weights: Weights, x: Floats, generator: np.random.Generator, allowed: Allowed = None
) -> NDArray[np.int64]:
    """Draw a label for each example from the model's own p(y | x): the largest log p + Gumbel noise."""
    logits = forward(weights, x)[1]
    noisy = logits + generator.gumbel(size=logits.shape)
    if allowed is not None:
        noisy[:, ~allowed] = -np.inf
    return np.asarray(noisy.argmax(axis=1), dtype=np.int64)


def count_correct(weights: Weights, x: Floats, y: NDArray[np.int64], allowed: Allowed = None) -> int:
    """Return how many examples get their own label."""
    correct = 0
    for start in range(0, len(x), ROWS_AT_ONCE):
        logits = forward(weights, x[start : start + ROWS_AT_ONCE])[1]
        if allowed is not None:
            logits[:, ~allowed] = -np.inf
        correct += int(np.count_nonzero(logits.argmax(axis=1) == y[start : start + ROWS_AT_ONCE]))
    return correct


def _softmax(logits: Floats, allowed: Allowed) -> Floats:
    if allowed is not None:
        logits[:, ~allowed] = -np.inf
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
