"""Models and samples that cannot be used, through the commands themselves: one line that names what is wrong, exit code
2, and no file left."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tflite_builder import Builder
from tflite_models import bytes_of
from tinyfed_host.cli.main import run_command

from tinyfed.model.int8 import spec as i8
from tinyfed.model.tflite.file import parse
from tinyfed.model.tflite.to_int8 import convert_int8


def dense_file(dtype: str, weights: str, signature: list[int] | None = None, scale: float | None = None) -> bytes:
    """4 values in, 3 out."""
    b = Builder()
    x = b.tensor([1, 4], dtype, scale, name="in", signature=signature)
    values = np.ones((3, 4), weights.lower())
    w = b.tensor([3, 4], weights, scale, data=values, name="kernel")
    y = b.tensor([1, 3], dtype, scale, name="out")
    b.operator("FULLY_CONNECTED", [x, w], [y])
    return b.content([x], [y])


def int16_file() -> bytes:
    return dense_file("INT16", "INT8", scale=0.5)


def float16_file() -> bytes:
    b = Builder()
    x, w, y = b.tensor([1, 4], name="in"), b.constant(np.ones((3, 4), np.float32)), b.tensor([1, 3], name="out")
    half = b.tensor([1, 4], "FLOAT16", name="stored")
    b.operator("DEQUANTIZE", [half], [x])
    b.operator("FULLY_CONNECTED", [x, w], [y])
    return b.content([half], [y])


def dynamic_file() -> bytes:
    return dense_file("FLOAT32", "FLOAT32", signature=[1, -1])


def dynamic_int8_file() -> bytes:
    return dense_file("INT8", "INT8", signature=[1, -1], scale=0.5)


def unknown_file() -> bytes:
    b = Builder()
    x, y = b.tensor([1, 4], name="in"), b.tensor([1, 4], name="out")
    b.operator("COS", [x], [y])
    return b.content([x], [y])


def truncated_file() -> bytes:
    return bytes_of("hello_world_int8")[:-400]


MODELS: dict[str, tuple[Callable[[], bytes], str]] = {
    "int16": (int16_file, 'tensor 0 "in"'),
    "float16": (float16_file, 'tensor 3 "stored" is float16'),
    "dynamic": (dynamic_file, 'tensor 0 "in"'),
    "dynamic-int8": (dynamic_int8_file, 'tensor 0 "in"'),
    "unknown": (unknown_file, 'operator 0 COS ("out"): the float engine does not have this operator'),
    "truncated": (truncated_file, "not a usable .tflite file"),
}
COMMANDS = {
    "convert": ("convert", "-o", "o.tfm"),
    "codegen": ("codegen", "-o", ".", "--name", "o", "--array", "image"),
    "attach-head": ("attach-head", "--classes", "3", "-o", "o.tfm"),
    "run": ("run", "--input", "x.npy", "-o", "o.npy", "--raw"),
}


def refused(folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The line; nothing is written."""
    before = sorted(folder.rglob("*"))
    code = run_command(["model", *arguments])
    captured = capsys.readouterr()
    assert code == 2, captured.err
    assert captured.out == "" and captured.err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before
    return captured.err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_cannot_be_used(
    name: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make, reason = MODELS[name]
    (tmp_path / "bad.tflite").write_bytes(make())
    np.save("x.npy", np.zeros((2, 4), np.float32))
    verb, *rest = COMMANDS[command]
    line = refused(tmp_path, [verb, "bad.tflite", *rest], capsys)
    assert line.startswith("tinyfed: bad.tflite: ")
    # a float model has no int8 layers to freeze, whatever else is wrong with it
    assert reason in line or (command == "attach-head" and "int8" in line)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "x", "reason"),
    [
        ("good", np.zeros((2, 5)), 'r.npz: array "x" has shape [2, 5]; the model takes [count, 4]'),
        ("good", np.full((2, 4), np.nan), 'r.npz: array "x" holds NaN or infinity, first in sample 0'),
        ("float16", np.zeros((2, 4)), 'bad.tflite: tensor 3 "stored" is float16: the model is not all float32'),
        ("dynamic", np.zeros((2, 4)), 'bad.tflite: tensor 0 "in"'),
        ("truncated", np.zeros((2, 4)), "not a usable .tflite file"),
        ("int16", np.zeros((2, 4)), 'bad.tflite: tensor 0 "in" is int16: the model is not all float32'),
    ],
)
def test_quantizing_what_cannot_be(
    model: str,
    x: np.ndarray,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    content = dense_file("FLOAT32", "FLOAT32") if model == "good" else MODELS[model][0]()
    (tmp_path / "bad.tflite").write_bytes(content)
    np.savez("r.npz", x=x)
    line = refused(tmp_path, ["quantize", "bad.tflite", "--representative", "r.npz", "-o", "o.tflite"], capsys)
    assert reason in line, line


def test_running_on_nan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.tflite").write_bytes(dense_file("FLOAT32", "FLOAT32"))
    np.save("x.npy", np.float32([[0, 1, 2, 3], [0, np.nan, 2, 3]]))
    line = refused(tmp_path, ["run", "m.tflite", "--input", "x.npy", "-o", "y.npy"], capsys)
    assert "holds NaN or infinity, first in sample 1" in line


def mean_file(shape: list[int], axes: list[int], output: list[int]) -> bytes:
    b = Builder()
    x = b.tensor(shape, "INT8", 0.5, name="in")
    y = b.tensor(output, "INT8", 0.25, name="out")
    b.operator("MEAN", [x, b.constant(np.int32(axes))], [y])
    return b.content([x], [y])


@pytest.mark.parametrize(
    ("shape", "axes", "output"),
    [
        ([1, 5, 4, 3], [1, 2], [1, 3]),
        ([1, 5, 4, 3], [-2, -3], [1, 1, 1, 3]),
        ([1, 7, 3], [1], [1, 3]),
        ([1, 7, 3], [1], [1, 1, 3]),
        ([1, 5, 4, 3], [1], [1, 4, 3]),
        ([1, 1, 4, 3], [2], [1, 1, 3]),
        ([1, 5, 4, 3], [1, 2, 3], [1, 1, 1, 1]),
    ],
)
def test_means_over_the_first_dimensions(shape: list[int], axes: list[int], output: list[int]) -> None:
    """tests/parity/test_int8_operators.py has the same against TFLM."""
    network = convert_int8(parse(mean_file(shape, axes, output)))
    assert [type(layer) for layer in network.layers] == [i8.Int8Mean]


@pytest.mark.parametrize(("axes", "output"), [([3], [1, 5, 4]), ([2], [1, 5, 3]), ([1, 3], [1, 4]), ([2, 3], [1, 5])])
def test_means_over_others_are_moved_first(axes: list[int], output: list[int]) -> None:
    network = convert_int8(parse(mean_file([1, 5, 4, 3], axes, output)))
    assert [type(layer) for layer in network.layers] == [i8.Int8Move, i8.Int8Mean]
