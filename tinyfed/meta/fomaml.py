"""First-order MAML (Finn, Abbeel, Levine: Model-agnostic meta-learning, ICML 2017, section 5.2), federated as
Per-FedAvg (Fallah, Mokhtari, Ozdaglar: Personalized federated learning, NeurIPS 2020) does it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np

from tinyfed.fields import whole, word
from tinyfed.meta.robust import RULES
from tinyfed.meta.strategy import (
    RATE,
    Array,
    Cohort,
    Reply,
    State,
    combined,
    falling,
    first_state,
)
from tinyfed.wire.order import Order

BETA1, REST1, BETA2, REST2 = (np.float32(value) for value in (0.9, 0.1, 0.999, 0.001))


@dataclass(frozen=True)
class FOMAML(Cohort):
    """Devices adapt on a support set and send the gradient of other samples at the adapted weights:

        device:  phi' <- phi - beta * grad L(phi; support), `passes` times in minibatches
                 g_i  <- grad L(phi'; queries)
        server:  phi  <- phi - alpha_t * mean_i g_i                        (second derivatives left out)

    The device leaves minus g_i where its weights were, so it needs no more memory than batches do. Per-FedAvg takes its
    steps on the device; here the server takes them, with alpha falling linearly to 0, as for the others.

    `server` "adam" takes the server's step with Adam (Kingma, Ba 2015; beta 0.9 and 0.999, epsilon 1e-8, its moments
    are the state's slots), as MAML's authors do. `zero_last` keeps so many parameters at the end of the model at 0 on
    the server: a last layer that starts from zero treats all labels alike (Kao, Chiu, Chen: MAML is a noisy
    contrastive learner, ICLR 2022). `local_last` makes so many last layers, those of `zero_last`, the device's own:
    they begin with zeros, the steps on the support set teach them alone and only the others' gradient comes back
    (Raghu, Raghu, Bengio, Vinyals: Rapid learning or feature reuse?, ICLR 2020, call it ANIL).
    """

    order: Order  # its seed is replaced each round, its passes, update and queries by the options
    rounds: Annotated[int, whole(1)]
    alpha: Annotated[float, RATE] = 0.1
    devices: Annotated[int, whole(1)] = 4
    passes: int = 1
    batch: int = 10
    queries: Annotated[int, whole(1)] = 5  # a class, for the meta-gradient
    server: Annotated[str, word("sgd", "adam")] = "sgd"
    zero_last: Annotated[int, whole(0)] = 0  # parameters
    local_last: Annotated[int, whole(0)] = 0  # layers
    robust: Annotated[str, word(*RULES)] = "mean"  # how answers become one, docs/robust.md
    liars: Annotated[int, whole(0)] = 1  # devices of a round that may lie, for "trimmed_mean" and "krum"
    name: str = "fomaml"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.local_last and not self.zero_last:
            raise self._wrong("local_last", "needs zero_last, the number of parameters of those layers")

    def check_layers(self, sizes: Sequence[int]) -> None:
        super().check_layers(sizes)
        local = sum(sizes[len(sizes) - self.local_last :])
        if self.local_last and self.zero_last != local:
            problem = f"the layers of local_last = {self.local_last} have {local:,} parameters: set it to {local}"
            raise self._wrong("zero_last", problem)

    def begin(self, weights: Array, seed: int) -> State:
        if self.zero_last > weights.size:
            raise self._wrong("zero_last", f"the model has {weights.size:,} parameters")
        weights = self._with_zeros(weights)
        moments = {} if self.server == "sgd" else {name: np.zeros_like(weights) for name in ("first", "second")}
        return first_state(weights, seed, **moments)

    def aggregate(self, state: State, replies: Sequence[Reply]) -> State:
        descent = combined(replies, self.robust, self.liars)
        if descent is None:
            return state.after()
        alpha = falling(self.alpha, state.round, self.rounds)
        if self.server == "sgd":
            return state.after(self._with_zeros(state.weights.array + alpha * descent))
        first = BETA1 * state.slots["first"] + REST1 * descent
        second = BETA2 * state.slots["second"] + REST2 * (descent * descent)
        # Rounds without an answer count here too: the correction is that of the run's age, not of the steps taken.
        unbiased = first / np.float32(1.0 - 0.9 ** (state.round + 1))
        size = np.sqrt(second / np.float32(1.0 - 0.999 ** (state.round + 1))) + np.float32(1e-8)
        weights = (state.weights.array + alpha * (unbiased / size)).astype(np.float32)
        return state.after(self._with_zeros(weights), first=first, second=second)

    def _with_zeros(self, weights: Array) -> Array:
        kept = weights.astype(np.float32)
        kept[kept.size - self.zero_last :] = 0.0
        return kept

    def _order(self) -> Order:
        return replace(
            self.order, passes=self.passes, update="sgd", batch=self.batch, queries=self.queries,
            meta_gradient=True, **self._local(),
        )  # fmt: skip

    def _local(self) -> dict[str, Any]:
        if not self.local_last:
            return {}
        steps = self.order.shots * self.passes
        return {"local_last": self.local_last, "zero_local": True, "keep_local": True, "reconstruct": steps}
