"""Damaged model files through everything that reads them: what the tests and scripts/fuzz-models have in common.

A reader gives whether it refuses the file, in one line. Anything else that it raises is a fault.
"""

import contextlib
import copy
import io
import json
import signal
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from mutations import mutations
from tinyfed_host.cli.main import run_command

from tinyfed.codegen.from_model import tflite_bundle
from tinyfed.codegen.generate import header_text
from tinyfed.errors import UsageError
from tinyfed.model.convert import Int8Model, read_tflite
from tinyfed.model.inspect import as_json, inspect, tflite_facts
from tinyfed.model.keras import hdf5
from tinyfed.model.keras.convert import rewritten
from tinyfed.model.run import input_shapes, run
from tinyfed.model.tflite import file as tflite

# Of a network that is run once: more would take longer than reading it.
MOST_MULTIPLY_ADDS = 20_000_000
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


def sequence(keras: Any) -> Any:
    """What runs as operators of a program: paddings, merges, recurrence, wrappers."""
    layers = keras.layers
    source = x = keras.Input((10, 3))
    for part in (layers.ZeroPadding1D(1), layers.Conv1D(4, 3, padding="causal", dilation_rate=2), layers.PReLU()):
        x = part(x)
    x = layers.Concatenate()([layers.LayerNormalization()(x), layers.UpSampling1D(2)(layers.Cropping1D(3)(x))])
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True))(x * 0.5)
    return keras.Model(source, layers.LSTM(2)(layers.TimeDistributed(layers.Dense(4, activation="gelu"))(x)))


MODELS = {build.__name__: build for build in (dense, picture, nested, sequence)}


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


@contextlib.contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in Python code, and ends the process where native code goes on for as long again."""

    def expired(signal_number: int, frame: object) -> None:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        raise TimeoutError(f"longer than {seconds} s of processor time")

    previous = signal.signal(signal.SIGPROF, expired)
    signal.setitimer(signal.ITIMER_PROF, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


@contextlib.contextmanager
def hdf5_read_once() -> Iterator[None]:
    """The same bytes are read by one process for all that ask: starting it takes longer than everything else here."""
    known: dict[tuple[bytes, str], hdf5.Group | UsageError] = {}
    read = hdf5.read

    def read_once(content: bytes, source: str, without: Collection[str] = ()) -> hdf5.Group:
        if (content, source) not in known:
            try:
                known[content, source] = read(content, source, without)
            except UsageError as error:
                known[content, source] = error
        found = known[content, source]
        if isinstance(found, UsageError):
            raise found
        return found

    with mock.patch.object(hdf5, "read", read_once):
        yield


def check_line(error: UsageError, start: str) -> None:
    text = str(error)
    assert text.startswith(start) and text.isprintable(), text


def read_damaged_tflite(content: bytes) -> bool:
    """Parsed, converted, run once, inspected, and as C arrays."""
    try:
        model = tflite.parse(content)
    except UsageError as error:
        check_line(error, "model: ")
        return True

    def converted() -> None:
        found = read_tflite(model)
        inputs = [np.ones((1, *shape), np.float32) for shape in input_shapes(found)]
        if isinstance(found, Int8Model) and found.plan.multiply_adds > MOST_MULTIPLY_ADDS:
            return
        with np.errstate(all="ignore"):  # damaged scales and weights may give infinity
            run(found, inputs)

    steps: tuple[Callable[[], object], ...] = (
        converted,
        lambda: as_json(tflite_facts(model, [])),
        lambda: header_text(tflite_bundle(model, "damaged")),
    )
    refused = False
    for step in steps:
        try:
            step()
        except UsageError as error:
            check_line(error, "model: ")
            refused = True
    return refused


def read_damaged_keras(content: bytes, path: Path, rewrite: bool, command: bool) -> bool:
    """By `inspect`; where asked, by what `quantize` makes of it for Keras, and by `convert` itself, which writes."""
    path.write_bytes(content)
    try:
        facts = as_json(inspect(path, []))
        json.dumps(facts)
        refused = facts["engine"] is None
        message = f"{path}: {facts['why_not']}"
    except UsageError as error:
        refused, message = True, str(error)
    if refused:
        assert message.isprintable() and message.startswith(str(path)), message
    if rewrite:
        with contextlib.suppress(UsageError):
            rewritten(path)
    if command:
        output = path.with_suffix(".tfm")
        told = io.StringIO()
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            code = run_command(["model", "convert", str(path), "-o", str(output)])
        assert code == (2 if refused else 0), told.getvalue()
        assert output.exists() == (code == 0)
        assert code == 0 or told.getvalue().count("\n") == 1, told.getvalue()
        output.unlink(missing_ok=True)
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    return refused


def damaged_keras(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` damaged copies of a file of either form."""
    return damaged_archives(content, count, seed) if content[:2] == b"PK" else mutations(content, count, seed)
