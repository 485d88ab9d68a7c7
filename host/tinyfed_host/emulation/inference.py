"""An emulated board to put a batch through a model on."""

import contextlib
from collections.abc import Iterator

import numpy as np

from tinyfed.boards import Board
from tinyfed.errors import UsageError
from tinyfed.model import plan
from tinyfed.model.convert import Model
from tinyfed.model.image import decode
from tinyfed.model.run import board_image
from tinyfed_host.device.discovery import open_transport
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.device.unique_id import device_id
from tinyfed_host.emulation.qemu import start
from tinyfed_host.firmware import build

# An emulated board that shares its host with others may take long for one sample of a large network.
PATIENCE_S = 60.0


@contextlib.contextmanager
def emulated(model: Model, board: Board) -> Iterator[RemoteDevice]:
    """An emulated board for this model. A frozen network that its RAM does not hold beside the rest goes into flash.

    Raises what `build.build` and `emulator.start` raise."""
    if board.emulator is None:
        raise UsageError(f"{board.name} cannot be emulated; `tinyfed boards` shows which can")
    image = board_image(model)
    spec = decode(image)[0]
    needed = plan(spec).arena_bytes + 4 * max(np.prod(spec.sample_shape), np.prod(spec.output_shape))
    carried = image if spec.frozen and needed > board.arena_bytes else None
    with start(board, device_id(0), image=build.build(board, model=carried)) as running:
        device = RemoteDevice(open_transport(running.port), patience_s=PATIENCE_S)
        with contextlib.closing(device):
            yield device
