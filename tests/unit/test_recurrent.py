"""Recurrent layers of float programs against their equations in float64, on random shapes."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tinyfed.errors import UsageError
from tinyfed.model.graph import Graph, Node, Program, convert_graph
from tinyfed.model.int8.engine import Int8Engine
from tinyfed.model.int8.image import HEADER, encode_int8

GATES = {"simple": 1, "lstm": 4, "gru": 3, "gru_reset_before": 3}
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
}
Floats = NDArray[np.float64]


def steps_of(mode: str, x: Floats, w: Floats, u: Floats, b: Floats, names: tuple[str, str]) -> Floats:
    """The state after every step; rows of x in the order in which they are taken."""
    act, gate = (FUNCTIONS[name] for name in names)
    units = u.shape[0]
    h = c = np.zeros(units)
    found = []
    for row in x:
        if mode == "simple":
            h = act(row @ w + h @ u + b)
        elif mode == "lstm":
            i, f, g, o = np.split(row @ w + h @ u + b, 4)
            c = gate(f) * c + gate(i) * act(g)
            h = gate(o) * act(c)
        else:
            inside, own = b if mode == "gru" else (b, np.zeros_like(b))
            of_x, of_h = row @ w + inside, h @ u + own
            z, r = gate(of_x[:units] + of_h[:units]), gate((of_x + of_h)[units : 2 * units])
            last = of_h[2 * units :] * r if mode == "gru" else (r * h) @ u[:, 2 * units :]
            h = z * h + (1 - z) * act(of_x[2 * units :] + last)
        found.append(h)
    return np.array(found)


def program(
    rng: np.random.Generator, mode: str, sequences: bool, backwards: bool
) -> tuple[bytes, NDArray[np.float32], Floats]:
    """A program of one random layer, an input, and what comes of it."""
    time, inputs, units = (int(n) for n in rng.integers(1, 12, 3))
    width = GATES[mode] * units
    w, u, b = (rng.normal(size=size) * 0.5 for size in ((inputs, width), (units, width), (2, width)[mode != "gru" :]))
    w, u, b = (values.astype(np.float32) for values in (w, u, b))
    names = (str(rng.choice(["tanh", "relu"])), str(rng.choice(["sigmoid", "hard_sigmoid"])))
    split = [u[:, : 2 * units], u[:, 2 * units :]] if mode == "gru_reset_before" else [u]
    node = Node(
        "recurrent", "test", (0,), (time, units) if sequences else (units,),
        weights=np.concatenate([part.reshape(-1) for part in (w, *split)]), bias=b.reshape(-1), mode=mode,
        functions=tuple((name, 0.2, 0.5) for name in names), steps=(-1,) if backwards else (),
    )  # fmt: skip
    converted = convert_graph(Graph("test", (time, inputs), (node,)))
    assert isinstance(converted, Program)
    x = rng.normal(size=(time, inputs)).astype(np.float32)
    taken = x[::-1] if backwards else x
    expected = steps_of(mode, *(values.astype(np.float64) for values in (taken, w, u, b)), names)
    expected = expected[-1] if not sequences else expected[::-1] if backwards else expected
    return encode_int8(converted.network)[0], x, expected


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("mode", GATES)
def test_cells(mode: str, sequences: bool, backwards: bool) -> None:
    for seed in range(8):
        content, x, expected = program(np.random.default_rng(seed), mode, sequences, backwards)
        (result,) = Int8Engine(content).run(x)
        assert np.abs(result.reshape(expected.shape) - expected).max() <= 1e-5 * max(np.abs(expected).max(), 1), seed


# Offset in the record, and a value that its field cannot have; None: the output's place.
DAMAGE = {
    "cell": (2, "<B", 5),
    "function": (3, "<B", 0),
    "recurrent function": (4, "<B", 200),
    "flags": (1, "<B", 2),
    "height": (16, "<H", 2),
    "steps out": (26, "<H", 60000),
    "units": (28, "<I", 4000),
    "scratch": (44, "<I", None),
    "weights": (48, "<I", 1 << 30),
    "table": (52, "<I", 4),
}


@pytest.mark.parametrize("field", DAMAGE)
def test_a_damaged_record_is_refused(field: str) -> None:
    content, _, _ = program(np.random.default_rng(1), "gru", True, False)
    Int8Engine(content)
    offset, form, value = DAMAGE[field]
    damaged = bytearray(content)
    value = struct.unpack_from("<I", content, HEADER.size + 40)[0] if value is None else value
    struct.pack_into(form, damaged, HEADER.size + offset, value)
    with pytest.raises(UsageError):
        Int8Engine(bytes(damaged))
