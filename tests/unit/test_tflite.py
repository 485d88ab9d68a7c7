"""The .tflite reader: against the interpreter's own schema, and against damaged files."""

import struct
import sys
import types
from pathlib import Path

import pytest
from tflite_models import bytes_of, litert, models

from tinyfed.errors import MissingToolError, UsageError
from tinyfed.model.tflite import file as tflite
from tinyfed.model.tflite import schema as tflite_schema
from tinyfed.model.tflite.flatbuffer import FlatbufferError, root


def test_names_agree_with_the_schema() -> None:
    schema = litert("schema_py_generated")
    for number, name in enumerate(tflite_schema.OPERATORS):
        assert getattr(schema.BuiltinOperator, name) == number
    for number, name in enumerate(tflite_schema.TENSOR_TYPES):
        assert getattr(schema.TensorType, name.upper()) == number
    for number, name in enumerate(tflite_schema.ACTIVATIONS):
        assert getattr(schema.ActivationFunctionType, name.upper()) == number


def test_every_field_agrees_with_the_schema() -> None:
    """The generated reader and ours say the same of every tensor, operator and option of every model."""
    schema = litert("schema_py_generated")
    option_names = {
        "padding": "padding",
        "stride_x": "strideW",
        "stride_y": "strideH",
        "dilation_x": "dilationWFactor",
        "dilation_y": "dilationHFactor",
        "filter_x": "filterWidth",
        "filter_y": "filterHeight",
        "activation": "fusedActivationFunction",
        "projection_clip": "projClip",
        "subgraph": "initSubgraphIndex",
    }
    compared = 0
    for path in models():
        ours = tflite.load(path)
        theirs = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        graph = theirs.subgraphs[0]
        assert ours.inputs == tuple(graph.inputs) and ours.outputs == tuple(graph.outputs)
        assert len(ours.tensors) == len(graph.tensors) and len(ours.operators) == len(graph.operators)
        for mine, other in zip(ours.tensors, graph.tensors, strict=True):
            assert mine.name == (other.name or b"").decode()
            assert mine.shape == tuple(other.shape if other.shape is not None else ())
            assert tflite_schema.TENSOR_TYPES[other.type] == mine.dtype
            data = theirs.buffers[other.buffer].data
            if mine.data is not None:
                assert bytes(data) == mine.data.tobytes()
            else:
                assert data is None or len(data) == 0
            quantization = other.quantization
            if mine.quantization is not None:
                assert list(quantization.scale) == list(mine.quantization.scale)
                assert list(quantization.zeroPoint) == list(mine.quantization.zero_point)
            else:
                assert quantization is None or quantization.scale is None or len(quantization.scale) == 0
        for mine_op, other_op in zip(ours.operators, graph.operators, strict=True):
            assert mine_op.inputs == tuple(other_op.inputs) and mine_op.outputs == tuple(other_op.outputs)
            for name, value in mine_op.options.items():
                first, *rest = name.split("_")
                field = option_names.get(name, first + "".join(word.title() for word in rest))
                if mine_op.name == "FULLY_CONNECTED" and name == "keep_dims":
                    field = "keepNumDims"
                assert value == getattr(other_op.builtinOptions, field), (path.name, mine_op, name)
                compared += 1
    assert compared > 500


@pytest.mark.parametrize("length", range(64))
def test_short_files_are_refused(length: int) -> None:
    with pytest.raises(tflite.TfliteError, match="not a usable"):
        tflite.parse(bytes_of("hello_world_int8")[:length])


def test_errors_name_the_tensor() -> None:
    content = bytearray(bytes_of("hello_world_int8"))
    model = tflite.parse(bytes(content))
    weights = next(tensor for tensor in model.tensors if tensor.data is not None and len(tensor.shape) == 2)
    # The vector's length word lies right before its values.
    values = weights.data
    assert values is not None
    start = bytes(content).index(values.tobytes())
    (count,) = struct.unpack_from("<I", content, start - 4)
    struct.pack_into("<I", content, start - 4, count - 1)
    with pytest.raises(tflite.TfliteError, match=f'tensor {weights.index} "') as caught:
        tflite.parse(bytes(content))
    assert f"{count - 1} bytes of values" in str(caught.value)


def test_a_vector_longer_than_the_file_is_refused() -> None:
    # Root table at 16 with its vtable at 8: one field, at offset 4, which points to a vector of 2^31 bytes.
    content = struct.pack("<I4sHHHH", 16, b"TFL3", 6, 8, 4, 0) + struct.pack("<iI", 8, 4) + struct.pack("<I", 2**31)
    table = root(content, b"TFL3", "header")
    with pytest.raises(FlatbufferError, match="announces 2147483648 elements"):
        table.vector(0, "u1")


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the model"):
        tflite.load(tmp_path / "none.tflite")


def test_interpreter_runs_a_model() -> None:
    litert("interpreter")
    runner = tflite.interpreter(bytes_of("hello_world_int8"))
    runner.allocate_tensors()
    assert tuple(runner.get_input_details()[0]["shape"]) == (1, 1)


def test_interpreter_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingToolError, match=r"pip install 'tinyfed\[tflite\]'"):
        tflite.interpreter(b"")


def fake(package: str) -> types.ModuleType:
    """A module whose interpreter says which package it is of."""
    module = types.ModuleType(f"{package}.interpreter")
    module.Interpreter = lambda model_content: (package, model_content)  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize(
    ("installed", "taken"),
    [
        (("ai_edge_litert", "tflite_runtime"), "ai_edge_litert"),
        (("ai_edge_litert",), "ai_edge_litert"),
        (("tflite_runtime",), "tflite_runtime"),
    ],
)
def test_the_interpreter_is_whichever_is_there(
    installed: tuple[str, ...], taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("ai_edge_litert", "tflite_runtime"):
        there = package in installed
        # None in sys.modules: importing it fails as if it were not installed
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package) if there else None)
        monkeypatch.setitem(sys.modules, f"{package}.interpreter", fake(package) if there else None)
    assert tflite.interpreter(b"model") == (taken, b"model")
