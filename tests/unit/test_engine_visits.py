"""Many visits in one call are the visits one by one."""

import numpy as np
import pytest

from tinyfed.engine import Engine
from tinyfed.errors import UsageError
from tinyfed.model import encode, initialize, mlp


@pytest.mark.parametrize("loss", ["mse", "softmax_cross_entropy"])
def test_visits_are_those_one_by_one(loss: str) -> None:
    rng = np.random.default_rng(3)
    spec = mlp(2, (9, 8), 3, loss=loss)
    image = encode(spec, initialize(spec, 1))
    x = rng.normal(size=(5, 7, 2)).astype(np.float32)
    y = rng.normal(size=(5, 7, 3)).astype(np.float32) if loss == "mse" else rng.integers(0, 3, (5, 7))
    ends, losses = Engine(image).train_visits(x, y, 0.1)
    for visit in range(5):
        alone = Engine(image)
        assert losses[visit].tobytes() == alone.train_online(x[visit], y[visit], 0.1).tobytes()
        assert ends[visit].tobytes() == alone.parameters.tobytes()


def test_samples_without_visits_are_refused() -> None:
    spec = mlp(2, (4,), 1)
    engine = Engine(encode(spec, initialize(spec, 1)))
    with pytest.raises(UsageError, match="visits, steps"):
        engine.train_visits(np.zeros((6, 2)), np.zeros((6, 1)), 0.1)
