"""Delimited text (CSV, TSV and their kin) as columns of cells. docs/decisions says which library reads it and why.

pyarrow, where it is installed, reads what has no quotes, five times as fast. Everything else, and the place of every
fault, comes from Python's own reader: what the two give is the same.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinyfed.errors import UsageError
from tinyfed.reading import decode_text
from tinyfed.text import shown

SEPARATORS = (",", ";", "\t", "|")
LOOKED_AT = 50  # rows by which a separator is told
COLUMNS_MAX = 65_535
_OTHERS = (
    (b"PK\x03\x04", "a ZIP archive or a workbook"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"\xfd7zXZ\0", "compressed by xz"),
    (b"BZh", "compressed by bzip2"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"%PDF", "a PDF"),
)


@dataclass(frozen=True)
class TableFormat:
    """How a text file says its cells; "" of `separator`, `encoding` and `comment`: as the file looks.

    `decimal` stands before a number's fraction, `thousands` between its groups of three digits ("": no groups). Lines
    that begin with `comment` are none; by looks those before the header that begin with "#".
    """

    separator: str = ""
    decimal: str = "."
    encoding: str = ""
    comment: str = ""
    thousands: str = ""

    def __post_init__(self) -> None:
        for key, value, allowed in (
            (
                "separator",
                self.separator,
                not self.separator or (len(self.separator) == 1 and self.separator not in '"\r\n'),
            ),
            ("decimal", self.decimal, self.decimal in (".", ",")),
            ("thousands", self.thousands, self.thousands in ("", ",", ".", " ", "'", "\u00a0", "\u202f")),
        ):
            if not allowed:
                need = "one character" if key == "separator" else '"." or ","'
                raise UsageError(f"must be {need}", key=key, value=f'"{shown(value, 20)}"')
        if self.thousands == self.decimal:
            raise UsageError("is the decimal mark too", key="thousands", value=f'"{self.thousands}"')


class FormatError(UsageError):
    """A file that another `TableFormat` reads: `option` of it should be `setting`."""

    def __init__(self, problem: str, option: str, setting: str, *, where: str = "") -> None:
        said = setting.replace("\t", "\\t")
        super().__init__(problem, where=where, remedy=f'read it with {option} = "{said}"')
        self.option = option
        self.setting = setting


@dataclass(frozen=True)
class Delimited:
    """`header`: a name for each column, "" where the file has none. `columns`: lists of text, or pyarrow's arrays.
    `lines`: of each row where it was counted. `format`: with what was looked for filled in."""

    header: tuple[str, ...]
    columns: Sequence[Any]
    lines: Sequence[int] | None
    format: TableFormat
    text: str

    def line(self, row: int) -> int:
        """The line in the file, counted from 1, in which a row begins."""
        if self.lines is not None:
            return self.lines[row]
        numbered = enumerate(re.split("\r\n|\r|\n", self.text), 1)  # without quotes each row is a line
        return [number for number, line in numbered if line][row + 1]


def parse(content: bytes, where: str, form: TableFormat) -> Delimited:
    """The columns of a file's bytes. Raises UsageError with file, line and cause; FormatError where `form` is wrong."""
    for magic, kind in _OTHERS:
        if content.startswith(magic):
            raise UsageError(f"is {kind}, not text", where=where, remedy="save it as CSV")
    text = _decoded(content, where, form)
    comment = form.comment
    if not comment and (start := re.match(r"\s*#[^\r\n]*[\r\n]+(?:\s*#[^\r\n]*[\r\n]+)*", text)):
        # what begins with "#" is no header where the line after it can be one
        after = text[start.end() :].split("\n", 1)[0]
        comment = "#" if any(c.isalpha() for c in after) and after[:1].strip("-+.0123456789") else ""
    if comment:
        text = re.sub(rf"(?:\A|(?<=[\r\n])){re.escape(comment)}[^\r\n]*", "", text)
    separator = form.separator or _looks_separated(text) or ","
    rows = _rows(text, separator, where)
    header = next((row for _, row in rows), [])
    if not header:
        raise UsageError("is empty", where=where)
    if form.separator and len(header) == 1 and (other := _looks_separated(text)) and other != separator:
        name = {"\t": "tabs"}.get(other, f"'{other}'")
        raise FormatError(f"columns look separated by {name}", "separator", other, where=where)
    if len(header) > COLUMNS_MAX:
        raise UsageError(f"has {len(header):,} columns, at most {COLUMNS_MAX:,} are read", where=where)
    form = replace(form, separator=separator, comment=comment)
    columns, lines = _by_arrow(text, separator, len(header)), None
    if columns is None:
        columns, lines = _by_rows(rows, len(header), where)
    names = [name.strip() for name in header]
    if len(columns) > len(names):  # the rows have one cell more: at the end where all of it is empty, else in front
        names = [*names, ""] if not any(map(_text, columns[-1])) else ["", *names]
    kept = [k for k, name in enumerate(names) if name or any(map(_text, columns[k]))]
    return Delimited(tuple(names[k] for k in kept), [columns[k] for k in kept], lines, form, text)


def _text(cell: Any) -> str:
    return str(cell).strip()


def _decoded(content: bytes, where: str, form: TableFormat) -> str:
    try:
        text = decode_text(content, where, form.encoding)
    except UsageError as error:
        if form.encoding or b"\0" in content[:4096]:
            raise
        raise FormatError(error.problem, "encoding", "latin-1", where=where) from error
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        if (not form.encoding and content[1:2] == b"\0") or content[:1] == b"\0":
            guess = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
            raise FormatError("is no UTF-8 text: every other byte is 0", "encoding", guess, where=where)
        raise UsageError("holds a byte of 0: is it damaged?", where=f"{where} line {line}")
    return text


def _looks_separated(text: str) -> str:
    """What separates the columns; "" where nothing does."""
    best, most = "", 1
    for separator in SEPARATORS:
        widths = []
        try:
            for _, row in _rows(text[:1_000_000], separator, ""):
                widths.append(len(row))
                if len(widths) == LOOKED_AT:
                    break
        except UsageError:
            pass
        if not widths or widths[0] < 2:
            continue
        alike = sum(width in (widths[0], widths[0] + 1) for width in widths)
        if alike * 2 > len(widths) and widths[0] > most:
            best, most = separator, widths[0]
    return best


def _rows(text: str, separator: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """The first line of each row that is not empty, and its cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for row in reader:
            if len(row) > 1 or (row and row[0].strip()):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        reason = "a quote is left open" if "unexpected end" in str(error) else f"{error}: is a quote left open?"
        raise UsageError(reason, where=f"{where} line {line}") from None


def _by_rows(rows: Iterator[tuple[int, list[str]]], width: int, where: str) -> tuple[list[list[str]], list[int]]:
    cells: list[list[str]] = []
    lines: list[int] = []
    wide = width
    for line, row in rows:
        if not cells and len(row) == width + 1:
            wide = width + 1
        if len(row) != wide:
            problem = f"{len(row)} cells, the header has {width}: is it cut short?"
            if wide > width:
                problem = f"{len(row)} cells, the rows before have {wide}, the header {width}"
            elif len(row) > width:
                problem = f"{len(row)} cells, the header has {width}: is the separator in a cell? quote that"
            raise UsageError(problem, where=f"{where} line {line}")
        cells.append(row)
        lines.append(line)
    return [list(column) for column in zip(*cells, strict=True)] or [[] for _ in range(width)], lines


def _by_arrow(text: str, separator: str, width: int) -> list[Any] | None:
    """The columns below the header; None where Python's reader has to look: quotes, rows of other lengths."""
    if '"' in text or width < 2:
        return None
    try:
        import pyarrow
        from pyarrow import csv as arrow_csv
    except ImportError:
        return None
    body = re.sub(r"\A\s*[^\r\n]*[\r\n]+", "", text, count=1)
    names = [str(k) for k in range(body.partition("\n")[0].count(separator) + 1)]
    if len(names) not in (width, width + 1):
        return None
    try:
        table = arrow_csv.read_csv(
            io.BytesIO(body.encode()),
            read_options=arrow_csv.ReadOptions(column_names=names),
            parse_options=arrow_csv.ParseOptions(delimiter=separator, quote_char=False),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pyarrow.string()), strings_can_be_null=False
            ),
        )
    except pyarrow.ArrowException:
        return None
    return list(table.columns)
