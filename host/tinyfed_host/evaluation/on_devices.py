"""Held-out clients on emulated boards and on boards that are connected: the simulated devices' answers, to the bit."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tinyfed.boards import read_board
from tinyfed.device import Device
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import DeviceError, TinyfedError, UsageError
from tinyfed.meta.adaptation import adaptation, orders
from tinyfed.model import replace_weights
from tinyfed.tasks.task import Client
from tinyfed.wire.order import Order, Result
from tinyfed_host.device.side_by_side import side_by_side
from tinyfed_host.device.unique_id import device_id
from tinyfed_host.evaluation.evaluate import LEARNED, Evaluation, Starts, Subject, simulated_arena
from tinyfed_host.fleet.slots import Slot, make_slot, slots_on_ports

FIRST_NEWCOMER = 100  # number of the first newcomer's device


@dataclass(frozen=True)
class Place:
    """Where some clients' visits are made: a board, and what it is called in messages."""

    name: str
    slot: Slot
    clients: Sequence[Client]
    gives_data: bool  # the slot puts a client's samples into the device; else the device holds them


def emulated_places(subject: Subject, clients: Sequence[Client], boards: Sequence[str]) -> list[Place]:
    """Emulated boards that share the clients out among them. Nothing is started yet."""
    model = subject.image if subject.spec.frozen else None
    used = boards[: len(clients)]
    return [
        Place(
            f"emulated {name}",
            make_slot("emulated", device_id(FIRST_NEWCOMER + number), read_board(name), model),
            clients[number :: len(used)],
            gives_data=True,
        )
        for number, name in enumerate(used)
    ]


def port_places(clients: Sequence[Client], ports: Sequence[str]) -> list[Place]:
    """Boards on ports, each with one of the clients' samples in its flash. Raises `UsageError`, `DeviceError`."""
    if len(ports) != len(clients):
        raise UsageError(
            f"{len(ports)} ports for {len(clients)} clients: each device holds one client's samples", key="--port",
            remedy="name as many with --clients, or none: then each device is judged on the samples it has",
        )  # fmt: skip
    slots = slots_on_ports(ports)
    pairs = zip(slots, clients, ports, strict=True)
    return [Place(f"the device on {port}", slot, (client,), gives_data=False) for slot, client, port in pairs]


def confirm(
    found: Evaluation, clients: Sequence[Client], starts: Starts, places: Sequence[Place], draws: int = 1
) -> int:
    """The first draws of `found` on these boards. Returns how many visits.

    Raises `TinyfedError` when an answer differs from the simulated device's in any bit.
    """
    subject = found.subject
    able = [client for client in clients if client.name not in found.left_out]
    asked: dict[str, list[Order]] = {}
    for client, _, order in orders(subject.order, able, draws, found.seed):
        asked.setdefault(client.name, []).append(order)
    images = {kind: replace_weights(subject.image, starts[kind]) for kind in found.adapted}

    def work(number: int) -> int:
        place = places[number]
        with contextlib.closing(place.slot):
            return sum(
                _visits(place, client, asked[client.name], images, subject)
                for client in place.clients
                if client.name in asked
            )

    return sum(side_by_side(work, range(len(places))))


def _visits(place: Place, client: Client, asked: Sequence[Order], images: Mapping[str, bytes], subject: Subject) -> int:
    device = place.slot.connect(client.shard if place.gives_data else None)
    simulated = SimulatedDevice(client.name, shard=client.shard, arena_bytes=simulated_arena(subject.spec))
    for order in asked:
        for kind, image in images.items():
            device.load(image)
            simulated.load(image)
            told, expected = (each.visit(None, order, want_weights=False).result for each in (device, simulated))
            if _answers(told) != _answers(expected):
                held = "" if place.gives_data else f", or does its flash not hold the samples of {client.name}?"
                raise TinyfedError(
                    f"{place.name}, {client.name}, {kind}: its answers differ from the simulated ones; please report "
                    f"this{held}"
                )
    return len(asked) * len(images)


def _answers(result: Result) -> bytes:
    """A result without what differs between devices: clock, instructions, stack."""
    return replace(result, train_us=0, train_instructions=0, stack_bytes=0, arena_bytes=0).encode()


def judge_devices(
    subject: Subject, starts: Starts, missing: Mapping[str, str], ports: Sequence[str], *, draws: int, seed: int
) -> Evaluation:
    """Devices on ports, each judged on the samples that it has itself: nobody else knows them. Raises `DeviceError`,
    `UsageError`."""
    slots = slots_on_ports(ports)
    adapted, missing = {}, dict(missing)
    try:
        devices: dict[str, Device] = {slot.unique_id: slot.connect(None) for slot in slots}
        people = [Client(unique_id) for unique_id in devices]
        for kind, weights in starts.items():
            image = replace_weights(subject.image, weights)
            try:
                adapted[kind] = adaptation(image, people, subject.order, draws=draws, seed=seed, devices=devices)
            except DeviceError as error:
                if kind == LEARNED:
                    raise
                missing[kind] = str(error)
    finally:
        for slot in slots:
            slot.close()
    return Evaluation(subject, seed, adapted, missing, {}, {})
