"""Run int8 programs in-process, with the engine that boards run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.engine import _int8
from tinyfed.errors import UsageError
from tinyfed.model.int8.image import Int8Port, Int8StatePlace, read_ports, read_states


class Kernels(IntEnum):
    """Which bodies of the kernels run; all give the same bits."""

    PLAIN = 0
    BUILT = 1
    BEST = 2


@dataclass(frozen=True)
class Int8Engine:
    """An opened program. `run` takes and gives arrays of the ports' shapes and types, without a batch; it goes on from
    the states that the run before left."""

    program: bytes
    kernels: Kernels = Kernels.BEST
    inputs: tuple[Int8Port, ...] = field(init=False)
    outputs: tuple[Int8Port, ...] = field(init=False)
    states: tuple[Int8StatePlace, ...] = field(init=False)
    _handle: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            handle = _int8.open(self.program)
        except ValueError as error:
            raise UsageError(str(error), remedy="convert the model again") from error
        inputs, outputs = read_ports(self.program)
        object.__setattr__(self, "_handle", handle)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "outputs", outputs)
        object.__setattr__(self, "states", read_states(self.program))

    def run(self, *values: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """The outputs for one array an input."""
        if len(values) != len(self.inputs):
            raise UsageError(f"the network has {len(self.inputs)} inputs, not {len(values)}")
        for value, port in zip(values, self.inputs, strict=True):
            if value.dtype != port.dtype or value.size != port.count:
                raise UsageError(f"the network takes {port.count} {port.dtype} values, not {value.size} {value.dtype}")
        given = [_as_int8(value, port) for value, port in zip(values, self.inputs, strict=True)]
        raw = _int8.run(self._handle, b"".join(v.tobytes() for v in given), int(self.kernels))
        return tuple(_split(raw, self.outputs))

    def reset(self, name: str | None = None) -> None:
        """First values of the state `name`, or of all: a new stream begins. Raises UsageError for an unknown name."""
        try:
            _int8.reset(self._handle, name)
        except ValueError as error:
            known = ", ".join(state.name for state in self.states) or "none"
            raise UsageError(str(error), remedy=f"the network's states: {known}") from error

    def quantize(self, values: NDArray[np.float32], index: int = 0) -> NDArray[Any]:
        """Real values of input `index` as the network takes them, as the board does it."""
        port = self.inputs[index]
        if port.dtype == "float32":
            return np.ascontiguousarray(values, np.float32)
        raw = _int8.quantize(np.ascontiguousarray(values, np.float32).tobytes(), port.scale, _zero_point(port))
        return _as_port(np.frombuffer(raw, np.int8).reshape(values.shape), port)

    def dequantize(self, values: NDArray[Any], index: int = 0) -> NDArray[np.float32]:
        """What the network gave as output `index` as real values, float32."""
        port = self.outputs[index]
        if port.dtype == "float32":
            return np.ascontiguousarray(values, np.float32)
        raw = _int8.dequantize(_as_int8(values, port).tobytes(), port.scale, _zero_point(port))
        return np.frombuffer(raw, np.float32).reshape(values.shape)


def _zero_point(port: Int8Port) -> int:
    return port.zero_point - (128 if port.dtype == "uint8" else 0)


def _as_int8(values: NDArray[Any], port: Int8Port) -> NDArray[Any]:
    """As the work area has them: uint8 128 lower."""
    return (values ^ np.uint8(0x80)).view(np.int8) if port.dtype == "uint8" else np.ascontiguousarray(values)


def _as_port(values: NDArray[Any], port: Int8Port) -> NDArray[Any]:
    """As the user has them."""
    return values.view(np.uint8) ^ np.uint8(0x80) if port.dtype == "uint8" else values


def _split(raw: bytes, ports: Sequence[Int8Port]) -> list[NDArray[Any]]:
    parts, at = [], 0
    for port in ports:
        stored = np.float32 if port.dtype == "float32" else np.int8
        parts.append(_as_port(np.frombuffer(raw, stored, port.count, at).reshape(port.shape), port))
        at += parts[-1].nbytes
    return parts
