"""What it takes to reach a device, and to reach it again after it was lost: a simulated one, an emulated one, one on a
port of this computer."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

from tinyfed.boards import Board
from tinyfed.data.recording import take_count
from tinyfed.device import Device, DeviceInfo, Recorder
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import DeviceError, DoesNotFitError, UsageError
from tinyfed.status import Status
from tinyfed_host.device import discovery
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.device.side_by_side import side_by_side
from tinyfed_host.emulation.qemu import EmulatedDevice, start
from tinyfed_host.firmware import build

# What every firmware of this version can read, so that a simulated run learns the same bits.
SHORTER_WEIGHTS = frozenset({"float16", "int8", "delta", "answers"})


def close_quietly(device: Device | None) -> None:
    """Let go of a device, if there is one: one that is gone already cannot be closed better."""
    if device is not None:
        with contextlib.suppress(DeviceError):
            device.close()


class Slot(Protocol):
    """Where one device is."""

    unique_id: str  # hexadecimal, of the device

    def connect(self, data: bytes | None) -> Device:
        """Make a device with this data (a shard, or what a `RecordedSlot` plays) answer here; the previous one is let
        go. Raises `DeviceError`."""

    def close(self) -> None:
        """Let go of the device, and end what was started for it."""


class _NamedDevice(SimulatedDevice):
    """A simulated device with a unique id and a board's arena."""

    def __init__(self, unique_id: str, board: str, arena_bytes: int, shard: bytes | None) -> None:
        super().__init__(unique_id, shard=shard, arena_bytes=arena_bytes)
        self._unique_id = unique_id
        self._board = board

    @property
    def info(self) -> DeviceInfo:
        """What it says of itself, under its own id."""
        said = super().info
        return dataclasses.replace(
            said,
            unique_id=self._unique_id,
            board=self._board,
            capabilities=said.capabilities | SHORTER_WEIGHTS,
        )


class SimulatedSlot:
    """A device in-process, with the arena of the board it stands for."""

    def __init__(self, unique_id: str, board: Board) -> None:
        self.unique_id = unique_id
        self._board = board

    def connect(self, data: bytes | None) -> Device:
        return _NamedDevice(self.unique_id, self._board.name, self._board.arena_bytes, data)

    def close(self) -> None:
        """Nothing was started."""


class EmulatedSlot:
    """An emulated board, started at the first connection; it keeps its port while shards change."""

    def __init__(
        self,
        unique_id: str,
        board: Board,
        connect: Callable[[EmulatedDevice], Recorder] = lambda emulated: RemoteDevice(emulated.connect()),
        model: bytes | None = None,
    ) -> None:
        """`connect` gives the device on an emulated board's line. `model`: an image that its firmware carries."""
        self.unique_id = unique_id
        self._board = board
        self._connect = connect
        self._model = model
        self._emulated: EmulatedDevice | None = None
        self._data: bytes | None = None
        self._device: Device | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the emulator while it runs."""
        return self._emulated.pid if self._emulated is not None else None

    def reset(self) -> None:
        """Press the board's reset button, from any thread. Raises `DeviceError` when its emulator does not run."""
        emulated = self._emulated
        if emulated is None:
            raise DeviceError(
                "its emulator does not run", where=f"device {self.unique_id}", remedy="connect to it first"
            )
        emulated.reset()

    def connect(self, data: bytes | None) -> Device:
        """See `Slot.connect`. An emulator that has ended, or has another shard, is started anew."""
        self._let_go()
        if self._emulated is None:
            self._emulated = start(self._board, self.unique_id, data, image=build.build(self._board, model=self._model))
        elif self._emulated.pid is None or data is not self._data:
            self._emulated.reload(data)
        self._data = data
        self._device = self._connect(self._emulated)
        return self._device

    def close(self) -> None:
        self._let_go()
        if self._emulated is not None:
            self._emulated.stop()
            self._emulated = None

    def _let_go(self) -> None:
        device, self._device = self._device, None
        close_quietly(device)


class RecordedSlot(EmulatedSlot):
    """An emulated board without a shard: its sensor plays a client's readings (docs/recording.md), a take a class, and
    it records them itself before the run uses it."""

    _counts: tuple[int, ...] = ()  # windows it has recorded of each class

    def connect(self, data: bytes | None) -> Device:
        """See `Slot.connect`; `data` is the recording. A board that lost what it had recorded records again.

        Raises `UsageError` for a board whose emulator has no sensor, `DoesNotFitError` when a class finds no room.
        """
        assert data is not None
        fresh = data != self._data
        if fresh:
            self.close()
            self._emulated = start(
                self._board, self.unique_id, image=build.build(self._board, model=self._model), sensor=data
            )
            self._data, self._counts = data, ()
        device = self._greet()
        if self._counts and device.recorded() == self._counts:
            return device
        if not fresh:  # takes are played in turn, the first one after a start
            device = self._greet(anew=True)
        for label in range(take_count(data)):
            status = device.record(label)
            if status.status != Status.SOURCE:
                raise DoesNotFitError(
                    f"its store was full with {status.capacity} windows before class {label} was over",
                    where=f"device {self.unique_id} ({self._board.name})",
                    remedy="choose a board with more record_bytes",
                )
            self._counts = status.counts
        return device

    def _greet(self, *, anew: bool = False) -> Recorder:
        self._let_go()
        assert self._emulated is not None
        if anew or self._emulated.pid is None:
            self._emulated.reload(None)
        self._device = device = self._connect(self._emulated)
        return device


class PortSlot:
    """A device on a port of this computer; its samples are its own. It is looked for on the other ports too."""

    def __init__(self, unique_id: str, port: str, first: Device | None) -> None:
        """`port`: where it was last seen; `first`: the device, when it is connected already."""
        self.unique_id = unique_id
        self._port = port
        self._device = first
        self._fresh = first is not None

    def connect(self, data: bytes | None) -> Device:
        """See `Slot.connect`; `data` must be None."""
        assert data is None
        if self._fresh and self._device is not None:
            self._fresh = False
            return self._device
        self.close()
        self._device = discovery.find(self.unique_id, self._port)
        return self._device

    def close(self) -> None:
        device, self._device = self._device, None
        self._fresh = False
        close_quietly(device)


def slots_on_ports(ports: Sequence[str]) -> list[PortSlot]:
    """Greet all ports at once. Raises `DeviceError` when one does not answer, or two devices have one id."""

    def greet(port: str) -> Device | DeviceError:
        try:
            return discovery.connect(port)
        except DeviceError as error:
            return error

    if len(set(ports)) != len(ports):
        twice = next(port for port in ports if ports.count(port) > 1)
        raise DeviceError("given twice", where=twice, remedy="name each port once")
    answers = side_by_side(greet, ports)
    devices = [answer for answer in answers if not isinstance(answer, DeviceError)]
    problem = next((answer for answer in answers if isinstance(answer, DeviceError)), None)
    seen: dict[str, str] = {}
    for port, answer in zip(ports, answers, strict=True):
        if isinstance(answer, DeviceError):
            continue
        unique_id = answer.info.unique_id
        if unique_id in seen and problem is None:
            problem = DeviceError(
                f"device {unique_id} answers on {seen[unique_id]} and on {port}: two devices with one unique id cannot "
                "be told apart; unplug one or flash it with an id of its own"
            )
        seen[unique_id] = port
    if problem is not None:
        for device in devices:
            device.close()
        raise problem

    return [PortSlot(device.info.unique_id, port, device) for port, device in zip(ports, devices, strict=True)]


def make_slot(kind: str, unique_id: str, board: Board, model: bytes | None = None, *, plays: bool = False) -> Slot:
    """A slot for a simulated or emulated device; emulated firmware carries `model`; `plays`: its sensor plays
    recordings. Raises `UsageError` for a board without an emulator."""
    if kind == "simulated":
        return SimulatedSlot(unique_id, board)
    if board.emulator is None:
        raise UsageError(f"{board.name} cannot be emulated; `tinyfed boards` shows which can")
    return (RecordedSlot if plays else EmulatedSlot)(unique_id, board, model=model)
