"""Batches, optimizers and what learns: against the optimizers' formulas in float64."""

import engine_reference as ref
import model_zoo
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyfed.engine import Engine, Optimizer
from tinyfed.errors import UsageError
from tinyfed.model import (
    Conv2D,
    Dense,
    Flatten,
    ModelSpec,
    ScaleShift,
    encode,
    initialize,
    mlp,
    plan,
    with_trainable,
)

MODES = ("batch_sgd", "batch_momentum", "batch_adam", "batch_adam_second")
SEEDS = st.integers(0, 2**32)


def reference_steps(case, mode, o, batches):
    """The weights after each batch, by the formulas (Adam: Kingma and Ba 2015, algorithm 1)."""
    w = case.weights().astype(float)
    velocity, first, second = (np.zeros_like(w) for _ in range(3))
    for t, (x, y) in enumerate(batches, 1):
        runs = [ref.run(case.spec, w, a, b) for a, b in zip(x, y, strict=True)]
        g = np.mean([r.gradient for r in runs], axis=0)
        learns = ref.learning_mask(case.spec)
        norm = np.sqrt(np.sum(g**2))
        if 0 < o.clip_norm < norm:
            g = g * (o.clip_norm / norm)
        w = np.where(learns, w * (1 - o.learning_rate * o.weight_decay), w)
        match mode:
            case "batch_sgd":
                change = -o.learning_rate * g
            case "batch_momentum":
                velocity = o.momentum * velocity - o.learning_rate * g
                change = velocity
            case _:
                beta1 = o.beta1 if mode == "batch_adam" else 0.0
                first = beta1 * first + (1 - beta1) * g
                second = o.beta2 * second + (1 - o.beta2) * g**2
                m, v = first / (1 - beta1**t), second / (1 - o.beta2**t)
                # Keras' form: epsilon stands beside the uncorrected root.
                root = np.sqrt(1 - o.beta2**t)
                change = -o.learning_rate * m / (np.sqrt(v) + o.epsilon / root)
        w = w + np.where(learns, change, 0)
    return w


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.sampled_from(MODES), st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 0.05]))
def test_each_optimizer_follows_its_formula(seed, mode, clip_norm, weight_decay):
    rng = np.random.default_rng(seed)
    case = (model_zoo.random_conv if seed % 2 else model_zoo.random_dense)(rng)
    o = Optimizer(2.0**-6, epsilon=1e-2, clip_norm=clip_norm, weight_decay=weight_decay)
    batches = [tuple(part[k : k + 3] for part in case.samples(9)) for k in (0, 3, 6)]
    engine = Engine(encode(case.spec, case.weights()), mode)
    losses = [engine.train_batch(x, y, o) for x, y in batches]
    assert all(np.isfinite(values).all() for values in losses)
    expected = reference_steps(case, mode, o, batches)
    change, wanted = engine.parameters - case.weights(), expected - case.weights()
    tolerance = 3e-6 * max(1.0, np.abs(case.weights()).max(initial=0)) + 3e-3 * np.abs(wanted).max(initial=0)
    assert np.all(np.abs(change - wanted) <= tolerance), np.abs(change - wanted).max() / tolerance
    frozen = ~ref.learning_mask(case.spec)
    np.testing.assert_array_equal(engine.parameters[frozen], case.weights()[frozen])


def test_a_batch_of_one_is_an_online_step():
    case = model_zoo.random_conv(np.random.default_rng(5))
    x, y = case.samples(1)
    online, batch = (Engine(encode(case.spec, case.weights()), mode) for mode in ("online", "batch_sgd"))
    online.train_online(x, y, 0.01)
    batch.train_batch(x, y, Optimizer(0.01))
    np.testing.assert_allclose(online.parameters, batch.parameters, rtol=1e-6, atol=1e-7)
    assert np.any(online.parameters != case.weights())


def test_forget_starts_the_optimizer_anew():
    spec = mlp(2, (8,), 1)
    weights = initialize(spec, 0)
    engine = Engine(encode(spec, weights), "batch_adam")
    x, y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
    engine.train_batch(x, y, Optimizer(0.01))
    once = engine.parameters
    engine.parameters = weights
    engine.forget()
    engine.train_batch(x, y, Optimizer(0.01))
    np.testing.assert_array_equal(engine.parameters, once)


def test_wrong_use_is_one_clear_line():
    spec = mlp(2, (3,), 1)
    image = encode(spec, initialize(spec, 0))
    x, y = np.ones((1, 2)), np.ones((1, 1))
    with pytest.raises(UsageError, match="wrong state"):
        Engine(image).train_batch(x, y, Optimizer(0.1))
    engine = Engine(image, "batch_momentum")
    with pytest.raises(UsageError, match="wrong state"):
        engine.train_batch(x[:0], y[:0], Optimizer(0.1))
    with pytest.raises(UsageError, match="outside its range"):
        engine.train_batch(x, y, Optimizer(0.1, momentum=1.5))
    with pytest.raises(UsageError, match="a finite number"):
        engine.train_batch(x, y, Optimizer(float("inf")))


LAYERS = (Conv2D(4, 3, activation="relu"), ScaleShift(), Flatten(), Dense(6, "relu"), Dense(3))
NET = ModelSpec((8, 8, 1), LAYERS, "softmax_cross_entropy")


@pytest.mark.parametrize(
    ("which", "shapes"),
    [
        ("all", [(3, 3, 1, 4), (4,), (4,), (4,), (144, 6), (6,), (6, 3), (3,)]),
        ("none", []),
        ("biases", [(4,), (4,), (6,), (3,)]),
        ("scales", [(4,), (4,)]),
        ("last-1", [(6, 3), (3,)]),
        ("last-2", [(144, 6), (6,), (6, 3), (3,)]),
        ((0, 4), [(3, 3, 1, 4), (4,), (6, 3), (3,)]),
    ],
)
def test_only_what_is_chosen_learns_and_costs(which, shapes):
    spec = with_trainable(NET, which)
    assert ref.learning_mask(spec).sum() == sum(int(np.prod(shape)) for shape in shapes)
    weights = initialize(spec, 3)
    engine = Engine(encode(spec, weights))
    engine.train_online(np.random.default_rng(0).normal(size=(20, 8, 8, 1)), np.arange(20) % 3, 0.1)
    changed = engine.parameters != weights
    assert not np.any(changed & ~ref.learning_mask(spec))
    assert bool(shapes) == bool(np.any(changed))


def test_the_first_layer_that_learns_ends_the_memory_too():
    full, head = plan(NET), plan(with_trainable(NET, "last-1"))
    conv = 4 * 6 * 6 * 4
    assert full.work_bytes >= 2 * conv  # both the convolution's output and the scaled one are kept
    assert head.work_bytes == plan(NET, "infer").work_bytes  # nothing is kept that inference would not
    assert plan(with_trainable(NET, "last-1"), "batch_adam").batch_bytes == 16 + 3 * 96
    # 36 + 4 of the convolution, 4 + 4 of the scale, 870 and 21 of the dense layers: 939 values, on 16 bytes.
    assert plan(NET, "batch_sgd").batch_bytes == 16 + 3760


def test_an_unknown_set_is_refused():
    with pytest.raises(UsageError, match="trainable 'some' is unknown"):
        with_trainable(NET, "some")
    with pytest.raises(UsageError, match=r"layers \[2\] have no parameters"):
        with_trainable(NET, [2, 4])
