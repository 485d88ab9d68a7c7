"""Numbers to learn and streams in order, from own data: the same bits on simulated devices and on emulated boards."""

from pathlib import Path

import numpy as np
import pytest
from conftest import require_tools
from run_helpers import Command

EXPERIMENT = """
rounds = 9
[model]
inputs = 3
loss = "{loss}"
layers = [{{ outputs = 8, activation = "relu" }}, {{ outputs = 2 }}]
[task]
name = "folder"
path = "data"
{task}
order = "stream"
shots = 12
[strategy]
name = "tinyreptile"
alpha = 0.3
[fleet]
devices = 2
"""


def write_people(folder: Path) -> None:
    """29 rows each, so that visits of 12 wrap at other places each time."""
    for number, name in enumerate(("train/anna", "train/bert", "train/cora", "held_out/dora")):
        rng = np.random.default_rng(number)
        x = rng.normal(size=(29, 3))
        lines = [f"{a},{b},{c},{20 + 5 * a - number},{b * c},{'up' if a > 0 else 'down'}" for a, b, c in x.tolist()]
        path = folder / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x0,x1,x2,t1,t2,label\n" + "\n".join(lines) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "task"),
    [
        ("mse", 'target = ["t1", "t2"]\ndrop = "label"'),
        ("softmax_cross_entropy", 'drop = ["t1", "t2"]'),
    ],
)
def test_targets_and_streams_give_the_same_bits(tmp_path: Path, loss: str, task: str) -> None:
    """Three clients in turn on two devices, so that each device is given others' samples that go on elsewhere."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    tinyfed = Command(tmp_path)
    write_people(tmp_path / "data")
    (tmp_path / "e.toml").write_text(EXPERIMENT.format(loss=loss, task=task))
    found = []
    for fleet in ("simulated", "emulated"):
        tinyfed("run", "e.toml", "--fleet", fleet, "--name", fleet, "--no-evaluate", "--json").result()
        found.append([entry["weights_sha256"] for entry in tinyfed.metrics(fleet)])
    assert len(set(found[0])) == 9 and found[0] == found[1]
    shuffled = EXPERIMENT.format(loss=loss, task=task).replace('"stream"', '"shuffled"')
    if loss == "mse":
        (tmp_path / "s.toml").write_text(shuffled)
        tinyfed("run", "s.toml", "--fleet", "emulated", "--name", "s", "--no-evaluate", "--json").result()
        tinyfed("run", "s.toml", "--name", "t", "--no-evaluate", "--json").result()
        each = [[entry["weights_sha256"] for entry in tinyfed.metrics(name)] for name in "st"]
        assert each[0] == each[1] != found[0]
    judged = tinyfed("evaluate", "simulated", "--beside", "random", "--fleet", "emulated", "--json").result()
    assert judged["confirmed"]["visits"] > 0
