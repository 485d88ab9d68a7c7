"""What a kind of layer takes of an online training step: a net with it twice against the net with it once.

Every layer here keeps its input's shape, so the difference is one such layer, forward and backward, update included.
"""

from dataclasses import dataclass
from typing import Any

from tinyfed.boards import Board
from tinyfed.model import (
    Activation,
    Add,
    AveragePool,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    Layer,
    MaxPool,
    ModelSpec,
    ScaleShift,
    initialize,
)
from tinyfed_host.bench import board as on_board
from tinyfed_host.bench.figures import profile_of
from tinyfed_host.bench.nets import MEASURED_STEPS, random_samples

VALUES = 8 * 8 * 8
# A layer on 8 x 8 x 8 values (dense: 32), and its multiply-adds forward, padding counted, or its values.
LAYERS: dict[str, tuple[Layer, int]] = {
    "dense 32": (Dense(32), 32 * 32),
    "conv 3x3": (Conv2D(8, 3, padding="same"), VALUES * 8 * 9),
    "pointwise": (Conv2D(8, 1), VALUES * 8),
    "depthwise 3x3": (DepthwiseConv2D(3, padding="same"), VALUES * 9),
    "depthwise 5x5": (DepthwiseConv2D(5, padding="same"), VALUES * 25),
    "max pool 3x3": (MaxPool(3, 1, "same"), VALUES),
    "average pool 3x3": (AveragePool(3, 1, "same"), VALUES),
    "scale and shift": (ScaleShift(), VALUES),
    "add": (Add(0), VALUES),
    "relu": (Activation("relu"), VALUES),
    "tanh": (Activation("tanh"), VALUES),
}


@dataclass(frozen=True)
class LayerCost:
    """A step of one layer: estimated cycles of the core, forward and backward."""

    layer: str
    units: int  # multiply-adds forward, or values
    cycles: int
    by_function: dict[str, int]

    def facts(self) -> dict[str, Any]:
        each = round(self.cycles / self.units, 2)
        return {
            "layer": self.layer,
            "units": self.units,
            "cycles_estimated": self.cycles,
            "cycles_per_unit_estimated": each,
            "functions_estimated": self.by_function,
        }


def _profiled(board: Board, image: on_board.BenchImage, layer: Layer, times: int) -> dict[str, int]:
    """Cycles of a step by function."""
    dense = isinstance(layer, Dense)
    ends: tuple[Layer, ...] = (Dense(2),) if dense else (Flatten(), Dense(2))
    spec = ModelSpec((32,) if dense else (8, 8, 8), (Dense(32) if dense else Conv2D(8, 1), *[layer] * times, *ends))
    found = profile_of(board, image, random_samples("layer", spec, initialize(spec, 1)))
    return {name: round(cycles / MEASURED_STEPS) for name, (_, cycles) in found.by_function.items()}


def measure(board: Board, name: str) -> LayerCost:
    """Measure a layer of LAYERS on the emulated board. Raises as `figures.measure`."""
    layer, units = LAYERS[name]
    image = on_board.build_bench(board)
    once, twice = (_profiled(board, image, layer, times) for times in (1, 2))
    more = {function: cycles - once.get(function, 0) for function, cycles in twice.items()}
    most = sorted(((n, cycles) for n, cycles in more.items() if cycles > 0), key=lambda item: -item[1])[:5]
    return LayerCost(name, units, sum(more.values()), dict(most))
