"""Federated averaging (McMahan et al.: Communication-efficient learning of deep networks from decentralized data,
AISTATS 2017), and FedProx (Li et al.: Federated optimization in heterogeneous networks, MLSys 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from tinyfed.fields import fields_of, number, whole, word
from tinyfed.meta.robust import RULES
from tinyfed.meta.strategy import Cohort, Reply, State, combined
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
    rounds: Annotated[int, whole(1)]
    devices: Annotated[int, whole(1)] = 4
    passes: int = 1
    batch: int = 10
    late: Annotated[str, word("drop", "use")] = "drop"
    staleness: Annotated[float, number(0, 100)] = 0.5
    robust: Annotated[str, word(*RULES)] = "mean"  # how answers become one, docs/robust.md
    liars: Annotated[int, whole(0)] = 1  # devices of a round that may lie, for "trimmed_mean" and "krum"
    name: str = "fedavg"
    is_steady = True

    @property
    def takes_late(self) -> bool:
        return self.late == "use"

    def aggregate(self, state: State, replies: Sequence[Reply]) -> State:
        return state.after(combined(replies, self.robust, self.liars, self.staleness))

    def _order(self) -> Order:
        return replace(self.order, passes=self.passes, update="sgd", batch=self.batch)


@dataclass(frozen=True)
class FedProx(FedAvg):
    """FedAvg whose devices are held near the global model: they minimize L(w) + mu / 2 * |w - w_t|^2 (equation 2).

    The term's gradient is applied as a step of its own after each minibatch's. It costs a device a copy of the
    weights. The paper's devices may do different amounts of work; here all do the same.
    """

    mu: Annotated[float, fields_of(Order)["proximal"]] = 0.1
    name: str = "fedprox"

    def _order(self) -> Order:
        return replace(super()._order(), proximal=self.mu + 0.0)  # no -0.0


@dataclass(frozen=True)
class FedSGD(FedAvg):
    """One gradient a device and round: FedAvg with a single pass and a single batch of all its samples, so that the
    mean of the weights is `w - beta * sum_k (n_k / n) * grad L_k(w)` (McMahan et al., section 2)."""

    passes: int = field(default=1, init=False)
    batch: int = field(default=0, init=False)  # all samples
    name: str = "fedsgd"
