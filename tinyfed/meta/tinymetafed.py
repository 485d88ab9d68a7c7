"""TinyMetaFed (Ren, Li, Anicic, Runkler: TinyMetaFed: Efficient federated meta-learning for TinyML, 2023, arXiv
2307.06822), with partial local reconstruction as Singhal et al. (Federated reconstruction: Partially local federated
learning, NeurIPS 2021) define it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from tinyfed.fields import number, whole, word
from tinyfed.meta.robust import RULES
from tinyfed.meta.strategy import RATE, Cohort, Reply, State, falling, moved
from tinyfed.wire.order import TOP_ALL, Order


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
    rounds: Annotated[int, whole(1)]
    alpha: Annotated[float, RATE] = 0.5
    devices: Annotated[int, whole(1)] = 1
    local_layers: Annotated[int, whole(0, 255)] = 1
    reconstruct: int = 2
    keep_local: bool = False
    zero_local: bool = True
    top_percent: Annotated[float, number(0.01, 100)] = 25.0
    schedule: Annotated[str, word("cosine", "linear", "constant")] = "linear"
    robust: Annotated[str, word(*RULES)] = "mean"  # how answers become one, docs/robust.md
    liars: Annotated[int, whole(0)] = 1  # devices of a round that may lie, for "trimmed_mean" and "krum"
    name: str = "tinymetafed"

    @property
    def is_steady(self) -> bool:
        return self.schedule == "constant"

    def aggregate(self, state: State, replies: Sequence[Reply]) -> State:
        return moved(state, replies, self._alpha(state.round), self.robust, self.liars)

    def _alpha(self, round_index: int) -> np.float32:
        if self.schedule == "linear":
            return falling(self.alpha, round_index, self.rounds)
        share = min(1.0, round_index / self.rounds) if self.schedule == "cosine" else 0.0
        return np.float32(self.alpha * 0.5 * (1.0 + math.cos(math.pi * share)))

    def _order(self) -> Order:
        top = round(self.top_percent * TOP_ALL / 100)
        order = replace(self.order, top=0 if top == TOP_ALL else top)
        if not self.local_layers:
            return order
        return replace(
            order, local_last=self.local_layers, reconstruct=self.reconstruct, keep_local=self.keep_local,
            zero_local=self.zero_local,
        )  # fmt: skip
