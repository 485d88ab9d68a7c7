"""The image that is flashed, under emulation, against the same engine in-process: the same bits, and the same
refusals. `native` is the same program on this computer, here with address and undefined-behaviour sanitizers."""

import atexit
import hashlib
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from conftest import require_tools
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import EmulatedDevice, start
from tinyfed_host.firmware import build
from tinyfed_host.transport.socket import connect

from tinyfed.boards import Board, read_board, read_boards
from tinyfed.data.shard import write_shard
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import DeviceError, DoesNotFitError, UsageError
from tinyfed.model import Conv2D, Dense, Flatten, ModelSpec, mlp
from tinyfed.model.image import encode, read_weights, structure_hash, weights_hash
from tinyfed.model.initialize import initialize
from tinyfed.model.plan import plan
from tinyfed.wire.order import Order

ID = "a1b2c3d4e5f60718293a4b5c"
SINE = Order("sine", ways=1, shots=32, queries=20, seed=7, learning_rate=0.02, checkpoints=(0, 32))
LONG = replace(SINE, shots=1000, passes=200, checkpoints=())  # minutes on an emulated board
SHARD = Order("shard", ways=3, shots=4, queries=0, seed=99, learning_rate=0.05, checkpoints=(1, 4))
EMULATED = [board.name for board in read_boards() if board.emulator is not None]
# One board for each port, emulator and instruction set; the others differ from these in data only.
PORTS = ["mps2_an386", "stm32f405", "b_l475e_iot01a", "raspberrypi", "raspberrypi32", "native"]


def sine_model(seed: int = 1) -> bytes:
    spec = mlp(1, (32, 32), 1, "tanh")
    return encode(spec, initialize(spec, seed))


def classifier() -> tuple[ModelSpec, bytes]:
    spec = mlp(12, (16,), 3, "relu", "softmax_cross_entropy")
    return spec, encode(spec, initialize(spec, 3))


def shard() -> bytes:
    rng = np.random.default_rng(5)
    return write_shard([rng.normal(size=(9, 12)).astype(np.float32) + label for label in range(5)])


@lru_cache(maxsize=1)
def with_sanitizers() -> Board:
    """`native`, where a wrong access or an overflow ends the program with a report: a new board in one file."""
    manifest = json.loads(read_board("native").path.read_text())
    manifest["tinyfed"]["compiler"]["flags"] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    folder = Path(tempfile.mkdtemp(prefix="tinyfed-board-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "checked.json").write_text(json.dumps(manifest))
    return read_board("checked", folder)


def board_for(name: str) -> Board:
    return with_sanitizers() if name == "native" else read_board(name)


@lru_cache(maxsize=1)
def machines() -> str:
    """What QEMU says of the machines it has."""
    return subprocess.check_output(["qemu-system-arm", "-M", "help"], text=True)


def emulate(name: str, data: bytes | None = None, *, counting: bool = False) -> EmulatedDevice:
    board = board_for(name)
    require_tools(*filter(None, [board.compiler.prefix + "gcc", board.emulator.program if board.emulator else ""]))
    if name == "b_l475e_iot01a" and "b-l475e-iot01a" not in machines():
        pytest.skip("QEMU has this machine from version 9 on, Debian from 13 on")
    return start(board, ID, data, counting=counting)


@contextmanager
def device_on(name: str, data: bytes | None = None, *, counting: bool = False) -> Iterator[RemoteDevice]:
    with emulate(name, data, counting=counting) as emulated:
        device = RemoteDevice(connect(emulated.port))
        try:
            yield device
        finally:
            device.close()


@pytest.mark.parametrize("name", EMULATED)
def test_it_says_who_it_is(name: str) -> None:
    with device_on(name, shard()) as device:
        board = board_for(name)
        info = device.info
        assert (info.unique_id, info.board) == (ID, board.name)
        assert info.firmware_build == build.build_id(board) == build.info(build.build(board)).build_id
        assert info.arena_bytes == board.arena_bytes
        assert (info.feature_count, info.class_count) == (12, 5)
        assert (info.structure_hash, info.weights_hash) == (0, 0), "no model yet"


@pytest.mark.parametrize("name", PORTS)
def test_weights_are_the_same_bits_as_in_process(name: str) -> None:
    image = sine_model()
    simulated = SimulatedDevice(arena_bytes=read_board(name).arena_bytes)
    simulated.load(image)
    with device_on(name) as device:
        device.load(image)
        assert device.info.structure_hash == structure_hash(image)
        assert device.info.weights_hash == weights_hash(read_weights(image))
        weights: bytes | None = read_weights(image).tobytes()
        for seed in range(3):
            order = replace(SINE, seed=seed)
            there = device.visit(weights, order, want_weights=True)
            here = simulated.visit(weights, order, want_weights=True)
            assert there.weights is not None and here.weights is not None
            assert hashlib.sha256(there.weights).hexdigest() == hashlib.sha256(here.weights).hexdigest()
            assert there.result.checkpoints == here.result.checkpoints
            assert (there.result.samples, there.result.loss_first, there.result.loss_last) == (
                here.result.samples,
                here.result.loss_first,
                here.result.loss_last,
            )
            weights = there.weights


@pytest.mark.parametrize("name", PORTS)
def test_a_shard_is_learnt_as_in_process(name: str) -> None:
    _, image = classifier()
    simulated = SimulatedDevice(shard=shard(), arena_bytes=read_board(name).arena_bytes)
    simulated.load(image)
    with device_on(name, shard()) as device:
        device.load(image)
        there = device.visit(None, SHARD, want_weights=True)
        here = simulated.visit(None, SHARD, want_weights=True)
        assert there.weights == here.weights
        assert there.result.checkpoints == here.result.checkpoints
        assert there.result.checkpoints[1].count == 3 * (9 - 4), "all that the stream does not use"


@pytest.mark.parametrize("name", ["mps2_an386", "native"])
def test_batches_are_learnt_as_in_process(name: str) -> None:
    """Reptile's Adam without its first moment, and FedProx's proximal term: other plans, the same bits."""
    _, image = classifier()
    simulated = SimulatedDevice(shard=shard(), arena_bytes=read_board(name).arena_bytes)
    simulated.load(image)
    weights = read_weights(image).tobytes()
    with device_on(name, shard()) as device:
        device.load(image)
        for changed in ({"update": "adam_second", "batch": 4}, {"update": "sgd", "batch": 0, "proximal": 0.1}):
            order = replace(SHARD, passes=2, **changed)  # type: ignore[arg-type]
            there = device.visit(weights, order, want_weights=True)
            here = simulated.visit(weights, order, want_weights=True)
            assert there.weights == here.weights != weights
            assert there.result.checkpoints == here.result.checkpoints


def test_counted_instructions_are_the_same_on_every_run() -> None:
    counts = []
    for _ in range(2):
        with device_on("mps2_an386", counting=True) as device:
            device.load(sine_model())
            counts.append(device.visit(None, replace(SINE, checkpoints=()), want_weights=False).result)
    # 1-32-32-1 tanh is 1,153 parameters: no step does with fewer instructions than that, nor needs 100 for each.
    per_step = counts[0].train_instructions / counts[0].samples
    assert 1153 < per_step < 1153 * 100
    # A byte that comes from the host in between costs an interrupt.
    assert abs(counts[0].train_instructions - counts[1].train_instructions) <= 0.001 * counts[0].train_instructions


def test_the_stack_is_measured() -> None:
    with device_on("mps2_an386") as device:
        device.load(sine_model())
        used = device.visit(None, SINE, want_weights=False).result.stack_bytes
        assert 200 < used < read_board("mps2_an386").stack_bytes * 3 // 4


REFUSED: list[tuple[str, Callable[[RemoteDevice], object], type[Exception], str]] = [
    ("a shard it has not", lambda d: d.visit(None, SHARD, want_weights=False), DeviceError, f"{ID}"),
    ("no image", lambda d: d.load(b"TFMX" + bytes(200)), UsageError, "model"),
    ("half an image", lambda d: d.load(sine_model()[:200]), UsageError, "model"),
]


@pytest.mark.parametrize("name", ["mps2_an386", "native"])
@pytest.mark.parametrize(("what", "ask", "kind", "told"), REFUSED, ids=[entry[0] for entry in REFUSED])
def test_it_refuses_and_goes_on(
    name: str, what: str, ask: Callable[[RemoteDevice], object], kind: type[Exception], told: str
) -> None:
    with device_on(name) as device:
        device.load(sine_model())
        with pytest.raises(kind, match=told) as caught:
            ask(device)
        assert "\n" not in str(caught.value)
        device.load(sine_model())
        assert device.visit(None, SINE, want_weights=False).result.samples == 32


def test_a_model_that_does_not_fit_is_told_with_the_bytes_that_are_short() -> None:
    arena = read_board("mps2_an386").arena_bytes
    spec = mlp(64, (512, 64), 4)
    too_large = encode(spec, initialize(spec, 1))
    assert len(too_large) > arena
    spec = mlp(1, (16_000,), 1)  # 192 KB of weights: the image fits the arena, the work beside it does not
    too_busy = encode(spec, initialize(spec, 1))
    assert len(too_busy) < arena < plan(spec).arena_bytes
    with device_on("mps2_an386") as device:
        for image, short in ((too_large, len(too_large) - arena), (too_busy, plan(spec).arena_bytes - arena)):
            with pytest.raises(DoesNotFitError) as caught:
                device.load(image)
            assert f"{short:,}" in str(caught.value) or str(short) in str(caught.value)
        device.load(sine_model())
        assert device.visit(None, SINE, want_weights=False).result.samples == 32


def test_weights_for_another_model_are_refused() -> None:
    with device_on("native") as device:
        device.load(sine_model())
        with pytest.raises(DeviceError):
            device.visit(bytes(4 * 10), SINE, want_weights=False)
        other = np.full(1153, np.nan, np.float32).tobytes()
        with pytest.raises(DeviceError):
            device.visit(other, SINE, want_weights=False)
        with pytest.raises(DeviceError):
            device.visit(None, SINE, want_weights=False)  # half a model is never trained
        weights = read_weights(sine_model()).tobytes()
        assert device.visit(weights, SINE, want_weights=False).result.samples == 32


def test_a_device_that_is_killed_in_a_visit_is_an_error_and_not_a_hang() -> None:
    with emulate("mps2_an386") as emulated:
        device = RemoteDevice(connect(emulated.port))
        device.load(sine_model())
        killer = threading.Timer(0.3, emulated.stop)
        killer.start()
        with pytest.raises(DeviceError):
            device.visit(None, LONG, want_weights=True)
        killer.join()
        device.close()


def test_a_host_that_is_gone_does_not_take_the_device_with_it() -> None:
    with emulate("mps2_an386") as emulated:
        first = RemoteDevice(connect(emulated.port))
        first.load(sine_model())
        leave = threading.Timer(0.3, first.close)
        leave.start()
        with suppress(DeviceError):
            first.visit(None, LONG, want_weights=True)
        leave.join()
        second = RemoteDevice(connect(emulated.port))
        try:
            assert second.info.unique_id == ID
            second.load(sine_model())
            assert second.visit(None, SINE, want_weights=False).result.samples == 32
        finally:
            second.close()


@pytest.mark.parametrize("name", ["mps2_an386", "native"])
def test_a_second_host_is_told_that_the_device_talks_to_another(name: str) -> None:
    with emulate(name) as emulated:
        first = RemoteDevice(connect(emulated.port))
        with pytest.raises(DeviceError, match="another program is connected to it"):
            connect(emulated.port)
        first.close()
        RemoteDevice(connect(emulated.port)).close()


def test_cancel_and_reset() -> None:
    with device_on("mps2_an386") as device:
        device.load(sine_model())
        canceller = threading.Timer(0.3, device.cancel)
        canceller.start()
        with pytest.raises(DeviceError):
            device.visit(None, LONG, want_weights=False)
        canceller.join()
        with pytest.raises(DeviceError):
            device.visit(None, SINE, want_weights=False)  # half-trained weights are not gone on with
        device.reset()
        assert device.info.structure_hash == 0
        device.load(sine_model())
        assert device.visit(None, SINE, want_weights=False).result.samples == 32


def test_a_build_for_dense_nets_refuses_other_layers_and_learns_the_same_bits() -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    spec = ModelSpec((6, 6, 1), (Conv2D(2, 3), Flatten(), Dense(2)), "mse")
    other = encode(spec, initialize(spec, 1))
    lean = build.build("mps2_an386", dense_only=True)
    with start("mps2_an386", ID, image=lean) as emulated:
        device = RemoteDevice(connect(emulated.port))
        try:
            with pytest.raises(UsageError, match="layer"):
                device.load(other)
            device.load(sine_model())
            there = device.visit(None, SINE, want_weights=True).weights
        finally:
            device.close()
    simulated = SimulatedDevice()
    simulated.load(other)  # the engine in-process has every layer
    simulated.load(sine_model())
    assert there == simulated.visit(None, SINE, want_weights=True).weights
