"""What a learned initialization is held against: a random one, one global model, transfer learning."""

from tinyfed.errors import UsageError
from tinyfed.meta.joint import Joint
from tinyfed.meta.simulate import Watcher, make_devices, run
from tinyfed.meta.strategy import Array, Strategy
from tinyfed.meta.transfer import transfer
from tinyfed.model import ModelSpec, encode, initialize, plan
from tinyfed.tasks.task import Task

REFERENCES = ("random", "global", "transfer")


def learn(strategy: Strategy, spec: ModelSpec, task: Task, *, seed: int, watch: Watcher | None = None) -> Array:
    """The weights, (parameters,), a strategy ends with on simulated devices, from `initialize(spec, seed)`. `watch` as
    for `run`."""
    weights = initialize(spec, seed)
    arena_bytes = plan(spec).arena_bytes + 65_536  # and what the largest order draws
    devices = make_devices(task.train, encode(spec, weights), arena_bytes=arena_bytes)
    return run(strategy, devices, strategy.begin(weights, seed), watch=watch).weights.array


def reference(kind: str, spec: ModelSpec, task: Task, *, seed: int, rounds: int, watch: Watcher | None = None) -> Array:
    """Weights of one of `REFERENCES`, from the same first weights and the training clients only.

    `global` sees as many samples as `rounds` visits with the task's order do; `transfer` is given the pooled data with
    the true labels, and has the settings that did best when each training person in turn was held out. Where
    devices keep the true labels it keeps its last layer.
    """
    match kind:
        case "random":
            return initialize(spec, seed)
        case "global":
            return learn(Joint(task.order, rounds * task.order.shots), spec, task, seed=seed, watch=watch)
        case "transfer":
            return transfer(spec, task.train, seed=seed, same_labels=task.order.true_labels)
        case _:
            raise UsageError(f"{kind!r} is unknown, allowed are {', '.join(REFERENCES)}", where="reference")
