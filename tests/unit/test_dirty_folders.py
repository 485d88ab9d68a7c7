"""Folders of samples as people have them: each ends in the right samples, or in one line with file, place and cause.

The folders of shared/data/dirty are nobody's data; the variants below are written here. Every case is read twice: with
pyarrow and with Python's own reader, which must agree to the letter.
"""

import gzip
import importlib.util
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED_DATA, require

from tinyfed import tasks
from tinyfed.data import delimited
from tinyfed.data.shard import read_shard
from tinyfed.errors import UsageError
from tinyfed.tasks.task import Task

DIRTY = SHARED_DATA / "dirty"

# What each folder gives: the options and "" for the right samples, or the words of the one line.
FOLDERS: dict[str, list[tuple[dict[str, str], str]]] = {
    "bom": [({}, "")],
    "const": [({}, "note: column 'x'")],
    "cr": [({}, "")],
    "crlf": [({}, "")],
    "decimalcomma": [
        ({}, "train/a.csv: columns look separated by ';'; take it with task.separator = \";\""),
        ({"separator": ";"}, "train/a.csv line 2: column 'x' is '-0,098': not a number: a decimal comma; take it with "
         'task.decimal = ","'),
        ({"separator": ";", "decimal": ","}, ""),
    ],
    "emptycell": [({}, "train/anna.csv line 18: column 'x' is '': not a number: the cell is empty")],
    "emptyfile": [({}, "train/anna.csv: is empty")],
    "hidden": [({}, "")],
    "inf": [({}, "train/anna.csv line 18: column 'x' is '-Infinity': clean the data first")],
    "labelspace": [({}, "train/bert.csv line 2: labels ' a' (of DIR/train/anna.csv) and 'a' differ only in spaces")],
    "latin": [
        ({}, "train/anna.csv: is not UTF-8 text: byte 0xe9 in line 18; it may be Latin-1 or Windows-1252; take it with "
         'task.encoding = "latin-1"'),
        ({"encoding": "latin-1"}, "train/anna.csv line 18: 1 samples of class 'é' here"),
    ],
    "mixed": [({}, "train/b.csv names columns, DIR/train/a.npz none: use one kind of file")],
    "nan": [({}, "train/anna.csv line 18: column 'x' is 'nan': clean the data first")],
    "npzmasked": [({}, "note: DIR/held_out/c.npz holds the samples of DIR/train/b.npz")],
    "npzobj": [({}, 'train/a.npz: array "x": holds Python objects')],
    "npzxbool": [({}, "train/a.npz: x is an array of bool, not of real numbers")],
    "onesample": [({}, "train/anna.csv line 18: 1 samples of class 'c' here: a visit of shots = 5 needs 6")],
    "onlyhead": [({}, "train/anna.csv holds no samples")],
    "quoted": [({}, "")],
    "quotednl": [({}, "train/anna.csv: 0 samples of class 'a' here")],  # it has 'a\nz' in their place
    "samename": [({}, "DIR/train/A.csv and DIR/held_out/A.csv are one client by name")],
    "semi": [({}, "train/a.csv: columns look separated by ';'"), ({"separator": ";"}, "")],
    "spaces": [({}, "")],
    "stuck": [({}, "note: column 'x'")],
    "tab": [({}, "train/a.csv: columns look separated by tabs; take it with task.separator = \"\\t\""),
            ({"separator": "\t"}, "")],
    "thousands": [
        ({}, "train/anna.csv line 18: column 'x' is '1,234.5': not a number: a comma between thousands; take it with "
         'task.thousands = ","'),
        ({"thousands": ","}, ""),
    ],
    "trailcomma": [({}, "")],
    "u2028": [({}, "")],
    "underscore": [({}, "train/anna.csv line 18: column 'x' is '1_234': not a number")],
    "unicodedigits": [({}, "train/anna.csv line 18: column 'x' is '١٢': not a number")],
    "utf16": [({}, "")],
}  # fmt: skip


@pytest.fixture(params=["pyarrow", "Python"], autouse=True)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "Python":
        monkeypatch.setattr(delimited, "_by_arrow", lambda *_: None)
    else:
        require(importlib.util.find_spec("pyarrow"), "pyarrow is not installed: run `make setup`")


def read(folder: Path, options: dict[str, str]) -> Task | str:
    """The task, or the one line."""
    try:
        return tasks.get("folder", path=str(folder), standardize=0, **options)
    except UsageError as error:
        said = str(error)
        assert said.startswith("task folder: ") and said.isprintable(), said
        assert len(said) < 600, said
        return said


def samples(task: Task) -> dict[str, dict[str, list[list[float]]]]:
    """By client and class."""
    return {
        client.name: {
            name: rows.tolist()
            for name, rows in zip(task.classes, read_shard(client.shard or b"").classes, strict=True)
        }
        for client in (*task.train, *task.held_out)
    }


def plain(path: Path) -> dict[str, list[list[float]]]:
    """What a file of shared/data/dirty says, read by these lines alone: numbers as float32, in its order."""
    content = path.read_bytes()
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace('"1,234.5"', "1234.5").replace('"', "")
    if ";" in text:
        text = text.replace(",", ".").replace(";", ",")
    found: dict[str, list[list[float]]] = {}
    for row in text.replace("\t", ",").strip("\n").split("\n")[1:]:
        x, y, label = row.split(",")[:3]
        found.setdefault(label, []).append([float(np.float32(x)), float(np.float32(y))])
    return found


def test_every_folder_is_in_the_table() -> None:
    require(DIRTY.is_dir(), "shared/data/dirty is not beside the checkout")
    assert {path.name for path in DIRTY.iterdir() if path.is_dir()} == FOLDERS.keys()


@pytest.mark.parametrize(("name", "options", "said"), [(n, *case) for n, cases in FOLDERS.items() for case in cases])
def test_a_dirty_folder(name: str, options: dict[str, str], said: str) -> None:
    folder = DIRTY / name
    require(folder.is_dir(), "shared/data/dirty is not beside the checkout")
    found = read(folder, options)
    if said.startswith("note: "):
        made = tasks.get("folder", path=str(folder))
        assert any(note.endswith(said.removeprefix("note: ").replace("DIR", str(folder))) for note in made.notes)
        for client in (*made.train, *made.held_out):
            assert all(np.isfinite(rows).all() for rows in read_shard(client.shard or b"").classes)
    elif said:
        assert isinstance(found, str) and said.replace("DIR", str(folder)) in found
    else:
        assert not isinstance(found, str), found
        expected = {path.stem: plain(path) for path in sorted(folder.glob("*/[!.]*.csv"))}
        assert samples(found) == expected


Write = Callable[[Path], object]
HEAD = "x,y,label\n"
ROWS = "".join(f"{i}.5,{-i},{'ab'[i % 2]}\n" for i in range(16))
CLEAN = {
    "a": [[i + 0.5, -i] for i in range(0, 16, 2)],
    "b": [[i + 0.5, -i] for i in range(1, 16, 2)],
}


def text(content: str, encoding: str = "utf-8") -> Write:
    return lambda path: path.write_bytes(content.encode(encoding))


def with_line(line: str) -> Write:
    """A clean file with one more line, the 18th."""
    return text(HEAD + ROWS + line + "\n")


def semicolons(content: str) -> str:
    return content.replace(",", ";")


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.csv", HEAD + ROWS)


def parquet(path: Path) -> None:
    require(importlib.util.find_spec("pyarrow"), "pyarrow is not installed: run `make setup`")
    import pyarrow as arrow
    from pyarrow import parquet as files

    x, y = [i + 0.5 for i in range(16)], [-i for i in range(16)]
    files.write_table(arrow.table({"x": x, "y": y, "label": ["a", "b"] * 8}), path)


def parquet_of(x: object) -> Write:
    def write(path: Path) -> None:
        require(importlib.util.find_spec("pyarrow"), "pyarrow is not installed: run `make setup`")
        import pyarrow as arrow
        from pyarrow import parquet as files

        files.write_table(arrow.table({"x": x, "y": [1.0] * 16, "label": ["a", "b"] * 8}), path)

    return write


def npz(**arrays: object) -> Write:
    return lambda path: np.savez(path, **arrays)  # type: ignore[arg-type]


WIDE = [f"c{k}" for k in range(10_000)]

# A file in place of train/bert.csv, the options, and "" for the clean samples or the words of the one line.
VARIANTS: list[tuple[str, Write, dict[str, str], str]] = [
    ("bert.csv", text(HEAD + ROWS), {}, ""),
    ("bert.csv", text("# made by a logger\n# at 50 Hz\n" + HEAD + ROWS), {}, ""),
    ("bert.csv", text(HEAD + "; pause\n" + ROWS + "; end\n"), {"comment": ";"}, ""),
    ("bert.csv", text(HEAD + ROWS.replace("\n", "\n\n")), {}, ""),
    ("bert.csv", text(HEAD + ROWS.rstrip("\n")), {}, ""),
    ("bert.csv", text(semicolons(HEAD + ROWS)), {"separator": ";"},
     "anna.csv: columns look separated by ','; take it with task.separator"),
    ("bert.tsv", text((HEAD + ROWS).replace(",", "\t")), {}, ""),
    ("bert.csv", text("y,label,x\n" + "".join(f"{-i},{'ab'[i % 2]},{i}.5\n" for i in range(16))), {}, ""),
    ("bert.csv", text("x , y,label\n" + ROWS), {}, ""),
    ("bert.csv", text(HEAD + ROWS, "utf-16"), {}, ""),
    ("bert.csv", text((HEAD + ROWS).replace("\n", "\r")), {}, ""),
    ("bert.csv", text(HEAD + "".join(f'"{i}.5","{-i}","{"ab"[i % 2]}"\n' for i in range(16))), {}, ""),
    ("bert.csv", text("t,x,y,label\n" + "".join(f"2024-05-01T08:00:{r}" for r in [""]) + "".join(
        f"2024-05-01T08:00:{i:02},{i}.5,{-i},{'ab'[i % 2]}\n" for i in range(16))), {"drop": "t"}, ""),
    ("bert.csv", text(",x,y,label\n" + "".join(f"{i},{row}\n" for i, row in enumerate(ROWS.split()))),
     {"drop": "column 1"}, ""),
    ("bert.csv", text(HEAD + "".join(f"{i},{row}\n" for i, row in enumerate(ROWS.split()))), {"drop": "column 1"}, ""),
    ("bert.parquet", parquet, {}, ""),
    ("bert.csv", with_line(",1,a"), {}, "bert.csv line 18: column 'x' is '': not a number: the cell is empty"),
    ("bert.csv", with_line("NaN,1,a"), {}, "bert.csv line 18: column 'x' is 'NaN': clean the data first"),
    ("bert.csv", with_line("1,a"), {}, "bert.csv line 18: 2 cells, the header has 3: is it cut short?"),
    ("bert.csv", with_line("1,2,a,3"), {}, "bert.csv line 18: 4 cells, the header has 3"),
    ("bert.csv", with_line("1,2,a,"), {}, "bert.csv line 18: 4 cells, the header has 3"),
    ("bert.csv", with_line("1,2,A"), {},
     "bert.csv line 18: labels 'a' (of DIR/train/anna.csv) and 'A' differ only in case"),
    ("bert.csv", with_line("1,2,a "), {},
     "bert.csv line 18: labels 'a' (of DIR/train/anna.csv) and 'a ' differ only in spaces"),
    ("bert.csv", with_line("1,2,"), {}, "bert.csv line 18: the label is empty"),
    ("bert.csv", with_line("12 ms,2,a"), {}, "bert.csv line 18: column 'x' is '12 ms': not a number: leave 'ms' out"),
    ("bert.csv", with_line("12%,2,a"), {}, "bert.csv line 18: column 'x' is '12%': not a number: leave '%' out"),
    ("bert.csv", with_line("true,2,a"), {}, "bert.csv line 18: column 'x' is 'true': not a number: write 1 and 0"),
    ("bert.csv", with_line('"1,234",2,a'), {},
     "bert.csv line 18: column 'x' is '1,234': not a number: a comma between thousands"),
    ("bert.csv", with_line('"1,5",2,a'), {}, "bert.csv line 18: column 'x' is '1,5': not a number: a decimal comma"),
    ("bert.csv", with_line("0x10,2,a"), {}, "bert.csv line 18: column 'x' is '0x10': not a number"),
    ("bert.csv", with_line("1e39,2,a"), {}, "bert.csv line 18: column 'x' is '1e39': float32 ends at 3.4e38"),
    ("bert.csv", with_line("2024-05-01T08:00:00Z,2,a"), {},
     "bert.csv line 18: column 'x' is '2024-05-01T08:00:00Z': not a number: a time"),
    ("bert.csv", with_line('"open,2,a'), {}, "bert.csv line 18: a quote is left open"),
    ("bert.csv", with_line("\x1b[31m1,2,a"), {}, "bert.csv line 18: column 'x' is '\\x1b[31m1': not a number"),
    ("bert.csv", with_line("1,2,\x1b]52;c;evil"), {}, "bert.csv line 18: 1 samples of class '\\x1b]52;c;evil'"),
    ("bert.csv", with_line("1,\0,a"), {}, "bert.csv line 18: holds a byte of 0: is it damaged?"),
    ("bert.csv", with_line("1," + "2" * 200_000 + ",a"), {}, "bert.csv line 18: "),
    ("bert.csv", with_line("1,2," + "q" * 100_000), {}, "bert.csv line 18: 1 samples of class 'qqq"),
    ("bert.csv", with_line("1,2,é"), {}, "bert.csv line 18: 1 samples of class 'é'"),
    ("bert.csv", text(HEAD + ROWS + "1,2,é\n", "latin-1"), {}, "bert.csv: is not UTF-8 text: byte 0xe9 in line 18"),
    ("bert.csv", text(HEAD + ROWS, "utf-16-le"), {},
     "bert.csv: is no UTF-8 text: every other byte is 0; take it with task.encoding = \"utf-16-le\""),
    ("bert.csv", text(HEAD + ROWS, "utf-16-le"), {"encoding": "utf-16-le"}, "anna.csv"),
    ("bert.csv", text(HEAD + ROWS), {"encoding": "latin-17"}, 'anna.csv: "latin-17" is no encoding that Python knows'),
    ("bert.csv", text(HEAD + ROWS), {"separator": "::"}, "separator = \"::\": must be one character"),
    ("bert.csv", text(HEAD + ROWS), {"thousands": "."}, "thousands = \".\": is the decimal mark too"),
    ("bert.csv", text(""), {}, "bert.csv: is empty"),
    ("bert.csv", text(" \n\n"), {}, "bert.csv: is empty"),
    ("bert.csv", text(HEAD), {}, "bert.csv holds no samples"),
    ("bert.csv", text(HEAD + "1,2,a\n3,4,b\n"), {},
     "bert.csv line 2: 1 samples of class 'a' here: a visit of shots = 5 needs 6"),
    ("bert.csv", text(ROWS), {},
     "bert.csv: column 'label' is missing; there are 0.5, 0, a: is the line of names missing?"),
    ("bert.csv", text("x,x,label\n" + ROWS), {}, "bert.csv: column 'x' is there twice"),
    ("bert.csv", text("x,y,klass\n" + ROWS), {}, "bert.csv: column 'label' is missing; there are x, y, klass"),
    ("bert.csv", text("x,y,z,label\n" + ROWS.replace(",", ",0,", 1)), {}, "bert.csv line 3: 3 cells, the header has 4"),
    ("bert.csv", text("x,y,\x1b[2J,label\n" + "".join(f"1,2,3,{'ab'[i % 2]}\n" for i in range(16))), {},
     "bert.csv: column '\\x1b[2J' is not in DIR/train/anna.csv"),
    ("bert.csv", text(",x,y,label\n" + "".join(f"{i},{row}\n" for i, row in enumerate(ROWS.split()))), {},
     "bert.csv: column 1 has no name: is it an index?; leave it out with task.drop = \"column 1\""),
    ("bert.csv", text(semicolons(HEAD + ROWS)), {},
     "bert.csv: columns look separated by ';'; take it with task.separator"),
    ("bert.csv", text(",".join(WIDE) + ",label\n" + ("1," * 10_000 + "a\n") * 2), {},
     "bert.csv: column 'x' of DIR/train/anna.csv is missing"),
    ("bert.csv", zipped, {}, "bert.csv: is a ZIP archive or a workbook, not text; save it as CSV"),
    ("bert.csv", lambda path: path.write_bytes(gzip.compress(ROWS.encode())), {}, "bert.csv: is compressed by gzip"),
    ("bert.csv", lambda path: path.mkdir(), {}, "bert.csv: is a folder, not a file"),
    ("bert.csv", lambda path: path.symlink_to(path), {}, "bert.csv: cannot be read: Too many levels of symbolic links"),
    ("bert.csv", lambda path: path.symlink_to("gone"), {}, "bert.csv: cannot be read: No such file"),
    ("bert.xlsx", zipped, {}, "bert.xlsx: is a workbook; save it as CSV"),
    ("bert.csv.gz", zipped, {}, "bert.csv.gz: is packed; unpack it"),
    ("bert.npz", npz(x=np.zeros((16, 2)), y=np.array(["a", "b"] * 8)), {},
     "bert.npz names no columns, DIR/train/anna.csv does"),
    ("bert.parquet", text("PAR1 no more"), {}, "bert.parquet: is no whole Parquet file"),
    ("bert.parquet", parquet_of([None] + [1.0] * 15), {},
     "bert.parquet row 1: column 'x' is '': not a number: the cell is empty"),
    ("bert.parquet", parquet_of([math.nan] + [1.0] * 15), {},
     "bert.parquet row 1: column 'x' is 'nan': clean the data first"),
    ("bert.parquet", parquet_of([True] * 16), {},
     "bert.parquet row 1: column 'x' is 'true': not a number: write 1 and 0"),
    ("bert.parquet", parquet_of([[1.0]] * 16), {}, "bert.parquet: column 'x' holds list"),
]  # fmt: skip


@pytest.fixture
def people(tmp_path: Path) -> Path:
    for name, shift in (("train/anna", 0), ("held_out/cleo", 1)):
        path = tmp_path / f"{name}.csv"
        path.parent.mkdir()
        path.write_text(HEAD + "".join(f"{i + shift},{i},{'ab'[i % 2]}\n" for i in range(20)))
    return tmp_path


@pytest.mark.parametrize(("name", "write", "options", "said"), VARIANTS)
def test_a_variant(people: Path, name: str, write: Write, options: dict[str, str], said: str) -> None:
    write(people / "train" / name)
    found = read(people, options)
    if said:
        assert isinstance(found, str) and said.replace("DIR", str(people)) in found
    else:
        assert not isinstance(found, str), found
        assert samples(found)["bert"] == CLEAN


def test_a_class_that_only_held_out_people_have_is_told_as_such(people: Path) -> None:
    (people / "held_out/dora.csv").write_text(HEAD + ROWS + "1,2,jump\n")
    said = "dora.csv line 18: class 'jump' is only in held-out files: no training client has it"
    assert read(people, {}) == f"task folder: {people}/held_out/{said}"


def test_a_label_of_numbers_in_two_ways_is_told(people: Path) -> None:
    for path in sorted(people.glob("*/*.csv")):
        path.write_text(path.read_text().replace(",a\n", ",0\n").replace(",b\n", ",1\n"))
    assert not isinstance(read(people, {}), str)
    (people / "train/bert.csv").write_text(HEAD + ROWS.replace(",a\n", ",0\n").replace(",b\n", ",1.0\n"))
    assert "bert.csv line 3: labels '1' (of " in str(read(people, {}))


def test_what_systems_leave_behind_is_no_client(people: Path) -> None:
    for name in ("._anna.csv", ".DS_Store", "Thumbs.db", "~$anna.csv", ".anna.csv.swp", "README.txt"):
        (people / "train" / name).write_bytes(b"\0\5\26\7")
    (people / "train/__MACOSX").mkdir()
    (people / "train/__MACOSX/._anna.csv").write_bytes(b"\0")
    found = read(people, {})
    assert not isinstance(found, str) and [client.name for client in found.train] == ["anna"]


def test_a_wide_constant_column_is_told_and_0(people: Path) -> None:
    for path in people.glob("*/*.csv"):
        rows = [f"{'1' * 60}.5,{line}" for line in path.read_text().splitlines()[1:]]
        path.write_text("wide," + HEAD + "\n".join(rows) + "\n")
    said = read(people, {})
    assert isinstance(said, str) and "line 2: column 'wide'" in said and "float32 ends at 3.4e38" in said
    for path in people.glob("*/*.csv"):
        path.write_text(path.read_text().replace("1" * 60, "1" * 30))
    assert tasks.get("folder", path=str(people)).notes == (
        "constant over the training clients, so 0 in every sample: column 'wide'",
    )
