"""Float .tflite files become specs and weights; the engine computes what LiteRT's interpreter does."""

from pathlib import Path

import numpy as np
import pytest
from tflite_builder import Builder
from tflite_models import bytes_of, litert, path_of
from tinyfed_host.cli.main import run_command

from tinyfed.engine import Engine
from tinyfed.errors import UsageError
from tinyfed.model import decode, encode
from tinyfed.model.convert import Int8Model, read_model, read_tflite
from tinyfed.model.graph import Converted
from tinyfed.model.run import run
from tinyfed.model.tflite import file as tflite
from tinyfed.model.tflite.to_float import convert_float

# Against LiteRT's reference kernels, relative to the largest output.
TOLERANCE = 1e-5


def engine_outputs(converted: Converted, inputs: np.ndarray) -> np.ndarray:
    """What the engine gives, with the last activation that became the loss put back on."""
    logits = Engine(encode(converted.spec, converted.weights), "infer").infer(inputs).astype(np.float64)
    if converted.spec.loss == "softmax_cross_entropy":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
    if converted.spec.loss == "binary_cross_entropy":
        return 1 / (1 + np.exp(-logits))
    return logits


def litert_outputs(content: bytes, inputs: np.ndarray) -> np.ndarray:
    module = litert("interpreter")
    Interpreter, OpResolverType = module.Interpreter, module.OpResolverType

    runner = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    runner.allocate_tensors()
    source, result = runner.get_input_details()[0], runner.get_output_details()[0]
    outputs = []
    for sample in inputs:
        runner.set_tensor(source["index"], sample.reshape(source["shape"]).astype(np.float32))
        runner.invoke()
        outputs.append(runner.get_tensor(result["index"]).reshape(-1))
    return np.stack(outputs)


def assert_same_outputs(content: bytes, samples: int = 8) -> Converted:
    converted = convert_float(tflite.parse(content))
    assert isinstance(converted, Converted)
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(samples, *converted.spec.sample_shape)).astype(np.float32)
    theirs = litert_outputs(content, inputs)
    ours = engine_outputs(converted, inputs)
    assert np.abs(ours - theirs).max() <= TOLERANCE * np.abs(theirs).max()
    return converted


@pytest.mark.parametrize("name", ["ad01_fp32", "hello_world_float", "magic_wand", "pretrainedResnet", "vww_96_float"])
def test_published_models_agree_with_litert(name: str) -> None:
    assert_same_outputs(bytes_of(name), samples=2)


def test_a_published_model_with_int8_weights_is_near() -> None:
    """LiteRT quantizes the activations of this one as it runs, so it is not exact: 1.4 % measured."""
    content = bytes_of("kws_ref_model_float32")
    converted = convert_float(tflite.parse(content))
    inputs = np.random.default_rng(1).normal(size=(4, *converted.spec.input_shape)).astype(np.float32)
    assert np.abs(engine_outputs(converted, inputs) - litert_outputs(content, inputs)).max() < 0.03


def test_it_is_the_same_where_litert_has_the_weights_as_float32() -> None:
    """docs/convert.md: what is left of the difference above is LiteRT's rounding of activations."""
    schema = litert("schema_py_generated")
    import flatbuffers

    content = bytes_of("kws_ref_model_float32")
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    stored = 0
    for tensor, ours in zip(model.subgraphs[0].tensors, tflite.parse(content).tensors, strict=True):
        if ours.data is None or ours.dtype != "int8":
            continue
        assert ours.quantization is not None
        sides = [1] * len(ours.shape)
        sides[ours.quantization.axis] = len(ours.quantization.scale)
        values = ours.data.astype(np.float32) * ours.quantization.scale.reshape(sides)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)
        tensor.type, tensor.quantization, tensor.buffer = schema.TensorType.FLOAT32, None, len(model.buffers)
        model.buffers.append(buffer)
        stored += 1
    assert stored == 5  # the depthwise ones and the last are float32 in the file
    builder = flatbuffers.Builder(1 << 18)
    builder.Finish(model.Pack(builder), b"TFL3")
    converted = convert_float(tflite.parse(content))
    inputs = np.random.default_rng(1).normal(size=(4, *converted.spec.input_shape)).astype(np.float32)
    outputs = litert_outputs(bytes(builder.Output()), inputs)
    assert np.abs(engine_outputs(converted, inputs) - outputs).max() <= 1e-5 * np.abs(outputs).max()


def small_network(end: str) -> Builder:
    """3 inputs: shift, scale, 4 leaky ReLU, 2 outputs, `end`. Every rule of folding has work here."""
    rng = np.random.default_rng(2)
    b = Builder()
    x = b.tensor([1, 3])
    shifted, scaled, hidden, active, last, out = (b.tensor([1, n]) for n in (3, 3, 4, 4, 2, 2))
    b.operator("SUB", [x, b.constant(rng.normal(size=3).astype("f4"))], [shifted])
    b.operator("MUL", [shifted, b.constant(rng.normal(size=3).astype("f4"))], [scaled])
    b.operator("FULLY_CONNECTED", [scaled, b.constant(rng.normal(size=(4, 3)).astype("f4"))], [hidden])
    b.operator("LEAKY_RELU", [hidden], [active], alpha=0.25)
    weights, bias = rng.normal(size=(2, 4)).astype("f4"), rng.normal(size=2).astype("f4")
    b.operator("FULLY_CONNECTED", [active, b.constant(weights), b.constant(bias)], [last])
    b.operator(end, [last], [out], **({"beta": 1.0} if end == "SOFTMAX" else {}))
    b.ends = ([x], [out])
    return b


@pytest.mark.parametrize(
    ("end", "loss"),
    [("SOFTMAX", "softmax_cross_entropy"), ("LOGISTIC", "binary_cross_entropy"), ("TANH", "mse"), ("RELU6", "mse")],
)
def test_folding_keeps_what_the_network_computes(end: str, loss: str) -> None:
    b = small_network(end)
    converted = assert_same_outputs(b.content(*b.ends))
    assert converted.spec.loss == loss
    # shift, scale and activations went into two dense layers
    assert len(converted.spec.layers) == 2
    assert converted.spec.parameter_count == 3 * 4 + 4 + 4 * 2 + 2


def test_a_sigmoid_stays_where_the_loss_is_mse() -> None:
    b = small_network("LOGISTIC")
    converted = convert_float(tflite.parse(b.content(*b.ends)), "mse")
    assert converted.spec.loss == "mse"
    assert converted.spec.layers[-1].activation == "sigmoid"


def test_dynamic_range_weights_are_dequantized() -> None:
    rng = np.random.default_rng(3)
    b = Builder()
    x, out = b.tensor([1, 5]), b.tensor([1, 2])
    stored = rng.integers(-127, 128, size=(2, 5)).astype(np.int8)
    weights = b.constant(stored, scale=[0.5, 0.25], axis=0)
    b.operator("FULLY_CONNECTED", [x, weights], [out])
    converted = convert_float(tflite.parse(b.content([x], [out])))
    expected = (stored * np.float32([[0.5], [0.25]])).T
    assert np.array_equal(converted.weights, expected.reshape(-1))
    assert any("int8 weights are now float32" in note for note in converted.notes)


def refused(b: Builder, inputs: list[int], outputs: list[int]) -> str:
    with pytest.raises(UsageError) as caught:
        convert_float(tflite.parse(b.content(inputs, outputs)))
    assert "\n" not in str(caught.value)
    assert caught.value.where == "model" and str(caught.value) == f"model: {caught.value.detail}"
    return str(caught.value)


def test_a_dynamic_shape_is_named() -> None:
    b = Builder()
    x, out = b.tensor([1, 1, 3], signature=[1, -1, 3], name="frames"), b.tensor([1, 1, 3])
    b.operator("RELU", [x], [out])
    assert 'tensor 0 "frames": a dynamic shape; convert the model again with fixed sizes' in refused(b, [x], [out])


def test_a_batch_is_named() -> None:
    b = Builder()
    x, out = b.tensor([8, 3], name="rows"), b.tensor([8, 3])
    b.operator("RELU", [x], [out])
    assert 'tensor 0 "rows": a batch of 8' in refused(b, [x], [out])


def test_a_reshape_to_several_rows_is_no_batch() -> None:
    b = Builder()
    x, rows = b.tensor([1, 12]), b.tensor([4, 3])
    b.operator("RESHAPE", [x, b.constant(np.array([4, 3], np.int32))], [rows])
    out = b.tensor([4, 3])
    b.operator("RELU", [rows], [out])
    model = read_tflite(tflite.parse(b.content([x], [out])))
    values = np.arange(-6, 6, dtype=np.float32)[None]
    (found,) = run(model, [values]).real
    np.testing.assert_array_equal(found.reshape(-1), np.maximum(values, 0).reshape(-1))


def test_a_constant_output_is_named() -> None:
    b = Builder()
    x, out, fixed = b.tensor([1, 3]), b.tensor([1, 3]), b.constant(np.ones((1, 3), np.float32), name="fixed")
    b.operator("RELU", [x], [out])
    assert 'output tensor 2 "fixed" is a constant; leave it out' in refused(b, [x], [out, fixed])


def test_float16_is_named() -> None:
    b = Builder()
    half, out = b.tensor([1, 3], "FLOAT16", name="half"), b.tensor([1, 3])
    b.operator("DEQUANTIZE", [half], [out])
    assert 'tensor 0 "half" is float16; convert the model again as float32' in refused(b, [half], [out])


def test_int16_is_named() -> None:
    b = Builder()
    x, out = b.tensor([1, 3], "INT16", scale=0.1, name="sound"), b.tensor([1, 3], "INT16", scale=0.1)
    b.operator("RELU", [x], [out])
    assert 'tensor 0 "sound" is 16-bit integers' in refused(b, [x], [out])


def test_an_unknown_operator_is_named() -> None:
    b = Builder()
    x, out = b.tensor([1, 3]), b.tensor([1, 3], name="curve")
    b.operator("COS", [x], [out])
    message = refused(b, [x], [out])
    assert 'operator 0 COS ("curve"): the float engine does not have this operator; it has ABS' in message


def test_weights_that_are_not_finite_are_named() -> None:
    b = Builder()
    x, out = b.tensor([1, 2]), b.tensor([1, 1])
    b.operator("FULLY_CONNECTED", [x, b.constant(np.float32([[1, np.nan]]), name="kernel")], [out])
    assert 'tensor 2 "kernel" holds NaN or infinity' in refused(b, [x], [out])


def test_what_cannot_learn_is_frozen_before_what_can() -> None:
    """A softmax inside, then two dense layers: they learn, behind a program that gives them features."""
    rng = np.random.default_rng(6)
    b = Builder()
    x, gate, hidden, out = b.tensor([1, 3]), b.tensor([1, 3], name="gate"), b.tensor([1, 5]), b.tensor([1, 2])
    end = b.tensor([1, 2])
    b.operator("SOFTMAX", [x], [gate], beta=1.0)
    kernels = [b.constant(rng.normal(size=shape).astype(np.float32)) for shape in ((5, 3), (2, 5))]
    b.operator("FULLY_CONNECTED", [gate, kernels[0]], [hidden], fusedActivationFunction=1)
    b.operator("FULLY_CONNECTED", [hidden, kernels[1]], [out])
    b.operator("SOFTMAX", [out], [end], beta=1.0)
    converted = assert_same_outputs(b.content([x], [end]))
    assert [record.kind for record in converted.spec.records] == ["dense", "dense"]
    assert converted.spec.frozen and converted.spec.loss == "softmax_cross_entropy"
    (note,) = [note for note in converted.notes if "frozen" in note]
    assert "softmax" in note and "FULLY_CONNECTED" in note
    samples = rng.normal(size=(40, 3)).astype(np.float32)
    engine = Engine(encode(converted.spec, converted.weights), "online")
    before = engine.parameters.copy()
    engine.train_online(samples, (samples[:, 0] > 0).astype(np.int32), 0.1)
    assert (engine.parameters != before).any()


def test_what_nothing_learns_of_is_a_program() -> None:
    b = Builder()
    x, y, out = b.tensor([1, 3]), b.tensor([1, 3]), b.tensor([1, 3])
    b.operator("MUL", [x, y], [out])
    model = read_tflite(tflite.parse(b.content([x, y], [out])))
    assert isinstance(model, Int8Model) and model.engine == "float32"
    values = np.float32([[1, 2, 3]]), np.float32([[4, 5, 6]])
    np.testing.assert_array_equal(run(model, values).real[0], [[4, 10, 18]])


def test_convert_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "hello.tfm"
    assert run_command(["model", "convert", str(path_of("hello_world_float")), "-o", str(output)]) == 0
    assert "3 layers, 321 float32 parameters, loss mse" in capsys.readouterr().out
    spec, weights = decode(output.read_bytes())
    converted = convert_float(tflite.load(path_of("hello_world_float")))
    assert spec == converted.spec and np.array_equal(weights, converted.weights)
    assert [path.name for path in tmp_path.iterdir()] == ["hello.tfm"]
    assert read_model(output).content == output.read_bytes()


@pytest.mark.parametrize("content", [b"", b"TFL3", b"not a model at all", b"PK\x03\x04 and then nothing", bytes(100)])
def test_files_that_are_no_models(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(content)
    assert run_command(["model", "convert", str(model), "-o", str(tmp_path / "out.tfm")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "model.bin: " in error
    assert not (tmp_path / "out.tfm").exists()


def test_an_unknown_loss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="loss 'hinge' is unknown: use one of mse"):
        read_model(path_of("hello_world_float"), "hinge")
