"""Spoken words (FSDD): two speakers held out at a time, all 15 pairs, 5-way, each speaker's words in their own order.

    TINYFED_DATA=... .venv/bin/python benchmarks/words_pairs.py [--rounds 2000] [--draws 50] [--seed 1]

Prints the accuracy after 1 and 5 examples a word from the learned initialization, from transfer learning (pre-trained
on the four other speakers' words with their true labels, new last layer) and from a random one, for each pair, and
their means with 95 % intervals over the pairs (which share speakers, so the intervals are on the narrow side).
"""

import argparse
import itertools
import math

import numpy as np

from tinyfed import meta, tasks
from tinyfed.meta.adaptation import adaptation
from tinyfed.meta.references import learn, reference
from tinyfed.model import encode, mlp
from tinyfed.tasks.fsdd import SPEAKERS

KINDS = ("learned", "transfer", "random")
SHOTS = (1, 5)
T95 = 2.145  # Student's t, 14 degrees of freedom


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("rounds", 2000), ("draws", 50), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    print(f"{'held out':20s}" + "".join(f"{f'{kind} {k}':>14s}" for kind in KINDS for k in SHOTS))
    rows = []
    for pair in itertools.combinations(SPEAKERS, 2):
        task = tasks.get("fsdd", held_out=",".join(pair))
        spec = mlp(task.feature_count, (64, 32), task.output_count, loss=task.loss)
        strategy = meta.make("tinyreptile", task.order, chosen.rounds, alpha=0.5)
        row = []
        for kind in KINDS:
            if kind == "learned":
                weights = learn(strategy, spec, task, seed=chosen.seed)
            else:
                weights = reference(kind, spec, task, seed=chosen.seed, rounds=chosen.rounds)
            found = adaptation(encode(spec, weights), task.held_out, task.adapt, draws=chosen.draws, seed=chosen.seed)
            row += [found.by_shots()[k] for k in SHOTS]
        rows.append(row)
        print(f"{' '.join(pair):20s}" + "".join(f"{value:14.3f}" for value in row), flush=True)
    table = np.array(rows)
    half = T95 * table.std(axis=0, ddof=1) / math.sqrt(len(table))
    cells = [f"{m:.3f} +-{h:.3f}" for m, h in zip(table.mean(axis=0), half, strict=True)]
    print(f"{'mean':20s}" + "".join(f"{cell:>14s}" for cell in cells))
    gain = table[:, 0] - table[:, 2]
    print(
        f"one example a word: learned beats transfer on {(gain > 0).sum()} of {len(gain)} pairs, by {gain.mean():.3f}"
    )


if __name__ == "__main__":
    main()
