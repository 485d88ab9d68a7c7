"""From a run to a board that answers: what will be done, and doing it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyfed.boards import Board
from tinyfed.codegen.from_model import image_bundle
from tinyfed.codegen.generate import header_text, source_text, suggest_name
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import DeviceError, MissingToolError, TinyfedError, UsageError
from tinyfed.meta.adaptation import orders
from tinyfed.model.convert import FloatModel, Model
from tinyfed.model.run import board_image
from tinyfed.tasks.task import Client
from tinyfed.wire.order import Order, Result
from tinyfed_host.deployment import models
from tinyfed_host.device.discovery import connect
from tinyfed_host.device.inference import run_on
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.device.unique_id import device_id
from tinyfed_host.emulation import needs
from tinyfed_host.emulation.qemu import start
from tinyfed_host.evaluation.evaluate import Subject, Working, able_clients, simulated_arena
from tinyfed_host.firmware import build, flash

PATIENCE_S = 60.0  # an emulated board that shares its host may take long for one sample of a large network
ADAPTED_MOST = 3  # held-out clients that an emulated board learns from, each after a restart


@dataclass(frozen=True)
class Deployment:
    """What goes where, and how; nothing is built yet."""

    name: str
    subject: Subject
    clients: Sequence[Client]  # held out, with enough samples
    board: Board
    port: str  # "": an emulated board is started, or the flasher finds the board
    model: FloatModel
    int8: bool
    why_int8: str
    sends: bool  # a device answers on the port: the model goes over the line

    @property
    def raw(self) -> bool:
        """It takes samples as they are measured."""
        return models.takes_raw(self.subject, int8=self.int8)

    @property
    def learns(self) -> bool:
        """The device must learn before it can answer."""
        return not models.answers_at_once(self.subject)


def prepare(
    name: str,
    subject: Subject,
    clients: Sequence[Client],
    board: Board,
    port: str,
    folder: Path,
    *,
    int8: bool,
    dry_run: bool = False,
) -> Deployment:
    """Choose, and find out all that is missing; for a `dry_run` board and tools may be.

    Raises a `TinyfedError` of one message with everything that stands against it, before anything is built.
    """
    problems: list[TinyfedError] = []
    model = models.float_model(subject, name, raw=models.takes_raw(subject, int8=int8))
    large = models.too_large(model, board.arena_bytes, board.name, learns=not models.answers_at_once(subject))
    no_int8, why = models.why_no_int8(subject), "asked for"
    if large is not None and not int8 and not no_int8:
        int8, why, model = True, "in float32 it does not fit", models.float_model(subject, name, raw=False)
    elif large is not None and not int8:
        problems.append(large)
    if int8 and no_int8:
        problems.append(UsageError(no_int8, key="--int8"))
    able, left_out = able_clients(subject, clients)
    if not able:
        why_none = next(iter(left_out.values()), "the task has none")
        problems.append(UsageError(f"no held-out client to check it with: {why_none}"))
    sends = bool(port) and port in flash.answering([port])
    if not sends:
        problems += _missing(board, port, folder, dry_run=dry_run)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise _all_of(problems)
    return Deployment(name, subject, able, board, port, model, int8, why, sends)


def _missing(board: Board, port: str, folder: Path, *, dry_run: bool) -> Iterator[TinyfedError]:
    flashed = bool(flash.methods(board))
    if port and not flashed:
        yield DeviceError(f"no tinyfed device answers on it, and {board.name} is not flashed from here", where=port)
        return
    if not flashed and board.emulator is None:
        yield UsageError(f"{board.name} can neither be emulated nor flashed", key="--port", remedy="name its port")
        return
    if dry_run:
        return
    if flashed:
        try:
            flash.refuse_several(flash.choose(board), None)
            _port_of(board, port)
        except TinyfedError as error:
            yield error
    built = replace(board, emulator=None) if flashed else board
    try:
        needs.check([built], folder)
    except MissingToolError as error:
        yield error


def _all_of(problems: Sequence[TinyfedError]) -> TinyfedError:
    """One error of the kind of the first that says all."""
    first = problems[0]
    return type(first)("; ".join(map(str, problems)))


def steps(plan_: Deployment, output: Path | None) -> list[tuple[str, str]]:
    """What is done, in order: (name, sentence)."""
    board, subject = plan_.board, plan_.subject
    kind = f"int8, because {plan_.why_int8}: ranges from the training clients' samples" if plan_.int8 else "float32"
    made = subject.task.standardization
    takes = "samples as they are measured" if plan_.raw or made is None else "samples that are standardized first"
    needed = models.needed_bytes(plan_.model, learns=plan_.learns)
    fits = (
        f"{needed:,} bytes to {'learn' if plan_.learns else 'answer'} in float32, the arena has {board.arena_bytes:,}"
    )
    found = [("model", f"{kind}; it takes {takes}"), ("plan", f"{board.name}: {fits}")]
    if output is not None:
        name = suggest_name(plan_.name)
        found.append(
            ("write", f"{output}/{name}.tfm, {name}.h and {name}.c: the image, and as C for firmware of your own")
        )
    tool = flash.choose(board, dry=True) if flash.methods(board) else None
    if plan_.sends:
        found.append(("send", f"over the line to the device on {plan_.port}; kept in its flash where it has a store"))
    elif tool is not None and tool.builds:
        found.append(("flash", f"firmware that {tool.name} builds, and wait until the board answers"))
        found.append(("send", "over the line; kept in its flash where it has a store"))
    else:
        found.append(("build", f"firmware for {board.name} with the model in its flash"))
        if tool is not None:
            found.append(("flash", f"with {tool.name}, and wait until the board answers"))
        else:
            found.append(("start", f"an emulated {board.name}, for the check"))
    if plan_.learns:
        what = (
            f"{len(_learners(plan_))} held-out clients learn there" if not plan_.port else "it learns its own samples"
        )
        found.append(("check", f"{what}, and the answers are held against the host's"))
    else:
        count = len(checked(plan_).y)
        found.append(("check", f"{count} samples of {len(plan_.clients)} held-out clients there and on the host"))
    return found


def checked(plan_: Deployment) -> models.Labelled:
    """The held-out samples that the board answers."""
    return models.labelled(plan_.subject, plan_.clients, raw=plan_.raw).some(models.CHECKED_MOST)


def _learners(plan_: Deployment) -> Sequence[Client]:
    return plan_.clients[:ADAPTED_MOST]


def model_of(plan_: Deployment) -> Model:
    """What goes onto the board. Raises `DoesNotFitError` when it does not fit in int8 either."""
    if not plan_.int8:
        return plan_.model
    found = models.quantized(plan_.model, plan_.subject)
    large = models.too_large(found, plan_.board.arena_bytes, plan_.board.name, learns=False)
    if large is not None:
        raise large
    return found


def files(plan_: Deployment, model: Model, output: Path) -> dict[Path, bytes]:
    """The image and its C, by path."""
    name = suggest_name(plan_.name)
    labels = plan_.subject.task.classes if not plan_.learns else ()
    bundle = image_bundle(model, name, labels)
    made = plan_.subject.task.standardization
    before = (
        {}
        if plan_.raw or made is None
        else {output / f"{name}_standardization.h": models.standardization_header(name, made).encode("ascii")}
    )
    return before | {
        output / f"{name}.tfm": board_image(model),
        output / f"{name}.h": header_text(bundle).encode("ascii"),
        output / f"{name}.c": source_text(bundle).encode("ascii"),
    }


@contextlib.contextmanager
def on_board(
    plan_: Deployment, model: Model, working: Working, say: Callable[[str], None], shard: bytes | None = None
) -> Iterator[RemoteDevice]:
    """The board with the model on it: built and started, flashed, or sent over the line."""
    board, image = plan_.board, board_image(model)
    if plan_.sends:
        with contextlib.closing(connect(plan_.port)) as device:
            if device.info.board != board.name:
                raise UsageError(f"a {device.info.board} answers there", where=plan_.port, key=f"--board {board.name}")
            _send(device, image)
            yield device
        return
    if flash.methods(board):
        port = _flash(board, image, plan_.port, working, say)
        with contextlib.closing(connect(port)) as device:
            if flash.choose(board).builds:
                _send(device, image)
            yield device
        return
    with working(f"building firmware for {board.name} with the model in its flash"):
        elf = build.build(board, model=image)
    in_memory = {"line", "store"} <= board.memory.keys()  # the same bytes on the line, many times as fast
    with start(board, device_id(0), shard, image=elf, in_memory=in_memory) as running:
        device = RemoteDevice(running.connect(), patience_s=PATIENCE_S)
        with contextlib.closing(device):
            yield device


def _send(device: RemoteDevice, image: bytes) -> None:
    device.load(image)
    if "save" in device.info.capabilities:
        device.save()


def _port_of(board: Board, port: str) -> str:
    """Where the board will answer once it is flashed. Raises `DeviceError`, `UsageError`."""
    found = port or flash.find_port(board)
    if not found:
        raise DeviceError("no serial port to ask the board on", where=board.name, remedy="connect its USART, or --port")
    return found


def _flash(board: Board, image: bytes, port: str, working: Working, say: Callable[[str], None]) -> str:
    """Build, write, wait for the board; a tool that builds by itself leaves the model away. Returns the port."""
    tool = flash.choose(board)
    found = _port_of(board, port)
    with working(f"building firmware for {board.name}" + ("" if tool.builds else " with the model in its flash")):
        elf = build.build(board, model=None if tool.builds else image)
    build_id = build.info(elf).build_id
    for step in flash.plan(board, elf, port=found):
        say(f"{step.what}: {step.tool.name}")
        flash.run(step, say)
    flash.wait_for_answer(found, build_id)
    return found


def answer(plan_: Deployment, model: Model, device: RemoteDevice) -> dict[str, Any]:
    """Held-out samples through the model, there and here. Raises `TinyfedError` when a bit differs."""
    samples = checked(plan_)
    here = models.host_outputs(model, samples.x)
    there = run_on(model, [models.shaped(model, samples.x)], device).real[0]
    if there.tobytes() != here.tobytes():
        raise TinyfedError(
            f"the board's outputs differ from the host's for {int((there != here).any(axis=-1).sum())} of {len(here)} "
            "samples; please report this",
            where=plan_.board.name,
        )
    found = {
        "measure": "accuracy", "samples": len(samples.y), "clients": len(plan_.clients),
        "on_board": samples.share_right(there), "on_host": samples.share_right(here),
    }  # fmt: skip
    if plan_.int8:
        found["float_on_host"] = samples.share_right(models.host_outputs(plan_.model, samples.x))
    return found


def adapt(plan_: Deployment, device: RemoteDevice, client: Client | None) -> dict[str, Any]:
    """One newcomer learns on the board: `client`, whose samples lie in its flash, compared with the simulated device;
    or (None) whoever's samples the board has."""
    subject = plan_.subject
    order = first_draw(subject.order, plan_.clients, client)
    found = _points(device.visit(None, order, want_weights=False).result, subject)
    if client is None:
        return {"on_board": found}
    simulated = SimulatedDevice(client.name, shard=client.shard, arena_bytes=simulated_arena(subject.spec))
    simulated.load(subject.image)
    here = _points(simulated.visit(None, order, want_weights=False).result, subject)
    if found != here:
        raise TinyfedError(
            f"{client.name}: the board's answers differ from the simulated device's; please report this",
            where=plan_.board.name,
        )
    return {"client": client.name, "on_board": found, "on_host": here}


def first_draw(order: Order, clients: Sequence[Client], client: Client | None) -> Order:
    """Of this client as `evaluate` has it, which on sines is a wave of its own; None: of a device's own samples."""
    return next(each for one, _, each in orders(order, clients, 1, 0) if client is None or client is one)


def _points(result: Result, subject: Subject) -> Mapping[str, float]:
    measure = "accuracy" if subject.order.source == "shard" else "loss"
    return {str(point.shots): round(getattr(point, measure), 6) for point in result.checkpoints}


def learn_there(plan_: Deployment, model: Model, working: Working, say: Callable[[str], None]) -> dict[str, Any]:
    """Held-out clients learn on the board: an emulated one is started for each with the client's samples in its flash;
    a connected one learns those it has."""
    measure = "accuracy" if plan_.subject.order.source == "shard" else "loss"
    visits = []
    if plan_.port or flash.methods(plan_.board):
        with on_board(plan_, model, working, say) as device:
            if measure == "accuracy" and not device.info.feature_count:
                return {"measure": measure, "visits": [], "why_none": "the device has no samples to learn from"}
            visits.append({"device": device.info.unique_id, **adapt(plan_, device, _made_there(plan_))})
    else:
        for client in _learners(plan_):
            with on_board(plan_, model, working, say, client.shard) as device, working(f"{client.name} learns there"):
                visits.append(adapt(plan_, device, client))
    return {"measure": measure, "visits": visits}


def _made_there(plan_: Deployment) -> Client | None:
    """A client whose samples every device makes itself; None where they are its own."""
    return plan_.clients[0] if plan_.subject.order.source == "sine" else None
