"""Omniglot, 5-way, on a device with 256 KB of RAM, training included: first-order MAML, judged on 1,000 unseen tasks.

    TINYFED_DATA=... .venv/bin/python -m studies.omniglot train FOLDER [--filters 16,32,32,32] [--rounds 26000] ...
    TINYFED_DATA=... .venv/bin/python -m studies.omniglot judge FOLDER [--validate]
    TINYFED_DATA=... .venv/bin/python -m studies.omniglot tinyreptile [--visits 20000]

28x28 -> convolutions of stride 2 with leaky ReLU -> dense. A visit learns `--ways` characters by `--steps` steps of the
last layer alone, from zero; what comes back is the gradient of other drawings by the layers before it, and the server
takes Adam's step. A newcomer has five outputs and learns its last layer alone, from zero too. It is non-transductive:
each drawing is judged by itself, there is no batch normalization.

`train` stores its state in FOLDER every `--every` rounds, goes on from there when it is started again, and judges on 48
of the training characters that are left out. `judge` takes all 423 held-out characters; with `--validate` the 48, for
choosing how to adapt. `tinyreptile` is the beginning of the search, all layers online in less memory: convolutions
16-32-32, judged after one pass and after ten. docs/omniglot.md holds what was measured.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyfed import meta, tasks
from tinyfed.meta.adaptation import adaptation
from tinyfed.meta.simulate import make_devices, run
from tinyfed.meta.strategy import Array, State, Strategy
from tinyfed.model import Conv2D, Dense, ModelSpec, encode, initialize, plan
from tinyfed.model.spec import with_trainable
from tinyfed.tasks.task import Client
from tinyfed.wire.order import Order

TEST_TASKS = 1000
WAYS = 5
LEFT_OUT = 2  # sets of 24 training characters
ALL_TEST_SETS = 47  # characters of a set: nine of them are the 423
RATE, STEPS = 0.1, 10  # of a newcomer, chosen with --validate
STATE = "state.npz"
OPTIONS = {
    "filters": "16,32,32,32", "first": 5, "activation": "leaky_relu",
    "ways": 20, "shots": 1, "queries": 5, "steps": 4, "rate": 5.0,
    "alpha": 0.004, "devices": 4, "rounds": 26_000, "seed": 1, "split": "random",
}  # fmt: skip


def net(options: dict[str, Any], ways: int) -> ModelSpec:
    """The network of that many outputs."""
    layers = [
        Conv2D(int(count), 3 if k else options["first"], strides=2, padding="same", activation=options["activation"])
        for k, count in enumerate(options["filters"].split(","))
    ]
    return ModelSpec((28, 28, 1), (*layers, Dense(ways)), "softmax_cross_entropy")


def shared_count(spec: ModelSpec) -> int:
    """Parameters before the last layer."""
    return spec.parameter_count - sum(int(np.prod(shape)) for shape in spec.parameter_shapes[-2:])


def newcomer(options: dict[str, Any], weights: Array) -> bytes:
    """A model image with five outputs that learns its last layer alone, from zero."""
    spec = net(options, WAYS)
    own = np.zeros(spec.parameter_count, np.float32)
    own[: shared_count(spec)] = weights[: shared_count(spec)]
    return encode(with_trainable(spec, "last-1"), own)


def adapting(shots: int, rate: float, steps: tuple[int, ...], queries: int = 15) -> Order:
    """A newcomer's visit; it is judged on that many drawings of each character after each of these steps."""
    return replace(
        tasks.get("omniglot").adapt, learning_rate=rate, shots=shots, passes=max(steps), update="sgd", queries=queries,
        checkpoints=tuple(shots * step for step in steps),
    )  # fmt: skip


def strategy(options: dict[str, Any]) -> Strategy:
    """First-order MAML, as the options say."""
    spec = net(options, options["ways"])
    order = Order("shard", options["ways"], options["shots"], queries=0, seed=0, learning_rate=options["rate"])
    return meta.make(
        "fomaml", order, options["rounds"], alpha=options["alpha"], devices=options["devices"], passes=options["steps"],
        batch=0, queries=options["queries"], server="adam", zero_last=spec.parameter_count - shared_count(spec),
        local_last=1,
    )  # fmt: skip


def judged(
    image: bytes, clients: tuple[Client, ...], shots: int, rate: float, steps: tuple[int, ...], test_tasks: int
) -> dict[int, tuple[float, float]]:
    """Accuracy and half its 95 % interval over tasks, by the number of steps."""
    order = adapting(shots, rate, steps)
    found = adaptation(image, clients, order, draws=-(-test_tasks // len(clients)), seed=1)
    values = found.accuracy.reshape(-1, len(steps))
    half = 1.96 * values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return {step: (float(values[:, k].mean()), float(half[k])) for k, step in enumerate(steps)}


def train(folder: Path, chosen: argparse.Namespace) -> None:
    options = {name: getattr(chosen, name) for name in OPTIONS}
    stored = folder / STATE
    folder.mkdir(parents=True, exist_ok=True)
    about = folder / "options.json"
    if stored.exists() and json.loads(about.read_text()) != options:
        raise SystemExit(f"{folder} holds a training with other options: {about.read_text()}")
    about.write_text(json.dumps(options))
    spec = net(options, chosen.ways)
    task = tasks.get("omniglot", rotations=1, split=chosen.split)
    method = strategy(options)
    print(f"{spec.parameter_count:,} parameters, an arena of {plan(spec, 'batch_sgd').arena_bytes:,} bytes", flush=True)
    weights = initialize(spec, chosen.seed, "he_uniform")
    state = method.begin(weights, chosen.seed)
    if stored.exists():
        with np.load(stored) as held:
            state = State.restore(
                json.loads(str(held["document"])),
                {name: held[name].tobytes() for name in ("weights", "first", "second")},
            )
    devices = make_devices(task.train[:-LEFT_OUT], encode(spec, weights))
    begun, first = time.monotonic(), state.round
    while state.round < chosen.rounds and time.monotonic() - begun < chosen.minutes * 60:
        state = run(method, devices, state, rounds=min(chosen.every, chosen.rounds - state.round))
        part = stored.with_suffix(".part.npz")
        first_moment, second_moment = state.slots["first"], state.slots["second"]
        document = np.array(json.dumps(state.document()))
        np.savez(part, document=document, weights=state.weights.array, first=first_moment, second=second_moment)
        part.replace(stored)
        image = newcomer(options, state.weights.array)
        one, five = (judged(image, validation(chosen.split), shots, RATE, (STEPS,), 150)[STEPS][0] for shots in (1, 5))
        spent = time.monotonic() - begun
        left = spent / (state.round - first) * (chosen.rounds - state.round)
        print(
            f"{state.round:7,} of {chosen.rounds:,} rounds, {spent / 60:5.1f} min, {left / 60:5.1f} to go: "
            f"1-shot {one:.3f}, 5-shot {five:.3f}",
            flush=True,
        )


def validation(split: str) -> tuple[Client, ...]:
    """The sets of training characters that are left out, not turned."""
    return tasks.get("omniglot", split=split).train[-LEFT_OUT:]


def judge(folder: Path, chosen: argparse.Namespace) -> None:
    options = json.loads((folder / "options.json").read_text())
    with np.load(folder / STATE) as held:
        weights = held["weights"]
    spec = net(options, WAYS)
    image = newcomer(options, weights)
    print(f"{spec.parameter_count:,} parameters, an arena of {plan(spec, 'batch_sgd').arena_bytes:,} bytes", flush=True)
    clients = validation(options["split"])
    if not chosen.validate:
        clients = tasks.get("omniglot", set_size=ALL_TEST_SETS, split=options["split"]).held_out
    rates = [float(rate) for rate in chosen.rates.split(",")]
    steps = tuple(int(step) for step in chosen.steps.split(","))
    for shots in (1, 5):
        for rate in rates:
            found = judged(image, clients, shots, rate, steps, chosen.tasks)
            for step, (mean, half) in found.items():
                print(f"{shots}-shot, {step} steps of {rate:g}: {100 * mean:.2f} +- {100 * half:.2f} %", flush=True)


def tinyreptile(chosen: argparse.Namespace) -> None:
    task = tasks.get("omniglot")
    spec = net({"filters": "16,32,32", "first": 3, "activation": "relu"}, WAYS)
    print(f"{spec.parameter_count:,} parameters, an arena of {plan(spec).arena_bytes:,} bytes", flush=True)
    order = replace(task.order, learning_rate=0.03)
    online = meta.make("tinyreptile", order, chosen.visits, alpha=0.3)
    weights = initialize(spec, 1, "he_uniform")
    image = encode(spec, weights)
    image = encode(spec, run(online, make_devices(task.train, image), online.begin(weights, 1)).weights)
    for shots in (1, 5):
        for passes in (1, 10):
            judging = replace(order, shots=shots, passes=passes, checkpoints=(shots * passes,), queries=5)
            found = adaptation(image, task.held_out, judging, draws=-(-TEST_TASKS // len(task.held_out)), seed=1)
            print(f"{shots}-shot, {passes} passes: {100 * found.accuracy.mean():.2f} %", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    training = verbs.add_parser("train")
    training.add_argument("folder", type=Path)
    for name, value in OPTIONS.items():
        training.add_argument(f"--{name}", type=type(value), default=value, help=f"default {value}")
    training.add_argument("--every", type=int, default=500, help="rounds between stored states")
    training.add_argument("--minutes", type=float, default=1e9, help="stop once a state is stored after these")
    judging = verbs.add_parser("judge")
    judging.add_argument("folder", type=Path)
    judging.add_argument("--validate", action="store_true")
    judging.add_argument("--rates", default=str(RATE))
    judging.add_argument("--steps", default=str(STEPS))
    judging.add_argument("--tasks", type=int, default=TEST_TASKS)
    beginning = verbs.add_parser("tinyreptile")
    beginning.add_argument("--visits", type=int, default=20_000)
    chosen = parser.parse_args()
    if chosen.verb == "tinyreptile":
        tinyreptile(chosen)
    else:
        (train if chosen.verb == "train" else judge)(chosen.folder, chosen)


if __name__ == "__main__":
    main()
