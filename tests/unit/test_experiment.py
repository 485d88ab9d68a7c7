"""EXPERIMENT.toml: what is read, and that every mistake is told with its line."""

import importlib.util
from pathlib import Path

import pytest
from conftest import require
from hypothesis import given, settings
from hypothesis import strategies as st
from tinyfed_host import experiment, experiment_source

from tinyfed.errors import UsageError

ROOT = Path(__file__).parent.parent.parent
STRATEGIES = {"tinyreptile": {"alpha": 0.3}, "fedavg": {"clients": 4, "momentum": 0.0}}
BOARDS = ("mps2_an386", "raspberrypi")

GOOD = """rounds = 10
seed = 3

[model]
inputs = 1
loss = "mse"
layers = [
  { outputs = 8, activation = "tanh" },  # a comment, with [brackets]
  { outputs = 1 },
]

[task]
name = "sine"
shots = 5
learning_rate = 0.02

[strategy]
name = "tinyreptile"
alpha = 0.5

[fleet]
devices = 3
"""


def parse(text: str) -> experiment.Experiment:
    return experiment.parse(text, "x.toml", STRATEGIES, BOARDS)


def test_good_file() -> None:
    read = parse(GOOD)
    assert (read.rounds, read.seed) == (10, 3)
    assert [(layer.outputs, layer.activation) for layer in read.model.layers] == [(8, "tanh"), (1, "linear")]
    assert read.strategy.options == {"alpha": 0.5}
    assert read.fleet.boards == (experiment.DEFAULT_BOARD,) * 3
    task = read.task.make()
    assert (task.order.shots, task.order.learning_rate, task.adapt.learning_rate) == (5, 0.02, 0.02)


def test_json_and_back() -> None:
    read = parse(GOOD)
    assert experiment.from_json(read.to_json()) == read


@pytest.mark.parametrize("name", ["sine", "watch"])
def test_examples(name: str) -> None:
    if name == "watch":
        require(importlib.util.find_spec("seglearn"), "the watch data is in the package seglearn")
    read = experiment.load(ROOT / "examples" / f"{name}.toml", STRATEGIES, BOARDS)
    assert read.rounds >= 40


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("rounds = 10", "roudns = 10", 1, ["roudns", "rounds", "did you mean"]),
        ("rounds = 10", "rounds = 0", 1, ["rounds = 0", "1..10000000"]),
        ("rounds = 10", 'rounds = "10"', 1, ['"10"', "whole number"]),
        ("rounds = 10", "rounds = true", 1, ["true", "whole number"]),
        ("rounds = 10", "", 1, ["rounds is missing"]),
        ("seed = 3", "seed = -1", 2, ["seed = -1"]),
        ('loss = "mse"', 'loss = "mes"', 6, ["model.loss", '"mse"', "did you mean"]),
        ('loss = "mse"', 'loss = "softmax_cross_entropy"', 6, ["model.loss", "mse"]),
        ('activation = "tanh"', 'activation = "than"', 8, ["model.layers[0].activation", 'did you mean "tanh"?']),
        ("{ outputs = 1 }", "{ outputs = 2 }", 9, ["model.layers[1].outputs", "1 outputs"]),
        ("{ outputs = 1 }", "{ outptus = 1 }", 9, ["model.layers[1].outptus", 'did you mean "outputs"?']),
        ("{ outputs = 1 }", "{ }", 9, ['"outputs" is missing', "1..65535"]),
        ("inputs = 1", "inputs = 2", 5, ["model.inputs = 2", "1 values"]),
        ('name = "sine"', 'name = "sin"', 13, ["task.name", "sine"]),
        ("shots = 5", "shots = 0", 14, ["task.shots = 0", "1..1024"]),
        ("shots = 5", "ways = 5", 14, ["task.ways", "allowed: clients, held_out, learning_rate, name, passes"]),
        ("shots = 5", 'clients = "four"', 14, ["task.clients", "'four'", "from 1 to 100000"]),
        ("shots = 5", "clients = true", 14, ["task.clients = true", "whole number"]),
        ("shots = 5", "clients = 0", 14, ["task.clients", "from 1 to 100000"]),
        ("learning_rate = 0.02", "learning_rate = 0", 15, ["above 0"]),
        ("learning_rate = 0.02", "learning_rate = nan", 15, ["above 0"]),
        ("alpha = 0.5", "alhpa = 0.5", 19, ["strategy.alhpa", 'did you mean "alpha"?']),
        ("alpha = 0.5", 'alpha = "much"', 19, ['strategy.alpha = "much"', "a number"]),
        ('name = "tinyreptile"', 'name = "reptile"', 18, ["strategy.name", 'did you mean "tinyreptile"?']),
        ("devices = 3", "devices = 0", 22, ["fleet.devices = 0"]),
        ("devices = 3", "boards = { mps2_an368 = 3 }", 22, ["mps2_an368", 'did you mean "mps2_an386"?']),
        ("devices = 3", "devices = 3\nboards = { mps2_an386 = 2 }", 22, ["fleet.boards has 2"]),
        ("[fleet]", "[flet]", 21, ["flet", 'did you mean "fleet"?']),
        ("[model]", "[[model]]", 4, ["model", "must be a table"]),
        ("layers = [", "layers = [ 3,", 7, ["model.layers", "a list of tables"]),
        ("shots = 5", "shots = = 5", 14, ["not TOML"]),
    ],
)
def test_mistake_is_told_with_its_line(old: str, new: str, line: int, words: list[str]) -> None:
    assert old in GOOD
    with pytest.raises(UsageError) as caught:
        parse(GOOD.replace(old, new, 1))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"x.toml:{line}: "), message
    for word in words:
        assert word in message, message


def test_missing_table_and_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.toml:1: \[strategy\] is missing"):
        parse(GOOD.replace("[strategy]", "[fleet.x]").replace('name = "tinyreptile"', "").replace("alpha = 0.5", ""))
    with pytest.raises(UsageError, match="no such file"):
        experiment.load(tmp_path / "none.toml", STRATEGIES, BOARDS)


def test_override() -> None:
    changed = experiment.override(parse(GOOD), kind="emulated", board="raspberrypi", rounds=4, seed=9)
    assert (changed.rounds, changed.seed) == (4, 9)
    assert (changed.fleet.kind, changed.fleet.boards) == ("emulated", ("raspberrypi",) * 3)
    with pytest.raises(UsageError, match='did you mean "emulated"'):
        experiment.override(parse(GOOD), kind="emulate")
    with pytest.raises(UsageError, match="--port"):
        experiment.override(parse(GOOD), kind="ports")


def test_lines_of_awkward_toml() -> None:
    table = experiment_source.parse(
        'a."b c".d = """\nx = 1\n"""  # comment\n[[t]]\nk = [\n  1, # one\n  [2,\n   3],\n]\n[[t]]\n'
        's = { x = \'it\\\', y = {z = "a\\"]"} }\n[t.u]\nv = 2024-01-01T00:00:00Z\n',
        "x.toml",
    )
    lines = table.source.lines
    assert lines["a", "b c", "d"] == 1
    assert (lines["t", 0], lines["t", 1], lines["t", 0, "k", 1, 1]) == (4, 10, 8)
    assert (lines["t", 1, "s", "y", "z"], lines["t", 1, "u"], lines["t", 1, "u", "v"]) == (11, 12, 13)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_is_one_line(data: st.DataObject) -> None:
    """Whatever is cut out of or put into the file: it is read, or refused in one line."""
    start = data.draw(st.integers(0, len(GOOD)))
    length = data.draw(st.integers(0, 12))
    put = data.draw(st.text("\"'[]{}=#.,\n abc019-_\\", max_size=6))
    try:
        parse(GOOD[:start] + put + GOOD[start + length :])
    except UsageError as error:
        assert "\n" not in str(error).replace("\\n", "")
        assert str(error).startswith("x.toml:")
