"""What Keras predicts for the models of `keras_habits`, so that quick tests need no TensorFlow: configurations, shapes
of weights and outputs in tests/golden/keras_habits.json.gz. `python tests/unit/keras_golden.py` writes it again.
"""

import gzip
import io
import json
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.model.keras import hdf5
from tinyfed.model.keras.hdf5 import Dataset, Group

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "keras_habits.json.gz"
SAMPLES = 2
LARGEST_PARAMETERS = 100_000


def read_golden() -> dict[str, Any]:
    return dict(json.loads(gzip.decompress(GOLDEN.read_bytes())))


def drawn(path: str, shape: list[int]) -> NDArray[Any]:
    """A weight by its place: vectors are positive, for variances and scales are among them."""
    rng = np.random.default_rng(zlib.crc32(path.encode()))
    if not shape:
        return np.zeros((), np.int64)  # of samples that Normalization has seen
    values = rng.uniform(0.5, 1.5, shape) if len(shape) == 1 else rng.uniform(-0.5, 0.5, shape)
    return np.asarray(values, np.float32)


def weights_of(shapes: dict[str, list[int]]) -> Group:
    """The groups of a file of weights."""
    root = Group({}, {})
    for path, shape in shapes.items():
        *names, last = path.split("/")
        group = root
        for name in names:
            found = group.members.setdefault(name, Group({}, {}))
            assert isinstance(found, Group)
            group = found
        group.members[last] = Dataset(drawn(path, shape), {})
    return root


def inputs_of(name: str, shapes: list[list[int]]) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return [rng.normal(size=(SAMPLES, *shape)).astype(np.float32) for shape in shapes]


def _shapes(group: Group, before: str = "") -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, member in group.members.items():
        if isinstance(member, Group):
            found |= _shapes(member, f"{before}{name}/")
        else:
            found[before + name] = list(member.values.shape)
    return found


def _entry(name: str, build: Any, keras: Any, path: Path) -> dict[str, Any]:
    keras.backend.clear_session()
    build(keras).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    shapes = _shapes(hdf5.read(members["model.weights.h5"], name))
    members["model.weights.h5"] = _with_values(members["model.weights.h5"], shapes)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    model = keras.models.load_model(path)
    sizes = [[int(size) for size in tensor.shape[1:]] for tensor in model.inputs]
    inputs = inputs_of(name, sizes)
    outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    values = [[float(f"{value:.9g}") for value in np.asarray(output).reshape(-1)] for output in outputs]
    return {"config": json.loads(members["config.json"]), "shapes": shapes, "inputs": sizes, "outputs": values}


def _with_values(content: bytes, shapes: dict[str, list[int]]) -> bytes:
    """The file with weights that are drawn."""
    import h5py

    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        for path, shape in shapes.items():
            file[path][...] = drawn(path, shape)
    return buffer.getvalue()


def main() -> None:
    from keras_habits import HABITS, REFUSED

    from tinyfed.model.keras.convert import import_tensorflow

    keras = import_tensorflow().keras
    entries = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, build in HABITS.items():
            if name in REFUSED:
                continue
            entry = _entry(name, build, keras, Path(folder) / "model.keras")
            if sum(int(np.prod(shape)) for shape in entry["shapes"].values()) <= LARGEST_PARAMETERS:
                entries[name] = entry
    GOLDEN.write_bytes(gzip.compress(json.dumps(entries).encode(), mtime=0))
    print(f"{GOLDEN}: {len(entries)} models, {GOLDEN.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
