"""Tables: that pyarrow and Python's own reader read the same, and sounds."""

import importlib.util
import random
from pathlib import Path

import numpy as np
import pytest
from conftest import require

from tinyfed.data import delimited
from tinyfed.data.delimited import TableFormat
from tinyfed.data.tables import read_table, table_of
from tinyfed.errors import UsageError

PIECES = [
    *"1a,,\n\n\r_+.#é١",
    '"',
    "2.5",
    "-3e4",
    "\r\n",
    " ",
    "\t",
    '""',
    "nan",
    "inf",
    "\u2028",
    "\x0b",
    "\x1c",
    "\x85",
    "1_0",
    "1e999",
]
CELLS = [
    "1",
    "2.5",
    "a",
    "",
    " 3 ",
    "nan",
    "+1",
    ".5",
    "5.",
    "1e5",
    "-0",
    "00",
    "Infinity",
    "\x0b1",
    "1\x1c",
    "\u00a01",
    "1f",
]


def test_both_readers_agree_on_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    require(importlib.util.find_spec("pyarrow"), "pyarrow is not installed: run `make setup`")
    rng, tables, arrow = random.Random(1), 0, delimited._by_arrow

    def read_by(reader: object, content: bytes) -> list[object]:
        monkeypatch.setattr(delimited, "_by_arrow", reader)
        try:
            table = table_of(content, Path("f"), TableFormat(separator=","))
            found: list[object] = [table.columns, table.line(table.rows - 1) if table.rows else 0]
            for name in dict.fromkeys(table.columns):
                found += [list(table.text(name)), table.values(name).tobytes()]
                found += [str(table.fault(name, row)) for row in np.flatnonzero(np.isnan(table.values(name)))]
        except UsageError as error:
            found = [str(error)]
        return found

    for _ in range(500):
        head = rng.choice(["x,y\n", "x,y,z\n", "x,y\r", "\n\nx,y\r\n"])
        noise = "".join(rng.choice(PIECES) for _ in range(rng.randrange(30)))
        rows = [",".join(rng.choices(CELLS, k=2)) + rng.choice(["\n", "\r\n", "\n\n", " \n"]) for _ in range(4)]
        content = (head + rng.choice([noise, "".join(rows)])).encode()
        one, two = read_by(arrow, content), read_by(lambda *_: None, content)
        assert one == two, content
        tables += len(one) > 1
    assert tables > 100


def test_sounds_have_up_to_eight_channels(tmp_path: Path) -> None:
    require(importlib.util.find_spec("soundfile"), "soundfile is not installed: run `make setup`")
    import soundfile

    path = tmp_path / "a.wav"
    for channels in (1, 8, 9):
        soundfile.write(path, np.linspace(-0.5, 0.5, 90 * channels).reshape(90, channels), 16_000, "PCM_24")
        if channels > 8:
            with pytest.raises(UsageError, match=r"a\.wav: has 9 channels, at most 8 are read"):
                read_table(path)
        else:
            table = read_table(path)
            assert (len(table.columns), table.rows, table.rate_hz) == (channels, 90, 16_000)
            np.testing.assert_allclose(
                table.numbers("channel 1"), np.linspace(-0.5, 0.5, 90 * channels)[::channels], atol=2**-22
            )
    soundfile.write(path, np.zeros(90), 8_000, format="FLAC")
    with pytest.raises(UsageError, match=r"a\.wav: is a FLAC file, not WAV"):
        read_table(path)
    for damaged in (b"RIFF", b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\0\0" + bytes(12) + b"data" + bytes(4)):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=r"a\.wav: is no WAV file: [^<>]+$"):
            read_table(path)


def test_a_value_that_is_said_again_counts_again(tmp_path: Path) -> None:
    """17 million rows of 8 equal numbers are about a megabyte in the file, and 8 * 8 * 17e6 bytes unpacked."""
    require(importlib.util.find_spec("pyarrow"), "pyarrow is not installed: run `make setup`")
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    part = pyarrow.table({f"x{k}": np.zeros(1_000_000, bool) for k in range(8)})
    with parquet.ParquetWriter(path, part.schema) as writer:
        for _ in range(17):
            writer.write_table(part)
    assert path.stat().st_size < 2**21
    with pytest.raises(UsageError, match=r"a\.parquet: unpacks to 1,088,000,000 bytes, at most 1 GiB are read"):
        read_table(path)
