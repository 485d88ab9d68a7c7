"""HDF5 files of every form that h5py writes, and files that mean harm: read, or refused in one line that says why."""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import require

from tinyfed.errors import UsageError
from tinyfed.model.inspect import inspect
from tinyfed.model.isolated import isolated
from tinyfed.model.keras import hdf5
from tinyfed.model.keras.hdf5 import Dataset, Group, Hdf5Error

KERNEL = np.arange(100, dtype=np.float32).reshape(4, 25)


def file_of(fill: Callable[[Any], object], **options: Any) -> bytes:
    """The bytes of a file that `fill` fills."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        fill(file)
    return buffer.getvalue()


def kernel_file(file_options: dict[str, Any], array_options: dict[str, Any]) -> bytes:
    return file_of(lambda file: file.create_dataset("layer/kernel", data=KERNEL, **array_options), **file_options)


def kernel(root: Group) -> np.ndarray:
    found = root.find("layer/kernel")
    assert isinstance(found, Dataset)
    return found.values


@pytest.mark.parametrize("libver", ["earliest", "v108", "v110", "v112", "latest"])
@pytest.mark.parametrize(
    "array_options",
    [
        {},
        {"chunks": (3, 7)},
        {"compression": "gzip"},
        {"compression": "gzip", "compression_opts": 9, "shuffle": True, "fletcher32": True},
        {"compression": "lzf"},
        {"shuffle": True},
        {"compression": "szip"},
        {"chunks": (2, 5), "maxshape": (None, None)},
        {"dtype": ">f4"},
        {"dtype": "f8"},
    ],
    ids=lambda options: "-".join(f"{key}={value}" for key, value in options.items()).replace(" ", "") or "plain",
)
def test_compressed_chunked_and_newer_files(libver: str, array_options: dict[str, Any]) -> None:
    if array_options.get("compression") == "szip":
        require(h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP), "this h5py has no szip: install h5py's own wheel")
    found = kernel(hdf5.read_here(kernel_file({"libver": libver}, array_options), "m.h5"))
    assert found.dtype.isnative and np.array_equal(found, KERNEL)


def test_in_a_process_of_its_own() -> None:
    def fill(file: Any) -> None:
        layer = file.create_group("layer", track_order=True)
        layer.attrs["text"], layer.attrs["texts"], layer.attrs["fixed"] = "grün", ["a", "bc"], np.bytes_("x")
        layer.attrs["fixed_texts"], layer.attrs["number"] = np.array([b"d", b"ef"]), np.int64(7)
        layer["kernel"] = KERNEL
        layer["kernel"].attrs["half"] = np.float16(0.5)
        file["optimizer/m"] = KERNEL

    root = hdf5.read(file_of(fill, libver="latest"), "m.h5", without=("optimizer",))
    layer = root.find("layer")
    assert isinstance(layer, Group) and list(root.members) == ["layer"] and root.find("layer/kernel/x") is None
    assert layer.attributes == {
        "text": "grün".encode(), "texts": [b"a", b"bc"], "fixed": b"x", "fixed_texts": [b"d", b"ef"], "number": 7,
    }  # fmt: skip
    assert np.array_equal(kernel(root), KERNEL) and layer.members["kernel"].attributes == {"half": 0.5}


def test_what_is_written_again_is_the_same() -> None:
    def fill(file: Any) -> None:
        file.attrs["names"], file.attrs["version"] = ["a", "b"], "3"
        file.create_dataset("layer/kernel", data=KERNEL, compression="gzip").attrs["rate"] = np.float32(0.25)
        file.create_group("empty")

    once = hdf5.read_here(file_of(fill, libver="latest"), "m.h5")
    again = hdf5.read_here(hdf5.write(once), "m.h5")
    assert again.attributes == once.attributes == {"names": [b"a", b"b"], "version": b"3"}
    assert np.array_equal(kernel(again), KERNEL) and again.find("empty") == Group({}, {})
    there = again.find("layer/kernel")
    assert there is not None and there.attributes == {"rate": 0.25}


def in_a_circle(file: Any) -> None:
    file["a/b/back"] = file["/"].create_group("a/b")["/a"]


def with_an_external_array(file: Any) -> None:
    file.create_dataset("leak", (16,), "u1", external=[("/etc/hostname", 0, 16)])


def with_a_virtual_array(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("x", layout)


def huge(file: Any) -> None:
    """2^60 bytes of which none is stored but one chunk."""
    array = file.create_dataset("x", (1 << 58,), "f4", chunks=(1024,), compression="gzip")
    array[:1024] = 1


def unwritten(file: Any) -> None:
    file.create_dataset("x", (1 << 20,), "f4")


def with_a_reference(file: Any) -> None:
    file.attrs["r"] = file.create_group("g").ref


@pytest.mark.parametrize(
    ("fill", "reason"),
    [
        (lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")), '"/x": a link to another place'),
        (lambda file: file.__setitem__("x", h5py.SoftLink("/x")), '"/x": a link to another place, which is not'),
        (lambda file: file.__setitem__("x", np.dtype("f4")), '"/x": neither a group nor an array'),
        (lambda file: file.__setitem__("x", "text"), '"/x": holds object where numbers are expected'),
        (lambda file: file.__setitem__("x", np.zeros(2, "V2")), '"/x": holds bfloat16; .*float32 policy'),
        (lambda file: file.__setitem__("x", np.complex64(1)), '"/x": holds complex64 where numbers are expected'),
        (lambda file: file.__setitem__("x", h5py.Empty("f4")), '"/x": holds float32 where numbers'),
        (lambda file: file.__setitem__("a\nb", "text"), r'"/a\\nb": holds'),
        (in_a_circle, "groups more than 64 deep"),
        (with_an_external_array, '"/leak": its values lie in other files, which are not read'),
        (with_a_virtual_array, '"/x": its values lie in other files, which are not read'),
        (huge, '"/x": up to here the file unpacks to more than 536,870,912 bytes'),
        (unwritten, '"/x": its values were never written'),
        (with_a_reference, '"/": attribute "r" is neither text nor numbers'),
    ],
)
def test_what_is_refused_says_where_and_why(fill: Callable[[Any], object], reason: str) -> None:
    with pytest.raises(Hdf5Error, match=f"^m.h5: .*{reason}") as caught:
        hdf5.read_here(file_of(fill), "m.h5")
    assert caught.value.where == "m.h5" and caught.value.key.startswith('"/') and str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"", hdf5.SIGNATURE, hdf5.SIGNATURE + bytes(500), kernel_file({}, {})[:-100]])
def test_what_is_no_whole_file(content: bytes) -> None:
    with pytest.raises(Hdf5Error, match=r"^m.h5: damaged HDF5: \S") as caught:
        hdf5.read(content, "m.h5")
    assert caught.value.where == "m.h5" and str(caught.value).isprintable()


def three(file: Any) -> None:
    """Two groups, an array and an attribute: four objects beside the root."""
    file["a/b/c"] = np.zeros(1, np.float32)
    file["a"].attrs["x"] = 1


def test_the_most_objects_are_read_and_one_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    content = file_of(three)
    monkeypatch.setattr(hdf5, "MOST_OBJECTS", 4)
    hdf5.read_here(content, "m.h5")
    monkeypatch.setattr(hdf5, "MOST_OBJECTS", 3)
    with pytest.raises(Hdf5Error, match="more than 3 groups, arrays and attributes"):
        hdf5.read_here(content, "m.h5")


def test_the_deepest_group_is_read_and_one_deeper_is_not() -> None:
    deepest = "/".join("g" * hdf5.DEEPEST_GROUP)
    assert hdf5.read_here(file_of(lambda file: file.create_group(deepest)), "m.h5").find(deepest) == Group({}, {})
    with pytest.raises(Hdf5Error, match="more than 64 deep"):
        hdf5.read_here(file_of(lambda file: file.create_group(f"{deepest}/g")), "m.h5")


def two(file: Any) -> None:
    file["a"], file["b"] = KERNEL, np.zeros(3, np.uint8)


def test_the_most_bytes_are_read_and_one_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    content = file_of(two)
    monkeypatch.setattr(hdf5, "LARGEST_BYTES", KERNEL.nbytes + 3)
    hdf5.read_here(content, "m.h5")
    monkeypatch.setattr(hdf5, "LARGEST_BYTES", KERNEL.nbytes + 2)
    with pytest.raises(Hdf5Error, match='"/b": up to here the file unpacks to more than 402 bytes'):
        hdf5.read_here(content, "m.h5")


def test_a_hang_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"^m\.h5: the libraries that work on it took longer than 0\.5 s: ") as caught:
        isolated(time.sleep, 600.0, source="m.h5", longest_s=0.5)
    assert caught.value.where == "m.h5"


def test_an_allocation_beyond_the_limit_is_one_line() -> None:
    assert len(isolated(bytes, 1 << 20, source="m.h5", memory_bytes=64 << 20)) == 1 << 20
    with pytest.raises(UsageError, match=r"^m\.h5: it asks for more memory than a model needs: "):
        isolated(bytes, 1 << 28, source="m.h5", memory_bytes=64 << 20)


def test_the_reader_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own limits reach the process: 128 MB of ones do not fit into 96 MB, and nothing is read in no time."""
    content = file_of(lambda file: file.create_dataset("x", data=np.ones(1 << 25, np.float32), compression="gzip"))
    monkeypatch.setattr(hdf5, "LARGEST_BYTES", 0)
    monkeypatch.setattr(hdf5, "WORK_BYTES", 96 << 20)
    with pytest.raises(UsageError, match=r"^m\.h5: it asks for more memory than a model needs"):
        hdf5.read(content, "m.h5")
    monkeypatch.undo()
    monkeypatch.setattr(hdf5, "LONGEST_S", 0.0)
    with pytest.raises(UsageError, match=r"^m\.h5: .* took longer than 0\.0 s"):
        hdf5.read(content, "m.h5")


def test_a_crash_of_the_hdf5_library_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `model inspect` meets it."""
    path = tmp_path / "m.h5"
    path.write_bytes(kernel_file({}, {}))
    monkeypatch.setattr(hdf5, "isolated", lambda work, *arguments, **limits: isolated(os.abort, **limits))
    with pytest.raises(UsageError, match=r"m\.h5: the libraries that work on it ended with SIGABRT: ") as caught:
        inspect(path, [])
    assert caught.value.where == str(path)
