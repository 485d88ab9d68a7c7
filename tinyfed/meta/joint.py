"""Joint training: one global model for all tasks, no meta-learning. What the comparison starts from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinyfed.meta.strategy import Array, Assignment, Reply, State, check_rounds, order_seed, pick
from tinyfed.tasks.order import Order


@dataclass(frozen=True)
class Joint:
    """SGD on the sum of all devices' losses: the model goes from device to device and takes one sample of each
    class at each, so that it never settles on one task:

        phi <- phi - beta * grad L_i(phi; x, y)        for one (x, y) a class of device i's task

    Reptile with a single inner step is this (Nichol, Achiam, Schulman 2018, section 5.1). An order of `shots`
    samples a class is cut down to one, so a run of the same number of samples has `shots` times the rounds.
    """

    order: Order  # its seed is replaced each round, its shots and passes by 1
    rounds: int
    name: str = "joint"

    def __post_init__(self) -> None:
        check_rounds(self.rounds)

    def begin(self, weights: Array, seed: int) -> State:
        return State(seed, 0, weights.astype(np.float32))

    def select(self, state: State, devices: Sequence[str]) -> tuple[str, ...]:
        return pick(state, devices, 1)

    def configure(self, state: State, device: str) -> Assignment:
        points = tuple(k for k in self.order.checkpoints if k <= 1)
        order = replace(self.order, shots=1, passes=1, checkpoints=points, seed=order_seed(state))
        return Assignment(state.weights, order)

    def aggregate(self, state: State, replies: Sequence[Reply]) -> State:
        weights = state.weights
        for reply in replies:
            weights = weights if reply.weights is None else reply.weights
        return replace(state, round=state.round + 1, weights=weights)
