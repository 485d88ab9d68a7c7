"""TinyReptile (Ren, Anicic, Runkler: TinyReptile: TinyML with federated meta-learning, IJCNN 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from tinyfed.fields import whole
from tinyfed.meta.strategy import RATE, Alone, Reply, State, falling
from tinyfed.wire.order import Order


@dataclass(frozen=True)
class TinyReptile(Alone):
    """One device a round learns online, sample after sample, and stores none of them:

        device:  phi' <- phi;  phi' <- phi' - beta * grad L(phi'; x, y)  for each (x, y) of its stream
        server:  phi  <- phi + alpha_t * (phi' - phi)                    (Algorithm 1)

    The paper anneals alpha without giving the law; here it falls linearly, alpha_t = alpha * (1 - t / rounds),
    as in Reptile (Nichol, Achiam, Schulman 2018). The server computes in float32, each operation rounded.
    """

    order: Order  # its seed is replaced each round
    rounds: Annotated[int, whole(1)]
    alpha: Annotated[float, RATE] = 0.3
    name: str = "tinyreptile"

    def aggregate(self, state: State, replies: Sequence[Reply]) -> State:
        weights, alpha = state.weights.array, falling(self.alpha, state.round, self.rounds)
        for reply in replies:
            if reply.weights is not None:
                weights = weights + alpha * (reply.weights.array - weights)
        return state.after(weights)

    def _order(self) -> Order:
        return self.order
