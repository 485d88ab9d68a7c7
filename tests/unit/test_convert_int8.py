"""int8 .tflite files become int8 networks, or a line that says why not."""

import json
from pathlib import Path

import numpy as np
import pytest
from tflite_builder import Builder
from tflite_models import bytes_of, litert, path_of
from tinyfed_host.cli.main import run_command

from tinyfed.errors import UsageError
from tinyfed.model.convert import Int8Model, read_tflite
from tinyfed.model.inspect import inspect
from tinyfed.model.int8 import spec as i8
from tinyfed.model.int8.engine import Int8Engine
from tinyfed.model.tflite import file as tflite
from tinyfed.model.tflite.to_int8 import convert_int8, is_int8

# Layers and multiply-adds as counted by hand from the published architectures.
CONVERTIBLE = {
    "ad01_int8": 10,
    "kws_ref_model": 13,
    "pretrainedResnet_quant": 16,
    "str_ww_ref_model": 11,
    "vww_96_int8": 31,
    "hello_world_int8": 3,
    "micro_speech_quantized": 4,
    "person_detect": 31,
    "simple_add_model": 1,
    "trained_lstm_int8": 4,
    "dtln_noise_suppression": 4,
}
REFUSED = {
    "keyword_scrambled": "16-bit activations",
    "audio_preprocessor_int8": "SignalWindow.*does not have this operator",
    "kws_ref_model_float32": "input tensor 0 .* is float32",
}


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_published_models(name: str) -> None:
    network = convert_int8(tflite.load(path_of(name)))
    assert len(network.layers) == CONVERTIBLE[name]


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_programs_from_the_command_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = path_of(name), tmp_path / "model.tfm"
    assert run_command(["model", "convert", str(path), "-o", str(output), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["engine"] == "int8"
    # the reader's own count of the .tflite file and the program's agree
    assert facts["multiply_adds"] == inspect(path, []).macs == inspect(output, []).macs


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_engine_does_not_have_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=REFUSED[name]):
        convert_int8(tflite.load(path_of(name)))


def test_a_layer_is_copied_as_it_is() -> None:
    model = tflite.load(path_of("kws_ref_model"))
    network = convert_int8(model)
    first = network.layers[0]
    assert isinstance(first, i8.Int8Conv2D)
    assert first.weights.shape == (64, 10, 4, 1) and first.stride == (2, 2)
    assert first.padding is i8.Padding.SAME and first.activation is i8.Activation.RELU
    operator = model.operators[0]
    weights, bias = model.tensors[operator.inputs[1]], model.tensors[operator.inputs[2]]
    assert weights.data is not None and bias.data is not None and weights.quantization is not None
    assert np.array_equal(first.weights, weights.data)
    assert first.bias is not None and np.array_equal(first.bias, bias.data)
    assert np.array_equal(first.weight_scales, weights.quantization.scale) and len(first.weight_scales) == 64
    source = network.tensors[network.inputs[0]]
    assert source.shape == (49, 10, 1) and source.zero_point == 83
    assert network.tensors[network.outputs[0]].scale == 1 / 256


def with_ends(dtype: str, scale_factor: float = 1.0) -> bytes:
    """hello_world_int8 with QUANTIZE in front and QUANTIZE or DEQUANTIZE behind; uint8 is stored 128 higher."""
    schema = litert("schema_py_generated")
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(bytes_of("hello_world_int8"), 0)
    graph = model.subgraphs[0]

    def code(builtin: int) -> int:
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = builtin
        entry.version = 1
        model.operatorCodes.append(entry)
        return len(model.operatorCodes) - 1

    def end_tensor(name: str, inner: int) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.name, tensor.buffer = [1, 1], getattr(schema.TensorType, dtype), name, 0
        if dtype == "UINT8":
            signed = graph.tensors[inner].quantization
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.float32(signed.scale) * np.float32(scale_factor)
            tensor.quantization.zeroPoint = np.array(signed.zeroPoint) + 128
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    def operator(number: int, source: int, result: int) -> object:
        entry = schema.OperatorT()
        entry.opcodeIndex, entry.inputs, entry.outputs = number, [source], [result]
        return entry

    entry, end = end_tensor("in", int(graph.inputs[0])), end_tensor("out", int(graph.outputs[0]))
    last = schema.BuiltinOperator.QUANTIZE if dtype == "UINT8" else schema.BuiltinOperator.DEQUANTIZE
    graph.operators = [
        operator(code(schema.BuiltinOperator.QUANTIZE), entry, int(graph.inputs[0])),
        *graph.operators,
        operator(code(last), int(graph.outputs[0]), end),
    ]
    graph.inputs, graph.outputs = [entry], [end]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_float_ends_fall_away() -> None:
    """The same layers as the model that is int8 at both ends."""
    wrapped = convert_int8(tflite.parse(with_ends("FLOAT32")))
    plain = convert_int8(tflite.parse(bytes_of("hello_world_int8")))
    assert [type(layer) for layer in wrapped.layers] == [type(layer) for layer in plain.layers]
    assert wrapped.tensors == plain.tensors and wrapped.outputs == plain.outputs


def engine_of(content: bytes) -> Int8Engine:
    model = read_tflite(tflite.parse(content))
    assert isinstance(model, Int8Model) and model.notes == ()
    return Int8Engine(model.content)


def test_uint8_ends_cost_nothing_and_are_uint8_for_the_user() -> None:
    plain, wrapped = engine_of(bytes_of("hello_world_int8")), engine_of(with_ends("UINT8"))
    assert [port.dtype for port in (*wrapped.inputs, *wrapped.outputs)] == ["uint8", "uint8"]
    assert wrapped.inputs[0].zero_point == plain.inputs[0].zero_point + 128
    assert len(wrapped.program) == len(plain.program)
    for value in range(256):
        (found,) = wrapped.run(np.array([value], np.uint8))
        (expected,) = plain.run(np.array([value - 128], np.int8))
        assert found.dtype == np.uint8 and int(found[0]) == int(expected[0]) + 128
    real = np.array([0.5], np.float32)
    assert int(wrapped.quantize(real)[0]) == int(plain.quantize(real)[0]) + 128
    assert wrapped.dequantize(np.array([200], np.uint8)) == plain.dequantize(np.array([72], np.int8))


def test_uint8_among_the_layers_is_named() -> None:
    b = Builder()
    ends = {"dtype": "UINT8", "scale": 0.5}
    x, y, z = b.tensor([1, 4], name="in", **ends), b.tensor([1, 4], **ends), b.tensor([1, 4], "INT8", scale=0.5)
    b.operator("RELU", [x], [y])
    b.operator("QUANTIZE", [y], [z])
    with pytest.raises(UsageError, match='tensor 0 "in": uint8 inside of an int8 model; quantize again to int8'):
        convert_int8(tflite.parse(b.content([x], [z])))


def test_is_int8() -> None:
    assert is_int8(tflite.load(path_of("kws_ref_model")))
    assert not is_int8(tflite.load(path_of("kws_ref_model_float32")))
