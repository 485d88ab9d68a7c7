"""What shorter weights cost and save: bytes of a visit, and what is learned. Prints a Markdown table.

    python studies/encodings.py [--way down|up] [--rounds 3000] [--seeds 5] [--measured 24]

Learns `examples/sine.toml` on simulated devices under each encoding and with each seed, lets unseen devices adapt, and
counts the bytes on the line of emulated boards.
"""

import argparse
import dataclasses
import statistics
import tempfile
from pathlib import Path

import numpy as np
from tinyfed_host.experiment.schema import Experiment
from tinyfed_host.run.parts import make_fleet, read_experiment
from tinyfed_host.run.run import Run

from tinyfed.device.simulated import SimulatedDevice
from tinyfed.tasks.task import Task
from tinyfed.wire.encodings import NAMES

EXAMPLE = Path(__file__).parent.parent / "examples" / "sine.toml"
NEWCOMERS = 200


def with_encoding(experiment: Experiment, way: str, name: str, kind: str, rounds: int, seed: int = 1) -> Experiment:
    written = {"encoding" if way == "down" else "answer": name}
    return dataclasses.replace(
        experiment,
        seed=seed,
        rounds=rounds,
        fleet=dataclasses.replace(experiment.fleet, kind=kind),
        round=dataclasses.replace(experiment.round, **written),  # type: ignore[arg-type]
    )


def adapted_loss(task: Task, image: bytes) -> float:
    """Mean squared error after one pass, over devices that were not there in training."""
    device = SimulatedDevice()
    losses = []
    for number in range(NEWCOMERS):
        device.load(image)
        order = dataclasses.replace(task.adapt, seed=1_000_000 + number)
        losses.append(device.visit(None, order, want_weights=False).result.checkpoints[-1].loss)
    return float(np.mean(losses))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", choices=("down", "up"), default="down", help="to the devices or back")
    parser.add_argument("--rounds", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--measured", type=int, default=24, help="rounds on emulated boards")
    chosen = parser.parse_args()
    experiment = read_experiment(EXAMPLE)
    columns = ("encoding", f"bytes {chosen.way} a visit", "of float32", "loss of newcomers after one pass")
    print("| " + " | ".join((*columns, "lowest and highest")) + " |")
    print("|---|---|---|---|---|")
    plain = 0.0
    with tempfile.TemporaryDirectory(prefix="tinyfed-encodings-") as name:
        for encoding in NAMES:
            folder = Path(name) / encoding
            losses = []
            for seed in range(1, chosen.seeds + 1):
                wanted = with_encoding(experiment, chosen.way, encoding, "simulated", chosen.rounds, seed)
                with Run.begin(folder / f"{seed}", wanted, "") as run, make_fleet(run.parts) as fleet:
                    run.go(fleet)
                    losses.append(adapted_loss(run.parts.task, run.learned_image()))
            wanted = with_encoding(experiment, chosen.way, encoding, "emulated", chosen.measured)
            with Run.begin(folder / "emulated", wanted, "") as run, make_fleet(run.parts) as fleet:
                run.go(fleet)
                visits = [visit for entry in run.store.rounds() for visit in entry["visits"]]
            counted = statistics.median(visit[f"bytes_{chosen.way}"] for visit in visits)
            plain = plain or counted
            print(
                f"| `{encoding}` | {counted:,.0f} | {counted / plain:.0%} | {statistics.mean(losses):.3f} "
                f"| {min(losses):.3f}, {max(losses):.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
