"""A batch through a device's model: on an emulated board, or on a connected one."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.boards import Board
from tinyfed.errors import UsageError
from tinyfed.model import plan
from tinyfed.model.convert import Model
from tinyfed.model.image import decode, read_weights, structure_hash, weights_hash
from tinyfed.model.run import Outputs, board_image, run_remotely
from tinyfed_host.device import discovery as devices
from tinyfed_host.device.line import SerialDevice
from tinyfed_host.emulation.qemu import start
from tinyfed_host.firmware import build as firmware
from tinyfed_host.fleet.fleet import device_id

# An emulated board that shares its host with others may take long for one sample of a large network.
PATIENCE_S = 60.0


def run_on(model: Model, arrays: Sequence[NDArray[Any]], device: SerialDevice) -> Outputs:
    """Outputs for one checked array an input. The device holds the model afterwards; one that holds it already, or
    carries it in its flash, is not sent it again."""
    image = board_image(model)
    info = device.info
    if (info.structure_hash, info.weights_hash) != (structure_hash(image), weights_hash(read_weights(image))):
        device.load(image)

    def infer(sample: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.frombuffer(device.infer(sample.astype("<f4").tobytes()), "<f4")

    return run_remotely(model, arrays, infer)


@contextlib.contextmanager
def emulated(model: Model, board: Board) -> Iterator[SerialDevice]:
    """An emulated board for this model. A frozen network that its RAM does not hold beside the rest goes into flash.

    Raises what `firmware.build` and `emulator.start` raise."""
    if board.emulator is None:
        raise UsageError(f"{board.name} cannot be emulated; `tinyfed boards` shows which can")
    image = board_image(model)
    spec = decode(image)[0]
    needed = plan(spec).arena_bytes + 4 * max(np.prod(spec.sample_shape), np.prod(spec.output_shape))
    carried = image if spec.frozen and needed > board.arena_bytes else None
    with start(board, device_id(0), image=firmware.build(board, model=carried)) as running:
        device = SerialDevice(devices.open_transport(running.port), patience_s=PATIENCE_S)
        with contextlib.closing(device):
            yield device


@contextlib.contextmanager
def connected(port: str) -> Iterator[SerialDevice]:
    """The device on a port. Raises DeviceError when none answers."""
    device = devices.connect(port)
    assert isinstance(device, SerialDevice)
    with contextlib.closing(device):
        yield device
