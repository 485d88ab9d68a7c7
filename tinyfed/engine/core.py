"""The engine of firmware/core, in-process: the code that runs on the boards, and their bits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinyfed.engine import _core
from tinyfed.errors import ImageError, UsageError
from tinyfed.status import reason

Floats = NDArray[np.float32]

HASH_START = 0xCBF29CE484222325  # of FNV-1a with 64 bits

MODES = {
    "infer": 0,
    "online": 1,
    "batch_sgd": 2,
    "batch_momentum": 3,
    "batch_adam": 4,
    "batch_adam_second": 5,
}


def _called(call: Callable[..., Any], what: str, *arguments: Any) -> None:
    try:
        call(*arguments)
    except _core.CoreError as error:
        raise UsageError(reason(error.args[0]), key=what) from error


def _opened(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except _core.CoreError as error:
        status, offset = error.args
        raise ImageError(reason(status), offset) from error


def model_open(image: bytes) -> dict[str, int]:
    """Validate an image with the device's own code; its counts, loss and structure hash.

    Raises `ImageError` with the reason and the offset of the first byte that is wrong.
    """
    return dict(_opened(_core.model_open, image))


def plan(image: bytes, mode: str = "online") -> tuple[int, int]:
    """(work_bytes, arena_bytes) by the device's own code. Raises `ImageError`."""
    work_bytes, arena_bytes = _opened(_core.plan, image, MODES[mode])
    return int(work_bytes), int(arena_bytes)


def crc32(data: bytes, crc: int = 0) -> int:
    """CRC-32 as zlib's."""
    return _core.crc32(data, crc)


def hash64(data: bytes, start: int = HASH_START) -> int:
    """FNV-1a, 64 bit."""
    return _core.hash64(data, start)


def _mapped(function: Callable[[Any, Any], None], x: ArrayLike) -> Floats:
    values = np.ascontiguousarray(x, dtype=np.float32)
    result = np.empty_like(values)
    function(result, values)
    return result.reshape(np.shape(x))


def exp(x: ArrayLike) -> Floats:
    """The engine's exponential of float32 values, any shape; bounds in docs/numerics.md."""
    return _mapped(_core.exp, x)


def log(x: ArrayLike) -> Floats:
    """The engine's natural logarithm of float32 values, any shape."""
    return _mapped(_core.log, x)


def tanh(x: ArrayLike) -> Floats:
    """The engine's hyperbolic tangent of float32 values, any shape."""
    return _mapped(_core.tanh, x)


def sin(x: ArrayLike) -> Floats:
    """The engine's sine of float32 values, any shape; NaN beyond 8192."""
    return _mapped(_core.sin, x)


@dataclass(frozen=True)
class Optimizer:
    """How a batch changes the weights; the engine's mode says which of these are used."""

    learning_rate: float
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float = 0.0  # decoupled, as Keras has it
    clip_norm: float = 0.0  # 0: gradients are not clipped


class Engine:
    """A model in an arena of its own. One thread at a time; calls release the interpreter's lock.

    Samples are float32 of shape (count, input_count) or (count, *input_shape). Targets are float32 of shape
    (count, output_count), for softmax cross-entropy integer labels of shape (count,).
    """

    def __init__(self, image: bytes, mode: str = "online") -> None:
        self._core: _core.Engine = _opened(_core.Engine, image, MODES[mode])
        facts = self._core.describe()
        self.parameter_count = facts["parameter_count"]
        self.input_count = facts["input_count"]
        self.output_count = facts["output_count"]
        self.arena_bytes = facts["arena_bytes"]
        self.work_bytes = facts["work_bytes"]
        self.structure_hash = facts["structure_hash"]
        self._has_labels = facts["loss"] == 2
        if mode.startswith("batch"):
            self._core.batch_begin()

    @property
    def parameters(self) -> Floats:
        """A copy of the flat weights; assigning replaces them. Shape (parameter_count,)."""
        return np.frombuffer(self._core.parameters(), dtype="<f4").astype(np.float32)

    @parameters.setter
    def parameters(self, values: NDArray[np.floating]) -> None:
        flat = np.ascontiguousarray(values, dtype="<f4")
        if flat.shape != (self.parameter_count,):
            raise UsageError(f"the model has {self.parameter_count} parameters, not an array of shape {flat.shape}")
        self._core.set_parameters(flat)

    @property
    def weights_hash(self) -> int:
        """FNV-1a of the weights as they are now."""
        return self._core.weights_hash()

    def _inputs(self, x: ArrayLike) -> Floats:
        values = np.ascontiguousarray(x, dtype=np.float32)
        if values.size % self.input_count or (values.ndim and values[:1].size not in (0, self.input_count)):
            raise UsageError(f"a sample has {self.input_count} values; inputs have shape {values.shape}")
        return values.reshape(-1, self.input_count)

    def _targets(self, y: ArrayLike, count: int) -> NDArray[Any]:
        if not self._has_labels:
            values = np.ascontiguousarray(y, dtype=np.float32)
            if values.size != count * self.output_count:
                raise UsageError(f"{count} samples need {count} x {self.output_count} targets, not {values.shape}")
            return values
        labels = np.asarray(y)
        if labels.shape != (count,) or labels.dtype.kind not in "iu":
            raise UsageError(f"{count} samples need {count} integer labels, not {labels.dtype} {labels.shape}")
        if count and not 0 <= labels.min() <= labels.max() < self.output_count:
            raise UsageError(f"labels must lie in 0..{self.output_count - 1}, found {labels.min()}..{labels.max()}")
        return np.ascontiguousarray(labels, dtype=np.int32)

    def infer(self, x: ArrayLike, *, stream: bool = False) -> Floats:
        """Outputs of shape (count, output_count); logits where the loss is a cross-entropy. `stream`: the samples are
        the steps of one stream, so a frozen network's states go from each to the next."""
        inputs = self._inputs(x)
        outputs = np.empty((len(inputs), self.output_count), np.float32)
        self._core.infer(outputs, inputs, stream)
        return outputs

    def train_online(self, x: ArrayLike, y: ArrayLike, learning_rate: float) -> Floats:
        """One step of online SGD a sample, in order. Returns the losses before each step, shape (count,)."""
        inputs = self._inputs(x)
        losses = np.empty(len(inputs), np.float32)
        _called(self._core.train_online, "train_online", losses, inputs, self._targets(y, len(inputs)), learning_rate)
        return losses

    def train_visits(self, x: ArrayLike, y: ArrayLike, learning_rate: float) -> tuple[Floats, Floats]:
        """Visits that all begin with the weights as they are, each with online steps on samples of its own.

        x has shape (visits, steps, ...), y (visits, steps, output_count), or (visits, steps) labels. Returns the
        weights after each visit, shape (visits, parameter_count), and the losses before each step, shape
        (visits, steps). The engine is left with the weights after the first visit.
        """
        shape = np.shape(x)[:2]
        if len(shape) != 2 or 0 in shape or np.shape(y)[:2] != shape:
            raise UsageError(f"visits need samples of shape (visits, steps, ...), not {np.shape(x)} and {np.shape(y)}")
        count = shape[0] * shape[1]
        inputs = self._inputs(np.reshape(x, (count, -1)))
        targets = self._targets(np.reshape(y, (count, -1) if not self._has_labels else count), count)
        ends = np.empty((shape[0], self.parameter_count), np.float32)
        losses = np.empty(shape, np.float32)
        _called(self._core.train_visits, "train_visits", ends, losses, inputs, targets, learning_rate)
        return ends, losses

    def train_batch(self, x: ArrayLike, y: ArrayLike, optimizer: Optimizer) -> Floats:
        """One step by the mean gradient of the samples, in a batch mode. Returns their losses, shape (count,)."""
        inputs = self._inputs(x)
        losses = np.empty(len(inputs), np.float32)
        o = optimizer
        _called(self._core.batch_add, "train_batch", losses, inputs, self._targets(y, len(inputs)))
        moments = o.momentum, o.beta1, o.beta2, o.epsilon
        _called(self._core.batch_step, "train_batch", o.learning_rate, *moments, o.weight_decay, o.clip_norm)
        return losses

    def forget(self) -> None:
        """Start the optimizer of a batch mode anew: no moments, no samples."""
        _called(self._core.batch_begin, "forget")

    def evaluate(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, int]:
        """Losses of shape (count,) and how many samples are classified correctly."""
        inputs = self._inputs(x)
        losses = np.empty(len(inputs), np.float32)
        correct = self._core.evaluate(losses, inputs, self._targets(y, len(inputs)))
        return losses, correct
