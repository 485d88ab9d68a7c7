"""Sine regression (Finn, Abbeel, Levine 2017): a device draws amplitude and phase and makes its samples itself.

y = a * sin(x + p), a in 0.1..5, p in 0..2 pi, x uniform in -5..5; docs/order.md gives the arithmetic.
"""

from tinyfed.tasks.task import Client, Task, check_whole
from tinyfed.wire.order import Order


def make(clients: int = 8, held_out: int = 8) -> Task:
    """`clients` devices to train with and `held_out` to judge on; they differ by the seeds they get, nothing else."""
    check_whole("sine", "clients", clients, 1, 100_000)
    check_whole("sine", "held_out", held_out, 1, 100_000)
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
