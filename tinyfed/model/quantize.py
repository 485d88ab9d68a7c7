"""Full-integer post-training quantization: Keras models by TensorFlow's converter, .tflite by ai-edge-quantizer."""

import contextlib
import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.arrays import read_arrays
from tinyfed.data.samples import Samples, samples_of
from tinyfed.engine import hash64
from tinyfed.errors import ConvertError, MissingToolError, TinyfedError, UsageError
from tinyfed.model.convert import Int8Model, is_tflite, read_tflite
from tinyfed.model.int8.engine import Int8Engine
from tinyfed.model.isolated import isolated
from tinyfed.model.keras.convert import TfliteSource, import_tensorflow, is_keras, quiet
from tinyfed.model.tflite.file import ABSENT, Operator, Tensor, TfliteModel, interpreter, parse
from tinyfed.reading import read_model_file
from tinyfed.text import first_line, shown

# What the error of each layer is measured on.
MOST_ERROR_SAMPLES = 32
SIGNATURE = "serving_default"
# Types of a float model's values and of the shapes and indices beside them.
QUANTIZABLE = ("float32", "int32", "int64", "bool")
# Of one tensor: 64 MB as float32.
MOST_ELEMENTS = 1 << 24


@dataclass(frozen=True)
class LayerError:
    """Of a layer's output, relative to its root mean square, None where that is 0. `relative`: what all layers up to
    it have lost; `own`: what this one brings when its inputs are the float network's, None where those are not
    known."""

    kind: str
    name: str
    relative: float | None
    own: float | None


@dataclass(frozen=True)
class Quantized:
    """`content` is the int8 .tflite file; `before` and `after` are accuracies, None without labels.

    `error` is that of the whole model: of its outputs over `measured_on` samples, by tinyfed's engine where that runs
    it, relative to the root mean square of the float outputs (None where those are all 0). `notes` say in words what
    makes a figure worth little.
    """

    content: bytes
    float_bytes: int
    errors: tuple[LayerError, ...]
    error: float | None
    measured_on: int
    before: float | None
    after: float | None
    why_not: str  # reason why tinyfed's engine does not run it, or empty
    notes: tuple[str, ...] = ()


class FloatSource:
    """A float model to quantize: its input's shape, and it as a float .tflite file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source = TfliteSource(path) if is_keras(path) else None
        if self.source is not None:
            self.content = self.source.convert(self.source.converter())
        else:
            self.content = read_model_file(path)
            if not is_tflite(self.content):
                raise UsageError(
                    f"neither Keras nor .tflite: its first bytes are {self.content[:8].hex(' ')}", where=str(path)
                )
        self.model = parse(self.content, str(path))
        inputs = self.model.input_tensors()
        if len(inputs) != 1 or len(self.model.outputs) != 1:
            ends = f"{len(inputs)} inputs and {len(self.model.outputs)} outputs"
            raise ConvertError(f"{ends}; a model with one each can be quantized", where=str(path))
        for tensor in (*inputs, *self.model.tensors):
            if tensor.dtype not in QUANTIZABLE or (tensor is inputs[0] and tensor.dtype != "float32"):
                raise ConvertError(
                    f"{tensor} is {tensor.dtype}: the model is not all float32",
                    where=str(path),
                    remedy="quantize the float model it came from",
                )
        if inputs[0].dynamic_dimensions not in ((), (0,)) or inputs[0].shape[:1] != (1,):
            raise ConvertError(
                f"shape {list(inputs[0].shape)}; convert it with a batch size of 1", where=str(path), key=str(inputs[0])
            )
        largest = max(self.model.tensors, key=lambda tensor: tensor.element_count)
        if largest.element_count > MOST_ELEMENTS:
            raise ConvertError(
                f"shape {list(largest.shape)} has more than {MOST_ELEMENTS:,} values, which no board holds",
                where=str(path),
                key=str(largest),
                remedy="make the model smaller",
            )
        self.input_shape = inputs[0].shape[1:]

    def quantized(self, x: NDArray[np.float32], percentile: float = 100.0) -> bytes:
        """The int8 .tflite file. `x`: (count, *input_shape). Ranges hold that percentile of the samples' largest values
        and of their smallest; below 100 the quantizer of .tflite files does it for Keras too."""
        if self.source is None or percentile < 100:
            return _quantize_tflite(self.content, x, percentile, str(self.path))
        tensorflow = import_tensorflow()
        converter = self.source.converter()
        converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample[None]] for sample in x)
        converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tensorflow.int8
        return self.source.convert(converter)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """ai-edge-quantizer and LiteRT print progress and warnings; what goes wrong is told by exceptions."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _quantize_tflite(content: bytes, x: NDArray[np.float32], percentile: float, where: str) -> bytes:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _silent():
            from ai_edge_quantizer import calibrator, quantizer, recipe, recipe_manager
    except ImportError as error:
        raise MissingToolError(
            "ai-edge-quantizer is not installed, which quantizes .tflite files: pip install 'tinyfed[quantize]'"
        ) from error
    try:
        with _silent():
            content = _as_written_today(content)
            recipes = recipe_manager.RecipeManager()
            recipes.load_quantization_recipe(recipe.static_wi8_ai8())
            # Left to itself it takes a moving minimum and maximum, which follow the last samples.
            calibration = calibrator.Calibrator(content, qsv_update_func=_both)
            calibration.calibrate({SIGNATURE: [{"input": sample[None]} for sample in x]}, recipes)
            engine = quantizer.Quantizer(content, recipe.static_wi8_ai8())
            ranges = {name: _range(of, percentile) for name, of in calibration.get_model_qsvs().items()}
            return bytes(engine.quantize(ranges).quantized_model)
    except Exception as error:  # whatever the quantizer raises, which is of many kinds, is about the model
        raise ConvertError(f"ai-edge-quantizer cannot quantize the model: {first_line(error)}", where=where) from error


def _both(ranges: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The ranges of samples and one more: an end is an array, or the list of those of all samples so far."""
    ends = {end: ranges[end] for end in ("min", "max")}
    return {end: [*(of if isinstance(of, list) else [of]), other[end]] for end, of in ends.items()}


def _range(of: dict[str, Any], percentile: float) -> dict[str, Any]:
    """One range of the ranges of samples, as the quantizer wants it."""
    share = {"min": 100 - percentile, "max": percentile}
    return {
        end: np.percentile(np.stack(each), share[end], axis=0).astype(each[0].dtype) if isinstance(each, list) else each
        for end, each in of.items()
    }


def _unpacked(content: bytes) -> Any:
    """The file as LiteRT's objects, with the weights in it that a large file keeps behind its flatbuffer."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def _packed(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _as_written_today(content: bytes) -> bytes:
    """Older files have no signature, by which calibration finds the input, and say in another field which operators
    they have: the quantizer would take each for ADD."""
    from ai_edge_litert import schema_py_generated as schema

    model = _unpacked(content)
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    graph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
    signature.inputs, signature.outputs = [], []
    for name, ends, maps in (("input", graph.inputs, signature.inputs), ("output", graph.outputs, signature.outputs)):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, int(ends[0])
        maps.append(entry)
    model.signatureDefs = [signature]
    return _packed(model)


def quantize_file(path: Path, representative: Path, test: Path | None = None, percentile: float = 100.0) -> Quantized:
    """`quantize` of files, in a process of its own: TensorFlow and LiteRT can crash on a damaged model.

    Raises UsageError of one line.
    """
    return isolated(quantize_here, path, representative, test, percentile, source=str(path))


def quantize_here(path: Path, representative: Path, test: Path | None, percentile: float) -> Quantized:
    """`quantize_file` in this process."""
    arrays = read_arrays(representative)
    test_arrays = {} if test is None else read_arrays(test)
    source = FloatSource(path)
    samples = samples_of(arrays, representative, source.input_shape)
    tested = None
    if test is not None:
        tested = samples_of(test_arrays, test, source.input_shape)
        if tested.y is None:
            raise UsageError('no labels: add an array "y" of integers', where=str(test))
    try:
        return quantize(source, samples, tested, percentile)
    except TinyfedError:
        raise
    except Exception as error:  # whatever the interpreters raise, which is of many kinds, is about the model
        raise ConvertError(f"it cannot be quantized: {first_line(error)}", where=str(path)) from error


def quantize(
    source: FloatSource, representative: Samples, test: Samples | None = None, percentile: float = 100.0
) -> Quantized:
    """Quantize, and say what it cost. `test` (else `representative`) gives the error of the whole, and the accuracy
    where it has labels. `percentile`: FloatSource.quantized.

    Raises UsageError of one line where the model cannot be quantized, where the representative samples are all the
    same, or where the percentile is not above 50 and up to 100.
    """
    if not 50 < percentile <= 100:
        raise UsageError(f"{percentile:g} is not above 50 and up to 100", key="percentile")
    _check_representative(representative.x)
    content = source.quantized(representative.x, percentile)
    model = parse(content, str(source.path))
    before = after = None
    measured = test if test is not None else representative
    why_not = ""
    try:
        converted = read_tflite(model)
        if not isinstance(converted, Int8Model):
            why_not = "it is not int8"
    except UsageError as error:
        why_not = error.detail
    outputs, quantized = float_outputs(source.content, measured.x), int8_outputs(content, measured.x)
    notes = list(_unmoved(source.model, representative.x))
    if measured.y is not None:
        classes = max(outputs.shape[1], 2)
        if measured.y.min() < 0 or measured.y.max() >= classes:
            raise UsageError(f"labels from {measured.y.min()} to {measured.y.max()}; the model has {classes} classes")
        before, after = accuracy(outputs, measured.y), accuracy(quantized, measured.y)
        if measured.y.min() == measured.y.max():
            notes.append(f"all labels are {measured.y[0]}: an accuracy on one class says little")
    return Quantized(
        content,
        len(source.content),
        layer_errors(source.model, model, _some(representative.x)),
        _relative(
            float(np.sum((outputs.astype(np.float64) - quantized) ** 2)), float(np.sum(outputs.astype(np.float64) ** 2))
        ),
        len(measured),
        before,
        after,
        why_not,
        tuple(notes),
    )


def _some(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most MOST_ERROR_SAMPLES of the samples, the same ones in whatever order they come."""
    if len(x) <= MOST_ERROR_SAMPLES:
        return x
    drawn = sorted(range(len(x)), key=lambda index: hash64(x[index].tobytes()))
    return x[drawn[:MOST_ERROR_SAMPLES]]


def _check_representative(x: NDArray[np.float32]) -> None:
    """Raises UsageError where no range can be learned from the samples (count, *shape)."""
    if (x == x[0]).all():
        what = "there is 1 sample" if len(x) == 1 else f"all {len(x)} samples are the same"
        what += ", all 0" if not x.any() else ""
        raise UsageError(
            f"the representative samples tell no ranges: {what}", remedy="give a hundred or more, as they are in use"
        )


def _unmoved(model: TfliteModel, x: NDArray[np.float32]) -> Iterator[str]:
    """Sentences about layers that give the same for all samples: their range tells nothing about others."""
    depends, layers = set(model.inputs), []
    for operator in model.operators:
        if depends.intersection(operator.inputs):
            depends.update(operator.outputs)
            layers += [index for index in operator.outputs if model.tensors[index].dtype == "float32"]
    runner, source = _keeping(model.content), model.input_tensors()[0]
    first: dict[int, NDArray[np.float32]] = {}
    for sample in x:
        runner.set_tensor(source.index, sample[None])
        runner.invoke()
        first = first or {index: runner.get_tensor(index) for index in layers}
        layers = [index for index in layers if np.array_equal(runner.get_tensor(index), first[index])]
        if not layers:
            return
    for index in layers:
        name, value = shown(model.tensors[index].name.split(";")[0]), first[index]
        always = f"always {value.flat[0]:g}" if (value == value.flat[0]).all() else "always the same"
        yield f"layer {name} is {always} for the {len(x)} representative samples: its range is a guess for others"


def _relative(lost: float, whole: float) -> float | None:
    """Root of a sum of squared differences to that of squared values; None where those are all 0."""
    return math.sqrt(lost / whole) if whole > 0 else None


def accuracy(outputs: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Share of labels that the largest output (of one output: whether it exceeds one half) names."""
    guess = outputs[:, 0] > 0.5 if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    return float(np.mean(guess == labels))


def float_outputs(content: bytes, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outputs (count, n) of a float .tflite file."""
    return _interpreted(parse(content), x)


def _interpreted(model: TfliteModel, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Real outputs (count, n) for real inputs, by the interpreter."""
    with quiet():
        runner = interpreter(model.content)
        runner.allocate_tensors()
    source, result = model.input_tensors()[0], model.output_tensors()[0]
    outputs = []
    for sample in x:
        runner.set_tensor(source.index, _stored(source, sample[None]))
        runner.invoke()
        outputs.append(_real(result, runner.get_tensor(result.index)).reshape(-1))
    return np.stack(outputs)


def int8_outputs(content: bytes, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outputs (count, n) of an int8 .tflite file for real inputs: by tinyfed's engine, else by the interpreter."""
    model = parse(content)
    try:
        converted = read_tflite(model)
        assert isinstance(converted, Int8Model)
        engine = Int8Engine(converted.content)
        results = [engine.dequantize(engine.run(engine.quantize(sample))[0]).reshape(-1) for sample in x]
        return np.stack(results)
    except UsageError:
        return _interpreted(model, x)


def _stored(tensor: Tensor, values: NDArray[np.float32]) -> NDArray[Any]:
    if tensor.dtype == "float32" or tensor.quantization is None:
        return values
    scaled = np.round(values / tensor.quantization.scale[0]) + tensor.quantization.zero_point[0]
    return np.asarray(np.clip(scaled, -128, 127), np.int8)


def _real(tensor: Tensor, values: NDArray[Any]) -> NDArray[np.float32]:
    if tensor.dtype == "float32" or tensor.quantization is None:
        return values.astype(np.float32)
    shifted = values.astype(np.float32) - np.float32(tensor.quantization.zero_point[0])
    return np.asarray(shifted * tensor.quantization.scale[0], np.float32)


def layer_errors(before: TfliteModel, after: TfliteModel, x: NDArray[np.float32]) -> tuple[LayerError, ...]:
    """For each layer both models have, in order: root mean square of the difference over that of the float output."""
    pairs = _same_layers(before, after)
    by_output = {operator.outputs[0]: operator for operator in after.operators if operator.outputs}
    exact = {second: first for first, second in pairs} | {after.inputs[0]: before.inputs[0]}
    sums = np.zeros((len(pairs), 3))
    runners = [_keeping(model.content) for model in (before, after)]
    alone = [_Alone.of(after, by_output[second], exact) for _, second in pairs]
    for sample in x:
        for runner, model in zip(runners, (before, after), strict=True):
            source = model.input_tensors()[0]
            runner.set_tensor(source.index, _stored(source, sample[None]))
            runner.invoke()
        for number, (first, second) in enumerate(pairs):
            reference = runners[0].get_tensor(first).astype(np.float64)
            result = _real(after.tensors[second], runners[1].get_tensor(second)).astype(np.float64)
            one = alone[number]
            own = result if one is None else one.run(runners[0]).astype(np.float64)
            sums[number] += [np.sum((reference - v) ** 2) for v in (result, own)] + [np.sum(reference**2)]
    errors = []
    for (_, second), one, (lost, lost_alone, whole) in zip(pairs, alone, sums, strict=True):
        name, by_itself = (
            after.tensors[second].name.split(";")[0],
            None if one is None else _relative(lost_alone, whole),
        )
        errors.append(LayerError(by_output[second].name, name, _relative(lost, whole), by_itself))
    return tuple(errors)


def _keeping(content: bytes) -> Any:
    """An interpreter that keeps what every layer gave."""
    with _silent():
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        runner = Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        runner.allocate_tensors()
    return runner


@dataclass(frozen=True)
class _Alone:
    """One operator of an int8 model by itself. `sources`: its inputs, and the float network's tensors they are."""

    runner: Any
    sources: tuple[tuple[Tensor, int], ...]
    output: Tensor

    @classmethod
    def of(cls, model: TfliteModel, operator: Operator, exact: dict[int, int]) -> "_Alone | None":
        """None where an input is not a layer's that the float network has too."""
        inputs = [index for index in operator.inputs if index != ABSENT and not model.tensors[index].constant_bytes]
        if any(index not in exact for index in inputs):
            return None
        whole = _unpacked(model.content)
        graph = whole.subgraphs[0]
        graph.operators = [graph.operators[operator.index]]
        graph.inputs, graph.outputs, whole.signatureDefs = inputs, list(operator.outputs), []
        sources = tuple((model.tensors[index], exact[index]) for index in inputs)
        return cls(_keeping(_packed(whole)), sources, model.tensors[operator.outputs[0]])

    def run(self, floats: Any) -> NDArray[np.float32]:
        """Its real output for what the float network's interpreter holds."""
        for tensor, index in self.sources:
            self.runner.set_tensor(tensor.index, _stored(tensor, floats.get_tensor(index).reshape(tensor.shape)))
        self.runner.invoke()
        return _real(self.output, self.runner.get_tensor(self.output.index))


def _same_layers(before: TfliteModel, after: TfliteModel) -> list[tuple[int, int]]:
    """Output tensors of the layers that both have: by position where the operators agree, else by name."""
    casts = ("QUANTIZE", "DEQUANTIZE")
    first = [operator for operator in before.operators if operator.name not in casts and operator.outputs]
    second = [operator for operator in after.operators if operator.name not in casts and operator.outputs]
    if [operator.name for operator in first] == [operator.name for operator in second]:
        pairs = [(a.outputs[0], b.outputs[0]) for a, b in zip(first, second, strict=True)]
    else:
        names = {before.tensors[operator.outputs[0]].name: operator.outputs[0] for operator in first}
        found = [(names.get(after.tensors[operator.outputs[0]].name), operator.outputs[0]) for operator in second]
        pairs = [(a, b) for a, b in found if a is not None]
    return [(a, b) for a, b in pairs if before.tensors[a].shape == after.tensors[b].shape]
