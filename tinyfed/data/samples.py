"""Samples in .npz and .npy files, checked against a model's input."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.arrays import read_arrays
from tinyfed.errors import UsageError


@dataclass(frozen=True)
class Samples:
    """`x`: float32 (count, *shape) without NaN; `y`: integer labels (count,), or None."""

    x: NDArray[np.float32]
    y: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.x)


def read_samples(path: Path, shape: tuple[int, ...]) -> Samples:
    """The samples of a file for an input of `shape` (without the batch): array "x", and labels "y" where there are.

    Raises UsageError: the file, the array, what is wrong with it.
    """
    return samples_of(read_arrays(path), path, shape)


def samples_of(arrays: dict[str, NDArray[Any]], path: Path, shape: tuple[int, ...]) -> Samples:
    """`read_samples` of the arrays of a file that was read."""
    if "x" not in arrays:
        raise UsageError(f'{path}: no array "x" (count, {", ".join(map(str, shape))}); it has {", ".join(arrays)}')
    x = check_inputs(arrays["x"], shape, f'{path}: array "x"')
    y = arrays.get("y")
    if y is None:
        return Samples(x, None)
    if y.shape == (len(x), 1):
        y = y[:, 0]
    if y.dtype.kind not in "iu" or y.shape != (len(x),):
        raise UsageError(
            f'{path}: array "y" is {y.dtype} {list(y.shape)}; labels are integers, one for each of {len(x)}'
        )
    return Samples(x, y.astype(np.int64))


def check_inputs(values: NDArray[Any], shape: tuple[int, ...], where: str) -> NDArray[np.float32]:
    """`values` as float32 (count, *shape). Raises UsageError."""
    if values.dtype.kind not in "fiu":
        raise UsageError(f"{where} holds {values.dtype}, not numbers")
    count = int(np.prod(shape))
    if values.ndim < 1 or values.shape[1:] != shape:
        flat = values.ndim == 2 and values.shape[1] == count
        if not flat:
            raise UsageError(
                f"{where} has shape {list(values.shape)}; the model takes [count, {', '.join(map(str, shape))}]"
            )
        values = values.reshape(-1, *shape)
    if not len(values):
        raise UsageError(f"{where} has no samples")
    x = values.astype(np.float32)
    if not np.isfinite(x).all():
        bad = int(np.argwhere(~np.isfinite(x))[0][0])
        raise UsageError(f"{where} holds NaN or infinity, first in sample {bad}")
    return x
