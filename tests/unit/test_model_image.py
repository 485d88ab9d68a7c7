"""The model image: round trips, and the device's loader refuses everything else."""

import engine_models as em
import model_zoo
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyfed.engine import model_open
from tinyfed.errors import UsageError
from tinyfed.model import (
    Conv1D,
    Dense,
    Dropout,
    ImageError,
    ModelSpec,
    decode,
    encode,
    initialize,
    mlp,
    read_weights,
    replace_weights,
    structure_hash,
    weights_hash,
)

SPEC = mlp(3, (4,), 2, loss="softmax_cross_entropy")


@settings(max_examples=150, deadline=None)
@given(em.dense_cases() | st.integers(0, 2**32).map(lambda seed: model_zoo.random_conv(np.random.default_rng(seed))))
def test_decode_gives_back_what_was_encoded(case):
    weights = case.weights()
    image = encode(case.spec, weights)
    spec, again = decode(image)
    assert encode(spec, again) == image
    np.testing.assert_array_equal(again, weights)
    assert spec.shapes == case.spec.shapes and spec.parameter_shapes == case.spec.parameter_shapes


def test_a_spec_without_defaults_written_out_comes_back_equal():
    assert decode(encode(SPEC, initialize(SPEC, 3)))[0] == SPEC


def test_every_damaged_byte_is_noticed():
    image = encode(SPEC, initialize(SPEC, 3))
    for index in range(len(image)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(image)
            damaged[index] ^= flip
            with pytest.raises(ImageError) as caught:
                model_open(bytes(damaged))
            assert caught.value.offset <= len(image)


def test_every_truncation_and_any_tail_is_noticed():
    image = encode(SPEC, initialize(SPEC, 3))
    for length in range(len(image)):
        with pytest.raises(ImageError):
            model_open(image[:length])
    with pytest.raises(ImageError, match="at byte 8"):
        model_open(image + b"\0")


def test_errors_say_what_and_where():
    image = bytearray(encode(SPEC, initialize(SPEC, 3)))
    image[0] = 0
    with pytest.raises(ImageError, match=r"these are bytes of another kind at byte 0"):
        model_open(bytes(image))


def test_weights_are_read_and_replaced():
    image = encode(SPEC, initialize(SPEC, 3))
    other = replace_weights(image, np.arange(SPEC.parameter_count))
    assert model_open(other)["structure_hash"] == structure_hash(image) == structure_hash(other)
    np.testing.assert_array_equal(read_weights(other), np.arange(SPEC.parameter_count, dtype=np.float32))
    assert weights_hash(read_weights(other)) != weights_hash(read_weights(image))
    with pytest.raises(UsageError, match="26 parameters in one flat vector"):
        replace_weights(image, np.zeros(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(0), "units must be at least 1"),
        (lambda: Dense(1, "swish"), "activation 'swish' is unknown"),
        (lambda: Dense(1, "leaky_relu", negative_slope=2), "negative_slope 2"),
        (lambda: Dense(1, input=5), "input 5 is no tensor before it"),
        (lambda: Dense(1, "relu"), "takes logits"),
        (lambda: Dropout(0.5), "averages over many passes"),
        (lambda: Conv1D(1, 3), r"needs \(time, channels\)"),
    ],
)
def test_a_spec_says_which_layer_is_wrong(make, message):
    with pytest.raises(UsageError, match=message) as caught:
        ModelSpec((3,), (make(),), "softmax_cross_entropy")
    assert "layer 0" in str(caught.value)


def test_first_weights_are_keras_like_and_the_same_for_ever():
    weights = initialize(mlp(1, (32, 32), 1), seed=1)
    limits = [np.sqrt(6 / 33), np.sqrt(6 / 64)]
    assert np.abs(weights[:32]).max() <= limits[0] and np.abs(weights[64:1088]).max() <= limits[1]
    assert np.abs(weights[64:1088]).max() > 0.99 * limits[1] and abs(weights[64:1088].mean()) < 0.02
    assert not weights[32:64].any()
    assert f"{weights_hash(weights):016x}" == "3c8c54e1c2a10ee7"
