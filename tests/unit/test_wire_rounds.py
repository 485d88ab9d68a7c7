"""Rounds of real training with the whole device of firmware/app in-process, over a bad line and through power cuts, by
a clock that is a number: the weights at the end are those of a faultless run."""

import random

import numpy as np
import pytest
from board_in_process import Board
from faulty_line import FaultyLine
from tinyfed_host.device.line import RemoteDevice

from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import DeviceError
from tinyfed.model import encode, initialize, mlp
from tinyfed.wire.order import Order

SPEC = mlp(1, (16,), 1, "tanh")
WEIGHTS = initialize(SPEC, 4)
IMAGE = encode(SPEC, WEIGHTS)


def order(number: int) -> Order:
    return Order("sine", 1, 16, 4, number, 0.02, (16,))


def faultless(rounds: int) -> bytes:
    device = SimulatedDevice()
    device.load(IMAGE)
    weights: bytes | None = WEIGHTS.astype("<f4").tobytes()
    for number in range(rounds):
        weights = device.visit(weights, order(number), want_weights=True).weights
    assert weights is not None
    return weights


@pytest.mark.parametrize(
    ("rounds", "cut_chance"),
    [
        (100, 0.0),
        (100, 0.02),
        pytest.param(2000, 0.0, marks=pytest.mark.slow),
        pytest.param(1000, 0.01, marks=pytest.mark.slow),
    ],
)
def test_rounds_on_a_bad_line_end_in_the_weights_of_a_good_one(rounds: int, cut_chance: float) -> None:
    rng = random.Random(f"{rounds} {cut_chance}")
    board = Board(11_520.0, rng, cut_chance)
    line = FaultyLine(board, rng, bit_error_rate=1e-4, frame_loss=0.01)
    device: RemoteDevice | None = None
    weights = WEIGHTS.astype("<f4").tobytes()
    number = failed = 0
    while number < rounds:
        try:
            if device is None:
                device = RemoteDevice(line, clock=board.clock)
                device.load(IMAGE)
            outcome = device.visit(weights, order(number), want_weights=True)
        except DeviceError:
            failed += 1
            device = None
            assert cut_chance > 0, "a bad line alone fails no round"
            continue
        assert outcome.weights is not None
        assert np.isfinite(np.frombuffer(outcome.weights, np.float32)).all()
        weights = outcome.weights
        number += 1
    print(f"{board.cuts} power cuts, {failed} failed visits")
    assert weights == faultless(rounds)
    assert line.flipped >= rounds // 4
    assert line.lost >= rounds // 6
    assert (board.cuts >= rounds // 10 and failed >= rounds // 20) if cut_chance else failed == 0
