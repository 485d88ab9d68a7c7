"""What is in a model file, what it costs, and which boards hold it. No interpreter, no TensorFlow."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyfed.boards import Board, read_boards
from tinyfed.errors import UsageError
from tinyfed.model import image
from tinyfed.model.convert import (
    INT8_MAGIC,
    FloatModel,
    Int8Model,
    Model,
    float_model,
    is_tflite,
    read_program,
    read_tflite,
    unknown_format,
)
from tinyfed.model.int8.image import SlowLayer, read_plan, read_ports, read_states
from tinyfed.model.keras.convert import convert_keras_model
from tinyfed.model.keras.file import KerasLayer, KerasModel, beside, parse_keras, read_keras
from tinyfed.model.keras.hdf5 import SIGNATURE
from tinyfed.model.plan import plan
from tinyfed.model.spec import ModelSpec
from tinyfed.model.tflite.file import ABSENT, Operator, Tensor, TfliteModel, parse
from tinyfed.reading import read_model_file

LEARNS_NOT = {"int8": "int8 does not learn: attach-head", "float32": "a program of these operators does not learn"}


@dataclass(frozen=True)
class PortFacts:
    """An input or output; `shape` as the file has it, `scale` None where it is not quantized."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class LayerFacts:
    """A layer or operator. `macs` counts multiply-adds with padded taps, None where the operator is not counted."""

    kind: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    parameters: int
    weight_bytes: int
    macs: int | None
    quantization: str


@dataclass(frozen=True)
class Fit:
    """What one board says: bytes of RAM a use takes (None: it cannot be had), and whether they are there."""

    board: str
    arena_bytes: int
    inference: str
    inference_bytes: int | None
    training: str
    training_bytes: int | None


@dataclass(frozen=True)
class StateFacts:
    """What the network keeps from one inference of a stream to the next."""

    name: str
    byte_count: int


@dataclass(frozen=True)
class ModelFacts:
    """`engine`: which of tinyfed's runs it, "float32", "int8", or "" with the reason in `why_not`."""

    source: str
    format: str
    file_bytes: int
    inputs: tuple[PortFacts, ...]
    outputs: tuple[PortFacts, ...]
    layers: tuple[LayerFacts, ...]
    engine: str
    why_not: str
    image_bytes: int | None
    fits: tuple[Fit, ...]
    states: tuple[StateFacts, ...] = ()
    slow: tuple[SlowLayer, ...] = ()

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Of the layers that are counted."""
        return sum(layer.macs or 0 for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        return sum(layer.weight_bytes for layer in self.layers)


def inspect(path: Path, boards: list[Board] | None = None) -> ModelFacts:
    """The facts of a .tflite, .keras or .h5 file or of a model image, for `boards` (all that tinyfed knows).

    Raises UsageError: what is wrong with the file, where.
    """
    if path.suffix == ".json" or (path.is_dir() and beside(path)):
        model = read_keras(path)
        return keras_facts(model, sum(file.stat().st_size for file in beside(path) or ()), boards or read_boards())
    if path.is_dir():
        raise UsageError("a folder: convert it first (tinyfed model convert), then inspect the result", where=str(path))
    content = read_model_file(path)
    boards = read_boards() if boards is None else boards
    if is_tflite(content):
        return tflite_facts(parse(content, str(path)), boards)
    if content[:4] == image.MAGIC:
        spec, weights = image.decode(content)
        return _image_facts(FloatModel(str(path), spec, weights, content), boards)
    if content[:4] == INT8_MAGIC:
        return _program_facts(read_program(content, str(path)), boards)
    if content[:4] == b"PK\x03\x04" or content[:8] == SIGNATURE:
        return keras_facts(parse_keras(content, str(path)), len(content), boards)
    raise unknown_format(content, str(path))


def tflite_facts(model: TfliteModel, boards: list[Board]) -> ModelFacts:
    """`inspect` of a .tflite file in memory."""
    counted = {tensor.index for tensor in model.tensors if tensor.constant_bytes}
    return ModelFacts(
        source=model.source,
        format=_format(model),
        file_bytes=len(model.content),
        inputs=tuple(_port(tensor) for tensor in model.input_tensors()),
        outputs=tuple(_port(tensor) for tensor in model.output_tensors()),
        layers=tuple(_operator_facts(model, operator, counted) for operator in model.operators),
        **_converted(lambda: read_tflite(model), boards),
    )


def _converted(convert: Callable[[], Model], boards: list[Board]) -> dict[str, Any]:
    """The facts of what `convert` gives, or why it gives nothing."""
    try:
        model = convert()
    except UsageError as error:
        none = (Fit(board.name, board.arena_bytes, "no: not converted", None, "no", None) for board in boards)
        return {"engine": "", "why_not": error.detail, "image_bytes": None, "fits": tuple(none)}
    engine = model.engine if isinstance(model, Int8Model) else "float32"
    fits = tuple(fit_of(model, board) for board in boards)
    program = model.content if isinstance(model, Int8Model) else model.spec.frozen
    states = tuple(StateFacts(state.name, state.byte_count) for state in read_states(program)) if program else ()
    slow = model.slow if isinstance(model, Int8Model) else ()
    facts = {"engine": engine, "why_not": "", "image_bytes": len(model.content)}
    return {**facts, "fits": fits, "states": states, "slow": slow}


def _format(model: TfliteModel) -> str:
    types = {tensor.dtype for tensor in model.tensors if not tensor.constant_bytes}
    weights = {tensor.dtype for tensor in model.tensors if tensor.constant_bytes and len(tensor.shape) > 1}
    if "int8" in types:
        return "tflite, int8"
    if "float32" in types and "int8" in weights:
        return "tflite, float32 with int8 weights"
    return f"tflite, {'/'.join(sorted(types))}"


def _port(tensor: Tensor) -> PortFacts:
    return PortFacts(tensor.name, tensor.shape, tensor.dtype, *(tensor.scaled or ()))


def _operator_facts(model: TfliteModel, operator: Operator, uncounted: set[int]) -> LayerFacts:
    """A constant counts for the first operator that reads it."""
    mine = {index for index in operator.inputs if index in uncounted}
    uncounted -= mine
    constants = [model.tensors[index] for index in mine]
    result = model.tensors[operator.outputs[0]] if operator.outputs else None
    weights = _weights(model, operator)
    macs = _macs(operator, weights, result)
    if operator.name in _RECURRENT and result is not None:
        matrices = sum(tensor.element_count for tensor in constants if len(tensor.shape) == 2)
        macs = matrices * (math.prod(result.shape[:-1]) if operator.name != "SVDF" else 1)
    return LayerFacts(
        kind=operator.name,
        name=result.name.split(";")[0] if result else "",
        shape=result.shape if result else (),
        dtype=result.dtype if result else "",
        parameters=sum(tensor.element_count for tensor in constants if tensor.dtype != "int32" or weights is not None),
        weight_bytes=sum(tensor.constant_bytes for tensor in constants),
        macs=macs,
        quantization=_quantization(result, weights),
    )


def _weights(model: TfliteModel, operator: Operator) -> Tensor | None:
    weighted = operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    if not weighted or len(operator.inputs) < 2 or operator.inputs[1] == ABSENT:
        return None
    return model.tensors[operator.inputs[1]]


_ELEMENTWISE = """
    ABS ADD AVERAGE_POOL_2D BATCH_TO_SPACE_ND CAST CONCATENATION DEPTH_TO_SPACE DEQUANTIZE DIV ELU EXP EXPAND_DIMS
    GATHER GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL NEG PACK PAD PADV2
    PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR
    REVERSE_V2 RSQRT SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE
    SQUEEZE STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE UNPACK CALL_ONCE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE
"""
_RECURRENT = ("SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM")
_FREE_OF_MACS = frozenset(_ELEMENTWISE.split())


def _macs(operator: Operator, weights: Tensor | None, result: Tensor | None) -> int | None:
    if weights is None or result is None:
        return 0 if operator.name in _FREE_OF_MACS else None
    if operator.name == "FULLY_CONNECTED":
        units = weights.shape[0] if weights.shape else 0
        return weights.element_count * (result.element_count // units) if units else 0
    if len(weights.shape) != 4:
        return None
    taps = weights.shape[1] * weights.shape[2]
    return result.element_count * taps * (weights.shape[3] if operator.name == "CONV_2D" else 1)


def _quantization(result: Tensor | None, weights: Tensor | None) -> str:
    parts = []
    if result is not None and result.quantization is not None and not result.dtype.startswith("float"):
        scale, zero_point = result.quantization.scale[0], result.quantization.zero_point[0]
        parts.append(f"scale {float(scale):.6g}, zero point {int(zero_point)}")
    if weights is not None and weights.quantization is not None and weights.dtype == "int8":
        per_channel = weights.quantization.per_channel
        parts.append(f"weights per {'channel' if per_channel else 'tensor'}")
    return "; ".join(parts)


def keras_facts(model: KerasModel, file_bytes: int, boards: list[Board]) -> ModelFacts:
    """`inspect` of a Keras file in memory: its layers as Keras has them, where the engine runs them with what they
    cost."""
    shapes = dict[int, tuple[tuple[int, ...], int]]()
    outputs: list[tuple[int, ...]] = []

    def convert() -> Model:
        converted = float_model(model.source, convert_keras_model(model, shapes=shapes))
        if isinstance(converted, FloatModel):
            outputs.append(converted.spec.output_shape)
        else:
            outputs.extend(port.shape for port in converted.ports[1])
        return converted

    conversion = _converted(convert, boards)
    inputs = [(name.split("/")[0], tuple(size or -1 for size in shape)) for name, shape in model.inputs]
    layers = tuple(_keras_layer(layer, *shapes.get(id(layer), ((), None))) for layer in model.layers())
    return ModelFacts(
        source=model.source,
        format="keras, float32",
        file_bytes=file_bytes,
        inputs=tuple(PortFacts(name, shape, "float32") for name, shape in inputs),
        outputs=tuple(PortFacts("output", shape, "float32") for shape in outputs),
        layers=layers,
        **conversion,
    )


def _keras_layer(layer: KerasLayer, shape: tuple[int, ...], macs: int | None) -> LayerFacts:
    dtypes = {str(values.dtype) for values in layer.weights.values()}
    return LayerFacts(
        kind=layer.kind,
        name=layer.name if layer.trainable else f"{layer.name}, frozen",
        shape=shape,
        dtype="/".join(sorted(dtypes)) or "float32",
        parameters=layer.parameter_count,
        weight_bytes=layer.weight_bytes,
        macs=macs,
        quantization="",
    )


def _image_facts(model: FloatModel, boards: list[Board]) -> ModelFacts:
    spec = model.spec
    layers = []
    if spec.frozen:
        facts = (0, len(spec.frozen), read_plan(spec.frozen).multiply_adds, "")
        dtype = read_ports(spec.frozen)[0][0].dtype
        layers.append(LayerFacts("frozen network", "in flash", spec.input_shape, dtype, *facts))
    for index, record in enumerate(spec.records):
        frozen = "" if record.trains or not record.parameter_count else ", frozen"
        layers.append(
            LayerFacts(
                kind=record.kind,
                name=f"layer {index}{frozen}" + (f", {record.activation}" if record.activation != "linear" else ""),
                shape=record.shape,
                dtype="float32",
                parameters=record.parameter_count,
                weight_bytes=4 * record.parameter_count,
                macs=record.rules.multiply_adds(record),
                quantization="",
            )
        )
    return ModelFacts(
        source=model.source,
        format=f"model image, float32{' on a frozen network' if spec.frozen else ''}, loss {spec.loss}",
        file_bytes=len(model.content),
        inputs=(PortFacts("input", spec.sample_shape, "float32"),),
        outputs=(PortFacts("output", spec.output_shape, "float32"),),
        layers=tuple(layers),
        **_converted(lambda: model, boards),
    )


def _program_facts(model: Int8Model, boards: list[Board]) -> ModelFacts:
    """A program says its ports and its work, not its layers' names: inspect the .tflite file for those."""
    inputs, outputs = (
        tuple(PortFacts(role, port.shape, port.dtype, *port.scaled) for port in ports)
        for role, ports in zip(("input", "output"), model.ports, strict=True)
    )
    bytes_of = len(model.content)
    facts = (0, bytes_of, model.plan.multiply_adds, "")
    layer = LayerFacts("program", "all layers", outputs[0].shape, model.engine, *facts)
    return ModelFacts(
        source=model.source,
        format=f"{model.engine} program",
        file_bytes=bytes_of,
        inputs=inputs,
        outputs=outputs,
        layers=(layer,),
        **_converted(lambda: model, boards),
    )


def fit_of(model: Model, board: Board) -> Fit:
    """What `board` says of a model."""
    return _int8_fit(model, board) if isinstance(model, Int8Model) else _float_fit(model.spec, board)


def _int8_fit(model: Int8Model, board: Board) -> Fit:
    """The program lies in flash beside the firmware where the board has flash, and its work area in the arena."""
    needed = model.plan.work_bytes
    inference = _verdict(needed, board.arena_bytes)
    if "flash" in board.memory:
        firmware = board.budget.flash_bytes if board.budget else 0
        room = board.memory["flash"].size_bytes - firmware
        if len(model.content) > room:
            inference = f"no: {len(model.content) - room:,} bytes of flash short"
    else:
        needed += len(model.content)
        inference = _verdict(needed, board.arena_bytes)
    return Fit(board.name, board.arena_bytes, inference, needed, f"no: {LEARNS_NOT[model.engine]}", None)


def _float_fit(spec: ModelSpec, board: Board) -> Fit:
    """A device keeps the image in its arena, where it is trained in place."""
    infer, online = plan(spec, "infer").arena_bytes, plan(spec, "online").arena_bytes
    return Fit(
        board.name,
        board.arena_bytes,
        _verdict(infer, board.arena_bytes),
        infer,
        _verdict(online, board.arena_bytes),
        online,
    )


def _verdict(needed: int, there: int) -> str:
    return "yes" if needed <= there else f"no: {needed - there:,} bytes short"


def as_json(facts: ModelFacts) -> dict[str, Any]:
    """The facts as JSON's types."""
    return {
        "model": facts.source,
        "format": facts.format,
        "file_bytes": facts.file_bytes,
        "image_bytes": facts.image_bytes,
        "weight_bytes": facts.weight_bytes,
        "parameters": facts.parameters,
        "macs": facts.macs,
        "engine": facts.engine or None,
        "why_not": facts.why_not or None,
        "inputs": [vars(port) for port in facts.inputs],
        "outputs": [vars(port) for port in facts.outputs],
        "layers": [vars(layer) for layer in facts.layers],
        "states": [vars(state) for state in facts.states],
        "slow": [vars(layer) for layer in facts.slow],
        "boards": [vars(fit) for fit in facts.fits],
    }
