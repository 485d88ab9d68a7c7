"""`tinyfed model plan`: the numbers of the plan, the board's answer, and what would fit instead."""

import json

import pytest
from tflite_models import path_of
from tinyfed_host.bench.nets import SPECS
from tinyfed_host.cli.model import app
from typer.testing import CliRunner

from tinyfed.boards import read_board
from tinyfed.errors import DoesNotFitError, UsageError
from tinyfed.model import Add, Conv2D, Dense, Flatten, ModelSpec, ScaleShift, encode, initialize, mlp, plan
from tinyfed.model.convert import read_model
from tinyfed.model.plan import summarize


def invoke(*arguments):
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


def test_the_layers_of_a_residual_net():
    layers = (Conv2D(4, 3, padding="same"), ScaleShift(trainable=False), Add(1, "relu"), Flatten(), Dense(2))
    rows = summarize(ModelSpec((6, 6, 1), layers))
    assert [row.multiply_adds for row in rows] == [36 * 9 * 4, 36 * 4, 0, 0, 144 * 2]
    assert [row.learns for row in rows] == ["all", "", "", "", "all"]
    assert rows[3].activation_bytes == 0 and rows[0].activation_bytes == 4 * 144
    assert rows[4].activation_bytes == 16


def test_the_benchmark_cnn_has_the_multiply_adds_of_its_figure():
    forward = sum(row.multiply_adds for row in summarize(SPECS["cnn-omniglot"]))
    # 169 pixels x 9 x 8, 36 x 72 x 16, 576 x 5; backward twice that, without the first layer's input.
    assert forward == 12168 + 41472 + 2880
    assert 3 * forward - 12168 == 157392


def test_plan_prints_what_the_plan_says(tmp_path):
    spec = mlp(3, (8,), 2)
    path = tmp_path / "net.tfm"
    path.write_bytes(encode(spec, initialize(spec, 0)))
    result = invoke(path, "--board", "mps2_an386", "--json")
    assert result.exit_code == 0, result.output
    *layers, facts = [json.loads(line) for line in result.output.splitlines()]
    assert [layer["parameters"] for layer in layers] == [32, 18]
    assert facts["arena_bytes"] == plan(spec).arena_bytes and facts["fits"] is True
    assert facts["left_bytes"] == facts["board_arena_bytes"] - facts["arena_bytes"]
    board = read_board(facts["board"])
    assert board.budget is not None
    flash_bytes = board.memory["flash"].size_bytes
    assert facts["flash_left_bytes"] == flash_bytes - board.budget.flash_bytes - facts["flash_bytes"]
    assert "arena, image and work" in invoke(path, "--optimizer", "adam", "--trainable", "1").output


def test_a_model_that_does_not_fit_says_what_would(tmp_path):
    spec = mlp(40, (600, 30), 4)
    path = tmp_path / "net.tfm"
    path.write_bytes(encode(spec, initialize(spec, 0)))
    result = invoke(path, "--board", "mps2_an386", "--optimizer", "adam")
    assert isinstance(result.exception, DoesNotFitError)
    short = plan(spec, "batch_adam").arena_bytes - read_board("mps2_an386").arena_bytes
    assert f"{short:,} too small" in str(result.exception)
    assert "train online" in str(result.exception)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optimizer", "lion"], '--optimizer = "lion": must be one of'),
        (["--batch", "0"], "--batch = 0: must be"),
        (["--trainable", "7"], r"layers \[7\] have no parameters"),
    ],
)
def test_wrong_options_are_one_line(options, message):
    result = invoke("mlp-relu", *options)
    assert isinstance(result.exception, UsageError)
    import re

    assert re.search(message, str(result.exception))


def test_an_int8_model_is_planned_for_inference():
    path = path_of("kws_ref_model")
    result = invoke(path, "--infer", "--board", "mps2_an386", "--json")
    assert result.exit_code == 0, result.output
    *operators, facts = [json.loads(line) for line in result.output.splitlines()]
    assert facts["arena_bytes"] == facts["work_bytes"] == read_model(path).plan.work_bytes and facts["fits"] is True
    first = operators[0]
    assert (first["kind"], first["shape"], first["byte_count"]) == ("conv", [25, 5, 64], 25 * 5 * 64)
    assert "work area" in invoke(path, "--infer").output
    assert invoke(path).exception.remedy == "--infer plans an inference"
