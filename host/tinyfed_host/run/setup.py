"""From an experiment to a run: the model, the strategy, the fleet, the store, and going on where one stopped."""

import datetime
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyfed import meta
from tinyfed.boards import Board, board_names, read_board
from tinyfed.data.recording import write_recording
from tinyfed.device import Device, DeviceInfo
from tinyfed.errors import DeviceError, DoesNotFitError, UsageError
from tinyfed.meta.strategy import State, Strategy
from tinyfed.model import ModelSpec, decode, encode, initialize, plan, read_weights, replace_weights, structure_hash
from tinyfed.tasks.task import Client, Task, check_samples
from tinyfed_host.device import discovery as devices
from tinyfed_host.device.line import SerialDevice
from tinyfed_host.experiment.schema import Experiment, first_order, from_json, load
from tinyfed_host.fleet.fleet import Fleet, Rotation, Seat, device_id
from tinyfed_host.run.coordinator import Coordinator, RunEnd
from tinyfed_host.run.events import Observer, nobody
from tinyfed_host.run.store import RunHeader, RunStore, StoreError

# Time of an emulated board between two readings that its sensor plays: a person's minutes in two seconds.
PLAYED_US = 100


def read_experiment(path: Path) -> Experiment:
    """An experiment file, checked against the strategies and boards there are. Raises `UsageError`."""
    strategies = {name: meta.options(name) for name in meta.names()}
    return load(path, strategies, board_names())


@dataclass(frozen=True)
class Parts:
    """What an experiment is made into. Nothing runs yet."""

    experiment: Experiment
    task: Task
    spec: ModelSpec
    strategy: Strategy
    image: bytes  # with the initial weights

    @classmethod
    def make(cls, experiment: Experiment, image: bytes | None = None) -> "Parts":
        """All of it; a run that goes on gives the image it was begun with. Raises `UsageError`."""
        task, model = experiment.task.make(), experiment.model
        if model.image:
            image = model.read_image() if image is None else image
            spec = decode(image)[0]
        else:
            spec = model.make_spec()
            image = encode(spec, initialize(spec, experiment.seed))
        parts = cls(experiment, task, spec, experiment.strategy.make(task, experiment.rounds), image)
        parts._check_visit()
        return parts

    def _check_visit(self) -> None:
        """Raises `UsageError` when no device could carry out what the strategy asks of it."""
        order = first_order(self.strategy, self.image, self.experiment.seed)
        section = self.experiment.fleet
        if section.kind != "ports" and section.samples != "recorded":  # those have samples of their own
            for client in self.task.train[: len(section.boards)]:
                check_samples(self.task, client, order)

    def check(self, device: Device) -> None:
        """Raises `DoesNotFitError`, `UsageError` or, when it has recorded too little, `DeviceError`: this device cannot
        take part."""
        info = device.info
        who = f"device {info.unique_id} ({info.board})"
        needed = plan(self.spec).arena_bytes
        if needed > info.arena_bytes and info.structure_hash != structure_hash(self.image):
            raise DoesNotFitError(
                f"{who}: training the model takes {needed:,} bytes, its arena has {info.arena_bytes:,}: "
                f"{needed - info.arena_bytes:,} bytes short; make the model smaller or choose a larger board"
            )
        order = self.task.order
        if order.source != "shard":
            return
        if self.experiment.fleet.samples == "recorded":
            self._check_recorded(device, who)
        if not info.feature_count:
            raise UsageError(f"{who}: has no samples stored, which the {self.task.name} task needs; give it a shard")
        if info.feature_count != self.task.feature_count:
            raise UsageError(
                f"{who}: its shard has {info.feature_count} values a sample, the {self.task.name} task needs "
                f"{self.task.feature_count}; give it a shard of the right shape"
            )
        if info.class_count < order.ways:
            raise UsageError(
                f"{who}: its shard has {info.class_count} classes, the task draws {order.ways}; lower task.ways"
            )

    def _check_recorded(self, device: Device, who: str) -> None:
        if not isinstance(device, SerialDevice):  # simulated: its shard is what it would have recorded
            return
        order = self.task.order
        needed = order.shots + max(order.queries, 1 if order.checkpoints else 0)
        counts = device.recorded()
        counts += (0,) * (order.ways - len(counts))
        for label, count in enumerate(counts):
            if count < needed:
                raise DeviceError(
                    f"{who}: has recorded {count} windows of class {label}, the {self.task.name} task needs {needed}: "
                    f"`tinyfed devices label PORT {label} --windows {needed - count}`"
                )


def make_fleet(parts: Parts) -> Fleet:
    """The experiment's fleet. No emulator is started before its device is needed; ports are greeted now.

    Raises what `seats_on_ports` raises, and `UsageError` for a board without an emulator.
    """
    section = parts.experiment.fleet
    clients = parts.task.train if parts.task.order.source == "shard" else ()
    if section.kind == "ports":
        from tinyfed_host.fleet.slots import seats_on_ports
        from tinyfed_host.fleet.watcher import ANY, PortWatcher

        if ANY in section.ports:
            fleet = Fleet((), check=parts.check)
            watcher = PortWatcher(fleet)
            fleet.at_close(watcher.close)
            watcher.start()
            return fleet
        return Fleet(seats_on_ports(section.ports, devices.connect, devices.find), check=parts.check)
    boards = {name: read_board(name) for name in set(section.boards)}
    plays = section.samples == "recorded" and section.kind == "emulated"
    model = parts.image if parts.spec.frozen else None
    seats: list[Seat] = [
        make_seat(section.kind, device_id(number), boards[name], model, plays=plays)
        for number, name in enumerate(section.boards)
    ]
    if section.samples == "recorded" and any(client.make_takes is None for client in clients):
        raise UsageError(
            f"the {parts.task.name} task has no readings to play: its {section.kind} devices cannot record; "
            'leave fleet.samples = "recorded" away, or give --port PORT for each device that has recorded'
        )
    rotation = Rotation(clients, len(seats), section.rotate_every)
    return Fleet(seats, replace(rotation, data=_recording) if plays else rotation, parts.check)


def _recording(client: Client) -> bytes:
    assert client.make_takes is not None
    return write_recording(client.make_takes(), client.rate_hz, PLAYED_US)


def make_seat(kind: str, unique_id: str, board: Board, model: bytes | None = None, *, plays: bool = False) -> Seat:
    """A seat for a simulated or emulated device; emulated firmware carries `model`; `plays`: its sensor plays
    recordings. Raises `UsageError` for a board without an emulator."""
    from tinyfed_host.fleet.slots import EmulatedSeat, RecordedSeat, SimulatedSeat

    if kind == "simulated":
        return SimulatedSeat(unique_id, board)
    if board.emulator is None:
        raise UsageError(f"{board.name} cannot be emulated; `tinyfed boards` shows which can")
    return (RecordedSeat if plays else EmulatedSeat)(unique_id, board, devices.greet, model)


@dataclass
class Run:
    """A run that is open: its store, and the parts to go on with."""

    store: RunStore
    parts: Parts
    fresh: bool = False  # begun by this process

    @classmethod
    def begin(
        cls, folder: Path, experiment: Experiment, command: str, start_weights: bytes | None = None, **extra: Any
    ) -> "Run":
        """A new run. `start_weights` (float32 little-endian) replace the initial ones.

        Raises `UsageError` when they are not the model's, `StoreError` when the folder has a run.
        """
        parts = Parts.make(experiment)
        if start_weights is not None:
            weights = np.frombuffer(start_weights, "<f4")
            if weights.size != parts.spec.parameter_count:
                raise UsageError(
                    f"the run to start from has {weights.size:,} weights, this experiment's model has "
                    f"{parts.spec.parameter_count:,}: the two models must be the same"
                )
            parts = Parts(experiment, parts.task, parts.spec, parts.strategy, replace_weights(parts.image, weights))
        header = RunHeader(
            name=folder.name,
            experiment=experiment.to_json(),
            image=parts.image,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            command=command,
            extra=extra,
        )
        return cls(RunStore.create(folder, header), parts, fresh=True)

    @classmethod
    def resume(cls, folder: Path) -> "Run":
        """Go on with a run. Raises `StoreError` when that cannot be."""
        store = RunStore.resume(folder)
        try:
            header = store.header()
            parts = Parts.make(from_json(header.experiment), header.image)
            if structure_hash(parts.image) != structure_hash(header.image):
                raise UsageError(f"{folder}: the run's model is built differently by this version of tinyfed")
            return cls(store, Parts(parts.experiment, parts.task, parts.spec, parts.strategy, header.image))
        except BaseException:
            store.close()
            raise

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """A run that failed before its first round leaves nothing."""
        nothing = kind is not None and self.fresh and not self.has_rounds()
        self.store.close()
        if nothing:
            shutil.rmtree(self.store.folder, ignore_errors=True)

    def has_rounds(self) -> bool:
        """Whether there is something to go on from."""
        try:
            return self.store.snapshot() is not None
        except StoreError:
            return True  # it cannot be known: keep it

    def state(self, coordinator: Coordinator) -> State:
        """Where to go on: the last committed round, or the beginning."""
        snapshot = self.store.snapshot()
        if snapshot is None:
            return self.parts.strategy.begin(read_weights(self.parts.image), self.parts.experiment.seed)
        return coordinator.restore(snapshot.document, snapshot.arrays)

    def learned_image(self) -> bytes:
        """The model after the last committed round."""
        snapshot = self.store.snapshot()
        if snapshot is None:
            return self.parts.image
        return replace_weights(self.parts.image, np.frombuffer(snapshot.arrays["weights"], "<f4"))

    def go(
        self,
        fleet: Fleet,
        observe: Observer = nobody,
        *,
        rounds: int | None = None,
        until: Callable[[], bool] | None = None,
    ) -> RunEnd:
        """Carry on with these devices, as `Coordinator.run`; the model is written out however it ends."""
        parts = self.parts
        coordinator = Coordinator(parts.strategy, fleet, self.store, parts.image, parts.experiment.round, observe)
        try:
            return coordinator.run(self.state(coordinator), rounds=rounds, until=until)
        finally:
            if self.has_rounds():
                self.store.write_model(self.learned_image())
                known = self.store.devices()
                for unique_id, info in fleet.infos().items():
                    if unique_id not in known:  # it joined on the way
                        self._remember(info, simulated=False)

    def meet(self, fleet: Fleet, *, simulated: bool) -> dict[str, str]:
        """Greet every device of the fleet and remember who it is; returns board names by unique id.

        Raises what a device that cannot take part raises, and `DeviceError` when one does not answer.
        """
        from concurrent.futures import ThreadPoolExecutor

        snapshot = self.store.snapshot()
        now = 0 if snapshot is None else snapshot.round
        ids = fleet.ids()
        if not ids:
            raise DeviceError("the fleet is empty: no device to learn with")
        with ThreadPoolExecutor(max_workers=min(8, len(ids))) as pool:
            there = dict(zip(ids, pool.map(lambda unique_id: fleet.ready(unique_id, now), ids), strict=True))
        for device in there.values():
            self._remember(device.info, simulated=simulated)
        return {unique_id: device.info.board for unique_id, device in there.items()}

    def _remember(self, info: DeviceInfo, *, simulated: bool) -> None:
        facts = {
            "board": info.board,
            "firmware_build": info.firmware_build,
            "arena_bytes": info.arena_bytes,
            "ram_bytes": plan(self.parts.spec).arena_bytes,
            "capabilities": sorted(info.capabilities),
            "simulated": simulated,
        }
        self.store.put_device(info.unique_id, facts)
