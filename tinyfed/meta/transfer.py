"""Transfer learning: what one could do if the data were allowed to leave. A reference, not a strategy.

All training clients' samples are pooled with their true labels, a network with an output for each class is trained on
them, and a newcomer gets its layers with a new last one. The training is one visit of the engine to a device that holds
the pool: nothing but the data differs from what the fleet does.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinyfed.data.shard import read_shard, write_shard
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import UsageError
from tinyfed.meta.strategy import Array
from tinyfed.model import Dense, ModelSpec, encode, initialize, plan
from tinyfed.tasks.task import Client
from tinyfed.wire.order import SHOTS_MAX, WAYS_MAX, Order


def pool(clients: Sequence[Client]) -> bytes:
    """One shard with the samples of all clients, class by class. Raises UsageError when they do not fit together."""
    shards = []
    for client in clients:
        if client.shard is None:
            raise UsageError(f"client {client.name} has no stored samples to pool", where="transfer")
        shards.append(read_shard(client.shard))
    if len({(shard.feature_count, len(shard.classes)) for shard in shards}) != 1:
        raise UsageError("the clients do not have the same features and classes", where="transfer")
    targets = [shard.targets for shard in shards if shard.targets is not None]
    if len(targets) not in (0, len(shards)):
        raise UsageError("some clients have targets, some classes", where="transfer")
    rows = [np.concatenate(same) for same in zip(*(shard.classes for shard in shards), strict=True)]
    return write_shard(rows, np.concatenate(targets) if targets else None)


def transfer(
    spec: ModelSpec,
    clients: Sequence[Client],
    *,
    seed: int,
    learning_rate: float = 0.02,
    passes: int = 3,
    same_labels: bool = False,
) -> Array:
    """Weights for `spec`, (parameters,): pre-trained up to the last layer, which is new and all zeros. With
    `same_labels` a newcomer's classes are those of the pool, and the last layer is kept too.

    Zeros make the strongest reference: on the watch data a random last layer costs 0.2 of accuracy after one window
    for each gesture. Each pass has the same number of samples of every class, as many as the rarest has.
    """
    last = spec.layers[-1]
    if not isinstance(last, Dense):
        raise UsageError("the last layer is not dense", where="transfer")
    shard = pool(clients)
    pooled = read_shard(shard)
    classes = pooled.classes
    if len(classes) > WAYS_MAX:
        raise UsageError(f"{len(classes)} classes, a visit takes at most {WAYS_MAX}", where="transfer")
    if pooled.targets is None and same_labels and len(classes) != last.units:
        problem = f"{last.units} outputs for {len(classes)} classes that keep their labels"
        raise UsageError(problem, where="transfer")
    wide = (
        spec
        if pooled.targets is not None
        else replace(spec, layers=(*spec.layers[:-1], replace(last, units=len(classes))))
    )
    shots = min(SHOTS_MAX, *(len(samples) for samples in classes))
    device = SimulatedDevice("pool", shard=shard, arena_bytes=plan(wide).arena_bytes + 2 * WAYS_MAX * (SHOTS_MAX + 3))
    device.load(encode(wide, initialize(wide, seed)))
    order = Order("shard", len(classes), shots, 0, seed, learning_rate, passes=passes, true_labels=same_labels)
    trained = device.visit(None, order, want_weights=True).weights
    assert trained is not None
    if same_labels:
        return trained.array
    kept = spec.parameter_count - sum(
        math.prod(shape) for shape in spec.parameter_shapes[-2 if last.use_bias else -1 :]
    )
    weights = np.zeros(spec.parameter_count, np.float32)
    weights[:kept] = trained.array[:kept]
    return weights
