"""The layer records of the image (docs/model-image.md): the common ground of spec, image and plan."""

import math
import struct
from dataclasses import dataclass, replace

from tinyfed.errors import UsageError
from tinyfed.model import spec as s
from tinyfed.model.spec import Shape, require

KINDS = {
    "dense": 1,
    "conv2d": 2,
    "depthwise": 3,
    "max_pool": 4,
    "average_pool": 5,
    "global_average": 6,
    "reshape": 7,
    "add": 8,
    "scale": 9,
    "activation": 10,
    "standardize": 11,
}
KIND_NAMES = {number: name for name, number in KINDS.items()}
HAS_BIAS, TRAIN_WEIGHTS, TRAIN_BIAS = 1, 2, 4
WITH_PARAMETERS = frozenset({"dense", "conv2d", "depthwise", "scale"})

RECORD = struct.Struct("<BBBBHHIBBBBBBHHHIf")
RECORD_BYTES = RECORD.size
assert RECORD_BYTES == 32


@dataclass(frozen=True)
class Record:
    """One layer as the image has it. Tensors are numbered: 0 the input, t the output of layer t - 1."""

    kind: str
    shape: Shape  # of the output
    activation: str = "linear"
    flags: int = 0
    mode: int = 0  # padding (0 valid, 1 same) of a convolution or pool, rank of a reshape
    kernel: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (0, 0)
    pad: tuple[int, int] = (0, 0)  # rows above, columns left
    input: int = 0
    input_b: int = 0
    parameters: int = 0  # index of the first
    alpha: float = 0.0  # slope of a leaky ReLU; window of running statistics
    parameter_shapes: tuple[Shape, ...] = ()

    @property
    def parameter_count(self) -> int:
        """Values it owns, bias included."""
        return sum(math.prod(shape) for shape in self.parameter_shapes)

    @property
    def trains_weights(self) -> bool:
        """Do its weights learn?"""
        return bool(self.flags & TRAIN_WEIGHTS)

    @property
    def trains(self) -> bool:
        """Does anything in it learn?"""
        return bool(self.flags & (TRAIN_WEIGHTS | TRAIN_BIAS))

    @property
    def inputs(self) -> tuple[int, ...]:
        """The tensors it reads."""
        return (self.input, self.input_b) if self.kind == "add" else (self.input,)

    def pack(self) -> bytes:
        """The 32 bytes of the image."""
        height, width, channels = three(self.shape)
        return RECORD.pack(
            KINDS[self.kind], s.ACTIVATIONS.index(self.activation), self.flags, self.mode,
            height, width, channels, *self.kernel, *self.stride, *self.pad,
            self.input, self.input_b, 0, self.parameters, self.alpha,
        )  # fmt: skip


def three(shape: Shape) -> tuple[int, int, int]:
    """(height, width, channels) with ones in front."""
    height, width, channels = (1,) * (3 - len(shape)) + tuple(shape)
    return height, width, channels


def check_shape(shape: Shape, where: str) -> None:
    """Raise `UsageError` unless the shape can stand in an image."""
    require(1 <= len(shape) <= 3, f"{where}: shape {shape} has {len(shape)} dimensions: use one to three")
    require(
        all(isinstance(n, int) and n >= 1 for n in shape),
        f"{where}: shape {shape} must be of positive integers",
    )
    require(max(three(shape)[:2]) < 65536, f"{where}: height and width of {shape} are limited to 65535")
    require(math.prod(shape) <= s.TENSOR_MAX, f"{where}: {shape} has more than {s.TENSOR_MAX} values")


def _flags(use_bias: bool, trainable: bool, trainable_bias: bool | None) -> int:
    bias = trainable if trainable_bias is None else trainable_bias
    return HAS_BIAS * use_bias | TRAIN_WEIGHTS * trainable | TRAIN_BIAS * (use_bias and bias)


def _alpha(layer: s.Activated, where: str) -> float:
    require(
        layer.activation in s.ACTIVATIONS,
        f"{where}: activation {layer.activation!r} is unknown: use one of {', '.join(s.ACTIVATIONS)}",
    )
    if layer.activation != "leaky_relu":
        return 0.0
    require(0 < layer.negative_slope < 1, f"{where}: negative_slope {layer.negative_slope} must lie between 0 and 1")
    return float(struct.unpack("<f", struct.pack("<f", layer.negative_slope))[0])


def _pair(value: int | tuple[int, int], shape: Shape, name: str, where: str) -> tuple[int, int]:
    """(height, width) of a kernel or stride; of a sequence, (1, value)."""
    pair = value if isinstance(value, tuple) else (1 if len(shape) == 2 else value, value)
    require(min(pair) >= 1 and max(pair) <= 255, f"{where}: {name} {value} must lie in 1..255")
    return pair


@dataclass(frozen=True)
class _Window:
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    out: tuple[int, int]
    mode: int


def _window(layer: s.Windowed, shape: Shape, where: str) -> _Window:
    """Where a window lies, as Keras places it."""
    pools = isinstance(layer, s.MaxPool | s.AveragePool)
    rank = 2 if isinstance(layer, s.Conv1D) else 3
    needed = "(time, channels)" if rank == 2 else "(height, width, channels)"
    require(
        len(shape) == rank or (pools and len(shape) == 2),
        f"{where}: its input has shape {shape}, it needs {needed}",
    )
    require(layer.padding in ("valid", "same"), f"{where}: padding {layer.padding!r} must be 'valid' or 'same'")
    size = layer.pool_size if isinstance(layer, s.MaxPool | s.AveragePool) else layer.kernel_size
    strides = size if layer.strides is None else layer.strides
    kernel, stride = _pair(size, shape, "kernel", where), _pair(strides, shape, "stride", where)
    out, pad = [], []
    for extent, k, step in zip(three(shape)[:2], kernel, stride, strict=True):
        if layer.padding == "same":
            out.append(-(-extent // step))
            pad.append(max((out[-1] - 1) * step + k - extent, 0) // 2)
        else:
            require(k <= extent, f"{where}: a kernel of {k} does not fit an input of {extent}: use padding='same'")
            out.append((extent - k) // step + 1)
            pad.append(0)
    return _Window(kernel, stride, (pad[0], pad[1]), (out[0], out[1]), int(layer.padding == "same"))


def _windowed(kind: str, layer: s.Windowed, source: int, shape: Shape, where: str) -> Record:
    w = _window(layer, shape, where)
    filters = layer.filters if isinstance(layer, s.Conv2D | s.Conv1D) else shape[-1]
    require(filters >= 1, f"{where}: filters must be at least 1, not {filters}")
    out = (w.out[1], filters) if len(shape) == 2 else (*w.out, filters)
    record = Record(kind, out, mode=w.mode, kernel=w.kernel, stride=w.stride, pad=w.pad, input=source)
    if isinstance(layer, s.MaxPool | s.AveragePool):
        return record
    weights = (*w.kernel, shape[-1], 1 if kind == "depthwise" else filters)
    return _weighted(layer, record, weights, where)


def _weighted(layer: s.Weighted, record: Record, weights: Shape, where: str) -> Record:
    """The record with the parameters and what learns."""
    return replace(
        record,
        activation=layer.activation,
        flags=_flags(layer.use_bias, layer.trainable, layer.trainable_bias),
        alpha=_alpha(layer, where),
        parameter_shapes=parameter_shapes(weights, record.shape, layer.use_bias),
    )


def parameter_shapes(weights: Shape, out: Shape, has_bias: bool) -> tuple[Shape, ...]:
    """Weights, then the bias of each channel."""
    return (weights, (out[-1],)) if has_bias else (weights,)


def _lower_layer(layer: s.Layer, source: int, shapes: list[Shape], where: str) -> Record:
    """The record of one layer, `parameters` still 0. `shapes` are the tensors' before it."""
    shape = shapes[source]
    match layer:
        case s.Dense():
            require(layer.units >= 1, f"{where}: units must be at least 1, not {layer.units}")
            record = Record("dense", (layer.units,), input=source)
            return _weighted(layer, record, (math.prod(shape), layer.units), where)
        case s.Conv2D() | s.Conv1D():
            return _windowed("conv2d", layer, source, shape, where)
        case s.DepthwiseConv2D():
            return _windowed("depthwise", layer, source, shape, where)
        case s.MaxPool():
            return _windowed("max_pool", layer, source, shape, where)
        case s.AveragePool():
            return _windowed("average_pool", layer, source, shape, where)
        case s.GlobalAveragePool():
            return Record("global_average", (shape[-1],), input=source)
        case s.Add():
            require(0 <= layer.other < len(shapes), f"{where}: other {layer.other} is no tensor before it")
            require(
                shapes[layer.other] == shape,
                f"{where}: tensor {layer.other} has shape {shapes[layer.other]}, tensor {source} {shape}",
            )
            return Record("add", shape, layer.activation, input=source, input_b=layer.other, alpha=_alpha(layer, where))
        case s.ScaleShift():
            return _weighted(layer, Record("scale", shape, input=source), (shape[-1],), where)
        case s.Standardize():
            require(source == 0, f"{where}: running statistics are of the model's input: put the layer first")
            require(
                isinstance(layer.window, int) and 2 <= layer.window <= s.WINDOW_MAX,
                f"{where}: window {layer.window} must be a whole number of samples in 2..{s.WINDOW_MAX}",
            )
            count = math.prod(shape)
            parts: tuple[Shape, ...] = ((count,), (count,), (1,))
            return Record("standardize", shape, alpha=float(layer.window), parameter_shapes=parts)
        case s.Dropout():
            raise UsageError(
                f"{where}: dropout is not available: it averages over many passes, and a device learns from a few "
                "samples in one; leave the layer out (inference does not need it)"
            )
        case s.Activation():
            return Record("activation", shape, layer.activation, input=source, alpha=_alpha(layer, where))
        case s.Flatten():
            return Record("reshape", (math.prod(shape),), mode=1, input=source)
        case s.Reshape():
            check_shape(layer.shape, where)
            require(
                math.prod(layer.shape) == math.prod(shape),
                f"{where}: {shape} has {math.prod(shape)} values, {layer.shape} {math.prod(layer.shape)}",
            )
            return Record("reshape", tuple(layer.shape), mode=len(layer.shape), input=source)


def lower(spec: s.ModelSpec) -> list[Record]:
    """The records of a model. Raises `UsageError` naming the layer that does not fit."""
    check_shape(spec.input_shape, "input_shape")
    require(spec.loss in s.LOSSES, f"loss {spec.loss!r} is unknown: use one of {', '.join(s.LOSSES)}")
    require(
        1 <= len(spec.layers) <= s.LAYERS_MAX,
        f"a model has 1 to {s.LAYERS_MAX} layers, not {len(spec.layers)}",
    )
    shapes: list[Shape] = [tuple(spec.input_shape)]
    records: list[Record] = []
    parameters = 0
    for index, layer in enumerate(spec.layers):
        where = f"layer {index} ({type(layer).__name__})"
        source = index if layer.input is None else layer.input
        require(0 <= source <= index, f"{where}: input {source} is no tensor before it (0 to {index})")
        record = _lower_layer(layer, source, shapes, where)
        check_shape(record.shape, where)
        records.append(replace(record, parameters=parameters))
        parameters += record.parameter_count
        shapes.append(record.shape)
    check_graph(records, spec.loss)
    return records


def check_graph(records: list[Record], loss: str) -> None:
    """Every tensor is used, and a cross-entropy is given logits. Raises `UsageError`."""
    used = {tensor for record in records for tensor in record.inputs}
    for tensor in range(len(records)):
        name = "the model's input" if tensor == 0 else f"the output of layer {tensor - 1} ({records[tensor - 1].kind})"
        require(tensor in used, f"{name} is not used by any layer: take the layer away or connect it")
    last = len(records)
    while last and records[last - 1].kind == "reshape":
        last = records[last - 1].input
    require(last, "a model needs a layer that is no reshape")
    activation = records[last - 1].activation
    require(
        loss == "mse" or activation == "linear",
        f"layer {last - 1} ({records[last - 1].kind}): {loss} takes logits: the last activation must be "
        f"'linear', not {activation!r}",
    )
