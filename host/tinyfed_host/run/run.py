"""A run that is open: begun, or gone on with where it stopped."""

import dataclasses
import datetime
import hashlib
import platform
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyfed import __version__
from tinyfed.device import DeviceInfo
from tinyfed.errors import DeviceError, TinyfedError, UsageError
from tinyfed.meta.strategy import State, is_steady
from tinyfed.model import plan, read_weights, replace_weights, structure_hash
from tinyfed.tasks.raw import standardizing, why_none_in_front
from tinyfed.tasks.standardization import Standardization
from tinyfed.tasks.task import Task
from tinyfed.weights import Weights
from tinyfed_host.device.side_by_side import side_by_side
from tinyfed_host.experiment.schema import Experiment
from tinyfed_host.fleet.fleet import Fleet
from tinyfed_host.run.coordinator import WAIT_S, Coordinator, RunEnd
from tinyfed_host.run.events import Event, Observer, nobody
from tinyfed_host.run.names import shown_name
from tinyfed_host.run.parts import Parts, stored_experiment
from tinyfed_host.run.store import RunHeader, RunStore, StoreError, damage_told

# in the extra facts of a run: {part: {"sha256", "what"}}, {name: version}
DATA, VERSIONS = "data", "versions"
STANDARDIZATION = "standardization"  # in the extra facts of a run: {"mean": [...], "deviation": [...]}, by value
OF_TARGETS = "standardization_of_targets"  # the same, by target


def data_record(task: Task) -> dict[str, Any]:
    """What a run keeps of whose samples it is about: a hash over the names and shards of each part's clients."""
    found = {}
    for part, clients in (("training", task.train), ("held-out", task.held_out)):
        if not clients or any(client.make_shard is None for client in clients):
            continue  # devices make their samples themselves
        whole = hashlib.sha256()
        for client in clients:
            whole.update(f"{client.name}\0".encode() + hashlib.sha256(client.shard or b"").digest())
        found[part] = {"sha256": whole.hexdigest(), "what": f"{len(clients)} clients"}
    return {DATA: found} if found else {}


def versions_record() -> dict[str, Any]:
    """What a run keeps of what it was begun with."""
    versions = {"tinyfed": __version__, "Python": platform.python_version(), "NumPy": np.__version__}
    return {VERSIONS: {**versions, "on": f"{platform.system()} {platform.machine()}"}}


def standardization_record(task: Task) -> dict[str, Any]:
    """What a run keeps of how its task's samples and targets were standardized; nothing where they were not."""
    done = {STANDARDIZATION: task.standardization, OF_TARGETS: task.of_targets}
    return {
        name: {"mean": made.mean.tolist(), "deviation": made.deviation.tolist()}
        for name, made in done.items()
        if made is not None
    }


def _recorded(extra: Mapping[str, Any], name: str) -> Standardization | None:
    found = extra.get(name)
    return None if found is None else Standardization(np.array(found["mean"]), np.array(found["deviation"]))


@dataclass
class Run:
    """A run that is open: its store, and the parts to go on with."""

    store: RunStore
    parts: Parts
    fresh: bool = False  # begun by this process
    is_passing: bool = False  # in a temporary folder: nobody goes on with it

    @classmethod
    def begin(
        cls,
        folder: Path,
        experiment: Experiment,
        command: str,
        start_weights: bytes | None = None,
        *,
        image: bytes | None = None,
        replace: bool = False,
        **extra: Any,
    ) -> "Run":
        """A new run. `start_weights` (float32 little-endian) replace the initial ones, `image` the file that the
        experiment names; with `replace` a run of this name goes.

        Raises `UsageError` when they are not the model's, `StoreError` when the folder is not empty.
        """
        parts = Parts.make(experiment, image)
        if start_weights is not None:
            weights = Weights.of(start_weights)
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
            extra={**extra, **standardization_record(parts.task), **data_record(parts.task), **versions_record()},
        )
        return cls(RunStore.create(folder, header, replace=replace), parts, fresh=True)

    @classmethod
    def resume(cls, folder: Path) -> "Run":
        """Go on with a run. Raises `StoreError` when that cannot be."""
        store = RunStore.resume(folder)
        try:
            header = store.header()
            parts = Parts.make(stored_experiment(folder, header), header.image)
            if structure_hash(parts.image) != structure_hash(header.image):
                raise UsageError(f"{folder}: the run's model is built differently by this version of tinyfed")
            recorded = {name: header.extra[name] for name in (STANDARDIZATION, OF_TARGETS) if name in header.extra}
            if recorded and standardization_record(parts.task) != recorded:
                raise UsageError(
                    f"{folder}: the {parts.task.name} task's data has changed since the run began: its samples would "
                    "be standardized otherwise",
                    remedy=f"put the data back, or begin a new run with --from {folder.name}",
                )
            snapshot = store.snapshot()
            if snapshot is not None and len(snapshot.arrays.get("weights", b"")) != 4 * parts.spec.parameter_count:
                raise StoreError(f"{folder}: the run's record is damaged: its weights are not the model's")
            return cls(store, Parts(parts.experiment, parts.task, parts.spec, parts.strategy, header.image))
        except BaseException:
            store.close()
            raise

    def extend(self, rounds: int) -> bool:
        """Have so many rounds in all, with the bits of a run that was begun with them. False, and nothing changed, when
        the strategy's rounds would have been others: such a run begins anew. Raises `UsageError` for fewer than are
        done."""
        parts, done = self.parts, self._rounds() or 0
        if rounds < done:
            problem = f"{self.store.folder} has done {done:,} rounds"
            raise UsageError(problem, key=f"--rounds {rounds}", remedy=f"give {done:,} or more")
        if rounds == parts.experiment.rounds:
            return True
        if not is_steady(parts.strategy):
            return False
        experiment = dataclasses.replace(parts.experiment, rounds=rounds)
        strategy = experiment.strategy.make(parts.task, rounds)
        self.parts = dataclasses.replace(parts, experiment=experiment, strategy=strategy)
        self.store.set_rounds(rounds)
        return True

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """A run that failed before its first round leaves nothing of itself. An error says what there is, and how to
        go on: a `TinyfedError` as its remedy, any other in a note."""
        if error is None or self.is_passing:
            self.store.close()
            return
        try:
            rounds = self._rounds()
            standing = self._standing(rounds)
        finally:
            if self.fresh and rounds == 0:
                self.store.discard()
            else:
                self.store.close()
        if isinstance(error, TinyfedError):
            error.remedy = "; ".join(text for text in (error.remedy, standing) if text)
        else:
            error.add_note(standing)

    def _rounds(self) -> int | None:
        """Rounds done. None: it cannot be known."""
        try:
            snapshot = self.store.snapshot()
        except StoreError:
            return None
        return 0 if snapshot is None else snapshot.round

    def _standing(self, rounds: int | None) -> str:
        fleet = self.parts.experiment.fleet
        ports = "".join(f" --port {shlex.quote(port)}" for port in fleet.ports) if fleet.kind == "ports" else ""
        resume = f"`tinyfed run --resume {shown_name(self.store.folder)}{ports}`"
        if rounds is None:
            return f"what was done is in {self.store.folder}: go on with {resume}"
        if rounds:
            count = f"{rounds:,} of {self.parts.experiment.rounds:,} rounds"
            return f"{count} are done and kept: go on with {resume}"
        if self.fresh:
            return "no round was done, so nothing is kept: start it again"
        return f"no round is done yet: begin with {resume}"

    def has_rounds(self) -> bool:
        """Whether there is something to go on from."""
        return self._rounds() != 0

    def state(self, coordinator: Coordinator) -> State:
        """Where to go on: the last committed round, or the beginning."""
        snapshot = self.store.snapshot()
        if snapshot is None:
            return self.parts.strategy.begin(read_weights(self.parts.image), self.parts.experiment.seed)
        with damage_told(self.store.folder):
            return coordinator.restore(snapshot.document, snapshot.arrays)

    def learned_image(self) -> bytes:
        """The model after the last committed round."""
        snapshot = self.store.snapshot()
        if snapshot is None:
            return self.parts.image
        return replace_weights(self.parts.image, Weights.of(snapshot.arrays["weights"]))

    def raw_image(self) -> bytes:
        """`learned_image` for samples as they are measured: what the task does to them first is its first layer. Where
        no layer can stand in front it is `learned_image`."""
        image, extra = self.learned_image(), self.store.header().extra
        made, of_targets = _recorded(extra, STANDARDIZATION), _recorded(extra, OF_TARGETS)
        nothing = made is None and of_targets is None
        if nothing or why_none_in_front(self.parts.spec, behind=of_targets is not None):
            return image
        return standardizing(image, made, of_targets)

    def go(
        self,
        fleet: Fleet,
        observe: Observer = nobody,
        *,
        rounds: int | None = None,
        until: Callable[[], bool] | None = None,
        wait_s: float = WAIT_S,
    ) -> RunEnd:
        """Carry on with these devices, as `Coordinator.run`; the model is written out however it ends.

        When none answers, one is waited for so long; simulated ones would say the same again.
        """
        parts = self.parts
        for note in (*parts.task.notes, *self._model_notes()):
            observe(Event("note", text=f"task {parts.task.name}: {note}"))
        turns = parts.turns(len(fleet.ids()))
        if turns:
            observe(Event("note", text=turns))
        if parts.experiment.fleet.kind == "simulated":
            wait_s = 0.0
        coordinator = Coordinator(
            parts.strategy, fleet, self.store, parts.image, parts.experiment.round, observe, wait_s=wait_s
        )
        try:
            return coordinator.run(self.state(coordinator), rounds=rounds, until=until)
        finally:
            if self.has_rounds():
                self.store.write_model(self.raw_image())
                known = self.store.devices()
                for unique_id, info in fleet.infos().items():
                    if unique_id not in known:  # it joined on the way
                        self._remember(info, simulated=False)

    def _model_notes(self) -> tuple[str, ...]:
        reason = why_none_in_front(self.parts.spec, behind=self.parts.task.of_targets is not None)
        if not reason or self.parts.task.make_standardization is None:
            return ()
        return (
            f"model.tfm takes standardized samples: {reason}; the constants stand in run.sqlite, table run, "
            f"extra.{STANDARDIZATION}",
        )

    def meet(self, fleet: Fleet, *, simulated: bool) -> dict[str, str]:
        """Greet every device of the fleet and remember who it is; returns board names by unique id.

        Raises what a device that cannot take part raises, and `DeviceError` when one does not answer.
        """
        snapshot = self.store.snapshot()
        now = 0 if snapshot is None else snapshot.round
        ids = fleet.ids()
        if not ids:
            raise DeviceError("the fleet is empty: no device to learn with")
        there = dict(zip(ids, side_by_side(lambda unique_id: fleet.ready(unique_id, now), ids, most=8), strict=True))
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
