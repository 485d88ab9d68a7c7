"""Keras layers that move values and compute none, or new ones between them: padding, crops, axes, sizes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyfed.model.keras.step import Shape, Step, as_image


def _edges(step: Step, value: Any) -> tuple[tuple[int, int], ...]:
    """Before and after, along each axis but the last, as Keras' padding and cropping say it. Raises ValueError."""
    rank = len(step.shapes[0]) - 1
    if rank != (1 if step.layer.kind.endswith("1D") else 2):
        step.refuse(f"an input of shape {list(step.shapes[0])}")
    entries = [value] * rank if isinstance(value, int) else [value] if rank == 1 else list(value)
    if rank == 1 and isinstance(value, list | tuple) and len(value) == 1:
        entries = list(value)
    pairs = [(entry, entry) if isinstance(entry, int) else (int(entry[0]), int(entry[1])) for entry in entries]
    if len(pairs) != rank or any(not 0 <= size <= 65535 for edge in pairs for size in edge):
        raise ValueError(f"{value} is not a padding")
    return tuple(pairs)


def zero_padding(step: Step) -> None:
    step.channels_last()
    pads = _edges(step, step.layer.padding)
    sizes = (size + sum(edge) for size, edge in zip(step.shapes[0], pads, strict=False))
    step.output = (*sizes, step.shapes[0][-1])
    if math.prod(step.output) > math.prod(step.shapes[0]):
        source = step.sources[0]
        source = step.reshaped(source, as_image(step.shapes[0])) if step.one_dimensional() else source
        whole = ((0, 0), *pads, (0, 0))[-3:]
        result = step.add("pad", as_image(step.output), source, pads=whole)
        if step.one_dimensional():
            step.reshaped(result, step.output)
    else:
        step.add("identity", step.output)


def sliced(step: Step, begin: Shape, shape: Shape, source: int | None = None, steps: Shape = ()) -> int:
    return step.add("slice", shape, source, begin=begin, steps=steps or (1,) * len(shape))


def cropping(step: Step) -> None:
    step.channels_last()
    edges = _edges(step, step.layer.cropping)
    shape = tuple(size - sum(edge) for size, edge in zip(step.shapes[0], edges, strict=False))
    if min(shape) < 1:
        step.refuse(f"nothing is left of {list(step.shapes[0])}")
    sliced(step, (*(before for before, _ in edges), 0), (*shape, step.shapes[0][-1]))


def center_crop(step: Step) -> None:
    step.channels_last()
    height, width, channels = step.shapes[0]
    wanted = int(step.layer.height), int(step.layer.width)
    if not (1 <= wanted[0] <= height and 1 <= wanted[1] <= width):
        step.refuse(f"{list(wanted)} of a picture of {[height, width]}; crop to less, or use Resizing")
    sliced(step, ((height - wanted[0]) // 2, (width - wanted[1]) // 2, 0), (*wanted, channels))


def up_sampling(step: Step) -> None:
    step.channels_last()
    how = step.layer.config.get("interpolation", "nearest")
    if how not in ("nearest", "bilinear"):
        step.refuse(f"{how} interpolation; the engine has nearest and bilinear")
    size = step.layer.size
    factors = (1, int(size)) if isinstance(size, int) and step.one_dimensional() else size
    factors = (int(factors), int(factors)) if isinstance(factors, int) else tuple(int(one) for one in factors)
    factors = factors if len(factors) == 2 else (1, *factors)
    image = as_image(step.shapes[0])
    _resized(step, (image[0] * factors[0], image[1] * factors[1], image[2]), how, "half_pixel")


def resizing(step: Step) -> None:
    step.channels_last()
    layer = step.layer
    how = layer.config.get("interpolation", "bilinear")
    if how not in ("nearest", "bilinear"):
        step.refuse(f"{how} interpolation; the engine has nearest and bilinear")
    if layer.config.get("crop_to_aspect_ratio") or layer.config.get("pad_to_aspect_ratio"):
        step.refuse("it keeps the aspect ratio; give the sizes that come out")
    if layer.config.get("antialias") and how == "bilinear" and not _grows(step):
        step.refuse("antialias on a picture that becomes smaller; resize before the model")
    _resized(step, (int(layer.height), int(layer.width), step.shapes[0][-1]), how, "half_pixel")


def _grows(step: Step) -> bool:
    return int(step.layer.height) >= step.shapes[0][0] and int(step.layer.width) >= step.shapes[0][1]


def _resized(step: Step, image: Shape, how: str, mode: str) -> None:
    if min(image) < 1:
        step.refuse(f"a size of {list(image[:2])}")
    source = step.sources[0]
    shape = image
    if step.one_dimensional():
        source, shape = step.reshaped(source, as_image(step.shapes[0])), image[1:]
    result = step.add(f"resize_{how}", image, source, mode=mode)
    if shape != image:
        step.reshaped(result, shape)


def permute(step: Step) -> None:
    dims = [int(dim) for dim in step.layer.dims]
    if sorted(dims) != list(range(1, len(step.shapes[0]) + 1)):
        step.refuse(f"dims {dims} of a shape of {len(step.shapes[0])} dimensions")
    transposed(step, tuple(dim - 1 for dim in dims))


def transposed(step: Step, axes: Shape, source: int | None = None, shape: Shape | None = None) -> int:
    shape = step.shapes[0] if shape is None else shape
    return step.add("transpose", tuple(shape[axis] for axis in axes), source, axes=axes)


def repeat_vector(step: Step) -> None:
    if len(step.shapes[0]) != 1:
        step.refuse(f"an input of shape {list(step.shapes[0])}; it repeats a vector")
    (count,), times = step.shapes[0], int(step.layer.n)
    step.add("tile", (times, count), step.reshaped(step.sources[0], (1, count)))


def concatenate(step: Step) -> None:
    if len({len(shape) for shape in step.shapes}) != 1:
        step.refuse(f"shapes {[list(shape) for shape in step.shapes]} of different dimensions")
    axis = step.axis(int(step.option("axis", -1)), len(step.shapes[0]))
    rests = {(*shape[:axis], *shape[axis + 1 :]) for shape in step.shapes}
    if len(rests) != 1:
        step.refuse(f"shapes {[list(shape) for shape in step.shapes]} differ along other axes than {axis + 1}")
    total = sum(shape[axis] for shape in step.shapes)
    shape = (*step.shapes[0][:axis], total, *step.shapes[0][axis + 1 :])
    if len(step.sources) == 1:
        step.add("identity", shape)
    else:
        step.node("concatenate", step.sources, shape, axes=(axis,))


def global_max(step: Step) -> None:
    """A pool over all where a window may be that large."""
    step.channels_last()
    image, source = as_image(step.shapes[0]), step.sources[0]
    if step.one_dimensional():
        source = step.reshaped(source, image)
    kernel = (image[0], image[1])
    if max(kernel) <= 255:
        result = step.add("max_pool", (1, 1, image[2]), source, kernel=kernel, stride=kernel)
    else:
        result = step.add("reduce_max", (1, 1, image[2]), source, axes=(0, 1))
    step.reshaped(result, step.output)


def target_shape(step: Step) -> Shape:
    count = int(np.prod(step.shapes[0]))
    if step.layer.kind == "Flatten":
        rank = len(step.shapes[0])
        if step.layer.data_format == "channels_first" and rank > 1:
            order = (*range(2, rank + 1), 1)
            step.refuse(f"channels_first; put Permute({order}) before it and leave its data_format away")
        return (count,)
    wanted = tuple(int(size) for size in step.layer.target_shape)
    known = int(np.prod([size for size in wanted if size != -1], dtype=object))
    shape = tuple(count // max(known, 1) if size == -1 else size for size in wanted)
    if wanted.count(-1) > 1 or min(shape, default=1) < 1 or int(np.prod(shape, dtype=object)) != count:
        step.refuse(f"{list(step.shapes[0])} cannot become {list(wanted)}")
    return shape


def reshape(step: Step) -> None:
    if not step.output:
        step.refuse("a shape of no dimensions")
    step.reshaped(step.sources[0], step.output)


CONVERT: dict[str, Callable[[Step], None]] = {
    "CenterCrop": center_crop,
    "Concatenate": concatenate,
    "Cropping1D": cropping,
    "Cropping2D": cropping,
    "Flatten": reshape,
    "GlobalMaxPooling1D": global_max,
    "GlobalMaxPooling2D": global_max,
    "Permute": permute,
    "RepeatVector": repeat_vector,
    "Reshape": reshape,
    "Resizing": resizing,
    "UpSampling1D": up_sampling,
    "UpSampling2D": up_sampling,
    "ZeroPadding1D": zero_padding,
    "ZeroPadding2D": zero_padding,
}
