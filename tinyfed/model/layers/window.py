"""Where the window of a convolution or pool lies, as Keras places it."""

from typing import Any

from tinyfed.model.layers.base import PADDINGS, WINDOW_MAX, Place, Shape, three

Size = int | tuple[int, int]


def require_picture(place: Place, sequences: bool = False) -> None:
    """The layer reads (height, width, channels), or with `sequences` (time, channels)."""
    picture = f"its input has shape {place.shape}, it needs (height, width, channels)"
    place.require(len(place.shape) == 3 or (sequences and len(place.shape) == 2), picture)


def window(place: Place, size: Size, strides: Size, padding: str) -> tuple[dict[str, Any], tuple[int, int]]:
    """The record's fields of a window, and the output's (height, width)."""
    place.require(padding in PADDINGS, f"padding {padding!r} must be 'valid' or 'same'")
    kernel, stride = _pair(place, size, "kernel"), _pair(place, strides, "stride")
    out, pad = [], []
    for extent, k, step in zip(three(place.shape)[:2], kernel, stride, strict=True):
        if padding == "same":
            out.append(-(-extent // step))
            pad.append(max((out[-1] - 1) * step + k - extent, 0) // 2)
        else:
            place.require(k <= extent, f"a kernel of {k} does not fit an input of {extent}: use padding='same'")
            out.append((extent - k) // step + 1)
            pad.append(0)
    fields = {"mode": PADDINGS.index(padding), "kernel": kernel, "stride": stride, "pad": tuple(pad)}
    return fields, (out[0], out[1])


def output(place: Place, size: tuple[int, int], channels: int) -> Shape:
    """The shape of what a window gives: of a sequence (time, channels)."""
    return (size[1], channels) if len(place.shape) == 2 else (*size, channels)


def _pair(place: Place, value: Size, name: str) -> tuple[int, int]:
    """(height, width) of a kernel or stride; of a sequence, (1, value)."""
    pair = value if isinstance(value, tuple) else (1 if len(place.shape) == 2 else value, value)
    place.require(min(pair) >= 1 and max(pair) <= WINDOW_MAX, f"{name} {value} must lie in 1..{WINDOW_MAX}")
    return pair
