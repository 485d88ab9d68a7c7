"""docs/howto-strategy.md and docs/howto-own-data.md, run as they stand."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from test_folder import csv
from tinyfed_host.experiment import file

from tinyfed import meta
from tinyfed.errors import UsageError
from tinyfed.meta.strategy import Reply, State
from tinyfed.wire.order import Order, Result

RESULT = Result(4, 1.0, 1.0, 0, 0, 0, ())


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)
    assert found
    return found


def test_the_strategy_of_the_page_learns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the name that the page registers, too.

    v = 0.5 * 0 + ((1, 2) - (3, 0)) = (-2, 2), w = (3, 0); then v = (-1, 1) + ((3, 0) - (3, 0)), w = (4, -1)."""
    code = blocks("howto-strategy.md", "python")
    names: dict[str, object] = {"__name__": "howto"}
    exec(compile(code[0], "howto-strategy.md", "exec"), names)
    assert len(code[0].splitlines()) <= 50
    order = Order("shard", 2, 1, 0, 0, 0.1)
    strategy = names["FedAvgM"](order, 10, beta=0.5)  # type: ignore[operator]
    state = strategy.begin(np.array([1, 2], np.float32), 3)
    state = strategy.aggregate(state, [Reply("a", RESULT, np.array([3, 0], np.float32))])
    assert state.weights.array.tolist() == [3.0, 0.0]
    state = State.restore(state.document(), state.arrays())
    state = strategy.aggregate(state, [Reply("a", RESULT, np.array([3, 0], np.float32))])
    assert state.weights.array.tolist() == [4.0, -1.0] and state.round == 2
    exec(compile(code[1], "howto-strategy.md", "exec"), names)
    module = types.ModuleType("tinyfed.meta.fedavgm")
    module.__dict__["FedAvgM"] = names["FedAvgM"]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    registered = re.search(r'^    "(\w+)": "([\w.:]+)",$', (ROOT / "docs" / "howto-strategy.md").read_text(), re.M)
    assert registered is not None
    monkeypatch.setitem(meta._STRATEGIES, *registered.groups())
    assert meta.options("fedavgm") == {"beta": 0.9, "devices": 4}
    assert meta.make("fedavgm", order, 10, beta=0.5) == strategy
    with pytest.raises(UsageError, match=r"beta = 1\.5: must be a number above 0, at most 1"):
        meta.make("fedavgm", order, 10, beta=1.5)
    assert re.match(r"\{0: \d+\.\d+, 8: \d+\.\d+, 32: \d+\.\d+\}", capsys.readouterr().out)


def test_the_experiment_of_the_page_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train/anna", "train/bert", "held_out/cleo"):
        csv(tmp_path / f"mydata/{name}.csv", header="x,label,y")
    text = blocks("howto-own-data.md", "toml")[0].replace("inputs = 3", "inputs = 2")
    monkeypatch.chdir(tmp_path)
    read = file.parse(text, "mydata.toml", ["mps2_an386"])
    assert read.task.make().classes == ("a", "b")
