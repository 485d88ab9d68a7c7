"""The tasks made of published data sets, on the real files where they are; set TINYFED_DATA."""

import io
import struct
import wave
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import require

from tinyfed import tasks
from tinyfed.data import datasets
from tinyfed.data.shard import read_shard
from tinyfed.errors import UsageError
from tinyfed.tasks import fsdd, omniglot
from tinyfed.tasks.presence import presence_task, with_changes


def need(name: str) -> None:
    require(
        datasets.folder(name) is not None,
        f"data set {name} is not here: set TINYFED_DATA or run `tinyfed data fetch {name}`",
    )


@pytest.mark.slow
def test_omniglot() -> None:
    need("omniglot")
    task = tasks.get("omniglot")
    assert (len(task.train), len(task.held_out), task.input_shape) == (50, 17, (28, 28, 1))
    shard = read_shard(task.train[0].shard or b"")
    assert (len(shard.classes), shard.sample_count) == (24, 480)
    values = np.concatenate(shard.classes)
    assert values.min() == 0 and values.max() <= 1 and 0.02 < values.mean() < 0.3
    assert len(omniglot.characters()) == 1623 and omniglot.drawings().shape == (1623, 20, 28, 28)
    # ink is neither lost nor made: 28 * 28 pixels of 14.0625 old ones each
    name = next(iter(omniglot.characters().values()))[0]
    ink = omniglot.read_png(datasets.read("omniglot")[name]).sum()
    assert omniglot.drawings()[0, 0].sum() * 14.0625 == pytest.approx(ink)
    official = tasks.get("omniglot", split="official")
    assert (len(official.train), len(official.held_out)) == (964 // 24, 659 // 24)
    turned = tasks.get("omniglot", rotations=1)
    first = read_shard(turned.train[0].shard or b"")
    assert len(first.classes) == 96
    image = shard.classes[0][0].reshape(28, 28)
    assert np.array_equal(first.classes[1][0].reshape(28, 28), np.rot90(image))


@pytest.mark.slow
def test_fsdd() -> None:
    need("fsdd")
    task = tasks.get("fsdd", held_out="theo,lucas")
    assert {c.name for c in task.held_out} == {"lucas", "theo"} and len(task.train) == 4
    shard = read_shard(task.held_out[0].shard or b"")
    assert [len(word) for word in shard.classes] == [50] * 10 and shard.feature_count == 320


def test_occupancy() -> None:
    need("occupancy")
    task = tasks.get("occupancy")
    assert [c.name for c in task.held_out] == [f"day-2015-02-{d}" for d in (11, 12, 13, 16, 17)]
    assert max(c.name for c in task.train) < min(c.name for c in task.held_out)
    assert task.adapt.in_time and task.adapt.true_labels and task.feature_count == 8


@pytest.mark.slow
def test_robod() -> None:
    need("robod")
    task = tasks.get("robod", held_out_room=2)
    assert all(c.name.startswith("room2-") for c in task.held_out)
    assert {c.name[:5] for c in task.train} == {"room1", "room3"}
    for client in task.held_out:
        assert min(len(c) for c in read_shard(client.shard or b"").classes) >= 15


@pytest.mark.parametrize("name", ["omniglot", "fsdd", "occupancy", "robod"])
def test_missing_data_is_told(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.delenv("TINYFED_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    omniglot.characters.cache_clear()
    with pytest.raises(UsageError, match=f"tinyfed data fetch {name}"):
        tasks.get(name)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("omniglot", {"ways": 1}, "ways = 1"),
        ("omniglot", {"split": "half"}, 'split = "half": must be one of "random", "official"'),
        ("fsdd", {"held_out": "bob"}, 'held_out = "bob": must be some of'),
        ("fsdd", {"held_out": ",".join(fsdd.SPEAKERS)}, "must be some of"),
        ("robod", {"held_out_room": 4}, "held_out_room = 4"),
        ("occupancy", {"shots": 0}, "shots = 0"),
    ],
)
def test_wrong_options_are_named(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        tasks.get(name, **options)


WRONG = {int: (-1, 0.5, True, "x", None, 10**12), str: (3, None)}


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        (name, option, value)
        for name in tasks.names()
        for option, default in tasks.options(name).items()
        for value in WRONG[type(default)]
    ],
)
def test_no_option_takes_what_is_out_of_its_range_or_kind(
    name: str, option: str, value: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Told before any data is looked for."""
    monkeypatch.delenv("TINYFED_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=f"^task {name}: {option} = ") as caught:
        tasks.get(name, **{option: value})
    assert "\n" not in str(caught.value)


def test_changes_stand_beside_the_rows() -> None:
    rows = np.array([[1.0], [2.0], [4.0], [8.0]])
    assert with_changes(rows, 2).tolist() == [[4.0, 3.0], [8.0, 6.0]]


def test_presence_without_enough_rows_is_told() -> None:
    day = {"d": (np.zeros((20, 2)), np.array([0, 1] * 10))}
    names, size = ("CO2",), np.zeros(1)
    assert len(presence_task("t", day, day, 5, names, size).train) == 1
    with pytest.raises(UsageError, match="shots = 6: no client has"):
        presence_task("t", day, day, 6, names, size)


def test_a_reading_that_never_moves_is_constant_whatever_was_subtracted() -> None:
    """1013.25 less the mean of a day's first twelve readings of it is 0 or a rounding of 1.1e-13, other on each day."""
    rng = np.random.default_rng(1)
    labels = np.array([0, 1] * 10)

    def day(rounding: float, pressure: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        table = np.column_stack([rng.normal(500, 90, 20), np.full(20, rounding + pressure)])
        changes = np.zeros((20, 2))
        changes[:, 0] = rng.normal(0, 9, 20)
        return np.hstack([table, changes]), labels

    train = {"a": day(0.0), "b": day(1.1e-13), "c": day(-1.1e-13)}
    readings, size = ("CO2", "pressure"), np.array([900.0, 1013.25])
    task = presence_task("t", train, {"d": day(0.0, pressure=3.0)}, 5, readings, size)
    samples = np.concatenate(read_shard(task.held_out[0].shard or b"").classes)
    np.testing.assert_array_equal(samples[:, [1, 3]], 0)
    assert np.abs(samples).max() < 10
    assert task.notes[0].endswith("so 0 in every sample: pressure, the change of pressure")


def png(rows: list[list[int]], filtered: int = 0) -> bytes:
    height, width = len(rows), len(rows[0])
    raw = b"".join(bytes([filtered]) + np.packbits(np.array(row, np.uint8)).tobytes() for row in rows)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + b"\0\0\0\0"

    head = struct.pack(">II", width, height) + b"\1\0\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def test_a_drawing_is_ink_on_paper() -> None:
    assert omniglot.read_png(png([[1, 0, 1], [0, 0, 1]])).tolist() == [[0, 1, 0], [1, 1, 0]]
    for data in (b"", png([[1, 0]])[:30], png([[1, 0]], filtered=1)):
        with pytest.raises((UsageError, zlib.error)):
            omniglot.read_png(data)


def sound(samples: np.ndarray, rate: int = 8000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def test_recordings_of_another_kind_are_refused() -> None:
    samples = np.arange(100, dtype=np.int16)
    assert fsdd.read_wav(sound(samples), "x").tolist() == samples.tolist()
    for data in (sound(samples, rate=16000), sound(samples, channels=2), b"RIFF", b""):
        with pytest.raises(UsageError, match="task fsdd: x"):
            fsdd.read_wav(data, "x")
