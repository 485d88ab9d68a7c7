"""First-order MAML (Finn, Abbeel, Levine: Model-agnostic meta-learning, ICML 2017, section 5.2), federated as
Per-FedAvg (Fallah, Mokhtari, Ozdaglar: Personalized federated learning, NeurIPS 2020) does it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tinyfed.meta.strategy import Cohort, Reply, State, check_count, check_rate, check_rounds, falling, mean_weights
from tinyfed.tasks.order import Order


@dataclass(frozen=True)
class FOMAML(Cohort):
    """Devices adapt on a support set and send the gradient of other samples at the adapted weights:

        device:  phi' <- phi - beta * grad L(phi; support), `passes` times in minibatches
                 g_i  <- grad L(phi'; queries)
        server:  phi  <- phi - alpha_t * mean_i g_i                        (second derivatives left out)

    The device leaves minus g_i where its weights were, so it needs no more memory than batches do. Per-FedAvg takes its
    steps on the device; here the server takes them, with alpha falling linearly to 0, as for the others.
    """

    order: Order  # its seed is replaced each round, its passes, update and queries by the options
    rounds: int
    alpha: float = 0.1
    devices: int = 4
    passes: int = 1
    batch: int = 10
    queries: int = 5  # a class, for the meta-gradient
    name: str = "fomaml"

    def __post_init__(self) -> None:
        check_rounds(self.rounds)
        check_rate("alpha", self.alpha)
        check_count("devices", self.devices)
        check_count("queries", self.queries)
        self._order(0).encode()

    def aggregate(self, state: State, replies: Sequence[Reply]) -> State:
        descent = mean_weights(replies)
        weights = state.weights
        if descent is not None:
            weights = weights + falling(self.alpha, state.round, self.rounds) * descent
        return replace(state, round=state.round + 1, weights=weights)

    def _order(self, seed: int) -> Order:
        return replace(
            self.order, seed=seed, passes=self.passes, update="sgd", batch=self.batch, queries=self.queries,
            meta_gradient=True,
        )  # fmt: skip
