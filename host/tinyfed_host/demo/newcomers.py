"""The newcomer of the demo: a stranger's device that gets an initialization and learns its own gestures."""

from collections.abc import Mapping
from dataclasses import replace

from tinyfed.boards import read_board
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import TinyfedError
from tinyfed.meta.adaptation import orders
from tinyfed.meta.strategy import Array
from tinyfed.model import replace_weights
from tinyfed.tasks.task import Client
from tinyfed.wire.order import Order, Result
from tinyfed_host.demo.screen import Screen
from tinyfed_host.device.side_by_side import side_by_side
from tinyfed_host.device.unique_id import device_id
from tinyfed_host.fleet.slots import make_slot
from tinyfed_host.run.parts import Parts

FIRST_NEWCOMER = 100  # number of the first newcomer's device
DRAWS_ON_BOARDS = 1  # of each initialization on each board


def newcomers_on_boards(parts: Parts, starts: Mapping[str, Array], screen: Screen) -> int:
    """The first draws of each initialization, on emulated boards with the held-out people's data.

    Returns how many draws. Raises `TinyfedError` when an answer differs from the simulated device's in any bit.
    """
    boards = parts.experiment.fleet.boards
    clients = parts.task.held_out
    drawn = list(orders(parts.task.adapt, clients, DRAWS_ON_BOARDS, parts.experiment.seed))
    mine: list[list[tuple[Client, Order]]] = [[] for _ in boards]
    for number, (client, _, order) in enumerate(drawn):
        mine[number % len(boards)].append((client, order))
    images = {kind: replace_weights(parts.image, weights) for kind, weights in starts.items()}

    def work(number: int) -> int:
        slot = make_slot("emulated", device_id(FIRST_NEWCOMER + number), read_board(boards[number]))
        done = 0
        try:
            for client, order in mine[number]:
                device = slot.connect(client.shard)
                parts.check(device)
                for kind, image in images.items():
                    device.load(image)
                    found = device.visit(None, order, want_weights=False).result
                    _same(f"{boards[number]} {slot.unique_id}, {client.name}, {kind}", found, image, client, order)
                    done += 1
        finally:
            slot.close()
        return done

    with screen.working("emulated boards with the held-out people's data"):
        count = sum(side_by_side(work, range(len(boards))))
    screen.good(f"{count} draws on emulated boards gave exactly the simulated devices' answers")
    return count


def _same(who: str, found: Result, image: bytes, client: Client, order: Order) -> None:
    simulated = SimulatedDevice(client.name, shard=client.shard)
    simulated.load(image)
    expected = simulated.visit(None, order, want_weights=False).result
    if _answers(found) != _answers(expected):
        raise TinyfedError(f"newcomer on {who}: the board's answers differ from the simulated ones; please report this")


def _answers(result: Result) -> bytes:
    """A result without what differs between devices: clock, instructions, stack."""
    return replace(result, train_us=0, train_instructions=0, stack_bytes=0, arena_bytes=0).encode()
