"""Damaged .tflite files through everything that reads them: a result, or one line that names what is wrong.

`make fuzz` runs the full number of mutations of each model."""

import os
import time
from pathlib import Path

import pytest
from conftest import require
from mutations import mutations
from tflite_models import MODELS_OR_NONE, model_id, structure_positions

from tinyfed.codegen.from_model import tflite_bundle
from tinyfed.codegen.generate import header_text
from tinyfed.errors import UsageError
from tinyfed.model import tflite
from tinyfed.model.convert import read_tflite
from tinyfed.model.convert_int8 import convert_int8
from tinyfed.model.inspect import as_json, tflite_facts

LONG = int(os.environ.get("TINYFED_FUZZ_ROUNDS", "200"))
SHORT = min(8, LONG)
# Of one mutation; a reader that follows a loop or a giant vector would need minutes.
LONGEST_CPU_S = 2.0


def read_with_everything(content: bytes) -> int:
    """How many readers refuse it. Anything but UsageError is a fault and fails the test."""
    refused = 0
    started = time.process_time()
    try:
        model = tflite.parse(content)
    except UsageError as error:
        one_line(error)
        return 4
    for reader in (
        lambda: convert_int8(model),
        lambda: read_tflite(model),
        lambda: as_json(tflite_facts(model, [])),
        lambda: header_text(tflite_bundle(model, "damaged")),
    ):
        try:
            reader()
        except UsageError as error:
            one_line(error)
            refused += 1
    assert time.process_time() - started < LONGEST_CPU_S
    return refused


def one_line(error: UsageError) -> None:
    text = str(error)
    assert text.startswith("model: ") and text.isprintable(), text


def fuzz(path: Path | None, rounds: int, seed: int) -> None:
    require(path, "TINYFED_DATA names no folder with tflite/ models in it")
    assert path is not None
    whole = tflite.load(path)
    refused = [
        read_with_everything(damaged)
        for damaged in mutations(whole.content, rounds, seed, hot=structure_positions(whole))
    ]
    # Mutations that nothing notices would prove nothing.
    assert sum(count == 4 for count in refused) >= rounds // 10


@pytest.mark.parametrize("path", MODELS_OR_NONE, ids=model_id)
def test_damaged_files(path: Path | None) -> None:
    fuzz(path, SHORT, seed=4)


@pytest.mark.slow
@pytest.mark.parametrize("path", MODELS_OR_NONE, ids=model_id)
def test_many_damaged_files(path: Path | None) -> None:
    fuzz(path, LONG, seed=5)
