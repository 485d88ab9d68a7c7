"""TinyReptile (Ren, Anicic, Runkler: TinyReptile: TinyML with federated meta-learning, IJCNN 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinyfed.errors import UsageError
from tinyfed.meta.strategy import Array, Assignment, Reply, State, order_seed, pick
from tinyfed.tasks.order import Order


@dataclass(frozen=True)
class TinyReptile:
    """One device a round learns online, sample after sample, and stores none of them:

        device:  phi' <- phi;  phi' <- phi' - beta * grad L(phi'; x, y)  for each (x, y) of its stream
        server:  phi  <- phi + alpha_t * (phi' - phi)                    (Algorithm 1)

    The paper anneals alpha without giving the law; here it falls linearly, alpha_t = alpha * (1 - t / rounds),
    as in Reptile (Nichol, Achiam, Schulman 2018). The server computes in float32, each operation rounded.
    """

    order: Order  # its seed is replaced each round
    rounds: int
    alpha: float = 0.3
    name: str = "tinyreptile"

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha <= 1.0:
            raise UsageError(f"strategy: alpha is {self.alpha!r}, allowed is more than 0 and at most 1")
        if self.rounds < 1:
            raise UsageError(f"strategy: rounds is {self.rounds!r}, allowed is 1 or more")

    def begin(self, weights: Array, seed: int) -> State:
        return State(seed, 0, weights.astype(np.float32))

    def select(self, state: State, devices: Sequence[str]) -> tuple[str, ...]:
        return pick(state, devices, 1)

    def configure(self, state: State, device: str) -> Assignment:
        return Assignment(state.weights, replace(self.order, seed=order_seed(state)))

    def aggregate(self, state: State, replies: Sequence[Reply]) -> State:
        weights = state.weights
        for reply in replies:
            if reply.weights is not None:
                weights = weights + self.rate(state.round) * (reply.weights - weights)
        return replace(state, round=state.round + 1, weights=weights)

    def rate(self, round_index: int) -> np.float32:
        """alpha of a round, 0 <= round_index; zero from the last round on."""
        return np.float32(self.alpha * max(0.0, 1.0 - round_index / self.rounds))
