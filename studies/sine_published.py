"""Reptile's small example of the sines, computed apart from the engine: what its own settings give.

    .venv/bin/python -m studies.sine_published [--seeds 3] [--iterations 30000] [--tasks 1000]

1-64-64-1 tanh in NumPy, float64: one task an iteration, one pass over its 50 points in minibatches of 10, SGD 0.02,
the weights moved by alpha (1 - t / iterations) towards the trained ones; then for each new task 32 steps on the mean
gradient of 10 points. Prints the mean squared error after 0, 1, 8 and 32 steps for the published setting (50 points of
a grid to learn from, judged on the same grid) and for one change of it at a time.
"""

import argparse
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
STEPS = (0, 1, 8, 32)
GRID = np.linspace(-5.0, 5.0, 50)
HIDDEN, INNER, BATCH, POINTS = 64, 0.02, 10, 10


@dataclass(frozen=True)
class Setting:
    """What is changed."""

    name: str
    alpha: float = 0.1
    grid: bool = True  # learn from the points of the grid; else from 50 drawn uniformly
    judged_on_grid: bool = True  # which holds the 10 points learned from; else on 50 new uniform ones


PUBLISHED = Setting("as published")
SETTINGS = (
    PUBLISHED,
    replace(PUBLISHED, name="judged on 50 new points", judged_on_grid=False),
    replace(PUBLISHED, name="uniform points, judged on new ones", grid=False, judged_on_grid=False),
    replace(PUBLISHED, name="the same, alpha 0.3", grid=False, judged_on_grid=False, alpha=0.3),
    replace(PUBLISHED, name="as published, alpha 0.3", alpha=0.3),
)


def first(rng: np.random.Generator) -> list[Array]:
    """Weights and biases uniform within 1 / sqrt(inputs)."""
    found = []
    for inputs, outputs in ((1, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1)):
        limit = 1 / math.sqrt(inputs)
        found += [rng.uniform(-limit, limit, (inputs, outputs)), rng.uniform(-limit, limit, outputs)]
    return found


def predict(w: list[Array], x: Array) -> tuple[Array, Array, Array]:
    """Both hidden layers and the output, (points, ...), at x (points,)."""
    h1 = np.tanh(x[:, None] @ w[0] + w[1])
    h2 = np.tanh(h1 @ w[2] + w[3])
    return h1, h2, h2 @ w[4] + w[5]


def step(w: list[Array], x: Array, y: Array) -> list[Array]:
    """One step of SGD on the mean squared error."""
    h1, h2, out = predict(w, x)
    d3 = 2 * (out - y[:, None]) / len(x)
    d2 = (d3 @ w[4].T) * (1 - h2 * h2)
    d1 = (d2 @ w[2].T) * (1 - h1 * h1)
    grads = [x[:, None].T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ d3, d3.sum(0)]
    return [a - INNER * g for a, g in zip(w, grads, strict=True)]


def draw(rng: np.random.Generator) -> tuple[float, float]:
    """Amplitude and phase of a task."""
    return rng.uniform(0.1, 5.0), rng.uniform(0.0, 2 * math.pi)


def learn(setting: Setting, iterations: int, rng: np.random.Generator) -> list[Array]:
    """The weights Reptile ends with."""
    w = first(rng)
    for iteration in range(iterations):
        amplitude, phase = draw(rng)
        x = rng.permutation(GRID) if setting.grid else rng.uniform(-5.0, 5.0, len(GRID))
        trained = w
        for at in range(0, len(x), BATCH):
            part = x[at : at + BATCH]
            trained = step(trained, part, amplitude * np.sin(part + phase))
        alpha = setting.alpha * (1 - iteration / iterations)
        w = [a + alpha * (b - a) for a, b in zip(w, trained, strict=True)]
    return w


def judge(w: list[Array], setting: Setting, tasks: int, rng: np.random.Generator) -> list[float]:
    """Mean squared error after `STEPS` steps, the mean over new tasks."""
    found = np.zeros((tasks, len(STEPS)))
    for task in range(tasks):
        amplitude, phase = draw(rng)
        x = rng.choice(GRID, POINTS, replace=False) if setting.grid else rng.uniform(-5.0, 5.0, POINTS)
        new = GRID if setting.judged_on_grid else rng.uniform(-5.0, 5.0, len(GRID))
        tuned = w
        for number in range(STEPS[-1] + 1):
            if number in STEPS:
                error = predict(tuned, new)[2][:, 0] - amplitude * np.sin(new + phase)
                found[task, STEPS.index(number)] = (error * error).mean()
            tuned = step(tuned, x, amplitude * np.sin(x + phase))
    return [float(v) for v in found.mean(axis=0)]


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("seeds", 3), ("iterations", 30_000), ("tasks", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    print("| | " + " | ".join(f"{k} steps" for k in STEPS) + " | seeds |\n|---|" + "---|" * (len(STEPS) + 1))
    for setting in SETTINGS:
        rows = []
        for seed in range(1, chosen.seeds + 1):
            w = learn(setting, chosen.iterations, np.random.default_rng(seed))
            rows.append(judge(w, setting, chosen.tasks, np.random.default_rng(1000 + seed)))
        cells = [f"{v:.3f}" for v in np.mean(rows, axis=0)]
        ends = ", ".join(f"{row[-1]:.3f}" for row in rows)
        print(f"| {setting.name} | {' | '.join(cells)} | {ends} |", flush=True)


if __name__ == "__main__":
    main()
