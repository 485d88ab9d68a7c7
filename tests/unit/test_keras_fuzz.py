"""Damaged .keras and .h5 files through the commands that read them: a result, or one line, and never half a file.

`make fuzz-models` runs 10,000 mutations of each model. Keras writes the models and sees no damaged one.
"""

import resource
import zipfile
from pathlib import Path

import pytest
from damaged import MODELS, cpu_limit, damaged_keras, hdf5_read_once, read_damaged_keras
from keras_fixture import load_keras_module

from tinyfed.errors import UsageError
from tinyfed.model.inspect import inspect

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tensorflow")]

ROUNDS = 24
LONGEST_CPU_S = 10.0  # of one mutation, everything included
MOST_MORE_KIB = 128 << 10  # of resident memory, for models of 40 KB


@pytest.mark.timeout(1200)  # some dozens of processes, on a computer that does other things
@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("name", MODELS)
def test_damaged_files(name: str, suffix: str, tmp_path: Path) -> None:
    whole = tmp_path / f"whole.{suffix}"
    MODELS[name](load_keras_module()).save(whole)
    content = whole.read_bytes()
    folder = tmp_path / "damaged"
    folder.mkdir()
    path = folder / f"m.{suffix}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    with hdf5_read_once():
        assert not read_damaged_keras(content, path, True, True)
        for number, damaged in enumerate(damaged_keras(content, ROUNDS, 21)):
            with cpu_limit(LONGEST_CPU_S):
                refused += read_damaged_keras(damaged, path, True, number % 3 == 0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MORE_KIB
    # Mutations that nothing notices would prove nothing.
    assert refused >= ROUNDS // 10


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """1 GB of zeros in 1 MB."""
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("config.json", "{}")
        with written.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(1024):
                member.write(bytes(1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UsageError, match="unpacks to more than"):
        inspect(path, [])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10
