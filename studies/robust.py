"""Devices that send poison: what a fleet learns with 0, 1 and 2 liars of 8, by the rule that makes one of its answers.

    python -m studies.robust [--rounds 80] [--draws 4] [--seeds 2] [--out docs/images]

Reptile with eight devices a round learns the gestures of `examples/watch.toml` on simulated devices, which give the
boards' bits, and held-out people's devices adapt from it. Writes robust.json and a picture
for each attack, prints a Markdown table.
The same options give the same bytes.
"""

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tinyfed_host.report.svg import Axis, Line, line_chart

from studies.reproduction.intervals import value_over
from tinyfed import meta, tasks
from tinyfed.errors import DeviceError
from tinyfed.files import write_all
from tinyfed.meta.adaptation import adaptation
from tinyfed.meta.robust import UpdateBound, squared_norm
from tinyfed.meta.simulate import make_devices
from tinyfed.meta.strategy import Array, Reply, State
from tinyfed.model import encode, initialize, mlp
from tinyfed.random import derive_seed
from tinyfed.weights import Weights

DEVICES = 8
SHOTS = 5  # of each gesture, that a newcomer learns from
SPEC = mlp(120, (32, 32), 4, loss="softmax_cross_entropy")
BOUNDED = "mean, bounded"
RULES = {"mean": "mean", BOUNDED: "mean", "median": "median", "trimmed mean": "trimmed_mean", "Krum": "krum"}
RULES |= {"geometric median": "geometric_median"}

# What a liar sends: from the weights it got, what it has learned, what an honest device has, and random numbers.
Attack = Callable[[Array, Array, Array, np.random.Generator], Array]


def flipped(start: Array, own: Array, other: Array, random: np.random.Generator) -> Array:
    """Four times its own update, the other way: too small for the bound."""
    return start - np.float32(4) * (own - start)


def scaled(start: Array, own: Array, other: Array, random: np.random.Generator) -> Array:
    """-50 times its weights."""
    return np.float32(-50) * own


def noisy(start: Array, own: Array, other: Array, random: np.random.Generator) -> Array:
    """Its weights and a normal random number, of standard deviation 1, for each."""
    return own + random.standard_normal(own.size).astype(np.float32)


def copied(start: Array, own: Array, other: Array, random: np.random.Generator) -> Array:
    """What another device sends, which so counts once more."""
    return other


ATTACKS: dict[str, Attack] = {"flipped": flipped, "scaled": scaled, "noisy": noisy, "copied": copied}


@dataclasses.dataclass(frozen=True)
class Cell:
    """A rule under an attack."""

    rule: str
    attack: str  # "" without a liar
    liars: int
    accuracy: tuple[float, ...]  # of newcomers, by seed
    largest: float  # norm of the weights in the run, over the seeds
    refused: int  # answers, of all seeds


def learn(rule: str, attack: str, liars: int, rounds: int, seed: int) -> tuple[Array, float, int]:
    """Weights at the end, the largest norm on the way, and how many answers the bound refused."""
    task = tasks.get("watch")
    strategy = meta.make(
        "reptile", task.order, rounds, devices=DEVICES, passes=1, batch=1, robust=RULES[rule], liars=max(1, liars)
    )
    weights = initialize(SPEC, seed)
    devices = make_devices(task.train[:DEVICES], encode(SPEC, weights))
    names = sorted(devices)
    bound = UpdateBound("auto" if rule == BOUNDED else "off")
    state: State = strategy.begin(weights, seed)
    largest, refused = 0.0, 0
    while state.round < rounds:
        random = np.random.Generator(np.random.PCG64(derive_seed(seed, state.round)))
        assignments, replies = [], []
        try:
            for name in names:
                assignment = strategy.configure(state, name)
                outcome = devices[name].visit(assignment.weights, assignment.order, want_weights=True)
                assignments.append(assignment)
                replies.append(Reply(name, outcome.result, outcome.weights))
        except DeviceError:  # nobody can learn from these weights any more
            break
        honest = [_array(reply) for reply in replies]
        for number in range(liars):
            start = assignments[number].weights.array
            sent = ATTACKS[attack](start, honest[number], honest[DEVICES - 1], random)
            replies[number] = dataclasses.replace(replies[number], weights=Weights.of(sent))
        norms = [
            squared_norm(_array(reply) - each.weights.array) ** 0.5
            for each, reply in zip(assignments, replies, strict=True)
        ]
        reasons = bound.judge(norms)
        refused += sum(map(bool, reasons))
        kept = [reply for reply, reason in zip(replies, reasons, strict=True) if not reason]
        state = strategy.aggregate(state, kept)
        largest = max(largest, float(np.linalg.norm(state.weights.array.astype(np.float64))))
        if largest > 1e4:  # round.max_norm: nothing is taken any more
            break
    return state.weights.array, largest, refused


def _array(reply: Reply) -> Array:
    assert reply.weights is not None
    return reply.weights.array


def measure(rule: str, attack: str, liars: int, rounds: int, draws: int, seeds: int) -> Cell:
    """One cell of the table."""
    task = tasks.get("watch")
    order = dataclasses.replace(task.adapt, checkpoints=(SHOTS,))
    accuracy, norms, refused = [], [], 0
    for seed in range(1, seeds + 1):
        weights, largest, count = learn(rule, attack, liars, rounds, seed)
        norms.append(largest)
        refused += count
        accuracy.append(_adapted(weights, order, task.held_out, draws, seed))
    return Cell(rule, attack, liars, tuple(round(each, 4) for each in accuracy), round(max(norms), 3), refused)


def _adapted(weights: Array, order: Any, clients: Sequence[Any], draws: int, seed: int) -> float:
    """0 where a newcomer cannot learn from it at all: its loss is no longer finite."""
    try:
        return adaptation(encode(SPEC, weights), clients, order, draws=draws, seed=seed).by_shots()[SHOTS]
    except DeviceError:
        return 0.0


def _name(attack: str, liars: int) -> str:
    return f"{attack} {liars}" if liars else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 80), ("draws", 4), ("seeds", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    chosen = parser.parse_args()
    columns = [("", 0), *((attack, liars) for attack in ATTACKS for liars in (1, 2))]
    cells = [
        measure(rule, attack, liars, chosen.rounds, chosen.draws, chosen.seeds)
        for rule in RULES
        for attack, liars in columns
    ]
    shares = {
        (cell.rule, cell.attack, cell.liars): value_over(np.array(cell.accuracy)).mean
        if len(cell.accuracy) > 1
        else cell.accuracy[0]
        for cell in cells
    }
    rows = [[shares[rule, *column] for column in columns] for rule in RULES]
    names = [_name(*column) for column in columns]
    facts = {"task": "watch", "devices": DEVICES, "shots": SHOTS, "rounds": chosen.rounds, "draws": chosen.draws}
    facts |= {"seeds": chosen.seeds, "cells": [dataclasses.asdict(cell) for cell in cells]}
    files = {chosen.out / "robust.json": json.dumps(facts, allow_nan=False, indent=1)}
    files |= {chosen.out / f"robust-{attack}.svg": picture(attack, shares) for attack in ATTACKS}
    write_all({path: f"{text}\n".encode() for path, text in files.items()})
    print("| rule | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    for rule, row in zip(RULES, rows, strict=True):
        print(f"| {rule} | " + " | ".join(f"{value:.2f}" for value in row) + " |")


def picture(attack: str, shares: Mapping[tuple[str, str, int], float]) -> str:
    """Accuracy over the number of liars, a line a rule."""
    lines = [
        Line(
            rule,
            [(0, shares[rule, "", 0]), *((liars, shares[rule, attack, liars]) for liars in (1, 2))],
            color=color,
            dots=True,
        )
        for color, rule in enumerate(RULES)
    ]
    x = Axis(f"liars of {DEVICES} devices ({attack})", ticks=(0, 1, 2), show="{:g}".format)
    y = Axis(f"accuracy after {SHOTS} of each", low=0.0, high=1.0)
    return str(line_chart(f"{attack.capitalize()} updates", lines, x, y, size=(760, 300), standalone=True))


if __name__ == "__main__":
    main()
