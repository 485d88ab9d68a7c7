"""Commands x environments x bad inputs: no fault inside tinyfed, nothing deleted, nothing half written.

Every command line runs in this process, in a folder of its own whose files are the user's, and ends with a documented
exit code and one line of error at most.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tinyfed_host.cli import main as cli

ROOT = Path(__file__).parents[2]
CODES = {0, 2, 3, 4, 5, 6, 7}

# Each takes a file of the user's, `{input}`, which stands for what the command reads; outputs have names of their own.
COMMANDS = [
    "run {input}", "run {input} --json", "run --resume {input}", "run --resume nowhere", "run {input} --name ..",
    "run {input} --board {input}", "run {input} --from {input}", "run {input} --port {input}",
    "run {input} --fleet simulated --rounds 1", "report {input}", "report nowhere", "report nowhere --json", "runs",
    "runs {input}", "runs --json", "boards", "boards {input}", "boards --json", "boards mps2_an386",
    "devices ask {input}", "devices adapt {input} {input}", "devices save {input}", "devices label {input} 0",
    "emulate --board {input}", "emulate --board mps2_an386 --store {input} --store {input} --count 2",
    "firmware build --board {input}", "firmware size --board {input}", "firmware info {input}",
    "model inspect {input}", "model inspect {input} --json", "model plan {input}", "model convert {input} -o out.tfm",
    "model codegen {input} -o out", "model codegen {input} -o out --labels {input}",
    "model run {input} --input {input} -o out.npy", "model attach-head {input} -o out.tfm --classes 3",
    "model quantize {input} --representative {input} -o out.tflite", "model export {input} -o out.tflite",
    "data list", "data list --json", "data info {input}", "data info occupancy",
    "data shard folder {input} -o out.shard",
    "data recording {input} -o out.rec", "data recording {input} -o out.rec --columns 1",
    "data check {input}", "data check {input} --json", "data check {input} -o out.toml",
    "data import {input} out", "data import {input} out --json --client file --label file --time none",
    "data import {input} out --dry-run --held-out {input}",
    "evaluate {input}", "evaluate {input} --task {input} --json", "evaluate {input} --task sine --seeds 1",
    "evaluate nowhere --shots {input}", "deploy {input} --board mps2_an386 --dry-run --json",
    "deploy nowhere --board {input}",
    "compare {input}", "compare {input} nowhere --html out.html", "compare {input} --json",
    "sweep {input} --set task.shots=1,2 --json", "sweep {input} --set {input}", "run {input} --set {input}",
    "runs export {input} -o out.csv", "runs export nowhere --to mlflow:{input}",
    "evaluate {input}", "evaluate {input} --task {input} --json", "evaluate nowhere --port {input}",
    "deploy {input} --board mps2_an386", "deploy nowhere --board {input}", "run {input} --force --name out",
    "run --resume {input} --rounds 3", "init {input}", "init sine {input}/out", "init own-data {input}",
    "reproduce {input}", "demo --help",
    "bench step --board {input}", "bench infer {input} --board {input}",
]  # fmt: skip

INPUTS: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "empty": lambda path: path.touch(),
    "folder": lambda path: path.mkdir(),
    "fifo": lambda path: os.mkfifo(path),
    "zero": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path),
    "binary": lambda path: path.write_bytes(bytes(range(256)) * 4),
    "nested": lambda path: path.write_text("x = " + "[" * 3000 + "]" * 3000),
    "latin": lambda path: path.write_bytes("größe = 1\n".encode("latin-1")),
    "utf16": lambda path: path.write_text("rounds = 1\n", encoding="utf-16"),
    "arrays": lambda path: np.savez(path.open("wb"), x=np.zeros((2, 3))),
    "petabytes": lambda path: path.write_bytes(
        b"\x93NUMPY\1\0\x45\0{'descr': '<f8', 'fortran_order': False, 'shape': (200000000000000,)}\n"
    ),
}  # fmt: skip
ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "plain": {},
    "no home": {"HOME": None, "XDG_CACHE_HOME": None},
    "home is the root": {"HOME": "/", "XDG_CACHE_HOME": None},
    "cache is a file": {"XDG_CACHE_HOME": "/dev/null"},
    "cache cannot be written": {"XDG_CACHE_HOME": "/proc/nowhere"},
    "cache is relative": {"XDG_CACHE_HOME": "a,b"},
    "temporary folder is long": {"TMPDIR": "/tmp/" + "long" * 40},
    "temporary folder has a comma": {"TMPDIR": "/tmp/a,b"},
    "no temporary folder": {"TMPDIR": "/proc/nowhere"},
    "no language": {"LC_ALL": "C", "LANG": None},
    "no terminal": {"TERM": "", "COLUMNS": "-1"},
    "data is a file": {"TINYFED_DATA": "/dev/null"},
}


def tree(folder: Path) -> dict[str, bytes | str]:
    """What lies in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        if path.is_file() and not path.is_symlink()
        else str(path.lstat().st_mode)
        for path in sorted(folder.rglob("*"))
    }  # fmt: skip


def check(words: list[str], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(place)
    code = cli.run_command(words)
    said = capsys.readouterr().err
    assert code in CODES, (words, code, said)
    assert "Traceback" not in said and "fault inside" not in said
    if code:
        assert said.startswith("tinyfed: ") and said.count("\n") == 1, (words, said)
    after = tree(place)
    assert {name: after.get(name) for name in before} == before, f"{words}: a file of the user's is another"
    left = {name for name, content in after.items() if name not in before and content == b""}
    assert not left, f"{words} left {left}"
    if code:
        assert not {name for name in after.keys() - before.keys() if name.startswith("out")}, words


NAMES = ["größe.csv", "sp ace.tfm", "x.npy", "x.keras", os.fsdecode(b"\xff.toml")]


@pytest.mark.parametrize("name", ["plain.toml", *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES)])
@pytest.mark.parametrize("command", COMMANDS)
def test_bad_inputs(
    command: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, make in INPUTS.items():
        place = tmp_path / kind
        place.mkdir()
        (place / "notes.txt").write_text("mine")
        monkeypatch.chdir(place)
        make(place / name)
        check([word.replace("{input}", name) for word in command.split()], place, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_environments(
    command: str, environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable, value in ENVIRONMENTS[environment].items():
        if value is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, value)
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    check([word.replace("{input}", "nothing.toml") for word in command.split()], tmp_path, capsys)
