"""Own data: numbers to learn, streams in order, other sensors. Simulated devices and emulated boards give the same
bits."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import require_tools
from run_helpers import ROOT, Command
from tinyfed_host.device.discovery import connect
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import start

from tinyfed.boards import Board, read_board
from tinyfed.data.recording import write_recording
from tinyfed.data.shard import write_shard
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.model import encode, initialize, mlp
from tinyfed.wire.order import Order

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


def sensor_board(folder: Path, name: str) -> Board:
    """A board with another sensor than the wrist's: its manifest alone says so."""
    manifest = json.loads((ROOT / f"boards/{name}.json").read_text())
    manifest["tinyfed"]["window"] = {
        "channels": 3, "rate_hz": 100, "group": 4, "steps": 25, "stride": 25,
        "mean": [0.1, -1, 9.81], "deviation": [1.5, 0.25, 3],
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(manifest))
    return read_board(name, folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mps2_an386", "native"])
def test_a_sensor_of_3_channels_at_100_hz_records_and_learns(tmp_path: Path, name: str) -> None:
    board = sensor_board(tmp_path, name)
    assert board.window is not None and board.emulator is not None
    require_tools(*([board.emulator.program] if board.emulator.program else []))
    mean, deviation = np.array(board.window.mean), np.array(board.window.deviation)
    takes = [np.random.default_rng(k).normal(mean + k, deviation, (1000, 3)) for k in range(2)]
    steps = [take.reshape(-1, 4, 3) for take in takes]
    samples = [((((s[:, 0] + s[:, 1]) + s[:, 2]) + s[:, 3]) / 4 - mean) / deviation for s in steps]
    shard = write_shard([each.reshape(-1, 75) for each in samples])  # 10 windows of each
    spec = mlp(75, (16,), 2, "relu", loss="softmax_cross_entropy")
    image = encode(spec, initialize(spec, 5))
    order = Order("shard", 2, 6, 0, seed=11, learning_rate=0.02, checkpoints=(0, 6), true_labels=True, in_time=True)
    with start(board, "0" * 23 + "7", sensor=write_recording(takes, 100, 200)) as emulated:
        device = connect(emulated.port)
        assert isinstance(device, RemoteDevice)
        try:
            for label in range(2):
                assert device.record(label, windows=10).counts == (10,) * (label + 1)
            assert (device.info.feature_count, device.info.class_count) == (75, 2)
            device.load(image)
            there = device.visit(None, order, want_weights=True)
        finally:
            device.close()
    simulated = SimulatedDevice(shard=shard)
    simulated.load(image)
    here = simulated.visit(None, order, want_weights=True)
    assert there.weights == here.weights
    assert there.result.checkpoints == here.result.checkpoints and here.result.checkpoints[-1].accuracy > 0.5
