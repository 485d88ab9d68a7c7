"""Weights are one immutable object: bytes, a view, hashes that are computed once."""

import hashlib
import pickle

import numpy as np
import pytest

from tinyfed import engine
from tinyfed import weights as module
from tinyfed.meta.strategy import Assignment, Reply, State
from tinyfed.model import encode, initialize, mlp, read_weights, replace_weights
from tinyfed.weights import Content, Weights, content_hash
from tinyfed.wire.encodings import WeightsEncoding, shorten
from tinyfed.wire.messages import Kind
from tinyfed.wire.order import Order, Result
from tinyfed.wire.transfer import TransferOperation

VALUES = np.float32([1.5, -0.0, 3.25e-41])


def test_an_array_and_its_bytes_are_the_same_weights() -> None:
    weights = Weights.of(VALUES)
    assert weights == VALUES.tobytes() == Weights(VALUES.tobytes())
    assert weights.size == 3
    assert weights.array.dtype == np.float32 and weights.array.tobytes() == VALUES.tobytes()
    assert Weights.of(weights) is weights
    assert Weights.of(VALUES.astype(">f4")) == weights  # little-endian whatever the array's order is
    assert Weights.of(np.float64([0.1])) == np.float32([0.1]).tobytes()
    assert pickle.loads(pickle.dumps(weights)) == weights


def test_they_cannot_be_changed_neither_here_nor_through_the_array_they_came_from() -> None:
    mine = VALUES.copy()
    weights = Weights.of(mine)
    mine[0] = 9
    assert weights.array[0] == 1.5
    with pytest.raises(ValueError, match="read-only"):
        weights.array[0] = 2


def test_their_hashes_are_what_they_say_and_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[bytes] = []

    def counting(data: bytes) -> int:
        counted.append(data)
        return engine.hash64(data)

    monkeypatch.setattr(module, "hash64", counting)
    weights = Weights.of(VALUES)
    operations = [TransferOperation(Kind.WEIGHTS, weights) for _ in range(3)]  # three devices
    assert {operation.content_hash for operation in operations} == {engine.hash64(VALUES.tobytes())}
    assert len(counted) == 1
    assert content_hash(b"plain") == engine.hash64(b"plain")
    assert weights.sha256 == hashlib.sha256(VALUES.tobytes()).hexdigest()
    assert weights.sha256 is weights.sha256


def test_the_same_object_goes_from_the_state_to_the_line() -> None:
    order = Order("sine", 1, 4, 0, 0, 0.02)
    state = State(1, 0, Weights.of(VALUES))
    assignment = Assignment(state.weights, order)
    assert assignment.weights is state.weights is state.arrays()["weights"]
    sent = shorten(WeightsEncoding(), assignment.weights)
    assert sent.weights is sent.content is state.weights
    assert Reply("a", Result(4, 1.0, 0.5, 0, 0, 0, ()), sent.weights).weights is state.weights
    after = state.after(VALUES * 2, moment=VALUES)
    assert (after.round, after.weights.array.tolist()) == (1, (VALUES * 2).tolist())
    assert after.after().weights is after.weights and after.after().slots == after.slots


def test_an_image_with_weights_remembers_its_hash_too() -> None:
    spec = mlp(1, (3,), 1)
    image = replace_weights(encode(spec, initialize(spec, 1)), Weights.of(initialize(spec, 2)))
    assert isinstance(image, Content)
    assert image == encode(spec, initialize(spec, 2))
    assert content_hash(image) == engine.hash64(bytes(image))
    assert read_weights(image).tobytes() == initialize(spec, 2).tobytes()
