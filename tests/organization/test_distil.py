"""What goes into a student and what comes out of it, without Keras; that it learns is in tests/e2e/test_committee.py."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from organization.distil import Distillation, snapped, softened
from protocol.errors import InvalidInput, NotFinite
from protocol.model import encode_model, to_float32
from tests.processor.factory import COUNT, KERNEL, VARIANCE, tiny_model

TOP = (1 << 24) - 1


def weights_of(model):
    return [
        model.constants[spec.name] if spec.exponent is None else to_float32(model.mantissas[spec.name], spec.exponent)
        for spec in model.specs
    ]


@pytest.mark.parametrize("field", ["temperature", "epochs", "batch_size", "learning_rate"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_settings_that_mean_nothing_are_refused(field, value):
    with pytest.raises(InvalidInput, match="positive"):
        Distillation(**{field: value})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_student_that_diverged_is_refused(value):
    mean = tiny_model()
    weights = weights_of(mean)
    weights[0] = np.full_like(weights[0], value)
    with pytest.raises(NotFinite, match="kernel"):
        snapped(mean, weights)


def test_weights_on_the_grid_stay_as_they_are():
    mean = tiny_model(3)
    again = snapped(mean, weights_of(mean))
    assert encode_model(again) == encode_model(mean)


@given(st.lists(st.floats(-40, 40, width=32), min_size=12, max_size=12))
def test_weights_go_to_the_nearest_grid_point_and_saturate(values):
    mean = tiny_model()
    weights = weights_of(mean)
    weights[0] = np.array(values, np.float32).reshape(4, 3)
    found = snapped(mean, weights).mantissas[KERNEL].reshape(-1)
    grid = mean.specs[0].grid
    for value, mantissa in zip(values, found, strict=True):
        exact = Fraction(float(np.float32(value))) / Fraction(2) ** grid
        assert mantissa == max(-TOP, min(TOP, round(exact)))  # Python rounds halves to even, as the grid does


def test_a_variance_does_not_become_negative_and_constants_are_the_means():
    mean = tiny_model()
    weights = weights_of(mean)
    position = [spec.name for spec in mean.specs].index(VARIANCE)
    weights[position] = -weights[position] - 1
    weights[-1] = weights[-1] + 9
    found = snapped(mean, weights)
    assert (found.mantissas[VARIANCE] == 0).all()
    assert found.constants[COUNT] is mean.constants[COUNT]
    encode_model(found)


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=5), st.sampled_from([1.0, 2.0, 4.0]))
def test_softened_probabilities_are_the_softmax_of_the_logits_over_the_temperature(counts, temperature):
    p = np.array([counts], np.float32) / np.float32(sum(counts))
    logits = np.log(p.astype(np.float64)) / temperature
    expected = np.exp(logits) / np.exp(logits).sum()
    assert np.allclose(softened(p, temperature), expected, rtol=1e-9)


def test_a_probability_of_zero_teaches_nothing_that_is_not_finite():
    found = softened(np.array([[0.0, 1.0], [0.5, 0.5]], np.float32), 2.0)
    assert np.isfinite(found).all() and np.allclose(found.sum(axis=-1), 1)
    assert found[0].argmax() == 1 and np.allclose(found[1], 0.5)


def test_importing_it_does_not_start_keras():
    script = "import sys, organization.distil; sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
