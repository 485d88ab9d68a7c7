"""Damaged .keras and .h5 files through the commands that read them: a result, or one line, and never half a file.

`make fuzz-models` runs the full number of mutations of each model. Keras writes the models and sees no damaged one.
"""

import copy
import io
import json
import os
import resource
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_fixture import load_keras_module
from mutations import mutations
from tinyfed_host.cli.main import run_command

from tinyfed.errors import UsageError
from tinyfed.model.inspect import as_json, inspect

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tensorflow")]

ROUNDS = int(os.environ.get("TINYFED_FUZZ_ROUNDS", "60"))
LONGEST_S = 10  # of one mutation, everything included, on a busy machine
MOST_MORE_KIB = 128 << 10  # of resident memory, for models of 40 KB
ODD = (None, True, -1, 0, 3, 2**31, 2**63, 10**40, 1.5, 1e308, float("nan"), "", "same", "relu", "\n\x00", [], [1], {},
       [[]], [2**40, 2**40], {"class_name": "Dense"})  # fmt: skip


def dense(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Flatten(), layers.Dense(8), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.3)]
    return keras.Sequential([keras.Input((4, 3)), *parts, layers.Dense(3, activation="softmax")])


def picture(keras: Any) -> Any:
    layers = keras.layers
    source = keras.Input((12, 10, 3))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, padding="same")(source)))
    x = layers.Add()([layers.SeparableConv2D(8, 3, padding="same", activation="relu")(x), x])
    return keras.Model(source, layers.Dense(4)(layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(x))))


def nested(keras: Any) -> Any:
    layers = keras.layers
    base = keras.Sequential([keras.Input((9, 4)), layers.Conv1D(6, 3), layers.BatchNormalization()], name="base")
    source = keras.Input((9, 4))
    x = layers.Reshape((-1,))(layers.LeakyReLU()(base(source)))
    return keras.Model(source, layers.Dense(1, activation="sigmoid")(layers.Normalization(mean=1.0, variance=2.0)(x)))


MODELS = {build.__name__: build for build in (dense, picture, nested)}


def archive(members: dict[str, bytes]) -> bytes:
    """An archive whose checksums are right, so that damage gets past them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for name, content in members.items():
            written.writestr(name, content)
    return buffer.getvalue()


def tampered(config: Any, rng: np.random.Generator) -> bytes:
    """The configuration with one to three values taken away, exchanged or nested."""
    config = copy.deepcopy(config)
    for _ in range(int(rng.integers(1, 4))):
        places: list[tuple[Any, Any]] = []
        waiting = [config]
        while waiting:
            value = waiting.pop()
            keys = value.keys() if isinstance(value, dict) else range(len(value))
            places += [(value, key) for key in keys]
            waiting += [value[key] for key in keys if isinstance(value[key], dict | list)]
        if not places:
            break
        holder, key = places[int(rng.integers(len(places)))]
        kind = int(rng.integers(4))
        if kind == 0:
            del holder[key]
        elif kind == 1:
            other, name = places[int(rng.integers(len(places)))]
            holder[key] = copy.deepcopy(other[name])
        elif kind == 2:
            holder[key] = [holder[key]]
        else:
            holder[key] = ODD[int(rng.integers(len(ODD)))]
    return json.dumps(config).encode()


def damaged_archives(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Damage to the archive, to its configuration and to its weights, a third each."""
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(io.BytesIO(content)) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    config = json.loads(members["config.json"])
    outside = mutations(content, count, seed)
    weights = mutations(members["model.weights.h5"], count, seed + 1)
    text = mutations(members["config.json"], count, seed + 2)
    for number in range(count):
        match number % 6:
            case 0 | 3:
                yield next(outside)
            case 1:
                yield archive({**members, "config.json": next(text)})
            case 4:
                yield archive({**members, "config.json": tampered(config, rng)})
            case _:
                yield archive({**members, "model.weights.h5": next(weights)})


def expired(signal_number: int, frame: object) -> None:
    raise TimeoutError(f"a mutation took longer than {LONGEST_S} s")


def read_with_everything(content: bytes, path: Path, capsys: pytest.CaptureFixture[str], commands: bool) -> bool:
    """Whether it is refused; every third file by the commands themselves, which write files."""
    path.write_bytes(content)
    signal.alarm(LONGEST_S)
    try:
        facts = as_json(inspect(path, []))
        json.dumps(facts)
        refused = facts["engine"] is None
        message = f"{path}: {facts['why_not']}"
    except UsageError as error:
        refused, message = True, str(error)
    if refused:
        assert message.isprintable() and message.startswith(str(path)), message
    if commands:
        output = path.with_suffix(".tfm")
        code = run_command(["model", "convert", str(path), "-o", str(output)])
        printed = capsys.readouterr()
        assert code == (2 if refused else 0), printed.err
        assert output.exists() == (code == 0)
        assert code == 0 or printed.err.count("\n") == 1, printed.err
        output.unlink(missing_ok=True)
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    signal.alarm(0)
    return refused


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("name", MODELS)
def test_damaged_files(name: str, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / f"whole.{suffix}"
    MODELS[name](load_keras_module()).save(whole)
    content = whole.read_bytes()
    folder = tmp_path / "damaged"
    folder.mkdir()
    path = folder / f"m.{suffix}"
    make = damaged_archives if suffix == "keras" else mutations
    previous = signal.signal(signal.SIGALRM, expired)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        assert not read_with_everything(content, path, capsys, True)
        refused = [
            read_with_everything(damaged, path, capsys, number % 3 == 0)
            for number, damaged in enumerate(make(content, ROUNDS, 21))
        ]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MORE_KIB
    # Mutations that nothing notices would prove nothing.
    assert sum(refused) >= ROUNDS // 10


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
