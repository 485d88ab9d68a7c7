"""`tinyfed data recording`: files of readings, or a task's client, as an emulated board's sensor plays them."""

import json
from pathlib import Path

import numpy as np
import pytest
from tinyfed_host.cli.main import run_command

from tinyfed.data.recording import read_takes, take_count, write_recording
from tinyfed.errors import UsageError
from tinyfed.tasks import watch


def test_a_client_plays_its_published_readings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "me.tfrc"
    words = ["data", "recording", "watch", "person2-wrist0", "--classes", "3,0", "--period-us", "250", "-o", str(out)]
    assert run_command([*words, "--json"]) == 0
    own = watch.takes((2, 0))
    said = json.loads(capsys.readouterr().out)
    assert said["readings"] == [len(own[3]), len(own[0])]
    assert out.read_bytes() == write_recording([own[3], own[0]], 50, 250)
    assert take_count(out.read_bytes()) == 2


def test_files_become_takes_in_their_order(tmp_path: Path) -> None:
    walk = tmp_path / "walk.csv"
    walk.write_text("\ufefftime;ax;ay\n0.00;0.1;-1e-3\n\n0.02;0.2;+.5\n", encoding="utf-8")
    take = np.arange(6.0).reshape(3, 2)
    np.savez(tmp_path / "two.npz", b=take, a=take.astype(np.float32) + 1)
    np.save(tmp_path / "one.npy", take.astype(np.int16))
    out = tmp_path / "all.tfrc"
    files = [str(tmp_path / name) for name in ("two.npz", "one.npy")]
    assert run_command(["data", "recording", *files, "--rate", "100", "-o", str(out)]) == 0
    assert out.read_bytes() == write_recording([take, take + 1, take], 100)
    found = read_takes(walk, ["ay", "2"])[0]
    np.testing.assert_array_equal(found, [[-1e-3, 0.1], [0.5, 0.2]])


@pytest.mark.parametrize(
    ("name", "text", "columns", "told"),
    [
        ("a.csv", "x,y\n1,2\n3,four\n", [], r"a\.csv:3: '3,four' are not all numbers"),
        ("a.csv", "1_234\n5\n", [], r"a\.csv:1: '1_234' are not all numbers, nor names of columns"),
        ("a.csv", '"1,234.5"\n6\n', [], r"a\.csv:1: '1,234.5' are not all numbers, nor names of columns"),
        ("a.csv", "1,234.5;7\n8,1;9\n", [], r"a\.csv:1: '1,234.5;7' are not all numbers, nor names"),
        ("a.csv", "ax,ay\n1,\u0662\n", [], r"a\.csv:2: '1,\u0662' are not all numbers$"),
        ("a.csv", "ax,ay\n1,2\n\n3,nan\n", [], r"a\.csv:4: column 'ay' is nan: clean the data first"),
        ("a.csv", "1,2\n-inf,3\n", ["2", "1"], r"a\.csv:2: column '1' is -inf: clean the data first"),
        ("a.csv", "1,2\n3,1e39\n", [], r"a\.csv:2: column '2' is 1e\+39: float32 ends at 3.4e38: clean"),
        ("a.csv", "1,2\n3\n", [], r"a\.csv:2: 1 values, the lines before have 2"),
        ("a.csv", "x,y\n", [], r"a\.csv: has no readings"),
        ("a.csv", "x,y\n1,2\n", ["z"], r"there is no column 'z': its columns are x, y"),
        ("a.csv", "1,2\n", ["3"], r"there is no column '3': it has columns 1 to 2"),
        ("a.csv", "1,2\n", ["0"], r"there is no column '0'"),
        ("a.csv", "1,2\n", ["²"], r"there is no column '²'"),
        ("a.npz", "no zip", [], r"a\.npz: not a whole \.npz or \.npy file of numbers: it is text"),
        ("a.npy", "", [], r"a\.npy: not a whole .*: it is empty"),
        ("a.txt", "1,2\n", [], r"a\.txt: must be \.csv, \.npy or \.npz"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    name: str, text: str, columns: list[str], told: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=told):
        read_takes(tmp_path / name, columns)


def test_arrays_of_another_shape_or_kind_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", good=np.zeros((2, 3)), flat=np.zeros(3))
    with pytest.raises(UsageError, match=r"a\.npz \(flat\): is float64 \(3,\), a take is numbers"):
        read_takes(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", good=np.zeros((2, 3)), gap=np.array([[0, 1], [np.nan, 2]]))
    with pytest.raises(UsageError, match=r"a\.npz \(gap\): reading 1: column '1' is nan: clean the data first"):
        read_takes(tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", np.array([["x"]]))
    with pytest.raises(UsageError, match=r"b\.npy: is <U1"):
        read_takes(tmp_path / "b.npy")
    np.save(tmp_path / "c.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(UsageError, match=r"c\.npy: holds Python objects"):
        read_takes(tmp_path / "c.npy")
    with pytest.raises(UsageError, match=r"none\.npz: cannot be read: No such file"):
        read_takes(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["watch", "person2-wrist0", "--classes", "3,9"], "'9' is no class of task watch (0 to 6)"),
        (["watch", "nobody"], "there is no client 'nobody'"),
        (["watch", "person2-wrist0", "--columns", "1"], "--columns is for files"),
        (["a.csv", "--classes", "1"], "--classes is for a task's client"),
        (["sine", "device0"], "task sine: "),
    ],
)
def test_wrong_options_are_one_line(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["data", "recording", *words, "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert told in said and len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_gap_in_a_column_that_is_not_used_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,ax\nnan,1\nnan,2\n")
    np.testing.assert_array_equal(read_takes(tmp_path / "a.csv", ["ax"])[0], [[1], [2]])
