"""Operators that only put values elsewhere, as pieces: what of which operand goes where in which output.

NumPy does the indexing: an operand's axes are sliced, reversed and swapped as the operator says, on an array that is
never filled, and the piece is where that view lies.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinyfed.model.int8.spec import Piece
from tinyfed.model.tflite.fold import strided_index
from tinyfed.model.tflite.view import View

Array = NDArray[np.int8]
# Pieces of one output: each is an operator.
MOST_PIECES = 64


@dataclass(frozen=True)
class Moved:
    """Of output `output`: `pieces` are (operand, piece). `filled`: what no piece writes holds the operand's zero."""

    output: int
    pieces: tuple[tuple[int, Piece], ...]
    filled: bool = False


def moves(view: View) -> list[Moved]:
    """What an operator of MOVEMENT moves, an item an output. Raises ConvertError."""
    try:
        found = list(_RULES[view.kind](view))
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        view.refuse(f"its operands do not fit its shapes ({error}); convert the model again")
    for moved in found:
        view.require(moved.pieces, f"{view.outputs[moved.output]} would have no values")
        view.require(
            len(moved.pieces) <= MOST_PIECES,
            f"{len(moved.pieces)} pieces; at most {MOST_PIECES} are moved for one output",
        )
    return found


class _Places:
    """The operator's operands and outputs as arrays that say where a value lies."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._bases: dict[str, Array] = {}

    def of(self, what: str, index: int, shape: tuple[int, ...]) -> Array:
        key = f"{what}{index}"
        if key not in self._bases:
            self._bases[key] = np.empty(shape, np.int8)
        return self._bases[key]

    def operand(self, index: int) -> Array:
        return self.of("in", index, self.view.input(index).shape)

    def output(self, index: int = 0) -> Array:
        return self.of("out", index, self.view.outputs[index].shape)

    def piece(self, operand: int, source: Array, target: Array, output: int = 0) -> tuple[int, Piece]:
        """Both views have the same shape."""
        if source.shape != target.shape:
            raise ValueError(f"{list(source.shape)} goes to {list(target.shape)}")
        first = [
            view.__array_interface__["data"][0] - base.__array_interface__["data"][0]
            for view, base in ((source, self.operand(operand)), (target, self.output(output)))
        ]
        return operand, Piece(source.shape, source.strides, target.strides, first[0], first[1])


def _whole(places: _Places, operand: int, source: Array, output: int = 0) -> Moved:
    """`source` fills the output, in order."""
    return Moved(output, (places.piece(operand, source, places.output(output).reshape(source.shape), output),))


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} of {rank}")
    return axis % rank


def _concatenation(view: View) -> Iterator[Moved]:
    view.require(view.activation() == "none", "a fused activation, which no converter writes here")
    places = _Places(view)
    target = places.output()
    axis, at, pieces = _axis(view.operator.options["axis"], target.ndim), 0, []
    for operand in range(len(view.operator.inputs)):
        source = places.operand(operand)
        part = _along(target, axis, at, at + source.shape[axis])
        at += source.shape[axis]
        pieces.append(places.piece(operand, source, part))
    if at != target.shape[axis]:
        raise ValueError(f"{at} values along axis {axis} of {list(target.shape)}")
    yield Moved(0, tuple(pieces))


def _along(array: Array, axis: int, start: int, stop: int, step: int = 1) -> Array:
    if start < 0 or stop > array.shape[axis]:
        raise ValueError(f"{start} to {stop} of {array.shape[axis]} along axis {axis}")
    return array[(slice(None),) * axis + (slice(start, stop, step),)]


def _slice(view: View) -> Iterator[Moved]:
    places = _Places(view)
    source = places.operand(0)
    begin, size = (view.constant(position, "int32", "int64").reshape(-1).tolist() for position in (1, 2))
    for axis, (first, count) in enumerate(zip(begin, size, strict=True)):
        source = _along(source, axis, first, source.shape[axis] if count == -1 else first + count)
    yield _whole(places, 0, source)


def _strided_slice(view: View) -> Iterator[Moved]:
    places = _Places(view)
    begin, end, strides = (view.constant(position, "int32", "int64").reshape(-1) for position in (1, 2, 3))
    yield _whole(places, 0, places.operand(0)[strided_index(view.operator.options, begin, end, strides)])


def _splits(view: View, operand: int, axis: int, sizes: list[int]) -> Iterator[Moved]:
    places = _Places(view)
    source, at = places.operand(operand), 0
    axis = _axis(axis, source.ndim)
    if -1 in sizes:
        sizes[sizes.index(-1)] = source.shape[axis] - sum(sizes) - 1
    for output, size in enumerate(sizes):
        yield _whole(places, operand, _along(source, axis, at, at + size), output)
        at += size


def _split(view: View) -> Iterator[Moved]:
    axis = int(view.constant(0, "int32").item())
    source, count = view.input(1), len(view.operator.outputs)
    side = source.shape[_axis(axis, len(source.shape))]
    yield from _splits(view, 1, axis, [side // count] * count)


def _split_v(view: View) -> Iterator[Moved]:
    sizes = view.constant(1, "int32", "int64").reshape(-1).tolist()
    yield from _splits(view, 0, int(view.constant(2, "int32").item()), sizes)


def _unpack(view: View) -> Iterator[Moved]:
    yield from _splits(view, 0, view.operator.options["axis"], [1] * len(view.operator.outputs))


def _pack(view: View) -> Iterator[Moved]:
    places = _Places(view)
    target = np.moveaxis(places.output(), view.operator.options["axis"], 0)
    operands = range(len(view.operator.inputs))
    yield Moved(0, tuple(places.piece(operand, places.operand(operand), target[operand]) for operand in operands))


def _transpose(view: View) -> Iterator[Moved]:
    places = _Places(view)
    yield _whole(places, 0, places.operand(0).transpose(view.constant(1, "int32").reshape(-1).tolist()))


def _reverse(view: View) -> Iterator[Moved]:
    places = _Places(view)
    yield _whole(places, 0, np.flip(places.operand(0), tuple(view.constant(1, "int32").reshape(-1).tolist())))


def _pad(view: View) -> Iterator[Moved]:
    places = _Places(view)
    target = places.output()
    for axis, (before, after) in enumerate(view.constant(1, "int32", "int64").tolist()):
        target = _along(target, axis, before, target.shape[axis] - after)
    yield Moved(0, (places.piece(0, places.operand(0), target),), filled=True)


def _blocks(view: View, spread: Array, packed: Array) -> Iterator[tuple[Array, Array]]:
    """Views of every block's values: in the image `spread`, where they are far apart, and in `packed`, where they are
    an image of their own along the batch. Of `spread` the operator's pads or crops are outside."""
    block = view.constant(1, "int32").reshape(-1).tolist()
    edges = view.constant(2, "int32").reshape(-1, 2).tolist()
    if any(size < 1 for size in block):
        raise ValueError(f"blocks of {block}")
    if packed.shape[0] != spread.shape[0] * math.prod(block):
        raise ValueError(f"{packed.shape[0]} images in {math.prod(block)} blocks of {spread.shape[0]}")
    batch = spread.shape[0]
    for number, place in enumerate(np.ndindex(*block)):
        near, far = packed[number * batch : (number + 1) * batch], spread
        for axis, (at, size, (before, _)) in enumerate(zip(place, block, edges, strict=True), 1):
            # Row k of the block is row k * size + at - before of the image.
            first = max(0, -(-(before - at) // size))
            last = min(near.shape[axis] - 1, (far.shape[axis] - 1 + before - at) // size)
            near = _along(near, axis, first, max(last + 1, first))
            start = first * size + at - before
            far = _along(far, axis, start, min(start + max(last + 1 - first, 0) * size, far.shape[axis]), size)
        if near.size:
            yield far, near


def _space_to_batch(view: View) -> Iterator[Moved]:
    places = _Places(view)
    blocks = _blocks(view, places.operand(0), places.output())
    yield Moved(0, tuple(places.piece(0, far, near) for far, near in blocks), filled=True)


def _batch_to_space(view: View) -> Iterator[Moved]:
    places = _Places(view)
    blocks = _blocks(view, places.output(), places.operand(0))
    yield Moved(0, tuple(places.piece(0, near, far) for far, near in blocks))


def _gather(view: View) -> Iterator[Moved]:
    options, places = view.operator.options, _Places(view)
    view.require(not options["batch_dims"], "batches of indices")
    source, indices = places.operand(0), view.constant(1, "int32", "int64")
    axis = _axis(options["axis"], source.ndim)
    target = places.output().reshape((*source.shape[:axis], indices.size, *source.shape[axis + 1 :]))
    wanted = indices.reshape(-1).tolist()
    pieces, at = [], 0
    while at < len(wanted):  # runs of neighbours are one piece
        end = at + 1
        while end < len(wanted) and wanted[end] == wanted[end - 1] + 1:
            end += 1
        rows = _along(source, axis, wanted[at], wanted[end - 1] + 1)
        pieces.append(places.piece(0, rows, _along(target, axis, at, end)))
        at = end
    yield Moved(0, tuple(pieces))


def _repeat(view: View) -> Iterator[Moved]:
    """TILE and BROADCAST_TO: the steps of what repeats are 0."""
    places = _Places(view)
    source, target = places.operand(0), places.output()
    source = source.reshape((1,) * (target.ndim - source.ndim) + source.shape)
    inner, outer = source.shape, [n // m for n, m in zip(target.shape, source.shape, strict=True)]
    both = tuple(side for pair in zip(outer, inner, strict=True) for side in pair)
    spread = np.broadcast_to(source.reshape(tuple(side for n in inner for side in (1, n))), both)
    yield _whole(places, 0, spread)


def _depth(view: View) -> Iterator[Moved]:
    places = _Places(view)
    deep, wide = places.operand(0), places.output()
    if view.kind == "SPACE_TO_DEPTH":
        deep, wide = wide, deep
    size = view.operator.options["block_size"]
    batch, height, width, channels = wide.shape
    tall = wide.reshape(batch, height // size, size, width // size, size, channels)
    flat = deep.reshape(batch, height // size, width // size, size, size, channels).transpose(0, 1, 3, 2, 4, 5)
    pair = (flat, tall) if view.kind == "DEPTH_TO_SPACE" else (tall, flat)
    yield Moved(0, (places.piece(0, *pair),))


_RULES: dict[str, Callable[[View], Iterator[Moved]]] = {
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "BROADCAST_TO": _repeat,
    "CONCATENATION": _concatenation,
    "DEPTH_TO_SPACE": _depth,
    "GATHER": _gather,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "REVERSE_V2": _reverse,
    "SLICE": _slice,
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "SPACE_TO_DEPTH": _depth,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "STRIDED_SLICE": _strided_slice,
    "TILE": _repeat,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
}
MOVEMENT = frozenset(_RULES)
