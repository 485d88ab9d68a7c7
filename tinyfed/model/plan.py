"""The memory a model needs, to the byte: the same answer as firmware/core/model/layout.c, by test.

Buffers that are never alive at the same time share bytes. Time runs through the forward steps of layers
0..L-1 (times 0..L-1), the loss (L) and the backward steps of layers L-1..0 (times L+1..2L).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tinyfed.model.image import HEADER_BYTES
from tinyfed.model.int8.image import read_plan, read_ports
from tinyfed.model.int8.plan import aligned
from tinyfed.model.layers.base import RECORD_BYTES, TRAIN_BIAS, TRAIN_WEIGHTS, Record, Shape, require
from tinyfed.model.spec import ModelSpec

# Arrays of one value for each learning parameter that a mode keeps: its gradient, the optimizer's moments.
MODES = {
    "infer": 0,
    "online": 0,
    "batch_sgd": 1,
    "batch_momentum": 2,
    "batch_adam": 3,
    "batch_adam_second": 2,  # without the first moment
}
BATCH_STATE_BYTES = 16
SLOT_BYTES = 12  # of the engine's table, a tensor
_EXTERNAL = -1  # the network's input


@dataclass(frozen=True)
class Plan:
    """Bytes for a mode. `arena_bytes` is the image (trained in place) and the work area behind it."""

    mode: str
    image_bytes: int
    parameter_bytes: int
    work_bytes: int
    arena_bytes: int
    batch_bytes: int  # of the work area: gradient buffer and optimizer
    activation_at: tuple[int | None, ...]  # offset in the work area of each layer's output; None: the input itself
    gradient_at: tuple[int | None, ...]  # of the gradient of each layer's output; None: not needed


def frozen_bytes(program: bytes) -> int:
    """Of the work area: a frozen int8 network's features as float32, and its own."""
    if not program:
        return 0
    return aligned(4 * sum(port.count for port in read_ports(program)[1])) + aligned(read_plan(program).work_bytes)


def plan(spec: ModelSpec, mode: str = "online") -> Plan:
    """The plan of a model; `mode` is one of `MODES`."""
    records, frozen = spec.records, spec.frozen
    require(mode in MODES, f"mode {mode!r} is unknown: use one of {', '.join(MODES)}")
    layout = _Layout(records, mode != "infer")
    parameters = 4 * sum(record.parameter_count for record in records)
    image = HEADER_BYTES + RECORD_BYTES * len(records) + len(frozen) + parameters
    optimizer = batch_bytes(records, mode)
    work = layout.end + frozen_bytes(frozen) + optimizer
    places = (layout.activation_at, layout.gradient_at)
    return Plan(mode, image, parameters, work, aligned(image) + work, optimizer, *places)


def batch_bytes(records: Sequence[Record], mode: str) -> int:
    """What a batch mode keeps beside activations and their gradients; 0 in the other modes."""
    learning = sum(
        math.prod(shape)
        for record in records
        for shape, flag in zip(record.parameter_shapes, (TRAIN_WEIGHTS, TRAIN_BIAS), strict=False)
        if record.flags & flag
    )
    return BATCH_STATE_BYTES + MODES[mode] * aligned(4 * learning) if MODES[mode] else 0


class _Layout:
    """Buffer t - 1 is the activation of tensor t, buffer L + t - 1 its gradient."""

    def __init__(self, records: Sequence[Record], trains: bool) -> None:
        self.records, self.trains, self.layers = records, trains, len(records)
        count = self.layers
        self.consumers: list[list[int]] = [[] for _ in range(count + 1)]
        for layer, record in enumerate(records):
            for tensor in record.inputs:
                self.consumers[tensor].append(layer)
        self.needs = [False] * (count + 1)  # a gradient, by tensor
        for layer, record in enumerate(records):
            self.needs[layer + 1] = trains and (record.trains or any(self.needs[t] for t in record.inputs))
        self.class_of = [0] * (2 * count)
        self.derivative = ["linear"] * (count + 1)
        self._share()
        self.born = [math.inf] * (2 * count)
        self.dies = [-math.inf] * (2 * count)
        self._live()
        self.offset: dict[int, int] = {}
        self.end = self._place(aligned(SLOT_BYTES * count))
        homes = [self.class_of[buffer] for buffer in range(2 * count)]
        self.activation_at = tuple(None if h == _EXTERNAL else self.offset[h] for h in homes[:count])
        self.gradient_at = tuple(
            self.offset[homes[count + t - 1]] if self.needs[t] else None for t in range(1, count + 1)
        )

    def _sole(self, tensor: int) -> bool:
        return tensor != 0 and len(self.consumers[tensor]) == 1

    def _writes_over_input(self, record: Record) -> bool:
        source = record.input
        if record.rules.view:
            return source == 0 or self._sole(source)
        if not record.rules.in_place or not self._sole(source) or self.class_of[source - 1] == _EXTERNAL:
            return False
        if not self.trains:
            return True
        if record.trains_weights:  # their gradient needs what the layer read
            return False
        return not self.needs[source] or self.derivative[source] == "linear"

    def _gradient_home(self, tensor: int) -> int:
        own = self.layers + tensor - 1
        if tensor == self.layers:
            return tensor - 1
        if not self._sole(tensor):
            return own
        layer = self.consumers[tensor][0]
        record = self.records[layer]
        places = {"own": own, "over_output": self.layers + layer, "over_input": tensor - 1}
        return places[record.rules.gradient_of(record, tensor)]

    def _share(self) -> None:
        for layer, record in enumerate(self.records):
            over = self._writes_over_input(record)
            self.class_of[layer] = layer
            if over:
                self.class_of[layer] = _EXTERNAL if record.input == 0 else self.class_of[record.input - 1]
            self.derivative[layer + 1] = record.activation
            if over and record.rules.view and record.input:
                self.derivative[layer + 1] = self.derivative[record.input]
        for tensor in range(self.layers, 0, -1):
            own, home = self.layers + tensor - 1, self._gradient_home(tensor)
            self.class_of[own] = own if home == own else self.class_of[home]

    def _alive(self, buffer: int, time: int) -> None:
        name = self.class_of[buffer]
        if name != _EXTERNAL:
            self.born[name] = min(self.born[name], time)
            self.dies[name] = max(self.dies[name], time)

    def _reads(self, layer: int, tensor: int) -> None:
        if tensor == 0:
            return
        record, backward = self.records[layer], 2 * self.layers - layer
        self._alive(tensor - 1, layer)
        if not self.needs[layer + 1]:
            return
        if record.trains_weights:
            self._alive(tensor - 1, backward)
        if not self.needs[tensor]:
            return
        if record.rules.keeps_input or (not record.rules.view and self.derivative[tensor] != "linear"):
            self._alive(tensor - 1, backward)
        self._alive(self.layers + tensor - 1, backward)

    def _live(self) -> None:
        count = self.layers
        for layer, record in enumerate(self.records):
            self._alive(layer, layer)
            for tensor in record.inputs:
                self._reads(layer, tensor)
            if self.needs[layer + 1]:
                self._alive(count + layer, 2 * count - layer)
        self._alive(count - 1, count)
        if self.needs[count]:
            self._alive(2 * count - 1, count)

    def _bytes(self, buffer: int) -> int:
        return aligned(4 * math.prod(self.records[buffer % self.layers].shape))

    def _place(self, start: int) -> int:
        names = [b for b in range(2 * self.layers) if self.class_of[b] == b and self.born[b] <= self.dies[b]]
        end = start
        for name in sorted(names, key=lambda b: (-self._bytes(b), b)):
            offset = start
            rivals = sorted(
                (at, at + self._bytes(other))
                for other, at in self.offset.items()
                if self.born[other] <= self.dies[name] and self.born[name] <= self.dies[other]
            )
            for low, high in rivals:
                if low < offset + self._bytes(name) and offset < high:
                    offset = high
            self.offset[name] = offset
            end = max(end, offset + self._bytes(name))
        return end


@dataclass(frozen=True)
class LayerSummary:
    """One layer; bytes are of its output tensor."""

    index: int
    kind: str
    activation: str
    shape: Shape  # of the output
    inputs: tuple[int, ...]  # tensors
    parameters: int
    learns: str  # "all", "weights", "bias", "statistics" or ""
    multiply_adds: int  # of the forward pass
    activation_bytes: int
    gradient_bytes: int  # 0: not needed
    activation_at: int | None  # offset in the work area; None: the input itself
    gradient_at: int | None  # where, often over values that are needed no longer; None: not needed


def summarize(spec: ModelSpec, mode: str = "online") -> list[LayerSummary]:
    """The layers of a model in a mode of the plan: shapes, parameters, multiply-adds and bytes."""
    found = plan(spec, mode)
    rows = []
    for index, record in enumerate(spec.records):
        rules, own = record.rules, aligned(4 * math.prod(record.shape))
        at, gradient_at = found.activation_at[index], found.gradient_at[index]
        source_at = found.activation_at[record.input - 1] if record.input else None
        rows.append(
            LayerSummary(
                index=index,
                kind=record.kind,
                activation=record.activation,
                shape=record.shape,
                inputs=record.inputs,
                parameters=record.parameter_count,
                learns=rules.learns(record),
                multiply_adds=rules.multiply_adds(record),
                activation_bytes=0 if (rules.view or rules.in_place) and at == source_at else own,
                gradient_bytes=0 if gradient_at is None else own,
                activation_at=at,
                gradient_at=gradient_at,
            )
        )
    return rows
