"""Rounds over a line that flips bits and loses frames, with the real image under QEMU: every round ends, no wrong
weight is accepted, and the weights at the end are those of a faultless run.

TINYFED_FAULT_ROUNDS=2000 makes it the long form (10 minutes).
"""

import os
import random
import signal
import threading
from pathlib import Path

import pytest
import soak
from conftest import require_tools
from faulty_line import FaultyLine
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import Emulators
from tinyfed_host.fleet.fleet import Fleet
from tinyfed_host.run.events import Event
from tinyfed_host.run.run import Run
from tinyfed_host.transport.socket import connect

from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import DeviceError
from tinyfed.model.image import encode, read_weights
from tinyfed.model.initialize import initialize
from tinyfed.model.spec import mlp
from tinyfed.wire.order import Order

ROUNDS = int(os.environ.get("TINYFED_FAULT_ROUNDS", "60"))
ID = "0f0e0d0c0b0a090807060504"


@pytest.mark.timeout(3600)
def test_rounds_on_a_bad_line_end_in_the_weights_of_a_good_one() -> None:
    require_tools("arm-none-eabi-gcc", "qemu-system-arm")
    spec = mlp(1, (16,), 1, "tanh")
    image = encode(spec, initialize(spec, 4))
    simulated = SimulatedDevice()
    simulated.load(image)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    with Emulators() as emulators:
        board = emulators.start("mps2_an386", ID)
        line = FaultyLine(connect(board.port), random.Random(seed), bit_error_rate=1e-4, frame_loss=0.01)
        device = RemoteDevice(line)
        device.load(image)
        weights = expected = read_weights(image).tobytes()
        for number in range(ROUNDS):
            order = Order("sine", 1, 16, 4, number, 0.02, (16,))
            outcome = device.visit(weights, order, want_weights=True)
            good = simulated.visit(expected, order, want_weights=True)
            assert outcome.weights is not None
            assert good.weights is not None
            weights, expected = outcome.weights, good.weights
            assert outcome.result.checkpoints == good.result.checkpoints, f"round {number}"
        device.close()
    assert weights == expected
    # the line was as bad as was asked: about 90 flips and 60 lost frames in 120 rounds
    assert line.flipped >= ROUNDS // 4
    assert line.lost >= ROUNDS // 6
    assert device.traffic.retries >= ROUNDS // 4


@pytest.mark.parametrize("board_name", ["mps2_an386", "raspberrypi"])
def test_a_board_that_loses_its_power_is_told_at_once_and_is_back_with_the_next_connection(board_name: str) -> None:
    compiler = {"mps2_an386": "arm-none-eabi-gcc", "raspberrypi": "aarch64-linux-gnu-gcc"}[board_name]
    require_tools(compiler, *(["qemu-system-arm"] if board_name == "mps2_an386" else ["qemu-aarch64"]))
    spec = mlp(1, (16,), 1, "tanh")
    image = encode(spec, initialize(spec, 4))
    simulated = SimulatedDevice()
    simulated.load(image)
    weights = expected = read_weights(image).tobytes()
    rng = random.Random(8)
    restarts = failed = number = 0
    with Emulators() as emulators:
        board = emulators.start(board_name, ID)
        device: RemoteDevice | None = None
        while number < 20:
            cut: threading.Timer | None = None
            try:
                if device is None:
                    device = RemoteDevice(connect(board.port))
                    device.load(image)
                if restarts < 8 and rng.random() < 0.6:
                    restarts += 1
                    cut = threading.Timer(rng.uniform(0.0, 0.05), board.reload, (None,))
                    cut.start()
                # long enough to be hit: 2,000 samples
                order = Order("sine", 1, 1000, 4, number, 0.01, (1000,), passes=2)
                weights_back = device.visit(weights, order, want_weights=True).weights
                assert weights_back is not None
                good = simulated.visit(expected, order, want_weights=True)
                assert good.weights is not None
                weights, expected = weights_back, good.weights
                number += 1
            except DeviceError as error:
                assert board.port in str(error)
                failed += 1
                device = None
            finally:
                if cut is not None:
                    cut.join()
                    if device is not None:
                        device.close()
                    device = None
    assert weights == expected
    assert restarts == 8
    assert failed >= 3


@pytest.mark.parametrize("board_name", ["mps2_an386", "netduinoplus2"])
def test_a_board_whose_reset_button_is_pressed_goes_on_over_the_same_line(board_name: str) -> None:
    """Pressed at random moments of long visits: the firmware comes up with its own id and no model, and the
    connection that was open is the one that goes on."""
    require_tools("arm-none-eabi-gcc", "qemu-system-arm")
    spec = mlp(1, (16,), 1, "tanh")
    image = encode(spec, initialize(spec, 4))
    simulated = SimulatedDevice()
    simulated.load(image)
    start = read_weights(image).tobytes()
    rng = random.Random(8)
    failed = 0
    with Emulators() as emulators:
        board = emulators.start(board_name, ID)
        device = RemoteDevice(connect(board.port))
        for number in range(12):
            order = Order("sine", 1, 1000, 4, number, 0.01, (1000,), passes=2)
            press = threading.Timer(rng.uniform(0.0, 0.05), board.reset)
            device.load(image)
            press.start()
            try:
                weights = device.visit(start, order, want_weights=True).weights
            except DeviceError as error:
                assert "it restarted in the middle" in str(error)
                failed += 1
                press.join()
                device.load(image)
                weights = device.visit(None, order, want_weights=True).weights
            press.join()
            assert weights == simulated.visit(start, order, want_weights=True).weights
            assert device.info.unique_id == ID
        device.close()
    assert failed >= 3


def test_a_slow_board_s_late_answer_is_used(tmp_path: Path) -> None:
    """One of three stands still for a second in its first visit; the others' rounds go on."""
    require_tools("gcc")
    text = soak.TEXT.replace("retries = 12", "timeout_s = 0.4\nquorum = 0.3")
    wanted = soak.parse(
        text.format(rounds=1000, devices=3, strategy="fedavg", options='devices = 3\nlate = "use"'),
        "late.toml",
        ("mps2_an386",),
    )
    boards = soak.slots("native", 3)
    stopped: list[int] = []
    used: list[Event] = []

    def go_on() -> None:
        os.kill(stopped[0], signal.SIGCONT)

    def observe(event: Event) -> None:
        if event.kind == "visit-started" and event.device == boards[0].unique_id and not stopped:
            pid = boards[0].pid
            assert pid is not None
            stopped.append(pid)
            os.kill(pid, signal.SIGSTOP)
            threading.Timer(1.0, go_on).start()
        if event.kind == "visit-ended" and event.data.get("age"):
            used.append(event)

    with Run.begin(tmp_path / "late", wanted, "") as run, Fleet(boards, check=run.parts.check) as fleet:
        run.meet(fleet, simulated=False)
        end = run.go(fleet, observe, until=lambda: bool(used))
        rounds = run.store.rounds()
    assert used[0].device == boards[0].unique_id
    assert end.rounds == used[0].round < 1000
    failures = [visit["failure"] for visit in rounds[0]["visits"] if visit["device"] == boards[0].unique_id]
    assert failures == [f"device {boards[0].unique_id}: no answer within 0.4 s"]
    assert used[0].data["age"] == used[0].round - 1 >= 1
