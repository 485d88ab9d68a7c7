"""Personal gestures on held-out people: the learned initialization beside what it is held against.

    .venv/bin/python -m studies.watch_adaptation [--seeds 5] [--draws 20] [--rounds 2000] [--alpha 0.5] [--step-s 1]

Everything runs on simulated devices, which give the boards' bits. Each seed has its own first weights, training run
and draws. Prints mean accuracy over the held-out clients and draws, with the 95 % interval over seeds (Student's t),
and ends with 1 where the learned initialization misses what it is to reach.
"""

import argparse
import sys

import numpy as np

from studies.reproduction.intervals import value_over
from tinyfed import meta, tasks
from tinyfed.meta.adaptation import adaptation
from tinyfed.meta.references import REFERENCES, learn, reference
from tinyfed.model import encode, mlp


def main() -> int:
    parser = argparse.ArgumentParser()
    for name, default in (("seeds", 5), ("draws", 20), ("rounds", 2000), ("step-s", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--alpha", type=float, default=0.5)
    chosen = parser.parse_args()
    if chosen.seeds < 2:
        parser.error("--seeds: an interval needs at least 2")
    shots = 10 if chosen.step_s == 1 else 7
    task = tasks.get("watch", step_s=chosen.step_s, shots=shots)
    spec = mlp(120, (32, 32), 4, loss="softmax_cross_entropy")
    strategy = meta.make("tinyreptile", task.order, chosen.rounds, alpha=chosen.alpha)
    values = {}
    for kind in ("learned", *REFERENCES):
        rows = []
        for seed in range(1, chosen.seeds + 1):
            if kind == "learned":
                weights = learn(strategy, spec, task, seed=seed)
            else:
                weights = reference(kind, spec, task, seed=seed, rounds=chosen.rounds)
            found = adaptation(encode(spec, weights), task.held_out, task.adapt, draws=chosen.draws, seed=seed)
            rows.append(list(found.by_shots().values()))
        values[kind] = np.array(rows)  # (seeds, shots)
    points = task.adapt.checkpoints
    print(f"{'windows a gesture':20s}" + "".join(f"{k:>16d}" for k in points))
    for kind, found_by_seed in values.items():
        over_seeds = [value_over(column) for column in found_by_seed.T]
        cells = [f"{value.mean:.3f} +-{value.half_width:.3f}" for value in over_seeds]
        print(f"{kind:20s}" + "".join(f"{cell:>16s}" for cell in cells))
    means = {kind: dict(zip(points, each.mean(axis=0), strict=True)) for kind, each in values.items()}
    wanted = [
        ("one window reaches 0.75", means["learned"][1] - 0.75),
        ("one window beats random by 0.3", means["learned"][1] - means["random"][1] - 0.3),
        ("one window beats transfer by 0.05", means["learned"][1] - means["transfer"][1] - 0.05),
        ("five windows reach 0.87", means["learned"][5] - 0.87),
    ]
    for text, margin in wanted:
        print(f"{'yes' if margin >= 0 else 'NO '} {text}: {margin:+.3f}")
    return int(any(margin < 0 for _, margin in wanted))


if __name__ == "__main__":
    sys.exit(main())
