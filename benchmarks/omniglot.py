"""Omniglot, 5-way, on a device with 256 KB of RAM, training included: TinyReptile, judged on 1,000 unseen tasks.

    TINYFED_DATA=... .venv/bin/python benchmarks/omniglot.py [--visits 20000] [--alpha 0.3] [--rate 0.03] [--seed 1]

28x28 -> convolutions 3x3x16, 3x3x32, 3x3x32, all stride 2, ReLU -> dense 5: 16,613 parameters. 1,200 characters train
(50 clients of 24), 423 are held out. Non-transductive: each drawing is judged by itself, there is no batch
normalization. Prints the plan's arena, and the accuracy on the way and at the end after one and after ten passes over 1
and 5 drawings of each character.
"""

import argparse
import time
from dataclasses import replace

from tinyfed import meta, tasks
from tinyfed.meta.adaptation import adaptation
from tinyfed.meta.simulate import make_devices, run
from tinyfed.model import Conv2D, Dense, ModelSpec, encode, initialize, plan

TEST_TASKS = 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("visits", 20_000), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, value in (("alpha", 0.3), ("rate", 0.03)):
        parser.add_argument(f"--{name}", type=float, default=value)
    chosen = parser.parse_args()
    task = tasks.get("omniglot")
    layers = [Conv2D(filters, 3, strides=2, padding="same", activation="relu") for filters in (16, 32, 32)]
    spec = ModelSpec((28, 28, 1), (*layers, Dense(5)), "softmax_cross_entropy")
    print(f"{spec.parameter_count:,} parameters, an arena of {plan(spec).arena_bytes:,} bytes", flush=True)
    weights = initialize(spec, chosen.seed, "he_uniform")
    strategy = meta.make(
        "tinyreptile", replace(task.order, learning_rate=chosen.rate), chosen.visits, alpha=chosen.alpha
    )
    devices = make_devices(task.train, encode(spec, weights))
    state = strategy.begin(weights, chosen.seed)
    begun = time.monotonic()

    def judged(shots: int, passes: int, test_tasks: int) -> float:
        order = replace(
            task.adapt, learning_rate=chosen.rate, shots=shots, passes=passes, checkpoints=(shots * passes,), queries=5
        )
        draws = -(-test_tasks // len(task.held_out))
        found = adaptation(encode(spec, state.weights), task.held_out, order, draws=draws, seed=chosen.seed)
        return found.by_shots()[shots * passes]

    while state.round < chosen.visits:
        state = run(strategy, devices, state, rounds=min(max(1, chosen.visits // 8), chosen.visits - state.round))
        on_the_way = [judged(shots, 1, TEST_TASKS // 10) for shots in (1, 5)]
        print(
            f"{state.round:7,} visits {time.monotonic() - begun:6.0f} s, one pass: "
            f"1-shot {on_the_way[0]:.3f}, 5-shot {on_the_way[1]:.3f}",
            flush=True,
        )
    for shots in (1, 5):
        values = [judged(shots, passes, TEST_TASKS) for passes in (1, 10)]
        print(f"{shots}-shot: {values[0]:.4f} after one pass, {values[1]:.4f} after ten", flush=True)


if __name__ == "__main__":
    main()
