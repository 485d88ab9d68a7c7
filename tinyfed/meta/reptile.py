"""Reptile (Nichol, Achiam, Schulman: On first-order meta-learning algorithms, 2018), serial and batched."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from tinyfed.fields import whole, word
from tinyfed.meta.robust import RULES
from tinyfed.meta.strategy import RATE, Cohort, Reply, State, falling, moved
from tinyfed.wire.order import Order


@dataclass(frozen=True)
class Reptile(Cohort):
    """Devices go through a stored support set several times in minibatches:

        device:  phi~ = U^k(phi), k steps of SGD or Adam on minibatches of the support set      (Algorithm 1)
        server:  phi <- phi + alpha_t * mean_i(phi~_i - phi), over `devices` devices            (Algorithm 2)

    `devices` = 1 is serial Reptile. alpha falls linearly to 0, as in the authors' code. Their minibatches are drawn
    anew from the set; here each pass presents it in a new order. Adam without its first moment ("adam_second") is what
    they train with; the paper's sines use SGD. With `local_last` so many last layers are the device's own and are
    rebuilt from zero in each visit, as TinyMetaFed does it: the first `reconstruct` samples a class teach them alone.
    """

    order: Order  # its seed is replaced each round, its passes and update by the options
    rounds: Annotated[int, whole(1)]
    alpha: Annotated[float, RATE] = 1.0
    devices: Annotated[int, whole(1)] = 1
    passes: int = 4
    batch: int = 10
    update: str = "sgd"
    local_last: Annotated[int, whole(0)] = 0  # layers
    reconstruct: Annotated[int, whole(0)] = 0  # samples a class
    robust: Annotated[str, word(*RULES)] = "mean"  # how answers become one, docs/robust.md
    liars: Annotated[int, whole(0)] = 1  # devices of a round that may lie, for "trimmed_mean" and "krum"
    name: str = "reptile"

    def aggregate(self, state: State, replies: Sequence[Reply]) -> State:
        alpha = falling(self.alpha, state.round, self.rounds)
        return moved(state, replies, alpha, self.robust, self.liars)

    def _order(self) -> Order:
        order = replace(self.order, passes=self.passes, update=self.update, batch=self.batch)
        if not self.local_last:
            return order
        return replace(order, local_last=self.local_last, reconstruct=self.reconstruct, zero_local=True)
