"""Federated averaging (McMahan et al.: Communication-efficient learning of deep networks from decentralized data,
AISTATS 2017), and FedProx (Li et al.: Federated optimization in heterogeneous networks, MLSys 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tinyfed.errors import UsageError
from tinyfed.meta.strategy import Cohort, Reply, State, check_count, check_rounds, mean_weights
from tinyfed.wire.order import Order


@dataclass(frozen=True)
class FedAvg(Cohort):
    """Devices train a few epochs, the server takes the mean:

        device:  w_k <- w - beta * grad L(w; b)  for each minibatch b, `passes` times       (ClientUpdate)
        server:  w <- sum_k (n_k / n) * w_k      over `devices` devices                     (Algorithm 1)

    One global model for all; where every device has its own labels it learns that nothing can be said. The paper leaves
    the share of devices, the passes and the batch to the user, and says nothing of devices that fail: here they are
    left out of the mean.

    With `late = "use"` an answer that comes after its round is over counts in the next one, its n_k times
    (1 + age)^-staleness as in FedAsync (Xie, Koyejo, Gupta: Asynchronous federated optimization, 2019).
    """

    order: Order  # its seed is replaced each round, its passes and batch by the options
    rounds: int
    devices: int = 4
    passes: int = 1
    batch: int = 10
    late: str = "drop"
    staleness: float = 0.5
    name: str = "fedavg"

    @property
    def takes_late(self) -> bool:
        return self.late == "use"

    def __post_init__(self) -> None:
        check_rounds(self.rounds)
        if self.late not in ("drop", "use"):
            raise UsageError(f"strategy: late is {self.late!r}, allowed are drop, use")
        if not 0.0 <= self.staleness <= 100.0:
            raise UsageError(f"strategy: staleness is {self.staleness!r}, allowed is 0 to 100")
        check_count("devices", self.devices)
        self._order(0).encode()

    def aggregate(self, state: State, replies: Sequence[Reply]) -> State:
        return state.after(mean_weights(replies, self.staleness))

    def _order(self, seed: int) -> Order:
        return replace(self.order, seed=seed, passes=self.passes, update="sgd", batch=self.batch)


@dataclass(frozen=True)
class FedProx(FedAvg):
    """FedAvg whose devices are held near the global model: they minimize L(w) + mu / 2 * |w - w_t|^2 (equation 2).

    The term's gradient is applied as a step of its own after each minibatch's. It costs a device a copy of the
    weights. The paper's devices may do different amounts of work; here all do the same.
    """

    mu: float = 0.1
    name: str = "fedprox"

    def __post_init__(self) -> None:
        if self.mu != 0.0 and not 2.0**-126 <= self.mu <= 1000.0:
            raise UsageError(f"strategy: mu is {self.mu!r}, allowed is 0, or 1.2e-38 to 1000")
        super().__post_init__()

    def _order(self, seed: int) -> Order:
        return replace(super()._order(seed), proximal=self.mu + 0.0)  # no -0.0


@dataclass(frozen=True)
class FedSGD(FedAvg):
    """One gradient a device and round: FedAvg with a single pass and a single batch of all its samples, so that the
    mean of the weights is `w - beta * sum_k (n_k / n) * grad L_k(w)` (McMahan et al., section 2)."""

    passes: int = field(default=1, init=False)
    batch: int = field(default=0, init=False)  # all samples
    name: str = "fedsgd"
