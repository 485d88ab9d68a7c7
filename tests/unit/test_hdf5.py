"""HDF5 files that h5py writes when it is told otherwise: refused by name, with what to do. What it writes by itself is
read in tests/unit/test_keras.py."""

import importlib
import io
from typing import Any

import numpy as np
import pytest
from conftest import require

from tinyfed.model.keras.hdf5 import Dataset, Hdf5Error, Hdf5File


def written(file_options: dict[str, Any], array_options: dict[str, Any]) -> Hdf5File:
    """A group with an array of 100 numbers."""
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        require(False, f"h5py is not installed: {error}")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **file_options) as file:
        file.create_group("layer").create_dataset("kernel", data=np.arange(100, dtype=np.float32), **array_options)
    return Hdf5File(buffer.getvalue(), "m.h5")


def kernel(file: Hdf5File) -> np.ndarray:
    found = file.root.find("layer/kernel")
    assert isinstance(found, Dataset)
    return found.array()


def test_what_h5py_writes_by_itself() -> None:
    assert np.array_equal(kernel(written({}, {})), np.arange(100, dtype=np.float32))


@pytest.mark.parametrize(
    ("file_options", "array_options", "reason"),
    [
        (
            {},
            {"compression": "gzip"},
            '"/layer/kernel": .*compressed data set; save the model again without compression',
        ),
        ({}, {"shuffle": True}, '"/layer/kernel": .*compressed data set; save the model again without compression'),
        ({}, {"chunks": (10,)}, '"/layer/kernel": .*layout 2 of version 3; only whole arrays without chunks'),
        ({"libver": "latest"}, {}, "superblock version 3; save the model again with h5py's default versions"),
        ({"libver": "v108"}, {}, "superblock version [23]; save the model again with h5py's default versions"),
    ],
)
def test_other_forms_are_refused_by_name(
    file_options: dict[str, Any], array_options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Hdf5Error, match=f"^m.h5: .*{reason}"):
        kernel(written(file_options, array_options))
