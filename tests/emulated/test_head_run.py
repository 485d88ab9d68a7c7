"""`tinyfed run` of a frozen int8 network with a head that learns: a fleet trains the head as it does any model, to the
same bits on simulated devices and on emulated boards; a class is added to what it learned."""

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, require_tools
from run_helpers import Command

from tinyfed.boards import read_board
from tinyfed.model import read_weights
from tinyfed.model.image import read_frozen

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from tflite_models import path_of

WORDS = ("up", "down", "left", "right")
PARAMETERS = 64 + 64 + 1 + 65 * 4  # mean, variance and count of 64 features; a dense layer of 4 classes
STRATEGIES = {
    "tinyreptile": 'name = "tinyreptile"\nalpha = 0.5',
    "fedavg": 'name = "fedavg"\ndevices = 2\nbatch = 2',
}


@pytest.fixture
def tinyfed(tmp_path: Path) -> Command:
    """A folder with clients' sounds: a pattern each, louder or softer by client, and noise."""
    require_tools(read_board("mps2_an386").compiler.prefix + "gcc", "qemu-system-arm")
    rng = np.random.default_rng(21)
    patterns = rng.normal(0, 40, (len(WORDS), 49, 10, 1))
    for part, clients in (("train", "abc"), ("held_out", "d")):
        for count in (3, 4):
            folder = tmp_path / f"sounds{count}" / part
            folder.mkdir(parents=True)
            for client in clients:
                y = np.repeat(np.arange(count), 5)
                x = rng.uniform(0.6, 1.4) * patterns[y] + rng.normal(0, 15, (len(y), 49, 10, 1))
                np.savez(folder / f"{client}.npz", x=x.astype(np.float32), y=np.array(WORDS)[y])
    return Command(tmp_path)


def experiment(tinyfed: Command, name: str, image: str, classes: int, strategy: str, rounds: int) -> str:
    text = f"""
        rounds = {rounds}
        seed = 4
        [model]
        image = "{image}"
        [task]
        name = "folder"
        path = "{tinyfed.folder}/sounds{classes}"
        standardize = 0
        shots = 2
        queries = 2
        learning_rate = 0.05
        [strategy]
        {STRATEGIES[strategy]}
        [fleet]
        boards = {{ mps2_an386 = 2 }}
    """
    (tinyfed.folder / f"{name}.toml").write_text(text)
    return f"{name}.toml"


def run_everywhere(tinyfed: Command, file: str, rounds: int) -> Path:
    """Both fleets' runs have the same bits after each round; the model they learned."""
    shas = []
    for kind in ("simulated", "emulated"):
        result = tinyfed("run", file, "--fleet", kind, "--name", f"{file}-{kind}", "--json").result()
        assert result["rounds"] == rounds
        shas.append([entry["weights_sha256"] for entry in tinyfed.metrics(f"{file}-{kind}")])
        assert shas[-1][-1] == result["weights_sha256"]
    assert shas[0] == shas[1] and len(set(shas[0])) == rounds
    models = [tinyfed.folder / "runs" / f"{file}-{kind}" / "model.tfm" for kind in ("simulated", "emulated")]
    assert models[0].read_bytes() == models[1].read_bytes()
    return models[1]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_fleet_trains_the_head_alone(tinyfed: Command, strategy: str) -> None:
    base = path_of("kws_ref_model")
    tinyfed("model", "attach-head", base, "--classes", "4", "-o", "words.tfm", "--json").result()
    before = (tinyfed.folder / "words.tfm").read_bytes()
    after = run_everywhere(tinyfed, experiment(tinyfed, "words", "words.tfm", 4, strategy, 4), 4).read_bytes()
    assert read_frozen(after) == read_frozen(before) and len(read_frozen(before)) > 30_000
    assert read_weights(before).size == PARAMETERS
    assert not np.array_equal(read_weights(after), read_weights(before))
    visits = [visit for entry in tinyfed.metrics("words.toml-emulated") for visit in entry["visits"]]
    assert visits
    for visit in visits:  # the head's values, the order, the result, and what a slow machine makes them repeat
        for way in ("bytes_down", "bytes_up"):
            assert 4 * PARAMETERS < visit[way] < 12 * PARAMETERS < len(read_frozen(before)) / 6
    assert min(visit["bytes_down"] for visit in visits) < 4 * PARAMETERS + 400


@pytest.mark.slow
def test_a_class_is_added_to_what_a_fleet_learned(tinyfed: Command) -> None:
    """Three words are learned, a fourth is added by the command, and all four are learned on the boards."""
    base = path_of("kws_ref_model")
    tinyfed("model", "attach-head", base, "--classes", "3", "-o", "three.tfm", "--json").result()
    learned = run_everywhere(tinyfed, experiment(tinyfed, "three", "three.tfm", 3, "fedavg", 3), 3)
    facts = tinyfed("model", "attach-head", learned, "--classes", "4", "-o", "four.tfm", "--json").result()
    assert facts["classes"] == 4 and facts["parameters"] == PARAMETERS
    four, three = (tinyfed.folder / "four.tfm").read_bytes(), learned.read_bytes()
    assert read_frozen(four) == read_frozen(three)
    # the statistics and the three words' columns are what was learned; the fourth's begin at zero
    assert np.array_equal(read_weights(four)[:129], read_weights(three)[:129])
    grown = read_weights(four)[129:].reshape(65, 4)
    assert np.array_equal(grown[:, :3], read_weights(three)[129:].reshape(65, 3)) and not grown[:, 3].any()
    after = run_everywhere(tinyfed, experiment(tinyfed, "four", "four.tfm", 4, "fedavg", 4), 4)
    assert correct(tinyfed, after) > correct(tinyfed, tinyfed.folder / "four.tfm") + 0.15
    assert correct(tinyfed, after, word=3) > 0.7


def correct(tinyfed: Command, model: Path, word: int | None = None) -> float:
    """Share of the unheard client's sounds that are told right, by `tinyfed model run`."""
    with np.load(tinyfed.folder / "sounds4" / "held_out" / "d.npz") as sounds:
        chosen = [k for k, name in enumerate(sounds["y"]) if word is None or name == WORDS[word]]
        np.save(tinyfed.folder / "x.npy", sounds["x"][chosen])
        # the task sorts the classes' names
        expected = np.searchsorted(sorted(WORDS), sounds["y"][chosen])
    tinyfed("model", "run", model, "--input", "x.npy", "-o", "y.npy", "--json").result()
    return float(np.mean(np.load(tinyfed.folder / "y.npy").argmax(axis=1) == expected))
