"""Tables from files: CSV, TSV, Parquet, NPZ and WAV, one reader for all that takes columns of samples."""

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.arrays import read_arrays
from tinyfed.data.delimited import FormatError, TableFormat, parse
from tinyfed.errors import MissingToolError, UsageError
from tinyfed.reading import ARRAYS_BYTES_MAX, TABLE_BYTES_MAX, read_bytes, size_text
from tinyfed.text import first_line, printable, shown

SUFFIXES = (".csv", ".tsv", ".parquet", ".npz", ".wav")
CHANNELS_MAX = 8  # of a WAV file
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_PACKED = (".gz", ".xz", ".bz2", ".zst", ".zip")
_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf|infinity)", re.IGNORECASE | re.ASCII
)
_WHOLE = re.compile(r"[+-]?[0-9]{1,1000}")  # more digits no limit allows
AS_IT_LOOKS = TableFormat()
FLOAT32_MAX = (2 - 2.0**-23) * 2.0**127
FLOAT32_ROUNDING = 2.0**-23  # of a number's size: two that differ by less are one number in float32


@dataclass(frozen=True)
class Table:
    """The columns of a file, each with as many rows.

    `columns` are their names as the file has them; one without a name is "column 3". `format` says how a text file was
    read, `rate_hz` how many rows a second there are where the file knows. A text file's `line` counts from 1.
    """

    path: Path
    columns: tuple[str, ...]
    rows: int
    cells: Sequence[Any] = field(repr=False)  # of each column: a list of text, an array of NumPy or of pyarrow
    format: TableFormat = AS_IT_LOOKS
    rate_hz: float | None = None
    unnamed: tuple[str, ...] = ()  # the columns that have no name in the file
    find_line: Callable[[int], int] | None = field(default=None, repr=False)

    def line(self, row: int) -> int:
        """Where a row begins: the line in a text file, else the row, both counted from 1."""
        return row + 1 if self.find_line is None else self.find_line(row)

    def place(self, row: int) -> str:
        """The file and the line, for a message."""
        return f"{self.path} {'row' if self.find_line is None else 'line'} {self.line(row)}"

    def column(self, name: str) -> Any:
        """The cells of a column as they are stored. Raises UsageError where it is missing or there twice."""
        if name in self._at and self._at[name] < 0:
            raise UsageError(f"column {name!r} is there twice: give each a name of its own", where=str(self.path))
        if name not in self._at:
            there = shown(", ".join(self.columns), 300) or "none"
            if any(read_number(given) is not None for given in self.columns):
                there += ": is the line of names missing?"
            raise UsageError(f"column {name!r} is missing; there are {there}", where=str(self.path))
        return self.cells[self._at[name]]

    @cached_property
    def _at(self) -> dict[str, int]:
        """The number of each column; -1 where two have the name."""
        found: dict[str, int] = {}
        for number, name in enumerate(self.columns):
            found[name] = -1 if name in found else number
        return found

    def text(self, name: str) -> NDArray[np.object_]:
        """(rows,) of str, as the file has it; "" for what a column of floats says is missing, NaN."""
        cells, found = self.column(name), self._words(name)
        kind = cells.dtype.kind if isinstance(cells, np.ndarray) else "" if isinstance(cells, list) else str(cells.type)
        if kind in ("f", "halffloat", "float", "double"):
            found[found == "nan"] = ""
        return found

    def _words(self, name: str) -> NDArray[np.object_]:
        cells = self.column(name)
        if isinstance(cells, np.ndarray):
            return cells.astype(str).astype(object)
        if not isinstance(cells, list):
            cells = cells.cast("string").fill_null("").to_pylist()
        found = np.empty(len(cells), object)
        found[:] = cells
        return found

    def numbers(self, name: str) -> NDArray[np.float64]:
        """(rows,) of finite numbers that float32 can hold. Raises UsageError naming file, line and column; FormatError
        where another format would read it."""
        found = self.values(name)
        wrong = np.flatnonzero(np.isnan(found))
        if wrong.size:
            raise self.fault(name, int(wrong[0]))
        return found

    def values(self, name: str) -> NDArray[np.float64]:
        """As `numbers`, with NaN for every cell that is none. Raises UsageError where the column is missing."""
        cells = self.column(name)
        found = self._quick(cells)
        if found is None:
            words, at = np.unique(self.text(name), return_inverse=True)
            found = np.array([read_number(self._plain(word)) for word in words], np.float64)[at]  # None: NaN
        return np.where(np.abs(found) <= FLOAT32_MAX, found, np.nan)

    def fault(self, name: str, row: int) -> UsageError:
        """What is wrong with a cell that is no number."""
        cell = str(self._words(name)[row])
        where, said, form = self.place(row), f"column {name!r} is {shown(repr(cell), 60)}", self.format
        digits = cell.strip(" \t\r\n+-") if form.decimal == "." and not form.thousands else ""
        groups = re.fullmatch(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?", digits)
        if groups and (form.separator == "," or "." in digits):
            return FormatError(f"{said}: not a number: a comma between thousands", "thousands", ",", where=where)
        if re.fullmatch(r"[0-9]*,[0-9]+(?:e[+-]?[0-9]+)?", digits, re.IGNORECASE):
            return FormatError(f"{said}: not a number: a decimal comma", "decimal", ",", where=where)
        return UsageError(f"{said}: {why_no_number(self._plain(cell))}", where=where)

    def _plain(self, cell: str) -> str:
        """The cell with "." before the fraction and nothing between thousands."""
        form = self.format
        if form.thousands and re.fullmatch(
            rf"\s*[+-]?[0-9]{{1,3}}(?:{re.escape(form.thousands)}[0-9]{{3}})+\D?.*", cell
        ):
            cell = cell.replace(form.thousands, "")
        return cell.replace(".", "_").replace(",", ".") if form.decimal == "," else cell  # a point is in no number then

    def _quick(self, cells: Any) -> NDArray[np.float64] | None:
        """All of a column at once; None where a cell needs to be looked at."""
        if isinstance(cells, np.ndarray):
            with np.errstate(over="ignore"):
                return cells.astype(np.float64) if cells.dtype.kind in "fiu" else None
        if self.format.decimal != "." or self.format.thousands:
            return None
        if isinstance(cells, list):
            joined = "".join(cells)
            if not joined.isascii() or re.search(
                r"[_\x0b\x0c\x1c-\x1f]", joined
            ):  # what only Python takes for a number
                return None
            try:
                return np.fromiter(map(float, cells), np.float64, len(cells))
            except ValueError:
                return None
        import pyarrow

        if pyarrow.types.is_boolean(cells.type) or pyarrow.types.is_temporal(cells.type):
            return None
        try:
            return np.asarray(cells.cast("float64").to_numpy(), np.float64)
        except pyarrow.ArrowException:
            return None


def table_files(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """The files of a folder that `read_table` takes, by name, without what a system or an editor left there (`._a.csv`,
    `.DS_Store`). Raises UsageError for a workbook or a packed table, which would be left out without a word."""
    found = []
    for path in sorted(folder.iterdir()):
        name = path.name.lower()
        if name.startswith((".", "~$")) or name == "__macosx":
            continue
        if name.endswith(_SHEETS):
            raise UsageError("is a workbook", where=str(path), remedy="save it as CSV")
        if name.endswith(tuple(kind + packed for kind in suffixes for packed in _PACKED)):
            raise UsageError("is packed", where=str(path), remedy="unpack it")
        if name.endswith(tuple(suffixes)):
            found.append(path)
    return found


def tables_below(source: Path) -> list[Path]:
    """The file `source`, or the `table_files` of a folder and of the folders in it; links to folders are not followed.
    Raises UsageError where there is none."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        is_there = source.exists()
        raise UsageError("is no regular file" if is_there else "there is no such file or folder", where=str(source))
    found = list(_below(source))
    if not found:
        others = sum(1 for path in source.glob("*.*") if path.suffix.lower() in (".txt", ".dat", ".data", ".asc"))
        remedy = f"it has {others} text files: name them .csv" if others else ""
        raise UsageError("holds no CSV, TSV, Parquet, NPZ or WAV file", where=str(source), remedy=remedy)
    return found


def _below(folder: Path) -> Iterator[Path]:
    yield from (path for path in table_files(folder) if path.is_file())
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith((".", "__MACOSX")):
            yield from _below(path)


def read_table(path: Path, format: TableFormat = AS_IT_LOOKS) -> Table:
    """The table in a .csv, .tsv, .parquet, .npz, .npy or .wav file; anything else is read as CSV.

    A WAV file's columns are its channels, from -1 to 1. An NPZ file's are its arrays of one length: "y" of (n,), "x 0"
    and so on of the values of (n, ...). Raises UsageError with file, place and cause; MissingToolError where a package
    is needed.
    """
    suffix = path.suffix.lower()
    if suffix in _SHEETS:
        raise UsageError("is a workbook", where=str(path), remedy="save it as CSV")
    if suffix in (".npz", ".npy"):
        return _of_arrays(path)
    content = read_bytes(path, TABLE_BYTES_MAX)
    if suffix == ".parquet":
        return _of_parquet(path, content)
    if suffix == ".wav":
        return _of_wav(path, content)
    return table_of(content, path, format)


def table_of(content: bytes, path: Path, format: TableFormat = AS_IT_LOOKS) -> Table:
    """The table in the bytes of a CSV or TSV file; `path` names it in messages. Raises as `read_table`."""
    found = parse(content, str(path), format)
    names = tuple(name or f"column {k + 1}" for k, name in enumerate(found.header))
    unnamed = tuple(name for name, said in zip(names, found.header, strict=True) if not said)
    rows = len(found.columns[0]) if found.columns else 0
    return Table(path, names, rows, found.columns, found.format, None, unnamed, found.line)


def _of_arrays(path: Path) -> Table:
    names: list[str] = []
    cells: list[NDArray[Any]] = []
    for name, array in read_arrays(path).items():
        if array.dtype.kind not in "fiubUS" or array.ndim == 0:
            raise UsageError(f"{name} is an array {array.shape} of {array.dtype}, not of numbers", where=str(path))
        if cells and len(array) != len(cells[0]):
            problem = f"{name} has {len(array)} rows, {names[0]} has {len(cells[0])}"
            raise UsageError(problem, where=str(path))
        flat = array.reshape(len(array), math.prod(array.shape[1:]))
        names += [name] if array.ndim == 1 else [f"{name} {k}" for k in range(flat.shape[1])]
        cells += list(flat.T)
    return Table(path, tuple(names), len(cells[0]) if cells else 0, cells)


def _of_parquet(path: Path, content: bytes) -> Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise _missing(path, "Parquet", "pyarrow") from error
    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        size = sum(file.metadata.row_group(k).total_byte_size for k in range(file.metadata.num_row_groups))
        size = max(
            size, 8 * file.metadata.num_rows * file.metadata.num_columns
        )  # a value said again is not in the first
        if size > ARRAYS_BYTES_MAX:
            problem = f"unpacks to {size:,} bytes, at most {size_text(ARRAYS_BYTES_MAX)} are read"
            raise UsageError(problem, where=str(path), remedy="docs/limits.md says why")
        table = file.read()
        table.validate(full=True)
        names = tuple(table.column_names)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"is no whole Parquet file: {first_line(error)}", where=str(path)) from error
    for column in table.schema:
        if pyarrow.types.is_nested(column.type) or pyarrow.types.is_binary(column.type):
            raise UsageError(f"column {column.name!r} holds {column.type}, not numbers or text", where=str(path))
    return Table(path, names, table.num_rows, table.columns)


def _of_wav(path: Path, content: bytes) -> Table:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: its library is not there
        raise _missing(path, "WAV", "soundfile") from error
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as sound:
            if sound.format not in ("WAV", "WAVEX", "RF64"):
                raise UsageError(f"is a {sound.format} file, not WAV", where=str(path))
            if 8 * sound.frames * sound.channels > ARRAYS_BYTES_MAX:
                raise UsageError(f"has {sound.frames:,} samples", where=str(path), remedy="docs/limits.md says why")
            if sound.channels > CHANNELS_MAX:
                raise UsageError(f"has {sound.channels} channels, at most {CHANNELS_MAX} are read", where=str(path))
            samples = sound.read(dtype="float64", always_2d=True)
            rate_hz = float(sound.samplerate)
    except soundfile.SoundFileError as error:
        # the whole text names the bytes' address in memory
        raise UsageError(
            f"is no WAV file: {first_line(getattr(error, 'error_string', error))}", where=str(path)
        ) from error
    names = tuple(f"channel {k + 1}" for k in range(samples.shape[1]))
    return Table(path, names, len(samples), list(samples.T), rate_hz=rate_hz)


def _missing(path: Path, kind: str, package: str) -> MissingToolError:
    remedy = "pip install 'tinyfed[data]'"
    return MissingToolError(f"{package} is not installed, which reads {kind}", where=str(path), remedy=remedy)


def read_number(text: str) -> float | None:
    """A number as programs write it, NaN and infinity too; None for anything else, also for what only Python takes for
    one: underscores, digits of other scripts."""
    return float(text) if _NUMBER.fullmatch(text.strip(" \t\r\n")) else None


def read_whole(text: str) -> int | None:
    """A whole number in decimal digits; None for anything else."""
    return int(text) if _WHOLE.fullmatch(text.strip(" \t\r\n")) else None


def number(text: str, where: str, column: str) -> float:
    """A number that float32 can hold. Raises UsageError naming the place."""
    value = read_number(text)
    if value is None or not abs(value) <= FLOAT32_MAX:
        raise UsageError(f"column {column!r} is {shown(repr(text), 60)}: {why_no_number(text)}", where=where)
    return value


def why_no_number(cell: str) -> str:
    """What a cell holds in place of a number that float32 can hold."""
    text, value = cell.strip(" \t\r\n"), read_number(cell)
    if value is not None:
        return "clean the data first" if not math.isfinite(value) else "float32 ends at 3.4e38: clean the data first"
    if not text:
        return "not a number: the cell is empty: fill it, or leave the row out"
    if text.lower() in ("true", "false", "yes", "no"):
        return "not a number: write 1 and 0"
    if re.match(r"\d{4}-\d\d-\d\d|\d\d?:\d\d|\d\d?[./]\d\d?[./]\d{4}", text, re.ASCII):
        return "not a number: a time or date: leave the column out"
    unit = re.fullmatch(r"[+-]?[0-9.]+(?:e[+-]?[0-9]+)?\s*(%|[^\W\d_][\w/]{0,7}|°\w?)", text, re.IGNORECASE)
    return f"not a number: leave {printable(unit[1])!r} out of the cells" if unit else "not a number"
