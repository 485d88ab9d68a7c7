"""A head that learns on a frozen int8 network: the file, the normalizer, learning, growing."""

import json
from pathlib import Path

import numpy as np
import pytest
from mutations import mutations
from tflite_models import path_of
from tinyfed_host.cli.main import run_command

from tinyfed.engine import _head
from tinyfed.engine.head import HeadEngine
from tinyfed.engine.int8 import Int8Engine
from tinyfed.errors import UsageError
from tinyfed.model import tflite
from tinyfed.model.convert_int8 import convert_int8
from tinyfed.model.head import HeadModel, attach_head, cut, grow, read_head, with_weights
from tinyfed.model.image_int8 import encode_int8


def kws_head(classes: int = 4, hidden: int = 0) -> HeadModel:
    return attach_head(convert_int8(tflite.load(path_of("kws_ref_model"))), "kws", classes, hidden)


def test_the_base_computes_what_it_did_inside_the_whole() -> None:
    """The features, put through the layers that were cut off, give the whole network's output."""
    network = convert_int8(tflite.load(path_of("kws_ref_model")))
    model = kws_head()
    dense, softmax = network.layers[-2:]
    tail = cut_tail(network, 2)
    x = np.random.default_rng(1).integers(-128, 128, 490, np.int8)
    base, rest, whole = Int8Engine(model.base), Int8Engine(tail), Int8Engine(encode_int8(network)[0])
    assert np.array_equal(rest.run(base.run(x)[0].reshape(-1))[0], whole.run(x)[0])
    assert dense.output == softmax.inputs[0] and model.spec.input_shape == (64,)


def cut_tail(network: object, count: int) -> bytes:
    from dataclasses import replace

    from tinyfed.model import spec_int8 as i8

    assert isinstance(network, i8.Int8Network)
    layers = network.layers[-count:]
    return encode_int8(replace(network, layers=layers, inputs=layers[0].inputs))[0]


def test_running_mean_and_variance() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(3, 2, (500, 5)).astype(np.float32)
    mean, deviation, count = np.zeros(5, np.float32), np.zeros(5, np.float32), 0
    for row in rows:
        count = _head.add(mean, deviation, count, row)
    assert count == 500
    assert np.allclose(mean, rows.mean(axis=0), rtol=1e-5)
    assert np.allclose(deviation / 500, rows.var(axis=0), rtol=1e-4)
    affine = np.zeros(10, np.float32)
    _head.write(mean, deviation, count, 0.25, affine)
    scale = 1 / np.sqrt(rows.var(axis=0) + 0.25)
    assert np.allclose(affine[:5], scale, rtol=1e-4)
    assert np.allclose(affine[5:], -rows.mean(axis=0) * scale, rtol=1e-4)


def test_a_head_learns_on_frozen_features() -> None:
    """Four made-up sounds: a pattern each, and noise. The first layers' weights stay, the head tells them apart."""
    rng = np.random.default_rng(3)
    patterns = rng.normal(0, 40, (4, 49, 10, 1))
    y = rng.integers(0, 4, 160)
    x = (patterns[y] + rng.normal(0, 10, (160, 49, 10, 1))).astype(np.float32)
    engine = HeadEngine(kws_head())
    features = engine.features(x)
    before = engine.evaluate(features[100:], y[100:])
    losses = engine.train_online(features[:100], y[:100], 0.05)
    after = engine.evaluate(features[100:], y[100:])
    assert before < 0.7 and after > 0.95
    assert losses[-20:].mean() < losses[:20].mean() / 2


def test_the_same_steps_give_the_same_bits() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(0, 40, (10, 49, 10, 1)).astype(np.float32), rng.integers(0, 4, 10)
    weights = []
    for _ in range(2):
        engine = HeadEngine(kws_head(hidden=6))
        engine.train_online(engine.features(x), y, 0.05)
        weights.append(engine.head.parameters)
    assert np.array_equal(weights[0].view(np.uint32), weights[1].view(np.uint32))


def test_a_class_can_be_added_later() -> None:
    model = kws_head(3, hidden=5)
    rng = np.random.default_rng(5)
    learned = with_weights(model, rng.normal(size=model.spec.parameter_count).astype(np.float32))
    grown = grow(read_head(learned.content, "m"), 5)
    x = rng.normal(0, 40, (3, 49, 10, 1)).astype(np.float32)
    old, new = HeadEngine(learned), HeadEngine(grown)
    logits = new.head.infer(new.features(x))
    assert np.array_equal(logits[:, :3], old.head.infer(old.features(x)))
    assert np.array_equal(logits[:, 3:], np.zeros((3, 2)))
    with pytest.raises(UsageError, match="has 5 classes already"):
        grow(grown, 5)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, grown = tmp_path / "words.tfm", tmp_path / "more.tfm"
    base = str(path_of("kws_ref_model"))
    assert run_command(["model", "attach-head", base, "--classes", "4", "-o", str(output), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    # scale and shift of 64 features, 64 x 4 weights and 4 biases
    assert facts["features"] == 64 and facts["head_parameters"] == 128 + 260
    assert read_head(output.read_bytes(), "words").spec.output_shape == (4,)
    assert run_command(["model", "attach-head", str(output), "--classes", "6", "-o", str(grown)]) == 0
    assert read_head(grown.read_bytes(), "more").spec.output_shape == (6,)
    capsys.readouterr()
    for arguments, reason in (
        ([base, "--classes", "1"], "--classes 1: use 2 to 256"),
        ([str(path_of("kws_ref_model_float32")), "--classes", "3"], "is float32"),
        ([base, "--classes", "3", "--features", "nothing"], "no one tensor is called 'nothing'"),
        ([str(output), "--classes", "3"], "has 4 classes already"),
    ):
        assert run_command(["model", "attach-head", *arguments, "-o", str(tmp_path / "x.tfm")]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and reason in error
    assert not (tmp_path / "x.tfm").exists()


def test_a_cut_that_leaves_nothing_is_refused() -> None:
    network = convert_int8(tflite.load(path_of("hello_world_int8")))
    with pytest.raises(UsageError, match="is an input: there is nothing to freeze"):
        cut(network, network.inputs[0])


def test_damaged_files_are_refused() -> None:
    """The CRC finds everything; where it is made good again, the parts' own checks look."""
    import struct
    import zlib

    whole = kws_head().content
    for damaged in mutations(whole, 200, seed=6, hot=np.arange(96)):
        if damaged == whole:
            continue
        with pytest.raises(UsageError, match="not a whole model with a head"):
            read_head(damaged, "m")
        if len(damaged) < 64:
            continue
        mended = bytearray(damaged)
        struct.pack_into("<I", mended, 12, zlib.crc32(mended[16:], zlib.crc32(mended[:12])))
        try:
            read_head(bytes(mended), "m")
        except UsageError as error:
            assert "\n" not in str(error)
