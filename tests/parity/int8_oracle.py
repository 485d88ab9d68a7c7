"""TFLite Micro as the oracle of int8 inference: networks written as .tflite files, and run."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.model.convert import Int8Model, read_tflite
from tinyfed.model.int8 import spec
from tinyfed.model.int8.engine import Int8Engine, Kernels
from tinyfed.model.tflite.file import parse

ACTIVATIONS = {
    spec.Activation.NONE: 0,
    spec.Activation.RELU: 1,
    spec.Activation.RELU_N1_TO_1: 2,
    spec.Activation.RELU6: 3,
}
PADDINGS = {spec.Padding.SAME: 0, spec.Padding.VALID: 1}


def schema() -> Any:
    """flatbuffers' classes of the TFLite schema, as tflite-micro brings them."""
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated

    return schema_py_generated


class Oracle:
    """A .tflite model in TFLM's interpreter."""

    def __init__(self, model: bytes) -> None:
        from tflite_micro.python.tflite_micro import runtime

        self._interpreter = runtime.Interpreter.from_bytes(model, arena_size=4_000_000)

    def run(self, *values: NDArray[Any]) -> NDArray[Any]:
        """The first output for one array an input, with the batch of 1 that .tflite files have."""
        return self.run_all(1, *values)[0]

    def run_all(self, outputs: int, *values: NDArray[Any]) -> list[NDArray[Any]]:
        """So many outputs."""
        for index, value in enumerate(values):
            self._interpreter.set_input(value, index)
        self._interpreter.invoke()
        return [np.array(self._interpreter.get_output(index)) for index in range(outputs)]


def same_as_tflm(content: bytes, rng: np.random.Generator, rounds: int = 4) -> Int8Engine:
    """Every output of an int8 .tflite file is TFLM's, to the byte, by all bodies of the kernels: for random inputs, and
    for inputs of the smallest and of the largest value."""
    parsed = parse(content)
    model = read_tflite(parsed)
    assert isinstance(model, Int8Model)
    engines = [Int8Engine(model.content, kernels) for kernels in Kernels]
    oracle = Oracle(content)
    for number in range(rounds):
        given = [
            rng.integers(-128, 128, tensor.shape, np.int8)
            if number < rounds - 2
            else np.full(tensor.shape, (-128, 127)[number - rounds], np.int8)
            for tensor in parsed.input_tensors()
        ]
        expected = oracle.run_all(len(parsed.outputs), *given)
        for engine in engines:
            found = engine.run(*(value.reshape(p.shape) for value, p in zip(given, engine.inputs, strict=True)))
            for mine, theirs in zip(found, expected, strict=True):
                np.testing.assert_array_equal(mine.reshape(-1), theirs.reshape(-1), f"{engine.kernels!r}")
    return engines[0]


# Networks written as .tflite files.


class _Writer:
    def __init__(self, network: spec.Int8Network) -> None:
        self.s = schema()
        self.network = network
        self.model = self.s.ModelT()
        self.model.version = 3
        self.model.description = "tinyfed test"
        self.model.buffers = [self.s.BufferT()]
        self.model.operatorCodes = []
        self.graph = self.s.SubGraphT()
        self.graph.tensors = []
        self.graph.operators = []
        self.model.subgraphs = [self.graph]
        for tensor in network.tensors:
            self.tensor(tensor.name, (1, *tensor.shape), self.s.TensorType.INT8, [tensor.scale], [tensor.zero_point])

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: int,
        scales: Any = None,
        zeros: Any = None,
        axis: int = 0,
        data: NDArray[Any] | None = None,
    ) -> int:
        t = self.s.TensorT()
        t.name = name or f"t{len(self.graph.tensors)}"
        t.shape = list(shape)
        t.type = kind
        t.buffer = 0
        if data is not None:
            b = self.s.BufferT()
            b.data = np.frombuffer(data.tobytes(), np.uint8)
            self.model.buffers.append(b)
            t.buffer = len(self.model.buffers) - 1
        if scales is not None:
            q = self.s.QuantizationParametersT()
            q.scale = np.asarray(scales, np.float32)
            q.zeroPoint = np.asarray(zeros, np.int64)
            q.quantizedDimension = axis
            t.quantization = q
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def operator(self, name: str, inputs: list[int], output: int, options: str | None = None, **fields: Any) -> None:
        code = self.s.OperatorCodeT()
        code.builtinCode = getattr(self.s.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 1
        self.model.operatorCodes.append(code)
        op = self.s.OperatorT()
        op.opcodeIndex = len(self.model.operatorCodes) - 1
        op.inputs = inputs
        op.outputs = [output]
        if options is not None:
            op.builtinOptionsType = getattr(self.s.BuiltinOptions, options)
            op.builtinOptions = getattr(self.s, options + "T")()
            for key, value in fields.items():
                setattr(op.builtinOptions, key, value)
        self.graph.operators.append(op)

    def weights(self, layer: Any, data: NDArray[np.int8], axis: int) -> list[int]:
        scales = np.atleast_1d(layer.weight_scales)
        kind = self.s.TensorType
        found = [self.tensor("w", data.shape, kind.INT8, scales, np.zeros(len(scales)), axis, data)]
        if layer.bias is not None:
            source = self.network.tensors[layer.inputs[0]]
            products = [np.float32(source.scale) * np.float32(s) for s in scales]
            zeros = np.zeros(len(products))
            found.append(self.tensor("b", layer.bias.shape, kind.INT32, products, zeros, 0, layer.bias.astype("<i4")))
        return found

    def constant(self, values: Any) -> int:
        data = np.asarray(values, "<i4")
        return self.tensor("c", data.shape, self.s.TensorType.INT32, data=data)

    def window(self, layer: Any) -> dict[str, Any]:
        return {
            "strideH": layer.stride[0],
            "strideW": layer.stride[1],
            "padding": PADDINGS[layer.padding],
            "fusedActivationFunction": ACTIVATIONS[layer.activation],
        }

    def layer(self, layer: spec.Int8Layer) -> None:
        inputs, output = list(layer.inputs), layer.output
        tensors = self.network.tensors
        match layer:
            case spec.Int8Conv2D():
                self.operator(
                    "CONV_2D", inputs + self.weights(layer, layer.weights, 0), output, "Conv2DOptions",
                    dilationHFactor=layer.dilation[0], dilationWFactor=layer.dilation[1], **self.window(layer),
                )  # fmt: skip
            case spec.Int8DepthwiseConv2D():
                self.operator(
                    "DEPTHWISE_CONV_2D", inputs + self.weights(layer, layer.weights[None], 3), output,
                    "DepthwiseConv2DOptions", dilationHFactor=layer.dilation[0], dilationWFactor=layer.dilation[1],
                    depthMultiplier=tensors[output].image_shape[2] // tensors[inputs[0]].image_shape[2],
                    **self.window(layer),
                )  # fmt: skip
            case spec.Int8Dense():
                extra = self.weights(layer, layer.weights, 0)
                if layer.bias is None:
                    extra.append(-1)
                activation = ACTIVATIONS[layer.activation]
                self.operator(
                    "FULLY_CONNECTED",
                    inputs + extra,
                    output,
                    "FullyConnectedOptions",
                    fusedActivationFunction=activation,
                )
            case spec.Int8MaxPool2D() | spec.Int8AveragePool2D():
                name = "MAX_POOL_2D" if isinstance(layer, spec.Int8MaxPool2D) else "AVERAGE_POOL_2D"
                self.operator(
                    name, inputs, output, "Pool2DOptions", filterHeight=layer.pool[0], filterWidth=layer.pool[1],
                    **self.window(layer),
                )  # fmt: skip
            case spec.Int8Mean():
                source, result = tensors[inputs[0]], tensors[output]
                axes, left = [], source.count
                while left > result.count:
                    left //= source.shape[len(axes)]
                    axes.append(len(axes) + 1)
                keep = len(result.shape) == len(source.shape)
                self.operator("MEAN", [*inputs, self.constant(axes or [1])], output, "ReducerOptions", keepDims=keep)
            case spec.Int8Add():
                activation = ACTIVATIONS[layer.activation]
                self.operator("ADD", inputs, output, "AddOptions", fusedActivationFunction=activation)
            case spec.Int8Pad():
                pads = self.constant([(0, 0), *layer.pads])
                if layer.value is None:
                    self.operator("PAD", [*inputs, pads], output, "PadOptions")
                else:
                    source = tensors[inputs[0]]
                    value = self.tensor(
                        "v", (1,), self.s.TensorType.INT8, [source.scale], [source.zero_point],
                        data=np.array([layer.value], np.int8),
                    )  # fmt: skip
                    self.operator("PADV2", [*inputs, pads, value], output, "PadV2Options")
            case spec.Int8Reshape():
                shape = self.constant([1, *tensors[output].shape])
                new = [1, *tensors[output].shape]
                self.operator("RESHAPE", [*inputs, shape], output, "ReshapeOptions", newShape=new)
            case spec.Int8Softmax():
                self.operator("SOFTMAX", inputs, output, "SoftmaxOptions", beta=layer.beta)
            case spec.Int8Logistic():
                self.operator("LOGISTIC", inputs, output)
            case spec.Int8Relu():
                self.operator("RELU" if layer.activation is spec.Activation.RELU else "RELU6", inputs, output)
            case spec.Int8LeakyRelu():
                self.operator("LEAKY_RELU", inputs, output, "LeakyReluOptions", alpha=layer.alpha)
            case spec.Int8Requantize():
                self.operator("QUANTIZE", inputs, output, "QuantizeOptions")
            case spec.Int8ResizeNearest():
                size = self.constant(tensors[output].image_shape[:2])
                self.operator(
                    "RESIZE_NEAREST_NEIGHBOR", [*inputs, size], output, "ResizeNearestNeighborOptions",
                    alignCorners=layer.align_corners, halfPixelCenters=layer.half_pixel_centers,
                )  # fmt: skip


def write_tflite(network: spec.Int8Network) -> bytes:
    """`network` as a .tflite file."""
    import flatbuffers

    writer = _Writer(network)
    for layer in network.layers:
        writer.layer(layer)
    writer.graph.inputs = list(network.inputs)
    writer.graph.outputs = list(network.outputs)
    builder = flatbuffers.Builder(1024)
    builder.Finish(writer.model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
