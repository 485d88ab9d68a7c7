"""`tinyfed reproduce`: a row's whole run on emulated Cortex-M4 boards, which must give the simulated devices' bits."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from tinyfed_host.device.line import PATIENCE_S, RemoteDevice
from tinyfed_host.emulation.qemu import start
from tinyfed_host.transport.base import Transport

from studies.reproduction.measure import Method, Reached, Study, devices_a_round, newcomers
from tinyfed.device import VisitOutcome
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import DeviceError
from tinyfed.meta.simulate import Learner, run
from tinyfed.meta.strategy import Array
from tinyfed.model import ModelSpec, encode
from tinyfed.tasks.task import Client, Task
from tinyfed.weights import Weights
from tinyfed.wire.order import Order, Result

BOARD = "mps2_an386"
SLOW_BYTES_PER_S = 5.0  # what the line of a counting board is told to be
HASTE = 20.0  # emulated seconds that may go by in a real one: what such a board counts its host's silence in
Check = Callable[[], None]


def never() -> None:
    """Nothing to check."""


@dataclass(frozen=True)
class Confirmed:
    """What ran on emulated boards and gave the simulated devices' bits."""

    boards: int
    visits: int  # of the run, each compared in its result and in the weights that came back
    adaptations: int  # of newcomers, each compared in its result
    bytes_down: int  # on the line, frames included, of the median visit of the run
    bytes_up: int


class Twin:
    """A client's emulated board beside its simulated device: both do all, and what they answer is compared.

    The board starts when it is first needed and ends with `stack`; `check` is called before each visit and may raise.
    `counting` has the board count its instructions, which is slow. Methods raise `DeviceError` when a bit differs.
    """

    def __init__(
        self, client: Client, number: int, stack: ExitStack, check: Check = never, *, counting: bool = False
    ) -> None:
        self.traffic: list[tuple[int, int]] = []  # bytes down and up of each visit
        self._check = check
        self._client = client
        self._unique_id = f"{number:024x}"
        self._stack = stack
        self._counting = counting
        self._pair: tuple[RemoteDevice, SimulatedDevice] | None = None

    def load(self, image: bytes) -> None:
        board, simulated = self._started()
        board.load(image)
        simulated.load(image)

    def visit(self, weights: Weights | None, order: Order, *, want_weights: bool) -> VisitOutcome:
        board, simulated = self._started()
        outcome = board.visit(weights, order, want_weights=want_weights)
        expected = simulated.visit(weights, order, want_weights=want_weights)
        self.traffic.append((outcome.bytes_down, outcome.bytes_up))
        if outcome.weights != expected.weights or _learned(outcome.result) != _learned(expected.result):
            raise DeviceError(
                f"reproduce: {self._client.name} on {BOARD}, visit {len(self.traffic)}: not the simulated device's bits"
            )
        return outcome

    def _started(self) -> tuple[RemoteDevice, SimulatedDevice]:
        self._check()
        if self._pair is None:
            shard = self._client.shard
            emulated = self._stack.enter_context(
                start(BOARD, self._unique_id, shard, counting=self._counting, in_memory=True)
            )
            board = _slow(emulated.connect()) if self._counting else RemoteDevice(emulated.connect())
            self._stack.callback(board.close)
            simulated = SimulatedDevice(self._client.name, shard=shard, arena_bytes=board.info.arena_bytes)
            self._pair = board, simulated
        return self._pair


def _slow(line: Transport) -> RemoteDevice:
    """A device whose clock counts instructions: nothing is repeated because the computer is busy."""
    line.bytes_per_s = SLOW_BYTES_PER_S
    return RemoteDevice(line, clock=lambda: HASTE * time.monotonic(), patience_s=HASTE * PATIENCE_S)


def _learned(result: Result) -> bytes:
    """A result without what it cost."""
    return replace(result, train_us=0, train_instructions=0, stack_bytes=0, arena_bytes=0).encode()


class Twins:
    """Twins of clients that end together."""

    def __init__(self, clients: Sequence[Client], stack: ExitStack, check: Check) -> None:
        self.twins = {client.name: Twin(client, number, stack, check) for number, client in enumerate(clients)}

    @property
    def boards(self) -> int:
        """How many were visited."""
        return sum(bool(twin.traffic) for twin in self.twins.values())

    @property
    def traffic(self) -> list[tuple[int, int]]:
        """Bytes down and up of each visit of all."""
        return [each for twin in self.twins.values() for each in twin.traffic]


def confirm(study: Study, method: Method, reached: Reached, seed: int, check: Check = never) -> Confirmed:
    """Run a row once more from `seed`, the first of `reached`, on an emulated board for each client, or as many of its
    visits as are to be confirmed; then newcomers from there. `check` is called before each visit and may raise.

    Raises:
        DeviceError: a visit gave other bits than on the simulated device, or the run came to other values than the row.
    """
    task = study.newcomers_task(method)
    spec = study.make_spec(task)
    strategy = study.make_strategy(method, task)
    weights = study.first_weights(spec, seed)
    with ExitStack() as stack:
        fleet = Twins(task.train, stack, check)
        for twin in fleet.twins.values():
            twin.load(encode(spec, weights))
        rounds = min(strategy.rounds, method.confirmed // devices_a_round(method) or strategy.rounds)
        state = run(strategy, fleet.twins, strategy.begin(weights, seed), rounds=rounds)
    whole = reached if rounds == strategy.rounds else None
    boards, adaptations = confirm_newcomers(study, task, spec, state.weights.array, whole, seed, check)
    down, up = (statistics.median_low(part) for part in zip(*fleet.traffic, strict=True))
    return Confirmed(fleet.boards + boards, len(fleet.traffic), adaptations, down, up)


def confirm_newcomers(
    study: Study, task: Task, spec: ModelSpec, weights: Array, reached: Reached | None, seed: int, check: Check = never
) -> tuple[int, int]:
    """Boards and visits of newcomers that adapt from `weights` on emulated boards, to the values of the first seed
    where there is a `reached`. Raises as `confirm`."""
    with ExitStack() as stack:
        fleet = Twins(task.held_out, stack, check)
        devices: dict[str, Learner] = dict(fleet.twins)
        found = newcomers(task, spec, weights, study.draws, seed, devices)
    if reached is not None and found != reached.values[0].tolist():
        raise DeviceError(f"reproduce: {study.task}, {reached.label} on {BOARD}: other values than the table's")
    return fleet.boards, len(fleet.traffic)
