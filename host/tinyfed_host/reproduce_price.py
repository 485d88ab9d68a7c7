"""`tinyfed reproduce`: its tables, measured on simulated devices and on an emulated board."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tinyfed.boards import read_board
from tinyfed.engine.device import SimulatedDevice
from tinyfed.errors import DeviceError
from tinyfed.meta.reproduction import (
    Memory,
    Method,
    Reached,
    Study,
    memory,
    reach,
    reach_reference,
)
from tinyfed.meta.strategy import Reply
from tinyfed.model import encode
from tinyfed_host.link import PATIENCE_S, SerialDevice
from tinyfed_host.reproduce_pairs import TASK as PAIRED_TASK
from tinyfed_host.reproduce_pairs import Pair, measure_pairs
from tinyfed_host.transport.emulator import start
from tinyfed_host.transport.socket import connect

BOARD = "mps2_an386"
UNIQUE_ID = "7265 7072 6f64 7563 6520 3031".replace(" ", "")
CLOCK_HZ = 64_000_000
BITS_PER_S = 115_200
CONFIRMED_ROUNDS = 3
SLOW_BYTES_PER_S = 5.0  # what the line is told to be: nothing is repeated because the computer is busy
HASTE = 20.0  # emulated seconds that may go by in a real one: what the device counts its host's silence in
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Price:
    """What a visit costs a device, measured on the emulated Cortex-M4."""

    instructions: int
    stack_bytes: int
    bytes_down: int
    bytes_up: int
    memory: Memory

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


Row = tuple[Method, Reached, Price | None]


@dataclass(frozen=True)
class Table:
    """A study's rows."""

    study: Study
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    references: tuple[Reached, ...]
    pairs: tuple[Pair, ...] = ()  # of the spoken words alone
    cpu_s: float = 0.0  # what it took to measure, emulator included

    @property
    def smaller_is_better(self) -> bool:
        """Squared errors are, accuracies are not."""
        return self.study.make_task().loss == "mse"

    @property
    def bound(self) -> str:
        """The performance whose price is compared, in words."""
        shots, target = self.study.target
        return f"{'at most' if self.smaller_is_better else 'at least'} {target:g} after {samples(shots)}"


def samples(count: int) -> str:
    """In words."""
    return f"{count} sample{'s' if count != 1 else ''}"


def measure_table(study: Study, seeds: Sequence[int], *, boards: bool, tell: Tell) -> Table:
    """All rows of a study. `boards` False leaves the emulated board away, and with it instructions and bytes."""
    rows, before = [], _cpu_s()
    for method in study.methods:
        tell(f"{study.task}: {method.label}, {study.visits} visits, {len(seeds)} seeds")
        reached = reach(study, method, seeds)
        rows.append((method, reached, measure_price(study, method) if boards else None))
    references = []
    for kind in study.references:
        tell(f"{study.task}: {kind}")
        references.append(reach_reference(study, kind, seeds))
    pairs = measure_pairs(study, seeds, tell) if study.task == PAIRED_TASK else ()
    return Table(study, tuple(seeds), tuple(rows), tuple(references), pairs, _cpu_s() - before)


def _cpu_s() -> float:
    """Of this process and those it has waited for."""
    return sum(os.times()[:4])


def measure_price(study: Study, method: Method) -> Price:
    """The first rounds of a row on an emulated board, which must give the simulated devices' bits; the price of a
    visit: the first one's instructions, the fewest bytes. Raises DeviceError when the bits differ."""
    task = study.make_task()
    spec = study.make_spec(task)
    strategy = study.make_strategy(method, task)
    weights = study.first_weights(spec, 1)
    image = encode(spec, weights)
    client = task.train[0]
    with start(read_board(BOARD), UNIQUE_ID, client.shard, counting=True) as emulated:
        line = connect(emulated.port)
        line.bytes_per_s = SLOW_BYTES_PER_S
        device = SerialDevice(line, clock=lambda: HASTE * time.monotonic(), patience_s=HASTE * PATIENCE_S)
        try:
            device.load(image)
            simulated = SimulatedDevice(client.name, shard=client.shard, arena_bytes=device.info.arena_bytes)
            simulated.load(image)
            state, visits = strategy.begin(weights, 1), []
            for _ in range(CONFIRMED_ROUNDS):
                assignment = strategy.configure(state, client.name)
                sent = assignment.weights.astype("<f4").tobytes()
                outcome = device.visit(sent, assignment.order, want_weights=True)
                expected = simulated.visit(sent, assignment.order, want_weights=True)
                if outcome.weights is None or outcome.weights != expected.weights:
                    raise DeviceError(f"reproduce: {method.label} on {BOARD}: other bits than the simulated device's")
                visits.append(outcome)
                trained = np.frombuffer(outcome.weights, "<f4").astype(np.float32)
                state = strategy.aggregate(state, [Reply(client.name, outcome.result, trained)])
            result = visits[0].result
            return Price(
                result.train_instructions,
                result.stack_bytes,
                min(visit.bytes_down for visit in visits),
                min(visit.bytes_up for visit in visits),
                memory(spec, strategy.configure(strategy.begin(weights, 1), client.name).order),
            )
        finally:
            device.close()
