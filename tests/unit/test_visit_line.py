"""The whole device in-process, byte for byte (firmware/app): over its line it gives the simulated device's bits."""

import random
from dataclasses import replace

import numpy as np
import pytest
from reference_draw import encode_shard
from streaming import accumulator
from tinyfed_host.device.line import RemoteDevice
from wire_pair import bit_errors

from tinyfed.device.simulated import SimulatedDevice
from tinyfed.engine import Engine
from tinyfed.engine._device import LineDevice
from tinyfed.errors import DeviceError, DoesNotFitError
from tinyfed.model import encode, initialize, mlp, plan
from tinyfed.model.convert import read_tflite
from tinyfed.model.run import board_image
from tinyfed.model.tflite.file import parse
from tinyfed.wire.order import Order

SPEC = mlp(2, (8,), 3, loss="softmax_cross_entropy")
WEIGHTS = initialize(SPEC, 5)
IMAGE = encode(SPEC, WEIGHTS)
SHARD = encode_shard([9, 12, 8, 10])
ORDER = Order("shard", ways=3, shots=4, queries=2, seed=77, learning_rate=0.05, checkpoints=(0, 1, 4))


class InProcess:
    """A transport to a `LineDevice`; time passes only when nothing is to be read."""

    name = "in-process"
    bytes_per_s = 1e6

    def __init__(self, device: LineDevice) -> None:
        self.device = device
        self.now_s = 0.0
        self.fed = 0
        self.back_us = 0  # the device's clock goes back so much every fourth time
        self.pending = b""
        self.down = b""

    def clock(self) -> float:
        return self.now_s

    def _feed(self, data: bytes) -> None:
        self.fed += 1
        back_us = self.back_us if self.fed % 4 == 0 else 0
        self.pending += self.device.feed(data, (int(self.now_s * 1e6) - back_us) % 2**32, 16)

    def read(self, timeout_s: float) -> bytes:
        self._feed(b"")
        if not self.pending:
            self.now_s += max(timeout_s, 1e-4)
            self._feed(b"")
        data, self.pending = self.pending, b""
        return data

    def write(self, data: bytes) -> None:
        self.down += data
        self._feed(data)

    def close(self) -> None:
        pass


def connect(arena_bytes: int = 65536, shard: bytes | None = SHARD) -> tuple[RemoteDevice, InProcess]:
    transport = InProcess(LineDevice(arena_bytes, bytes(range(12)), "some-board", shard))
    return RemoteDevice(transport, clock=transport.clock), transport


def test_a_visit_over_the_line_gives_the_simulated_bits() -> None:
    device, _ = connect()
    assert (device.info.board, device.info.unique_id) == ("some-board", bytes(range(12)).hex())
    assert (device.info.feature_count, device.info.class_count) == (2, 4)
    device.load(IMAGE)
    simulated = SimulatedDevice("s", shard=SHARD)
    simulated.load(IMAGE)
    for seed in (77, 78):
        order = Order("shard", 3, 4, 2, seed, 0.05, (0, 1, 4))
        one = device.visit(WEIGHTS.tobytes(), order, want_weights=True)
        two = simulated.visit(WEIGHTS.tobytes(), order, want_weights=True)
        assert one.weights == two.weights
        assert one.result.checkpoints == two.result.checkpoints
        assert (one.result.loss_first, one.result.loss_last) == (two.result.loss_first, two.result.loss_last)


def test_a_clock_that_goes_back_does_not_end_a_visit() -> None:
    """By 10 ms, as where a counter has wrapped and its interrupt is late. Taken for the 71 minutes until the clock's 32
    bits come there again, it would be the watchdog's time: "given up on request", which nobody did."""
    device, transport = connect()
    device.load(IMAGE)
    transport.back_us = 10_000
    fed = transport.fed
    order = Order("shard", 3, 4, 2, 77, 0.05, (0, 1), passes=100)
    outcome = device.visit(WEIGHTS.tobytes(), order, want_weights=True)
    simulated = SimulatedDevice("s", shard=SHARD)
    simulated.load(IMAGE)
    assert outcome.weights == simulated.visit(WEIGHTS.tobytes(), order, want_weights=True).weights
    assert outcome.result.samples == 1200
    assert transport.fed - fed > 40


def test_no_samples_go_up() -> None:
    """A visit without weights sends a result and frames around it, a fraction of the shard's 312 bytes of samples."""
    device, _ = connect()
    device.load(IMAGE)
    outcome = device.visit(WEIGHTS.tobytes(), Order("shard", 3, 4, 2, 77, 0.05), want_weights=False)
    assert outcome.bytes_up < 256


def test_what_does_not_fit_is_told() -> None:
    device, _ = connect(arena_bytes=256)
    with pytest.raises(DoesNotFitError):
        device.load(IMAGE)
    device, _ = connect(shard=None)
    device.load(IMAGE)
    with pytest.raises(DeviceError, match="sample"):
        device.visit(WEIGHTS.tobytes(), ORDER, want_weights=False)


def test_the_whole_firmware_answers_after_an_hour_of_noise_and_old_traffic() -> None:
    """Random bytes, and recordings of a whole visit with flipped bits, at 115,200 baud all the time."""
    rng = random.Random(61)
    device, transport = connect()
    device.load(IMAGE)
    expected = device.visit(WEIGHTS.tobytes(), ORDER, want_weights=True).weights
    recording, spoil = transport.down, bit_errors(rng, 3e-4)
    transport.now_s += 3500.0  # the clock's 32 bits of microseconds wrap meanwhile
    left = 3600 * 11_520
    while left > 0:
        data = rng.randbytes(20_000) if rng.random() < 0.5 else spoil(recording, 0) * (20_000 // len(recording))
        transport.device.feed(data, int(transport.now_s * 1e6) % 2**32, 16)
        transport.now_s += len(data) / 11_520
        left -= len(data)
    device = RemoteDevice(transport, clock=transport.clock)
    device.load(IMAGE)
    assert device.visit(WEIGHTS.tobytes(), ORDER, want_weights=True).weights == expected


def test_its_name_is_checked() -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        LineDevice(1024, b"short")
    with pytest.raises(ValueError, match="32 characters"):
        LineDevice(1024, bytes(12), "b" * 32)


SAMPLES = np.random.default_rng(8).normal(size=(3, 2)).astype(np.float32)


def test_inputs_give_the_engines_bits_and_leave_the_model() -> None:
    device, _ = connect()
    device.load(IMAGE)
    expected = Engine(IMAGE, "infer").infer(SAMPLES)
    for sample, output in zip(SAMPLES, expected, strict=True):
        assert device.infer(sample.tobytes()) == output.tobytes()
    # the model, and what a visit makes of it, are as without
    other, _ = connect()
    other.load(IMAGE)
    outcomes = [one.visit(None, ORDER, want_weights=True).weights for one in (device, other)]
    assert outcomes[0] == outcomes[1] != WEIGHTS.tobytes()
    # what was learned is what runs now
    learned = encode(SPEC, np.frombuffer(outcomes[0] or b"", "<f4"))
    assert device.infer(SAMPLES[0].tobytes()) == Engine(learned, "infer").infer(SAMPLES[:1])[0].tobytes()


def test_inputs_that_cannot_be_taken() -> None:
    device, _ = connect()
    with pytest.raises(DeviceError, match="sending an input was refused"):
        device.infer(bytes(8))
    device.load(IMAGE)
    with pytest.raises(DeviceError, match="sending an input was refused"):
        device.infer(bytes(12))
    wide = mlp(200, (), 1)
    device, _ = connect(arena_bytes=plan(wide).arena_bytes + 4)
    device.load(encode(wide, initialize(wide, 1)))
    with pytest.raises(DoesNotFitError, match=r"800 bytes beside the model is .* bytes too large"):
        device.infer(bytes(800))


def test_steps_of_a_stream_go_on_from_the_last_or_are_refused() -> None:
    """s = x + s, from what the file says: each step sees the one before, and a step is never run twice."""
    device, _ = connect(arena_bytes=8192)
    image = board_image(read_tflite(parse(accumulator())))
    device.load(image)
    x = np.full(5, 1.0, np.float32).tobytes()

    def at(step: int | None) -> list[float]:
        return np.frombuffer(device.infer(x, step), "<f4").tolist()

    begin, before = at(0), at(1)
    assert before[0] == begin[0] + 1 and at(2)[0] == begin[0] + 2
    assert at(2)[0] == begin[0] + 2  # asked again, not run again
    assert at(3)[0] == begin[0] + 3
    with pytest.raises(DeviceError, match="sending an input was refused"):
        at(6)
    assert at(4)[0] == begin[0] + 4
    assert at(0) == begin == at(None)
    with pytest.raises(DeviceError, match="sending an input was refused"):
        at(1)  # one that belongs to no stream came between
    at(0)
    device.load(IMAGE)
    device.load(image)
    with pytest.raises(DeviceError, match="sending an input was refused"):
        at(1)


def test_local_layers_are_not_asked_by_inputs() -> None:
    """What stays on the device does not leave it as outputs either."""
    device, _ = connect()
    device.load(IMAGE)
    device.visit(None, replace(ORDER, local_last=1), want_weights=True)
    with pytest.raises(DeviceError, match="sending an input was refused"):
        device.infer(SAMPLES[0].tobytes())
    device.load(IMAGE)
    device.infer(SAMPLES[0].tobytes())
