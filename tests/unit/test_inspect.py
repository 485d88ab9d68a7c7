"""What `tinyfed model inspect` says of the published models and of images."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from streaming import delay_line
from tflite_models import models, path_of
from tinyfed_host.cli.main import run_command

from tinyfed.boards import read_board
from tinyfed.errors import UsageError
from tinyfed.model import encode, initialize, mlp, plan
from tinyfed.model.inspect import inspect

# Multiply-adds with padded taps: the table of MLPerf Tiny's and TFLM's models that CMSIS-NN was measured on.
MACS = {
    "kws_ref_model": 2_656_768,
    "pretrainedResnet_quant": 12_501_632,
    "ad01_int8": 264_192,
    "vww_96_int8": 7_489_664,
    "hello_world_int8": 288,
    "micro_speech_quantized": 336_000,
}


@pytest.mark.parametrize("name", MACS)
def test_multiply_adds(name: str) -> None:
    facts = inspect(path_of(name), [])
    assert facts.macs == MACS[name]
    assert facts.engine == "int8" and facts.format == "tflite, int8"


def test_parameters_of_a_known_network() -> None:
    # 1-16-16-1: 16 + 16, 256 + 16, 16 + 1 weights and biases
    facts = inspect(path_of("hello_world_int8"), [])
    assert [layer.parameters for layer in facts.layers] == [32, 272, 17]
    assert facts.inputs[0].zero_point == -128 and facts.outputs[0].zero_point == 5


def test_a_model_that_no_engine_runs_says_why() -> None:
    facts = inspect(path_of("audio_preprocessor_int8"), [read_board("mps2_an386")])
    assert facts.engine == "" and "SignalWindow" in facts.why_not
    assert facts.source not in facts.why_not
    assert facts.layers[0].macs is None
    assert facts.fits[0].inference.startswith("no")


def test_states_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.tflite").write_bytes(delay_line())
    assert run_command(["model", "inspect", str(tmp_path / "s.tflite")]) == 0
    assert 'state   "two": 3 bytes' in capsys.readouterr().out
    assert run_command(["model", "convert", str(tmp_path / "s.tflite"), "-o", str(tmp_path / "s.tfm")]) == 0
    assert [state.name for state in inspect(tmp_path / "s.tfm", []).states] == ["one", "two"]


def test_an_image_and_the_boards(tmp_path: Path) -> None:
    spec = mlp(120, (32, 32), 4, loss="softmax_cross_entropy")
    path = tmp_path / "model.tfm"
    path.write_bytes(encode(spec, initialize(spec, 1)))
    board = read_board("mps2_an386")
    facts = inspect(path, [board])
    # 120 x 32 + 32, 32 x 32 + 32, 32 x 4 + 4
    assert [layer.parameters for layer in facts.layers] == [3872, 1056, 132]
    assert facts.macs == 120 * 32 + 32 * 32 + 32 * 4
    (fit,) = facts.fits
    assert fit.training_bytes == plan(spec, "online").arena_bytes and fit.training == "yes"
    assert fit.inference_bytes == plan(spec, "infer").arena_bytes


def test_a_model_too_large_says_by_how_much() -> None:
    board = read_board("mps2_an386")
    (fit,) = inspect(path_of("ad01_fp32"), [board]).fits
    assert fit.training_bytes is not None
    assert fit.training == f"no: {fit.training_bytes - board.arena_bytes:,} bytes short"


def test_json_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["model", "inspect", str(path_of("kws_ref_model")), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["macs"] == MACS["kws_ref_model"] and facts["engine"] == "int8"
    assert facts["layers"][0]["kind"] == "CONV_2D" and facts["inputs"][0]["shape"] == [1, 49, 10, 1]
    assert run_command(["model", "inspect", str(path_of("audio_preprocessor_int8"))]) == 0
    assert "some operators are not counted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "reason"), [(b"PK\x03\x04....", "not a whole .keras file"), (b"whatever", "neither a model image, nor")]
)
def test_other_files_are_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=reason):
        inspect(path, [])


def test_a_second_is_enough_and_tensorflow_is_not_imported() -> None:
    """Every model. What is judged is work, which no load changes: calls and returns that the interpreter makes for the
    start and for the model itself. Two million took a second of one core with the counter (3.0 s for 6.1 million);
    the start took 0.7 million, the largest model 0.6 million."""
    program = (
        "import sys\n"
        "steps = 0\n"
        "def count(frame, event, argument):\n"
        "    global steps\n"
        "    steps += 1\n"
        "sys.setprofile(count)\n"
        "from tinyfed_host.cli.main import run_command\n"
        "for path in sys.argv[1:]:\n"
        "    code = run_command(['model', 'inspect', path])\n"
        "    print(code, steps, file=sys.stderr)\n"
        "sys.exit(bool({'tensorflow', 'keras', 'ai_edge_litert'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, *map(str, models())]
    done = subprocess.run(
        command, check=True, timeout=200, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    told = [line.split() for line in done.stderr.splitlines() if not line.startswith("reading ")]
    assert {code for code, _ in told} == {"0"} and len(told) == len(models())
    ends = [int(steps) for _, steps in told]
    # the first has the imports in it, which each would have alone
    most = max(ends[0], *(ends[0] + after - before for before, after in itertools.pairwise(ends)))
    assert 100_000 < most < 2_000_000
