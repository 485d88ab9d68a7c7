"""The engine against plain float64 NumPy and finite differences."""

import engine_models as em
import engine_reference as ref
import model_zoo
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyfed.engine import Engine
from tinyfed.errors import UsageError
from tinyfed.model import Dense, ModelSpec, encode, initialize, mlp


def close(actual, expected, scale):
    """float32 against float64: within 2e-5 of the largest value around."""
    tolerance = 2e-5 * max(float(np.max(np.abs(scale), initial=0)), 1.0)
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=tolerance)


@settings(max_examples=300, deadline=None)
@given(em.dense_cases())
def test_dense_networks_are_those_of_the_formulas(case):
    check_step(case)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32).map(lambda seed: model_zoo.random_conv(np.random.default_rng(seed))))
def test_networks_of_all_layers_are_those_of_the_formulas(case):
    check_step(case)


def check_step(case):
    """Output, loss and every gradient of one sample, and the same gradients by a batch of one."""
    weights = case.weights()
    engine = Engine(encode(case.spec, weights))
    (x, y) = case.samples(1)
    expected = ref.run(case.spec, weights, x[0], y[0])
    close(engine.infer(x)[0], expected.output, expected.output)
    losses, _ = engine.evaluate(x, y)
    close(losses[0], expected.loss, expected.loss)
    rate = 2.0**-6
    assert engine.train_online(x, y, rate)[0] == losses[0]
    change = (engine.parameters.astype(float) - weights) / -rate
    # A float32 weight keeps its step to half a unit in the last place.
    tolerance = np.abs(weights) * 2.0**-23 / rate + 2e-5 * max(1.0, np.abs(expected.gradient).max(initial=0))
    assert np.all(np.abs(change - expected.gradient) <= tolerance + 2e-4 * np.abs(expected.gradient))


@settings(max_examples=100, deadline=None)
@given(em.dense_cases() | st.integers(0, 2**32).map(lambda seed: model_zoo.random_conv(np.random.default_rng(seed))))
def test_the_reference_agrees_with_finite_differences(case):
    weights = case.weights().astype(float)
    (x, y) = case.samples(1)
    here = ref.run(case.spec, weights, x[0], y[0])
    learns = np.flatnonzero(here.gradient)
    for index in np.random.default_rng(case.seed).permutation(learns)[:4]:
        h = 1e-6
        step = np.zeros_like(weights)
        step[index] = h
        above, below = (ref.run(case.spec, weights + d, x[0], y[0]) for d in (step, -step))
        slope = (above.loss - below.loss) / (2 * h)
        left, right = (here.loss - below.loss) / h, (above.loss - here.loss) / h
        if abs(left - right) > 1e-3 * (1 + abs(slope)):
            continue  # a kink of ReLU lies between
        assert slope == pytest.approx(here.gradient[index], rel=1e-4, abs=1e-6 * max(1, abs(here.loss)))


def test_a_network_learns_a_sine():
    spec = mlp(1, (32, 32), 1)
    engine = Engine(encode(spec, initialize(spec, seed=1)))
    x = np.random.default_rng(0).uniform(-1, 1, (4000, 1)).astype(np.float32)
    losses = engine.train_online(x, np.sin(3 * x), 0.02)
    assert losses[:100].mean() > 0.1 and losses[-100:].mean() < 2e-3


def test_the_score_counts_right_answers():
    spec = ModelSpec((2,), (Dense(2),), "softmax_cross_entropy")
    engine = Engine(encode(spec, np.array([1, 0, 0, 1, 0, 0], np.float32)))
    x = np.array([[3, 1], [1, 3], [2, 2]], np.float32)
    losses, correct = engine.evaluate(x, np.array([0, 0, 0]))
    assert correct == 2  # the second is wrong, the third a tie, which goes to the first
    np.testing.assert_allclose(losses, np.log1p(np.exp([-2.0, 2.0, 0.0])), rtol=1e-6)


def test_bad_calls_are_one_clear_line():
    spec = mlp(2, (3,), 2, loss="softmax_cross_entropy")
    engine = Engine(encode(spec, initialize(spec, 0)))
    with pytest.raises(UsageError, match=r"labels must lie in 0\.\.1"):
        engine.train_online(np.zeros((1, 2)), np.array([2]), 0.1)
    with pytest.raises(UsageError, match="a sample has 2 values"):
        engine.infer(np.zeros((1, 3)))
    with pytest.raises(UsageError, match="a finite number"):
        engine.train_online(np.zeros((1, 2)), np.array([1]), float("nan"))
    with pytest.raises(UsageError, match="17 parameters"):
        engine.parameters = np.zeros(3, np.float32)
