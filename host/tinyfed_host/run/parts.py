"""What an experiment is made into: the task, the model, the strategy, the fleet."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tinyfed.boards import board_names, read_board
from tinyfed.data.recording import write_recording
from tinyfed.device import Device, Recorder
from tinyfed.errors import DeviceError, DoesNotFitError, UsageError
from tinyfed.meta.strategy import Strategy
from tinyfed.model import ModelSpec, decode, encode, initialize, plan, structure_hash
from tinyfed.tasks.task import Client, Task, check_samples
from tinyfed.text import listed
from tinyfed_host.device.unique_id import device_id
from tinyfed_host.experiment.checks import first_order
from tinyfed_host.experiment.file import load
from tinyfed_host.experiment.model import image_for
from tinyfed_host.experiment.schema import Experiment
from tinyfed_host.experiment.settings import Setting
from tinyfed_host.experiment.stored import read_stored
from tinyfed_host.fleet.fleet import Fleet
from tinyfed_host.fleet.rotation import Rotation
from tinyfed_host.fleet.slots import Slot, make_slot, slots_on_ports
from tinyfed_host.fleet.watcher import ANY, PortWatcher
from tinyfed_host.run.names import DATABASE
from tinyfed_host.run.store import RunHeader

# Time of an emulated board between two readings that its sensor plays: a person's minutes in two seconds.
PLAYED_US = 100


def read_experiment(path: Path, settings: Sequence[Setting] = ()) -> Experiment:
    """An experiment file, with `settings` in place of what it says, checked against the boards there are. Raises
    `UsageError`."""
    return load(path, board_names(), settings)


def stored_experiment(folder: Path, header: RunHeader) -> Experiment:
    """The experiment of a run's folder, checked as strictly as a file. Raises `UsageError`."""
    return read_stored(header.experiment, str(folder / DATABASE), header.image, board_names())


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
            image = image_for(model, task) if image is None else image
            spec = decode(image)[0]
        else:
            spec = model.spec
            image = encode(spec, initialize(spec, experiment.seed))
        parts = cls(experiment, task, spec, experiment.strategy.make(task, experiment.rounds), image)
        parts._check_visit()
        return parts

    def _check_visit(self) -> None:
        """Raises `UsageError` when no device could carry out what the strategy asks of it."""
        order = first_order(self.strategy, self.image, self.experiment.seed)
        section = self.experiment.fleet
        if section.kind != "ports" and section.samples != "recorded":  # those have samples of their own
            clients = self.task.train if section.rotate_every else self.task.train[: len(section.boards)]
            for client in clients:
                check_samples(self.task, client, order)

    def turns(self, devices: int) -> str:
        """How the training clients are given to so many devices, where that is not one to each; else nothing."""
        clients, section = self.task.train, self.experiment.fleet
        if self.task.order.source != "shard" or devices == len(clients):
            return ""
        said = f"{len(clients)} clients on {devices} device{'s' * (devices != 1)}: "
        if section.kind == "ports":
            return said + "each learns from the samples that it holds" if self.task.takes_all else ""
        if devices > len(clients):
            return said + "some hold the same client's data"
        if section.rotate_every == 1:
            return said + "they take turns, others each round"
        if section.rotate_every:
            return said + f"they take turns, others after {section.rotate_every:,} rounds"
        without = listed(client.name for client in clients[devices:])
        return said + f"with fleet.rotate_every = 0 these take no part: {without}"

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
        if not isinstance(device, Recorder):  # simulated: its shard is what it would have recorded
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

    Raises what `slots_on_ports` raises, and `UsageError` for a board without an emulator.
    """
    section = parts.experiment.fleet
    clients = parts.task.train if parts.task.order.source == "shard" else ()
    if section.kind == "ports":
        if ANY in section.ports:
            fleet = Fleet((), check=parts.check)
            watcher = PortWatcher(fleet)
            fleet.at_close(watcher.close)
            watcher.start()
            return fleet
        return Fleet(slots_on_ports(section.ports), check=parts.check)
    boards = {name: read_board(name) for name in set(section.boards)}
    plays = section.samples == "recorded" and section.kind == "emulated"
    model = parts.image if parts.spec.frozen else None
    slots: list[Slot] = [
        make_slot(section.kind, device_id(number), boards[name], model, plays=plays)
        for number, name in enumerate(section.boards)
    ]
    if section.samples == "recorded" and any(client.make_takes is None for client in clients):
        raise UsageError(
            f"the {parts.task.name} task has no readings to play: its {section.kind} devices cannot record; "
            'leave fleet.samples = "recorded" away, or give --port PORT for each device that has recorded'
        )
    rotation = Rotation(clients, len(slots), section.rotate_every or 0)
    return Fleet(slots, replace(rotation, data=_recording) if plays else rotation, parts.check)


def _recording(client: Client) -> bytes:
    assert client.make_takes is not None
    return write_recording(client.make_takes(), client.rate_hz, PLAYED_US)
