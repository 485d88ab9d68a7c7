"""`tinyfed model run --board` and `--port`: batches on emulated boards and connected ones, to the in-process bytes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, require_tools
from tinyfed_host.cli.main import run_command
from tinyfed_host.device import discovery as devices
from tinyfed_host.emulation.qemu import start
from tinyfed_host.firmware import build

from tinyfed.boards import read_board
from tinyfed.engine import Engine
from tinyfed.model import Conv2D, Dense, ModelSpec, encode, initialize, mlp
from tinyfed.model.convert import float_model, read_model
from tinyfed.model.graph import Graph, Node, convert_graph
from tinyfed.model.image import structure_hash
from tinyfed.model.run import board_image
from tinyfed.tasks.raw import standardizing
from tinyfed.tasks.standardization import Standardization

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from streaming import two_ports
from tflite_models import path_of

ID = "0f0e0d0c0b0a090807060506"
BOARDS = ("mps2_an386", "netduinoplus2", "raspberrypi", "native")


def tools(name: str) -> None:
    board = read_board(name)
    assert board.emulator is not None
    require_tools(board.compiler.prefix + "gcc", *([board.emulator.program] if board.emulator.program else []))


def same_bytes(folder: Path, model: Path, x: np.ndarray, *where: str) -> None:
    """In-process and there: outputs and raw outputs."""
    np.save(folder / "x.npy", x)
    command = ["model", "run", str(model), "--input", str(folder / "x.npy"), "--raw"]
    assert run_command([*command, "-o", str(folder / "here.npy")]) == 0
    assert run_command([*command, "-o", str(folder / "there.npy"), *where]) == 0
    for suffix in (".npy", ".raw.npy"):
        assert (folder / f"here{suffix}").read_bytes() == (folder / f"there{suffix}").read_bytes()
    assert len(np.load(folder / "there.npy")) == len(x)


def conv(folder: Path) -> Path:
    spec = ModelSpec((9, 8, 2), (Conv2D(4, 3, 2, "same", "relu"), Dense(6, "tanh"), Dense(3)), "softmax_cross_entropy")
    (folder / "conv.tfm").write_bytes(encode(spec, initialize(spec, 4)))
    return folder / "conv.tfm"


@pytest.mark.parametrize("board", BOARDS)
def test_float_and_int8_models_on_every_emulated_board(board: str, tmp_path: Path) -> None:
    tools(board)
    rng = np.random.default_rng(31)
    same_bytes(tmp_path, conv(tmp_path), rng.normal(size=(4, 9, 8, 2)), "--board", board)
    x = rng.normal(0, 40, (2, 49, 10, 1)).astype(np.float32)
    same_bytes(tmp_path, path_of("kws_ref_model"), x, "--board", board)


@pytest.mark.parametrize("board", BOARDS)
def test_float_programs_of_two_inputs(board: str, tmp_path: Path) -> None:
    """No chain of layers that learn: a gate, a dilated convolution, a softmax inside."""
    tools(board)
    rng = np.random.default_rng(35)
    weights = rng.normal(size=(3, 3, 2, 4)).astype(np.float32)
    nodes = (
        Node("input", "other", (), (6, 5, 1)),
        Node("mul", "gate", (0, 1), (6, 5, 2), activation="gelu"),
        Node("conv2d", "conv", (2,), (6, 5, 4), weights, None, "softmax", 0, (3, 3), dilation=(2, 2), padding="same"),
        Node("reduce_max", "most", (3,), (4,), axes=(0, 1)),
    )
    found = convert_graph(Graph("two.tfm", (6, 5, 2), nodes))
    (tmp_path / "two.tfm").write_bytes(float_model("two.tfm", found).content)
    values = {"x0": rng.normal(size=(3, 6, 5, 2)), "x1": rng.normal(size=(3, 6, 5, 1))}
    np.savez(tmp_path / "x.npz", **values)
    command = ["model", "run", str(tmp_path / "two.tfm"), "--input", str(tmp_path / "x.npz")]
    assert run_command([*command, "-o", str(tmp_path / "here.npy")]) == 0
    assert run_command([*command, "-o", str(tmp_path / "there.npy"), "--board", board]) == 0
    assert (tmp_path / "here.npy").read_bytes() == (tmp_path / "there.npy").read_bytes()
    assert np.isfinite(np.load(tmp_path / "there.npy")).all()


@pytest.mark.parametrize("board", ["mps2_an386", "netduinoplus2"])
def test_samples_as_measured(board: str, tmp_path: Path) -> None:
    """What a run's model.tfm is: the board standardizes, to the bits of here, to the run's own answers."""
    tools(board)
    rng = np.random.default_rng(33)
    spec = mlp(3, (8,), 2, loss="softmax_cross_entropy")
    made = Standardization(np.array([500.0, 2e-7, 0.1]), np.array([100.0, 8e-8, 0.0]))
    image = encode(spec, initialize(spec, 4))
    (tmp_path / "m.tfm").write_bytes(standardizing(image, made))
    x = rng.normal(made.mean, made.deviation + 1e-9, (5, 3))
    same_bytes(tmp_path, tmp_path / "m.tfm", x, "--board", board)
    expected = Engine(image, "infer").infer(made.apply(x).astype(np.float32))
    np.testing.assert_allclose(np.load(tmp_path / "there.raw.npy"), expected, rtol=0, atol=1e-4)


def test_stored_values_and_a_published_float_model(tmp_path: Path) -> None:
    tools("native")
    rng = np.random.default_rng(32)
    x = rng.integers(-128, 128, (3, 49, 10, 1), np.int8)
    same_bytes(tmp_path, path_of("kws_ref_model"), x, "--board", "native")
    same_bytes(tmp_path, path_of("magic_wand"), rng.normal(size=(3, 128, 3, 1)), "--board", "native")


@pytest.mark.slow
def test_a_network_larger_than_the_ram_goes_into_flash(tmp_path: Path) -> None:
    """Visual wake words: 254,544 bytes and a work area of 55,360, more than the arena has."""
    tools("mps2_an386")
    x = np.random.default_rng(33).integers(-128, 128, (1, 96, 96, 3), np.int8)
    same_bytes(tmp_path, path_of("vww_96_int8"), x, "--board", "mps2_an386")


@pytest.mark.parametrize("board", ["mps2_an386", "native"])
def test_several_inputs_and_outputs_and_states(board: str, tmp_path: Path) -> None:
    """A stream of nine steps: its states stay on the board between the inputs. The third step is the second again."""
    tools(board)
    (tmp_path / "two.tflite").write_bytes(two_ports())
    rng = np.random.default_rng(36)
    x = {"x0": rng.integers(-40, 40, (9, 5), np.int8), "x1": rng.normal(0, 4, (9, 2, 3)).astype(np.float32)}
    for values in x.values():
        values[2] = values[1]
    np.savez(tmp_path / "x.npz", **x)
    assert run_command(["model", "convert", str(tmp_path / "two.tflite"), "-o", str(tmp_path / "two.tfm")]) == 0
    outputs = {}
    for name, model, *where in (
        ("here", "two.tflite", "--stream"),
        ("image", "two.tfm", "--stream"),
        ("there", "two.tflite", "--stream", "--board", board),
        ("apart", "two.tflite"),
        ("apart there", "two.tflite", "--board", board),
    ):
        command = ["model", "run", str(tmp_path / model), "--input", str(tmp_path / "x.npz")]
        assert run_command([*command, "-o", str(tmp_path / "y.npy"), *where]) == 0
        outputs[name] = [np.load(tmp_path / f"y.{index}.npy") for index in (0, 1)]
    first = (x["x0"] + 3) * np.float32(0.25)
    before = np.concatenate([np.full((1, 5), 1.75, np.float32), first[:-1]])
    np.testing.assert_array_equal(outputs["here"][0], np.clip(first + before, -31.25, 32.5))
    np.testing.assert_array_equal(outputs["apart"][0], np.clip(first + np.float32(1.75), -31.25, 32.5))
    assert outputs["here"][1].shape == (9, 2, 3)
    for name, like in (("image", "here"), ("there", "here"), ("apart there", "apart")):
        for index in (0, 1):
            np.testing.assert_array_equal(outputs[name][index], outputs[like][index], name)


def test_a_connected_device_is_sent_the_model_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tools("mps2_an386")
    model, x = conv(tmp_path), np.random.default_rng(34).normal(size=(2, 9, 8, 2))
    with start("mps2_an386", ID) as emulated:
        same_bytes(tmp_path, model, x, "--port", emulated.port)
        held = devices.probe_port(emulated.port)
        assert held.structure_hash and held.weights_hash
        capsys.readouterr()
        command = ["model", "run", str(model), "--input", str(tmp_path / "x.npy"), "-o", str(tmp_path / "again.npy")]
        assert run_command([*command, "--port", emulated.port, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["port"] == emulated.port
        assert devices.probe_port(emulated.port) == held
    assert (tmp_path / "again.npy").read_bytes() == (tmp_path / "here.npy").read_bytes()


def test_a_connected_device_that_carries_the_network_is_not_sent_it(tmp_path: Path) -> None:
    """`firmware build --model` of what `model convert` wrote of an int8 file."""
    tools("native")
    model = path_of("kws_ref_model")
    assert run_command(["model", "convert", str(model), "-o", str(tmp_path / "kws.tfm")]) == 0
    x = np.random.default_rng(35).normal(0, 40, (1, 49, 10, 1))
    with start("native", ID, image=build.build("native", model=tmp_path / "kws.tfm")) as emulated:
        held = devices.probe_port(emulated.port)
        assert held.structure_hash == structure_hash(board_image(read_model(model)))
        same_bytes(tmp_path, model, x, "--port", emulated.port)
        same_bytes(tmp_path, tmp_path / "kws.tfm", x, "--port", emulated.port)
        assert devices.probe_port(emulated.port) == held


def test_what_does_not_fit_and_who_does_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tools("mps2_an386")
    spec = mlp(60_000, (), 1)
    (tmp_path / "wide.tfm").write_bytes(encode(spec, initialize(spec, 1)))
    np.save(tmp_path / "x.npy", np.ones((1, 60_000)))
    command = ["model", "run", str(tmp_path / "wide.tfm"), "--input", str(tmp_path / "x.npy")]
    command += ["-o", str(tmp_path / "y.npy")]
    assert run_command([*command, "--board", "mps2_an386"]) == 5
    arena_bytes = read_board("mps2_an386").arena_bytes
    assert f"too large for the arena of {arena_bytes} bytes" in capsys.readouterr().err
    assert run_command([*command, "--port", "unix:///nowhere"]) == 4
    assert run_command([*command, "--board", "nrf52840dk"]) == 2
    assert "cannot be emulated" in capsys.readouterr().err
    assert not (tmp_path / "y.npy").exists()
