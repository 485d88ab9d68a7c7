"""`tinyfed reproduce`: what a visit costs a device, measured on an emulated Cortex-M4."""

import time
from dataclasses import dataclass

import numpy as np

from tinyfed.boards import read_board
from tinyfed.engine.device import SimulatedDevice
from tinyfed.errors import DeviceError
from tinyfed.meta.reproduction import Memory, Method, Study, memory
from tinyfed.meta.strategy import Reply
from tinyfed.model import encode
from tinyfed_host.link import PATIENCE_S, SerialDevice
from tinyfed_host.reproduce.confirm import BOARD, Check, never
from tinyfed_host.transport.emulator import start
from tinyfed_host.transport.socket import connect

UNIQUE_ID = "7265 7072 6f64 7563 6520 3031".replace(" ", "")
CLOCK_HZ = 64_000_000
BITS_PER_S = 115_200
PRICED_ROUNDS = 3
SLOW_BYTES_PER_S = 5.0  # what the line is told to be: nothing is repeated because the computer is busy
HASTE = 20.0  # emulated seconds that may go by in a real one: what the device counts its host's silence in


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


def measure_price(study: Study, method: Method, check: Check = never) -> Price:
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
            for _ in range(PRICED_ROUNDS):
                check()
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
