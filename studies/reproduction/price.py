"""`tinyfed reproduce`: what a visit costs a device, measured on an emulated Cortex-M4."""

from contextlib import ExitStack
from dataclasses import dataclass

from studies.reproduction.confirm import BOARD, Confirmed, Twin
from studies.reproduction.measure import Memory, Method, Study, memory
from tinyfed.errors import DeviceError
from tinyfed.model import encode

CLOCK_HZ = 64_000_000
BITS_PER_S = 115_200


@dataclass(frozen=True)
class Price:
    """What a visit costs a device, measured on the emulated Cortex-M4."""

    instructions: int
    stack_bytes: int
    bytes_down: int
    bytes_up: int
    memory: Memory
    arena_bytes: int  # in use, as the board says: weights and all but the stored samples

    @property
    def compute_s(self) -> float:
        """At 64 MHz and one instruction a cycle."""
        return self.instructions / CLOCK_HZ

    @property
    def wire_s(self) -> float:
        """At 115,200 baud, ten bits a byte."""
        return 10 * (self.bytes_down + self.bytes_up) / BITS_PER_S

    @property
    def visit_s(self) -> float:
        """Both."""
        return self.visit_s_at(BITS_PER_S)

    def visit_s_at(self, bits_per_s: int) -> float:
        """Both, on another line."""
        return self.compute_s + 10 * (self.bytes_down + self.bytes_up) / bits_per_s

    @property
    def ram_bytes(self) -> int:
        """A device's RAM beside the model's own weights, stack included."""
        return self.memory.total + self.stack_bytes


def measure_price(study: Study, method: Method, done: Confirmed) -> Price:
    """What a visit of a row costs: the instructions, arena and stack of its first one on an emulated board that counts
    them, and the bytes of the run that was `done` on boards.

    Raises:
        DeviceError: the bits are not the simulated device's, or the arena is not the planned one.
    """
    task = study.make_task()
    spec = study.make_spec(task)
    strategy = study.make_strategy(method, task)
    weights = study.first_weights(spec, 1)
    client = task.train[0]
    assignment = strategy.configure(strategy.begin(weights, 1), client.name)
    with ExitStack() as stack:
        twin = Twin(client, 0, stack, counting=True)
        twin.load(encode(spec, weights))
        outcome = twin.visit(assignment.weights.astype("<f4").tobytes(), assignment.order, want_weights=True)
    result, planned = outcome.result, memory(spec, assignment.order)
    if result.arena_bytes != 4 * spec.parameter_count + planned.work_bytes + planned.visit_bytes:
        raise DeviceError(
            f"reproduce: {method.label} on {BOARD} takes {result.arena_bytes:,} bytes of arena, not as planned"
        )
    return Price(
        result.train_instructions, result.stack_bytes, done.bytes_down, done.bytes_up, planned, result.arena_bytes
    )
