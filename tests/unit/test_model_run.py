"""`tinyfed model run`: batches through the in-process engine, real and stored values (on boards:
tests/emulated/test_model_run_board.py)."""

from pathlib import Path

import numpy as np
import pytest
from test_convert_float import litert_outputs
from tflite_models import bytes_of, path_of
from tinyfed_host.cli.main import run_command

from tinyfed.model import encode, initialize, mlp
from tinyfed.model.run import probabilities


def test_a_float_model_gives_probabilities(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(3, 128, 3, 1)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    arguments = ["model", "run", str(path_of("magic_wand")), "--input", str(tmp_path / "x.npy")]
    assert run_command([*arguments, "-o", str(tmp_path / "y.npy"), "--raw"]) == 0
    y, logits = np.load(tmp_path / "y.npy"), np.load(tmp_path / "y.raw.npy")
    assert y.shape == (3, 4) and y.dtype == np.float32
    assert np.abs(y - litert_outputs(bytes_of("magic_wand"), x)).max() < 1e-5
    assert np.array_equal(y, probabilities(logits, "softmax_cross_entropy"))


def test_an_int8_model_takes_real_and_stored_values(tmp_path: Path) -> None:
    x = np.random.default_rng(2).uniform(0, 26, size=(4, 1960)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    model = str(path_of("micro_speech_quantized"))
    command = ["model", "run", model, "--input", str(tmp_path / "x.npz"), "-o", str(tmp_path / "y.npy"), "--raw"]
    assert run_command(command) == 0
    y, raw = np.load(tmp_path / "y.npy"), np.load(tmp_path / "y.raw.npy")
    assert raw.dtype == np.int8 and raw.shape == (4, 4)
    # softmax: scale 1/256, zero point -128
    assert np.array_equal(y, (raw.astype(np.float32) + 128) / 256)
    # the stored values of this model's input: scale 26/256, zero point -128
    scale = np.float32(0.10170070827007294)
    stored = np.clip(np.floor(x / scale + 0.5) - 128, -128, 127).astype(np.int8)
    np.save(tmp_path / "q.npy", stored)
    command = ["model", "run", model, "--input", str(tmp_path / "q.npy"), "-o", str(tmp_path / "z.npy")]
    assert run_command(command) == 0
    assert np.abs(np.load(tmp_path / "z.npy") - y).max() <= 2 / 256


def test_two_inputs(tmp_path: Path) -> None:
    shape = (2, 128, 128, 1)
    np.savez(tmp_path / "x.npz", x0=np.full(shape, 1.0), x1=np.full(shape, 2.0))
    model = str(path_of("simple_add_model"))
    command = ["model", "run", model, "--input", str(tmp_path / "x.npz"), "-o", str(tmp_path / "y.npy")]
    assert run_command(command) == 0
    y = np.load(tmp_path / "y.npy")
    # one step of the output is 0.058
    assert y.shape == shape and np.abs(y - 3).max() < 0.06
    # the same from a file an input
    for index in (0, 1):
        np.save(tmp_path / f"x{index}.npy", np.full(shape, index + 1.0))
    command = ["model", "run", model, "--input", str(tmp_path / "x0.npy"), "--input", str(tmp_path / "x1.npy")]
    assert run_command([*command, "-o", str(tmp_path / "z.npy")]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), y)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((2, 3)), "has shape [2, 3]; the model takes [count, 5]"),
        (np.full((1, 5), np.inf), "holds NaN or infinity"),
        (np.array(["a"]), "not numbers"),
    ],
)
def test_bad_inputs(array: np.ndarray, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = mlp(5, (4,), 2)
    (tmp_path / "m.tfm").write_bytes(encode(spec, initialize(spec, 1)))
    np.save(tmp_path / "x.npy", array)
    command = ["model", "run", str(tmp_path / "m.tfm"), "--input", str(tmp_path / "x.npy")]
    assert run_command([*command, "-o", str(tmp_path / "y.npy")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and reason in error
    assert not (tmp_path / "y.npy").exists()


def test_a_board_or_a_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = (2, 128, 128, 1)
    np.savez(tmp_path / "x.npz", x0=np.full(shape, 1.0), x1=np.full(shape, 2.0))
    command = ["model", "run", str(path_of("simple_add_model")), "--input", str(tmp_path / "x.npz")]
    command += ["-o", str(tmp_path / "y.npy"), "--board", "mps2_an386", "--port", "socket://127.0.0.1:1"]
    assert run_command(command) == 2
    assert "give one of them" in capsys.readouterr().err
    assert not (tmp_path / "y.npy").exists()
