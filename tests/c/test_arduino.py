"""The Arduino port, compiled against a stand-in for Arduino.h and run behind it. The real framework comes from
PlatformIO's registry and is not seen here."""

import contextlib
import hashlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FIRMWARE, RECIPE, ROOT, require_tools
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.transport.socket import SocketTransport

from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import DeviceError
from tinyfed.model.image import encode, read_weights
from tinyfed.model.initialize import initialize
from tinyfed.model.spec import mlp
from tinyfed.wire import frames
from tinyfed.wire.messages import hash64
from tinyfed.wire.order import Order

STAND_IN = ROOT / "tests" / "c" / "port" / "arduino"
WARNINGS = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
INCLUDES = RECIPE.include_flags(FIRMWARE, "app")
DEFINES = ["-DTINYFED_ARENA_BYTES=65536u", "-DTINYFED_BAUD=115200u", "-DTINYFED_UNIQUE_ID_BYTES=8u"]
PLACES = ["-DTINYFED_DATA_FLASH_ADDRESS=0x80000u", "-DTINYFED_DATA_FLASH_BYTES=393216u"]
PLACES += ["-DTINYFED_STORE_ADDRESS=0x50000u", "-DTINYFED_STORE_BYTES=196608u"]
IMUS = {"nano33ble": "lsm9ds1", "nano33ble_rev2": "bmi270"}
MBED = ["-D__MBED__=1"]
MAIN = ["-DTINYFED_BUILD_ID=0x1234u", "-DTINYFED_MAIN=tinyfed_main"]
MAIN += ["-DTINYFED_RECORD_STORE_BYTES=16384u"]
M4 = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-fno-exceptions", "-fno-rtti"]


@pytest.fixture(params=[*IMUS, "other"])
def board(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def compile_c(source: Path, target: Path, *more: str) -> Path:
    """Compile one file of the firmware for this computer."""
    flags = ["-std=gnu99", *WARNINGS, *INCLUDES, *more]
    subprocess.run(["gcc", *flags, "-c", source, "-o", target], check=True, timeout=60)
    return target


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All that does not depend on the board."""
    require_tools("gcc")
    folder = tmp_path_factory.mktemp("arduino")
    return [
        compile_c(source, folder / ("_".join(source.relative_to(FIRMWARE).parts) + ".o"))
        for source in RECIPE.sources(FIRMWARE, *RECIPE.PARTS)
        if source.name != "main.c"
    ]


@pytest.fixture
def program(board: str, objects: list[Path], tmp_path: Path) -> Path:
    require_tools("g++")
    main = compile_c(FIRMWARE / "app" / "main.c", tmp_path / "main.o", *MAIN, f'-DTINYFED_BOARD="{board}"')
    places = [*PLACES, "-DTINYFED_UNIQUE_ID_ADDRESS=stand_in_id"]
    device = tmp_path / "device"
    subprocess.run(
        [
            *("g++", "-std=c++14", *WARNINGS, *INCLUDES, *stand_in(board), *DEFINES, *places),
            *(FIRMWARE / "port/arduino/port.cpp", STAND_IN / "Arduino.cpp", main, *objects, "-o", device),
        ],
        check=True,
        timeout=60,
    )
    return device


def stand_in(board: str) -> list[str]:
    """Where Arduino.h and the library of the board's IMU are; other boards than the Nanos have none, and no mbed."""
    return [f"-I{STAND_IN}", *([f"-I{STAND_IN / IMUS[board]}", *MBED] if board in IMUS else [])]


@contextlib.contextmanager
def started(program: Path, **environment: str) -> Iterator[socket.socket]:
    """The program's line; it must not end by itself."""
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    process = subprocess.Popen([program], stdin=theirs, stdout=theirs, env=os.environ | environment)
    theirs.close()
    try:
        yield ours
        assert process.poll() is None, "the stand-in has ended it"
    finally:
        ours.close()
        try:
            process.wait(10)
        finally:
            process.kill()


@contextlib.contextmanager
def running(program: Path, **environment: str) -> Iterator[RemoteDevice]:
    """The device behind the framework."""
    with started(program, **environment) as line:
        device = RemoteDevice(SocketTransport(line.dup(), "arduino stand-in"))
        try:
            yield device
        finally:
            device.close()


def test_it_compiles_for_the_boards_processor(board: str, tmp_path: Path) -> None:
    require_tools("arm-none-eabi-g++")
    places = [*PLACES, "-DTINYFED_UNIQUE_ID_ADDRESS=0x10000060u"]
    subprocess.run(
        [
            *("arm-none-eabi-g++", "-std=c++14", *M4, *WARNINGS, *INCLUDES, *stand_in(board), *DEFINES, *places),
            *("-c", FIRMWARE / "port/arduino/port.cpp", "-o", tmp_path / "port.o"),
        ],
        check=True,
        timeout=60,
    )


def test_a_device_behind_the_framework_learns_the_same_bits(board: str, program: Path) -> None:
    spec = mlp(1, (16,), 1, "tanh")
    image = encode(spec, initialize(spec, 4))
    order = Order("sine", ways=1, shots=16, queries=5, seed=3, learning_rate=0.05, checkpoints=(16,))
    with running(program) as device:
        assert device.info.board == board
        assert device.info.unique_id == "a1a2a3a4a5a6a7a800000000"
        assert device.info.class_count == 0, "erased flash is no shard"
        device.load(image)
        if board in IMUS:
            status = device.record(0, seconds=3.2)  # 2 s are a window, the next one ends a second later
            assert (status.windows, status.counts, status.capacity) == (2, (2,), 32)
            assert (device.info.class_count, device.info.feature_count) == (1, 120)
        simulated = SimulatedDevice(arena_bytes=65536)
        simulated.load(image)
        there = device.visit(None, order, want_weights=True).weights
        here = simulated.visit(None, order, want_weights=True).weights
        assert there is not None and here is not None
        assert hashlib.sha256(there).digest() == hashlib.sha256(here).digest()


def test_a_host_that_does_not_read_stops_nothing(program: Path) -> None:
    """It holds the port and asks on; the line takes no more, the device works on, and answers when it is read."""
    with started(program) as line:
        line.settimeout(10)
        waiting = 0
        for tag in range(1, 2000):
            line.send(frames.encode(frames.Frame(frames.HELLO_REQUEST, tag, payload=bytes(range(1, 25)))))
            if tag % 20 == 0:
                time.sleep(0.02)
                before, waiting = waiting, len(line.recv(1 << 20, socket.MSG_PEEK))
                if waiting == before:
                    break
        assert 0 < waiting == before, "the line is full"
        spec = mlp(1, (16,), 1, "tanh")
        device = RemoteDevice(SocketTransport(line.dup(), "arduino stand-in"))
        device.load(encode(spec, initialize(spec, 4)))
        device.close()


@pytest.mark.parametrize("board", IMUS, indirect=True)
@pytest.mark.parametrize("state", ["gone", "still"])
def test_a_sensor_that_gives_nothing_ends_the_recording(state: str, program: Path) -> None:
    """`gone`: -1 is no reading, though it is true. `still`: without a new reading the old one does not count again."""
    with running(program, STAND_IN_IMU=state) as device, pytest.raises(DeviceError, match="sensor gives nothing"):
        device.record(0, seconds=3.2)


@pytest.mark.parametrize("board", IMUS, indirect=True)
def test_a_sensor_that_hangs_resets_the_board_and_it_says_so(program: Path) -> None:
    with running(program) as device:
        assert device.info.reset_cause == "power"
        device.reset()
        assert device.info.reset_cause == "software"
    with started(program, STAND_IN_IMU="hung") as line:
        device = RemoteDevice(SocketTransport(line.dup(), "arduino stand-in"))
        with pytest.raises(DeviceError, match="it restarted"):
            device.record(0, seconds=3.2)
        spec = mlp(1, (16,), 1, "tanh")
        device.load(encode(spec, initialize(spec, 4)))
        assert device.info.reset_cause == "watchdog"
        device.close()


@pytest.mark.parametrize("board", IMUS, indirect=True)
def test_a_model_is_whole_after_a_power_cut_in_any_write(program: Path, tmp_path: Path) -> None:
    """Two saves; the power fails in each erase and write of the second one in turn."""
    spec = mlp(1, (16,), 1, "tanh")
    images = [encode(spec, initialize(spec, seed)) for seed in (4, 5)]
    hashes = [hash64(read_weights(image).tobytes()) for image in images]
    (tmp_path / "flash").write_bytes(bytes(0x90000))  # not erased, and no store
    flash = {"STAND_IN_FLASH": str(tmp_path / "flash")}
    with running(program, **flash) as device:
        assert (device.info.class_count, device.info.weights_hash) == (0, 0)
        device.load(images[0])
        device.save()
    first = (tmp_path / "flash").read_bytes()
    held = []
    for cut in range(1, 20):
        (tmp_path / "flash").write_bytes(first)
        survived = False
        with (
            contextlib.suppress(DeviceError, AssertionError),
            running(program, **flash, STAND_IN_CUT=str(cut)) as device,
        ):
            device.load(images[1])
            device.save()
            survived = True
        with running(program, **flash) as device:
            held.append(device.info.weights_hash)
        if survived:
            break
    assert held == [hashes[0]] * (len(held) - 1) + [hashes[1]] and len(held) >= 4
