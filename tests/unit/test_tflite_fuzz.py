"""Damaged .tflite files through everything that reads them: a result, or one line that names what is wrong.

`make fuzz-models` runs 10,000 mutations of each model."""

from pathlib import Path

import pytest
from conftest import require
from damaged import cpu_limit, read_damaged_tflite
from mutations import mutations
from tflite_models import MODELS_OR_NONE, model_id, structure_positions

from tinyfed.model.tflite import file as tflite

# Of one mutation; a reader that follows a loop or a giant vector would need minutes.
LONGEST_CPU_S = 2.0


def fuzz(path: Path | None, rounds: int, seed: int) -> None:
    require(path, "TINYFED_DATA names no folder with tflite/ models in it")
    assert path is not None
    whole = tflite.load(path)
    refused = 0
    for damaged in mutations(whole.content, rounds, seed, hot=structure_positions(whole)):
        with cpu_limit(LONGEST_CPU_S):
            refused += read_damaged_tflite(damaged)
    # Mutations that nothing notices would prove nothing.
    assert refused >= rounds // 10


@pytest.mark.parametrize("path", MODELS_OR_NONE, ids=model_id)
def test_damaged_files(path: Path | None) -> None:
    fuzz(path, 8, seed=4)


@pytest.mark.slow
@pytest.mark.parametrize("path", MODELS_OR_NONE, ids=model_id)
def test_many_damaged_files(path: Path | None) -> None:
    fuzz(path, 200, seed=5)
