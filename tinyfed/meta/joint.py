"""Joint training: one global model for all tasks, no meta-learning. What the comparison starts from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from tinyfed.fields import whole
from tinyfed.meta.strategy import Alone, Reply, State
from tinyfed.wire.order import Order


@dataclass(frozen=True)
class Joint(Alone):
    """SGD on the sum of all devices' losses: the model goes from device to device and takes one sample of each
    class at each, so that it never settles on one task:

        phi <- phi - beta * grad L_i(phi; x, y)        for one (x, y) a class of device i's task

    Reptile with a single inner step is this (Nichol, Achiam, Schulman 2018, section 5.1). An order of `shots`
    samples a class is cut down to one, so a run of the same number of samples has `shots` times the rounds.
    """

    order: Order  # its seed is replaced each round, its shots and passes by 1
    rounds: Annotated[int, whole(1)]
    name: str = "joint"
    is_steady = True

    def aggregate(self, state: State, replies: Sequence[Reply]) -> State:
        weights = state.weights
        for reply in replies:
            weights = weights if reply.weights is None else reply.weights
        return state.after(weights)

    def _order(self) -> Order:
        points = tuple(k for k in self.order.checkpoints if k <= 1)
        return replace(self.order, shots=1, passes=1, checkpoints=points)
