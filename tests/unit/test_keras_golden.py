"""Models as people write them convert to what Keras predicts: the quick half of test_keras_habits, without Keras."""

import numpy as np
import pytest
from keras_golden import inputs_of, read_golden, weights_of
from keras_habits import HABITS, REFUSED

from tinyfed.model.convert import float_model
from tinyfed.model.keras.convert import convert_keras_model
from tinyfed.model.keras.file import Parts, keras_model
from tinyfed.model.run import check_batch, run

GOLDEN = read_golden()


def test_nearly_all_habits_are_there() -> None:
    assert GOLDEN.keys() <= HABITS.keys() - REFUSED.keys() and len(GOLDEN) >= 55


@pytest.mark.parametrize("name", GOLDEN)
def test_a_habit(name: str) -> None:
    entry = GOLDEN[name]
    parts = Parts(name, entry["config"], {}, weights_of(entry["shapes"]), legacy=False)
    converted = float_model(name, convert_keras_model(keras_model(parts)))
    ours = run(converted, check_batch(converted, inputs_of(name, entry["inputs"]), "x")).real
    for mine, theirs in zip(ours, entry["outputs"], strict=True):
        expected = np.array(theirs)
        assert np.abs(mine.reshape(-1) - expected).max() <= 1e-5 * max(np.abs(expected).max(), 1)
