"""The plan: Python and C agree to the byte, and nothing that is alive is overwritten."""

import itertools

import model_zoo
import numpy as np
import pytest

from tinyfed.engine import plan as device_plan
from tinyfed.errors import UsageError
from tinyfed.model import MODES, Dense, ModelSpec, encode, mlp, plan
from tinyfed.model.int8.plan import aligned

KINDS = ["dense", "conv"]


@pytest.mark.parametrize("kind", KINDS)
def test_python_and_c_agree_on_random_models(kind):
    rng = np.random.default_rng(3)
    for index in range(300):
        case = getattr(model_zoo, f"random_{kind}")(rng)
        image = encode(case.spec, case.weights())
        for mode in MODES:
            here = plan(case.spec, mode)
            assert (here.work_bytes, here.arena_bytes) == device_plan(image, mode), (index, mode, case.spec)
            assert here.image_bytes == len(image)


def test_the_benchmark_net_to_the_byte():
    here = plan(mlp(1, (32, 32), 1))
    # 64 bytes of header, three records, 1,153 parameters; a table of three slots of 12 bytes rounded to 48;
    # two vectors of 32 values and the output. The gradients lie over the activations.
    assert here.image_bytes == 64 + 3 * 32 + 4 * 1153 == 4772
    assert here.work_bytes == 48 + 128 + 128 + 16
    assert here.arena_bytes == aligned(4772) + 320 == 5104


def test_frozen_layers_keep_nothing():
    hidden = [Dense(64, "relu", trainable=False), Dense(48, "relu", trainable=False)]
    frozen = plan(ModelSpec((8,), (*hidden, Dense(32, trainable=False), Dense(2)), "mse"))
    # Only the last layer's input has to outlive the forward pass; the others share two places.
    assert frozen.gradient_at[:3] == (None, None, None)
    assert frozen.work_bytes == 48 + 4 * (64 + 48)
    trained = plan(ModelSpec((8,), (Dense(64, "relu"), Dense(48, "relu"), Dense(32), Dense(2)), "mse"))
    assert trained.work_bytes == 48 + 4 * (64 + 48 + 32) + 16


def test_buffers_that_are_alive_together_do_not_overlap():
    here = plan(mlp(5, (7, 9, 11), 2))
    spans = sorted((at, at + aligned(4 * n)) for at, n in zip(here.activation_at, (7, 9, 11, 2), strict=True))
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))  # all four are kept for training
    assert here.work_bytes == aligned(12 * 4) + sum(b - a for a, b in spans)


def test_an_unknown_mode_is_refused():
    with pytest.raises(UsageError, match="mode 'batch2'"):
        plan(mlp(1, (2,), 1), "batch2")
