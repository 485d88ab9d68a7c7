"""Sine regression (Finn, Abbeel, Levine 2017): a device draws amplitude and phase and makes its samples itself.

y = a * sin(x + p), a in 0.1..5, p in 0..2 pi, x uniform in -5..5; docs/order.md gives the arithmetic.
"""

from typing import Annotated

from tinyfed.fields import checked, whole
from tinyfed.tasks.task import Client, Task
from tinyfed.wire.order import Order


@checked("task sine")
def make(clients: Annotated[int, whole(1, 100_000)] = 8, held_out: Annotated[int, whole(1, 100_000)] = 8) -> Task:
    """`clients` devices to train with and `held_out` to judge on; they differ by the seeds they get, nothing else."""
    return Task(
        name="sine",
        input_shape=(1,),
        output_count=1,
        loss="mse",
        train=tuple(Client(f"sine-{i}") for i in range(clients)),
        held_out=tuple(Client(f"sine-new-{i}") for i in range(held_out)),
        order=Order("sine", ways=1, shots=32, queries=0, seed=0, learning_rate=0.02),
        adapt=Order("sine", ways=1, shots=10, queries=50, seed=0, learning_rate=0.02, checkpoints=(0, 8, 32), passes=4),
    )
