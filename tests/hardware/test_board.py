"""The end-to-end tests for a person with a board:

    tinyfed firmware flash --board stm32f405 --port /dev/ttyUSB0
    pytest -m hardware --port /dev/ttyUSB0 --board stm32f405

Any port works that `tinyfed devices` takes, an emulated board's too: tests/emulated/test_hardware_tests.py does that.
They take a minute, write the board's flash where it can keep a model, and leave nothing saved behind. What passed on a
board goes into its manifest: `verified.level` "hardware", and `where` says which board and which tests.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tinyfed_host.device.discovery import connect, open_transport
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.firmware import build, flash

from tinyfed.boards import Board, read_board
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import DeviceError
from tinyfed.model.image import encode, read_weights
from tinyfed.model.initialize import initialize
from tinyfed.model.spec import mlp
from tinyfed.wire import frames
from tinyfed.wire.messages import hash64
from tinyfed.wire.order import Order
from tinyfed.wire.record import FORGET

pytestmark = pytest.mark.hardware

ORDER = Order("sine", ways=1, shots=32, queries=20, seed=7, learning_rate=0.02, checkpoints=(0, 32))


@pytest.fixture(scope="module")
def board(pytestconfig: pytest.Config) -> Board:
    name = pytestconfig.getoption("--board")
    if not name or not pytestconfig.getoption("--port"):
        pytest.skip("no board: give --port PORT --board NAME")
    return read_board(name)


@pytest.fixture
def device(board: Board, pytestconfig: pytest.Config) -> Iterator[RemoteDevice]:
    found = connect(pytestconfig.getoption("--port"))
    assert isinstance(found, RemoteDevice)
    yield found
    found.close()


def image(seed: int) -> bytes:
    spec = mlp(1, (32, 32), 1, "tanh")
    return encode(spec, initialize(spec, seed))


def test_it_runs_this_firmware(board: Board, device: RemoteDevice) -> None:
    assert device.info.board == board.name
    assert device.info.firmware_build == build.info(build.build(board)).build_id, "flash it: tinyfed firmware flash"
    assert int(device.info.unique_id, 16) not in (0, 2**96 - 1)


def test_it_learns_the_same_bits_as_the_simulated_device(device: RemoteDevice) -> None:
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


def test_it_refuses_and_goes_on(device: RemoteDevice) -> None:
    device.load(image(1))
    with pytest.raises(DeviceError):
        device.visit(bytes(40), ORDER, want_weights=False)
    device.load(image(1))
    assert device.visit(None, ORDER, want_weights=False).result.samples == 32


def test_its_line_goes_on_after_a_flood(board: Board, pytestconfig: pytest.Config) -> None:
    """Eight times what its ring holds, and no frame in it: a line whose bytes come one by one is overrun."""
    port = pytestconfig.getoption("--port")
    line = open_transport(port)
    line.write(bytes(range(1, 256)) * 32)
    line.close()
    device = connect(port)
    assert isinstance(device, RemoteDevice)
    try:
        assert device.info.board == board.name
    finally:
        device.close()


def test_it_restarts(device: RemoteDevice) -> None:
    unique_id = device.info.unique_id
    device.load(image(1))
    device.reset()
    assert (device.info.unique_id, device.info.structure_hash) == (unique_id, 0)
    assert device.info.reset_cause in ("software", "unknown")


def test_its_line_loses_nothing(device: RemoteDevice, pytestconfig: pytest.Config) -> None:
    """At the baud of the manifest (`serial.baud`: set it to the highest that you want to know about, and flash)."""
    if "://" in pytestconfig.getoption("--port"):
        pytest.skip("no serial line: it has no baud")
    before = device.traffic.retries
    for seed in range(20):
        device.load(image(seed))
        device.visit(read_weights(image(seed)).tobytes(), ORDER, want_weights=True)
    assert device.traffic.retries == before


def test_its_watchdog_resets_it(board: Board, device: RemoteDevice, pytestconfig: pytest.Config) -> None:
    """The debug probe has the core run a loop without end, out of RAM, and goes."""
    if "openocd" not in flash.methods(board) or not shutil.which("openocd"):
        pytest.skip("no openocd makes its main loop stand still")
    step = flash.verify_step(board, build.build(board), method="openocd")
    assert step is not None
    ram = board.memory["ram"]
    place = ram.address + ram.size_bytes - 16
    script = f"init; halt; mwh {place:#x} 0xE7FE; reg pc {place:#x}; resume; shutdown"
    port, unique_id = pytestconfig.getoption("--port"), device.info.unique_id
    device.close()
    subprocess.run([*step.command[:-1], script], check=True, timeout=60)
    end = time.monotonic() + 30
    while True:
        try:
            found = connect(port)
            break
        except DeviceError:
            assert time.monotonic() < end, "it stands still for ever"
    assert (found.info.unique_id, found.info.reset_cause) == (unique_id, "watchdog")
    found.close()


def test_it_keeps_a_model_without_power(device: RemoteDevice, pytestconfig: pytest.Config) -> None:
    """Somebody must take its power away: the adapter's cable too, which may feed it."""
    if not pytestconfig.getoption("--unplug"):
        pytest.skip("nobody unplugs it: give --unplug -s")
    if "save" not in device.info.capabilities:
        pytest.skip("this board has no flash that it can keep a model in")
    port, boot = pytestconfig.getoption("--port"), device.info.boot
    device.load(image(4))
    device.save()
    device.close()
    print("\nunplug the board, wait a second, plug it in again", flush=True)
    found, end = None, time.monotonic() + 120
    while found is None or found.info.boot == boot:
        assert time.monotonic() < end, "it was not unplugged, or does not answer"
        time.sleep(0.5)
        try:
            found = connect(port)
            found.close()
        except DeviceError:
            found = None
    assert found.info.weights_hash == hash64(read_weights(image(4)).tobytes())
    assert found.info.reset_cause in ("power", "brown-out", "unknown")
    last = connect(port)
    last.save(forget=True)
    last.close()


def test_its_flash_can_be_compared_after_a_restart(board: Board, device: RemoteDevice) -> None:
    """A chip that locked its debug port at the reset could be flashed only once."""
    step = flash.verify_step(board, build.build(board)) if flash.methods(board) else None
    if step is None:
        pytest.skip("no debug probe compares its flash")
    device.reset()
    assert flash.is_there(step)


def test_it_keeps_a_model_through_a_restart(device: RemoteDevice) -> None:
    if "save" not in device.info.capabilities:
        pytest.skip("this board has no flash that it can keep a model in")
    device.load(image(2))
    learned = device.visit(None, ORDER, want_weights=True).weights
    assert learned is not None
    device.save()
    device.reset()
    assert device.info.weights_hash == hash64(learned), "it starts with what it has learned"
    device.save(forget=True)
    device.reset()
    assert device.info.weights_hash == 0


def test_it_records_from_its_sensor(device: RemoteDevice) -> None:
    """Move the board while this runs, or leave it: it counts windows, whatever they hold."""
    if "sensor" not in device.info.capabilities:
        pytest.skip("this board has no sensor")
    arena_bytes = device.info.arena_bytes
    status = device.record(0, windows=2)
    assert (status.windows, status.counts) == (2, (2,))
    assert device.info.arena_bytes < arena_bytes
    device.record(FORGET)
    assert device.info.arena_bytes == arena_bytes


def test_a_host_that_does_not_read_stops_nothing(board: Board, pytestconfig: pytest.Config) -> None:
    """On the Arduino port, whose USB line can be held: longer than its watchdog would wait."""
    if board.port != "arduino":
        pytest.skip("the line of this board is no USB port of its own")
    line = open_transport(pytestconfig.getoption("--port"))
    hello = frames.Frame(frames.HELLO_REQUEST, 1, payload=bytes(range(1, 25)))
    for _ in range(200):
        line.write(frames.encode(hello))
        time.sleep(0.05)
    line.close()
    found = connect(pytestconfig.getoption("--port"))
    assert found.info.reset_cause != "watchdog"
    found.close()


def test_an_upload_spares_what_is_saved(board: Board, pytestconfig: pytest.Config) -> None:
    """Only the boot loader knows what it erases: what this says goes into docs/boards."""
    if board.port != "arduino":
        pytest.skip("a debug probe writes what it is given, and no more")
    port = pytestconfig.getoption("--port")
    found = connect(port)
    found.load(image(3))
    found.save()
    found.close()
    elf, build_id = flash.make_image(board, None)
    for step in flash.plan(board, elf, port=port):
        flash.run(step, lambda text: None)
    assert flash.wait_for_answer(port, build_id).weights_hash == hash64(read_weights(image(3)).tobytes())
