"""The end-to-end tests for a person with a board: flash it (`tinyfed firmware flash`), then
`pytest -m hardware --port /dev/ttyACM0 --board stm32f405`. Any port works that `tinyfed devices` takes."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tinyfed_host import firmware
from tinyfed_host.devices import connect
from tinyfed_host.link import SerialDevice

from tinyfed.boards import Board, read_board
from tinyfed.engine.device import SimulatedDevice
from tinyfed.errors import DeviceError
from tinyfed.model.image import encode, read_weights
from tinyfed.model.initialize import initialize
from tinyfed.model.spec import mlp
from tinyfed.tasks.order import Order

pytestmark = pytest.mark.hardware

ORDER = Order("sine", ways=1, shots=32, queries=20, seed=7, learning_rate=0.02, checkpoints=(0, 32))


@pytest.fixture(scope="module")
def board(pytestconfig: pytest.Config) -> Board:
    name = pytestconfig.getoption("--board")
    if not name or not pytestconfig.getoption("--port"):
        pytest.skip("no board: give --port PORT --board NAME")
    return read_board(name)


@pytest.fixture
def device(board: Board, pytestconfig: pytest.Config) -> Iterator[SerialDevice]:
    found = connect(pytestconfig.getoption("--port"))
    assert isinstance(found, SerialDevice)
    yield found
    found.close()


def image(seed: int) -> bytes:
    spec = mlp(1, (32, 32), 1, "tanh")
    return encode(spec, initialize(spec, seed))


def test_it_runs_this_firmware(board: Board, device: SerialDevice) -> None:
    assert device.info.board == board.name
    assert device.info.firmware_build == firmware.build_id(board), "flash it: tinyfed firmware flash"
    assert int(device.info.unique_id, 16) not in (0, 2**96 - 1)


def test_it_learns_the_same_bits_as_the_simulated_device(device: SerialDevice) -> None:
    simulated = SimulatedDevice(arena_bytes=device.info.arena_bytes)
    for seed in range(3):
        device.load(image(seed))
        simulated.load(image(seed))
        weights = read_weights(image(seed)).tobytes()
        order = replace(ORDER, seed=seed)
        there = device.visit(weights, order, want_weights=True)
        here = simulated.visit(weights, order, want_weights=True)
        assert there.weights == here.weights
        assert there.result.checkpoints == here.result.checkpoints
        assert there.result.train_us > 0


def test_it_refuses_and_goes_on(device: SerialDevice) -> None:
    device.load(image(1))
    with pytest.raises(DeviceError):
        device.visit(bytes(40), ORDER, want_weights=False)
    device.load(image(1))
    assert device.visit(None, ORDER, want_weights=False).result.samples == 32


def test_it_restarts(device: SerialDevice) -> None:
    unique_id = device.info.unique_id
    device.load(image(1))
    device.reset()
    assert (device.info.unique_id, device.info.structure_hash) == (unique_id, 0)
