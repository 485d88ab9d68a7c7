"""EXPERIMENT.toml: what is read, and that every mistake is told with its line."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import require
from hypothesis import given, settings
from hypothesis import strategies as st
from tinyfed_host.experiment import file, schema, stored, toml
from tinyfed_host.run.parts import Parts

from tinyfed.errors import UsageError
from tinyfed.model import Add, AveragePool, Conv2D, MaxPool, encode, initialize, mlp, read_weights

ROOT = Path(__file__).parent.parent.parent
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


def parse(text: str) -> schema.Experiment:
    return file.parse(text, "x.toml", BOARDS)


def test_good_file() -> None:
    read = parse(GOOD)
    assert (read.rounds, read.seed) == (10, 3)
    assert [(layer["outputs"], layer["activation"]) for layer in read.model.layers] == [(8, "tanh"), (1, "linear")]
    assert read.strategy.options == {"alpha": 0.5}
    assert read.fleet.boards == (schema.DEFAULT_BOARD,) * 3
    task = read.task.make()
    assert (task.order.shots, task.order.learning_rate, task.adapt.learning_rate) == (5, 0.02, 0.02)


def test_json_and_back() -> None:
    read = parse(GOOD)
    assert stored.read_stored(json.loads(json.dumps(read.to_json())), "r", b"", BOARDS) == read


@pytest.mark.parametrize("name", ["sine", "watch"])
def test_examples(name: str) -> None:
    if name == "watch":
        require(importlib.util.find_spec("seglearn"), "the watch data is in the package seglearn")
    read = file.load(ROOT / "examples" / f"{name}.toml", BOARDS)
    assert read.rounds >= 40


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("rounds = 10", "roudns = 10", 1, ["roudns", "rounds", "did you mean"]),
        ("rounds = 10", "rounds = 0", 1, ["rounds = 0", "1..10000000"]),
        ("rounds = 10", 'rounds = "10"', 1, ['"10"', "whole number"]),
        ("rounds = 10", "rounds = true", 1, ["true", "whole number"]),
        ("rounds = 10", "", 1, ["rounds: is missing"]),
        ("seed = 3", "seed = -1", 2, ["seed = -1"]),
        ('loss = "mse"', 'loss = "mes"', 6, ["model.loss", '"mse"', "did you mean"]),
        ('loss = "mse"', 'loss = "softmax_cross_entropy"', 6, ["model.loss", "mse"]),
        ('activation = "tanh"', 'activation = "than"', 8, ["model.layers[0].activation", 'did you mean "tanh"?']),
        ("{ outputs = 1 }", "{ outputs = 2 }", 9, ["model.layers[1].outputs", "1 outputs"]),
        ("{ outputs = 1 }", "{ outptus = 1 }", 9, ["model.layers[1].outptus", 'did you mean "outputs"?']),
        ("{ outputs = 1 }", "{ }", 9, ["model.layers[1].outputs: is missing", "1..65535"]),
        ("inputs = 1", "inputs = 2", 5, ["model.inputs = 2", "1 values"]),
        ('name = "sine"', 'name = "sin"', 13, ["task.name", "sine"]),
        ("shots = 5", "shots = 0", 14, ["task.shots = 0", "1..1024"]),
        ("shots = 5", "ways = 5", 14, ["task.ways", "allowed: clients, held_out, learning_rate, name, passes"]),
        ("shots = 5", 'clients = "four"', 14, ["task.clients", '"four"', "1..100000"]),
        ("shots = 5", "clients = true", 14, ["task.clients = true", "whole number"]),
        ("shots = 5", "clients = 0", 14, ["task.clients = 0", "1..100000"]),
        ("learning_rate = 0.02", "learning_rate = 0", 15, ["task.learning_rate = 0", "1.2e-38..1000"]),
        ("learning_rate = 0.02", "learning_rate = nan", 15, ["task.learning_rate = nan", "1.2e-38..1000"]),
        ("learning_rate = 0.02", "learning_rate = 1e-40", 15, ["task.learning_rate = 1e-40", "1.2e-38..1000"]),
        ("learning_rate = 0.02", "learning_rate = 1" + "0" * 400, 15, ["000...: must be a number, 1.2e-38..1000"]),
        ("alpha = 0.5", "alhpa = 0.5", 19, ["strategy.alhpa", 'did you mean "alpha"?']),
        ("alpha = 0.5", 'alpha = "much"', 19, ['strategy.alpha = "much"', "a number"]),
        ('name = "tinyreptile"', 'name = "tinyreptil"', 18, ["strategy.name", 'did you mean "tinyreptile"?']),
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


@pytest.mark.parametrize(
    ("strategy", "line", "said"),
    [
        ('name = "tinyreptile"\nalpha = 0', 19, "strategy.alpha = 0: must be a number above 0, at most 1"),
        ('name = "fedprox"\n\nmu = 1e-40', 20, "strategy.mu = 1e-40: must be 0, or a number, 1.2e-38..1000"),
        ('name = "fedprox"\nmu = -0.1', 19, "strategy.mu = -0.1: must be 0, or a number, 1.2e-38..1000"),
        ('name = "fedavg"\nstaleness = -1', 19, "strategy.staleness = -1: must be a number, 0..100"),
        ('name = "fedavg"\nbatch = -1', 19, "strategy.batch = -1: must be a whole number, 0..65535"),
        ('name = "fedavg"\nbatch = 1.5', 19, "strategy.batch = 1.5: must be a whole number"),
        ('name = "fedavg"\nstaleness = inf', 19, "strategy.staleness = inf: must be a number"),
        (f'name = "fedavg"\nstaleness = 1{"0" * 400}', 19, f"strategy.staleness = 1{'0' * 36}...: must be a number"),
        (
            'name = "reptile"\nupdate = "online"',
            19,
            'strategy.update = "online": has no batches: set batch to 0, not 10',
        ),
        (
            'name = "reptile"\nlocal_last = 2',
            19,
            "strategy.local_last = 2: the model has 2 layers with parameters: leave",
        ),
        (
            'name = "tinymetafed"\nalpha = 0.5\nlocal_layers = 9',
            20,
            "strategy.local_layers = 9: the model has 2 layers with parameters: leave one that is shared",
        ),
        (
            'name = "tinymetafed"\nlocal_layers = 300',
            19,
            "strategy.local_layers = 300: must be a whole number, 0..255",
        ),
        (
            'name = "tinymetafed"\nreconstruct = 6',
            19,
            "strategy.reconstruct = 6: must be a whole number, 0..5",
        ),
        (
            'name = "fomaml"\nlocal_last = 1\nzero_last = 5',
            20,
            "strategy.zero_last = 5: the layers of local_last = 1 have 9 parameters: set it to 9",
        ),
        ('name = "fomaml"\nzero_last = 99', 19, "strategy.zero_last = 99: the model has 25 parameters"),
    ],
)
def test_options_of_a_strategy_are_told_with_their_line_and_range(strategy: str, line: int, said: str) -> None:
    """GOOD's model has 8 + 8 parameters, then 8 + 1; its visit 5 samples."""
    text = GOOD.replace('name = "tinyreptile"\nalpha = 0.5', strategy)
    with pytest.raises(UsageError) as caught:
        file.parse(text, "x.toml", BOARDS)
    assert str(caught.value).startswith(f"x.toml:{line}: {said}")


def test_what_no_option_in_the_file_is_to_blame_for_is_told_at_the_section() -> None:
    """TinyMetaFed rebuilds its layers with 2 samples unless told otherwise; a visit of 1 has not as many."""
    text = GOOD.replace("shots = 5", "shots = 1").replace('name = "tinyreptile"', 'name = "tinymetafed"')
    with pytest.raises(UsageError, match=r"^x.toml:17: strategy.reconstruct = 2: must be a whole number, 0..1$"):
        file.parse(text, "x.toml", BOARDS)


def test_missing_table_and_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.toml:1: strategy: is missing, must be a table, written \[strategy\]"):
        parse(GOOD.replace("[strategy]", "[fleet.x]").replace('name = "tinyreptile"', "").replace("alpha = 0.5", ""))
    with pytest.raises(UsageError, match="no such file"):
        file.load(tmp_path / "none.toml", BOARDS)


CONVOLUTIONS = """rounds = 1
[model]
inputs = [4, 6, 1]
loss = "softmax_cross_entropy"
layers = [
  { kind = "conv2d", filters = 3, kernel = 3, padding = "same", activation = "relu" },
  { kind = "depthwise", kernel = 3, padding = "same" },
  { kind = "scale", activation = "relu" },
  { kind = "add", layer = 0 },
  { kind = "max_pool", size = 2 },
  { kind = "average_pool", size = 2, strides = 1, padding = "same" },
  { kind = "global_average_pool" },
  { outputs = 4 },
]
[task]
name = "folder"
path = "PATH"
[strategy]
name = "tinyreptile"
"""


def test_a_folder_of_samples_is_from_the_experiments_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path)
    text = GOOD.replace('name = "sine"', 'name = "folder"\npath = "data"').replace("inputs = 1", "inputs = 2")
    for path in (Path("project/x.toml"), tmp_path / "project/x.toml"):
        (tmp_path / path).write_text(text)
        with pytest.raises(UsageError) as caught:
            file.load(path, BOARDS)
        assert f"{tmp_path}/project/data/train is no folder" in str(caught.value)


def read_convolutions(tmp_path: Path, old: str = "", new: str = "") -> schema.Experiment:
    """The file above on made-up samples of 24 values in 4 classes."""
    for client in ("train/a", "held_out/b"):
        (tmp_path / client).parent.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        np.savez(tmp_path / f"{client}.npz", x=rng.normal(size=(80, 24)).astype(np.float32), y=np.arange(80) % 4)
    assert old in CONVOLUTIONS
    return parse(CONVOLUTIONS.replace(old, new, 1).replace("PATH", str(tmp_path)))


def test_convolutions(tmp_path: Path) -> None:
    read = read_convolutions(tmp_path)
    spec = read.model.spec
    assert spec.shapes[0] == (4, 6, 1) and spec.shapes[5] == (2, 3, 3) and spec.output_shape == (4,)
    assert spec.layers[0] == Conv2D(3, 3, padding="same", activation="relu") and spec.layers[3] == Add(1)
    assert spec.layers[4] == MaxPool(2) and spec.layers[5] == AveragePool(2, 1, "same")
    assert stored.read_stored(json.loads(json.dumps(read.to_json())), "r", b"", BOARDS) == read


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('"conv2d"', '"conv3d"', 6, ["model.layers[0].kind", 'did you mean "conv2d"?']),
        ("filters = 3", "outputs = 3", 6, ["model.layers[0].outputs", "filters"]),
        ("filters = 3", "filters = 0", 6, ["model.layers[0].filters = 0", "1..65535"]),
        ("kernel = 3, padding", "kernel = 3, strides = 0, padding", 6, ["model.layers[0].strides = 0"]),
        ('"same", activation', '"some", activation', 6, ["padding", 'did you mean "same"?']),
        ("filters = 3, kernel = 3, ", "filters = 3, ", 6, ["model.layers[0].kernel: is missing"]),
        ("layer = 0", "layer = 3", 9, ["model.layers[3].layer = 3", "0..2"]),
        ("size = 2 }", "size = 9 }", 10, ["model.layers[4]"]),
        ("inputs = [4, 6, 1]", "inputs = [4, 6, true]", 3, ["model.inputs", "[28, 28, 1]"]),
        ("inputs = [4, 6, 1]", "inputs = [4, 7, 1]", 3, ["model.inputs", "has 24 values"]),
        ("inputs = [4, 6, 1]", "inputs = 24", 6, ["model.layers[0]"]),
        ("outputs = 4", "outputs = 5", 13, ["model.layers[7].outputs = 5", "4 outputs"]),
    ],
)
def test_mistake_in_a_layer_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, words: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        read_convolutions(tmp_path, old, new)
    message = str(caught.value)
    assert message.startswith(f"x.toml:{line}: ") and "\n" not in message, message
    for word in words:
        assert word in message, message


def test_model_from_an_image(tmp_path: Path) -> None:
    """The file is looked for beside the experiment; what a run starts from are its weights."""
    spec = mlp(1, (8,), 1)
    weights = initialize(spec, 5)
    (tmp_path / "start.tfm").write_bytes(encode(spec, weights))
    text = GOOD[: GOOD.index("inputs")] + 'image = "start.tfm"\n' + GOOD[GOOD.index("[task]") :]
    read = file.parse(text, str(tmp_path / "x.toml"), BOARDS)
    parts = Parts.make(read)
    assert parts.spec == spec and read_weights(parts.image).tobytes() == weights.tobytes()
    (tmp_path / "start.tfm").unlink()
    kept = stored.read_stored(json.loads(json.dumps(read.to_json())), "r", parts.image, BOARDS)
    assert kept == read
    assert Parts.make(kept, parts.image).image == parts.image, "a run that goes on needs the file no more"
    with pytest.raises(UsageError, match=r"x\.toml:5: model\.image: .*cannot be read"):
        file.parse(text, str(tmp_path / "x.toml"), BOARDS)
    (tmp_path / "start.tfm").write_bytes(b"TFM1")
    with pytest.raises(UsageError, match=r"x\.toml:5: model\.image: model image: "):
        file.parse(text, str(tmp_path / "x.toml"), BOARDS)
    other = mlp(2, (8,), 1)
    (tmp_path / "start.tfm").write_bytes(encode(other, initialize(other, 5)))
    with pytest.raises(UsageError, match=r"x\.toml:5: model\.image: 2 inputs: a sample of the sine task has 1"):
        file.parse(text, str(tmp_path / "x.toml"), BOARDS)
    with pytest.raises(UsageError, match=r"x\.toml:\d+: model\.loss: no such key; allowed: image"):
        parse(GOOD.replace("[model]", '[model]\nimage = "start.tfm"').replace("inputs = 1\n", ""))


def test_override() -> None:
    changed = schema.override(parse(GOOD), kind="emulated", board="raspberrypi", rounds=4, seed=9)
    assert (changed.rounds, changed.seed) == (4, 9)
    assert (changed.fleet.kind, changed.fleet.boards) == ("emulated", ("raspberrypi",) * 3)
    with pytest.raises(UsageError, match='did you mean "emulated"'):
        schema.override(parse(GOOD), kind="emulate")
    with pytest.raises(UsageError, match="--port"):
        schema.override(parse(GOOD), kind="ports")


def test_lines_of_awkward_toml() -> None:
    table = toml.parse(
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
