"""TinyMetaFed (Ren, Li, Anicic, Runkler: TinyMetaFed: Efficient federated meta-learning for TinyML, 2023, arXiv
2307.06822), with partial local reconstruction as Singhal et al. (Federated reconstruction: Partially local federated
learning, NeurIPS 2021) define it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tinyfed.errors import UsageError
from tinyfed.meta.strategy import Cohort, Reply, State, check_count, check_rate, check_rounds, falling, moved
from tinyfed.wire.order import TOP_ALL, Order

SCHEDULES = ("cosine", "linear", "constant")


@dataclass(frozen=True)
class TinyMetaFed(Cohort):
    """TinyReptile that sends less: phi = (g, l), shared and local layers.

        device:  l <- first values;  l <- l - beta * grad_l L(g, l; x, y)   for the first `reconstruct` samples a class
                 (g, l) <- (g, l) - beta * grad L(g, l; x, y)               for each (x, y) that follows, online
        up:      of g' - g the `top_percent` % largest by magnitude, as new values of g with their indices
        server:  g <- g + alpha_t * (mean of g' - g)                          alpha_t by `schedule`

    Each part can be switched off: `local_layers` 0, `top_percent` 100, `schedule` "constant"; with "linear" besides it
    is TinyReptile. The abstract, all that is at hand of the paper, leaves open: which layers are local (here the last
    ones, and their first values are zeros, or with `zero_local` false random), how many samples rebuild them, whether
    they go on learning afterwards (here they do, with `keep_local` they stay, as in Federated Reconstruction), P, and
    the schedule. No device remembers what it did not send.
    """

    LOCAL_OPTION: ClassVar[str] = "local_layers"
    order: Order  # its seed is replaced each round
    rounds: int
    alpha: float = 0.5
    devices: int = 1
    local_layers: int = 1
    reconstruct: int = 2
    keep_local: bool = False
    zero_local: bool = True
    top_percent: float = 25.0
    schedule: str = "linear"
    name: str = "tinymetafed"

    def __post_init__(self) -> None:
        check_rounds(self.rounds)
        check_rate("alpha", self.alpha)
        check_count("devices", self.devices)
        check_count("local_layers", self.local_layers, 0, 255)
        if not 0.01 <= self.top_percent <= 100.0:
            raise UsageError(f"strategy: top_percent is {self.top_percent!r}, allowed is 0.01 to 100")
        if self.schedule not in SCHEDULES:
            raise UsageError(f"strategy: schedule is {self.schedule!r}, allowed are {', '.join(SCHEDULES)}")
        self._order(0).encode()

    def aggregate(self, state: State, replies: Sequence[Reply]) -> State:
        return moved(state, replies, self._alpha(state.round))

    def _alpha(self, round_index: int) -> np.float32:
        if self.schedule == "linear":
            return falling(self.alpha, round_index, self.rounds)
        share = min(1.0, round_index / self.rounds) if self.schedule == "cosine" else 0.0
        return np.float32(self.alpha * 0.5 * (1.0 + math.cos(math.pi * share)))

    def _order(self, seed: int) -> Order:
        top = round(self.top_percent * TOP_ALL / 100)
        order = replace(self.order, seed=seed, top=0 if top == TOP_ALL else top)
        if not self.local_layers:
            return order
        return replace(
            order, local_last=self.local_layers, reconstruct=self.reconstruct, keep_local=self.keep_local,
            zero_local=self.zero_local,
        )  # fmt: skip
