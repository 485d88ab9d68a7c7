"""`tinyfed data check`: what it says of folders as people have them, and that what it writes runs."""

import importlib.util
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED_DATA, require
from test_run_command import Tinyfed, tinyfed

__all__ = ["tinyfed"]


def walk(
    path: Path, *, rows: int = 400, hz: float = 50, shift: float = 0.0, gap: bool = False, labels: str = ""
) -> None:
    """Readings of a person: a time in ms, three channels, a constant one, a note, what he did."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    lines = ["row,t_ms,ax,ay,az,battery,note,activity"]
    for k in range(rows):
        time = 1000 * k / hz + (5000 if gap and k >= rows // 2 else 0)
        x, y, z = rng.normal(shift + (k // 100) % 2, 0.1, 3)
        activity = labels or ("walk", "sit")[(k // 100) % 2]
        lines.append(f"{k},{time:.0f},{x:.4f},{y:.4f},{z:.4f},3.3,n{k},{activity}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, shift in (("anna", 0.0), ("bert", 1.0), ("cleo", 2.0)):
        walk(tmp_path / f"raw/{name}.csv", shift=shift, gap=name == "bert")
    return tmp_path


def roles(facts: dict[str, object]) -> dict[str, str]:
    columns = facts["columns"]
    assert isinstance(columns, list)
    return {column["column"]: column["looks_like"] for column in columns}


def test_raw_files_a_person(tinyfed: Tinyfed, raw: Path) -> None:
    (facts,) = tinyfed.lines("data", "check", "raw")
    assert roles(facts) == {
        "row": "index", "t_ms": "time", "ax": "number", "ay": "number", "az": "number", "battery": "constant",
        "note": "text", "activity": "label",
    }  # fmt: skip
    assert (facts["separator"], facts["encoding"], facts["rate_hz"], facts["client"]) == (",", "utf-8", 50, "file")
    assert (facts["gaps"], facts["longest_gap_s"]) == (1, 5.02)
    assert facts["clients"]["bert"] == {"part": "", "rows": 400, "classes": {"sit": 200, "walk": 200}}
    assert facts["import"] == (
        "tinyfed data import raw raw-samples --client file --label activity --drop battery --window 0.5s --step 50% "
        "--held-out 0.2 --seed 0"
    )
    said = tinyfed.text("data", "check", "raw")
    assert "time: 50 Hz; 1 gap, the longest 5.02 s, the first at raw/bert.csv line 202" in said
    assert f"next: {facts['import']}" in said
    tinyfed.text(*shlex.split(facts["import"])[1:])
    assert tinyfed.lines("run", "raw-samples/experiment.toml", "--rounds", "10")[-1]["metrics"]["loss"] < 0.69


def test_a_folder_that_is_split_runs_as_it_is(tinyfed: Tinyfed, raw: Path) -> None:
    for name in ("train/anna", "train/bert", "held_out/cleo"):
        (raw / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        text = (raw / f"raw/{Path(name).name}.csv").read_text().replace(",", ";").replace(".", ",")
        (raw / f"own/{name}.csv").write_text(text)
    said = tinyfed.text("data", "check", "own")
    assert "columns separated by semicolons, decimal comma, UTF-8" in said and "2 in train/, 1 in held_out/" in said
    assert "a visit draws 10 samples of each of 2 classes to learn from" in said
    tinyfed.text("data", "check", "own", "-o", "own.toml")
    text = (raw / "own.toml").read_text()
    assert 'path = "own"' in text and 'drop = "row, t_ms, battery, note"' in text and "inputs = 3" in text
    ended = tinyfed.lines("run", "own.toml", "--rounds", "20")[-1]
    assert ended["metrics"]["loss"] < 0.69  # log 2 is a guess


def test_what_a_run_would_refuse_is_said(tinyfed: Tinyfed, raw: Path) -> None:
    for name in ("train/anna", "train/bert", "held_out/cleo"):
        walk(raw / f"own/{name}.csv", rows=300 if name == "train/anna" else 106)
    walk(raw / "own/train/dora.csv", labels="walk")
    said = tinyfed.error(2, "data", "check", "own")
    assert "own/train/dora.csv: 0 samples of class 'sit' here" in said
    assert tinyfed.error(2, "data", "check", "raw", "-o", "x.toml").startswith("tinyfed: --output: there is no train/")
    assert not (raw / "x.toml").exists()


def test_one_file_with_a_column_of_clients(tinyfed: Tinyfed, raw: Path) -> None:
    rows = [f"u{k // 40},{k % 7}.5,{'ab'[k % 2]}" for k in range(400)]
    (raw / "all.tsv").write_text("user_id,x,label\n".replace(",", "\t") + "\n".join(rows).replace(",", "\t") + "\n")
    (facts,) = tinyfed.lines("data", "check", "all.tsv")
    assert roles(facts) == {"user_id": "client", "x": "number", "label": "label"}
    assert facts["client"] == "user_id" and len(facts["clients"]) == 10
    assert facts["clients"]["u3"]["classes"] == {"a": 20, "b": 20}
    assert shlex.split(facts["import"])[5:9] == ["--client", "user_id", "--label", "label"]


def test_what_counts_rows_is_no_time_and_no_input(tinyfed: Tinyfed, raw: Path) -> None:
    """As rows are left out: every tenth, and in `sample` every fifth too. `number` falls and rises: it is a reading."""
    for person in range(3):
        rows = [
            f"{140 + 400 * person + k},{k + k // 4},{k // 10 % 3},{k % 7}.5,{k},{'ab'[k // 10 % 2]}"
            for k in range(200)
            if k % 10
        ]
        (raw / "rest").mkdir(exist_ok=True)
        (raw / f"rest/p{person}.csv").write_text("\n".join([",sample,number,x,__index_level_0__,label", *rows]) + "\n")
    (facts,) = tinyfed.lines("data", "check", "rest")
    assert roles(facts) == {
        "column 1": "index", "sample": "index", "number": "number", "x": "number", "__index_level_0__": "index",
        "label": "label",
    }  # fmt: skip
    assert facts["rate_hz"] is None and "--time" not in facts["import"]
    made = tinyfed.lines(*shlex.split(facts["import"])[1:], "--json")[-1]
    assert made["columns"] == ["number", "x"] and made["time"] in (None, "", "none")
    assert made["left_out"] == ["column 1 (an index)", "sample (an index)", "__index_level_0__ (an index)"]


def test_a_number_that_only_tells_the_client_is_no_input(tinyfed: Tinyfed, raw: Path) -> None:
    """`room` changes within a client, `age` is not called so, `device` is the same for all: they stay."""
    for person in range(4):
        rows = [f"{person + 1},{k // 20},{20 + person},3,{k % 7}.5,{'ab'[k % 2]}" for k in range(40)]
        (raw / "who").mkdir(exist_ok=True)
        (raw / f"who/p{person}.csv").write_text("\n".join(["SubjectID,room,age,device,x,label", *rows]) + "\n")
    (facts,) = tinyfed.lines("data", "check", "who")
    assert roles(facts) == {
        "SubjectID": "client", "room": "number", "age": "number", "device": "constant", "x": "number", "label": "label"
    }  # fmt: skip
    assert facts["client"] == "file"
    assert "column 'SubjectID' only tells the client: it is left out" in facts["notes"]
    made = tinyfed.lines("data", "import", "who", "out", "--json")[-1]
    assert (made["columns"], made["left_out"]) == (
        ["room", "age", "device", "x"],
        ["SubjectID (only tells the client)"],
    )
    assert len(made["train"]) == 3 and made["skipped"] == {}
    kept = tinyfed.lines("data", "import", "who", "kept", "--keep", "SubjectID,x", "--json")[-1]
    assert kept["columns"] == ["SubjectID", "x"]


def mixed_rooms(path: Path, *, by_time: bool = True) -> None:
    """Three rooms, each read 120 times every 300 s, 2 s apart; the last misses 10 readings before its 60th."""
    at = [(300 * k + 2 * room, room, k) for room in range(3) for k in range(120) if room < 2 or not 50 <= k < 60]
    start = np.datetime64("2024-01-01T00:00:00")
    rows = [f"{start + t},r{room},{k}.5,{'ab'[k // 20 % 2]}" for t, room, k in (sorted(at) if by_time else at)]
    path.write_text("\n".join(["time,room,co2,label", *rows]) + "\n")


@pytest.mark.parametrize("by_time", [True, False])
def test_each_client_of_a_file_has_a_clock_of_its_own(tinyfed: Tinyfed, raw: Path, by_time: bool) -> None:
    mixed_rooms(raw / "rooms.csv", by_time=by_time)
    line = 1 + 150 + 20 + 3 if by_time else 1 + 240 + 51  # by time: two rooms and 50 rounds, then two for 10, then one
    said = tinyfed.text("data", "check", "rooms.csv")
    assert f"time: a reading each 5 min; 1 gap, the longest 55 min, the first at rooms.csv line {line}" in said
    made = tinyfed.lines("data", "import", "rooms.csv", "out", "--client", "room", "--window", "600s", "--json")[-1]
    assert (made["window"], made["rate_hz"]) == (2, pytest.approx(1 / 300))
    assert made["skipped"] == {"gaps, which no window crosses": {"count": 1, "first": f"rooms.csv line {line}"}}
    both = {**made["train"], **made["held_out"]}
    assert both == {"r0": {"a": 30, "b": 30}, "r1": {"a": 30, "b": 30}, "r2": {"a": 25, "b": 30}}


def test_a_client_of_a_file_that_is_slower_is_named(tinyfed: Tinyfed, raw: Path) -> None:
    mixed_rooms(raw / "rooms.csv", by_time=False)
    rows = (raw / "rooms.csv").read_text().split("\n")
    (raw / "rooms.csv").write_text("\n".join(row for k, row in enumerate(rows) if k % 2 or "r1" not in row))
    assert "- clients differ in rate: 0.001667 to 0.003333 Hz: resample with --rate" in tinyfed.text(
        "data", "check", "rooms.csv"
    )
    error = tinyfed.error(2, "data", "import", "rooms.csv", "out", "--client", "room", "--window", "2")
    assert "rooms.csv: client 'r1' has 0.001667 readings a second, others have 0.003333; say --rate" in error


def test_time_that_goes_back_is_no_gap_of_0_s(tinyfed: Tinyfed, raw: Path) -> None:
    rows = [f"{k % 40 / 10},{k % 7}.5,{'ab'[k // 4 % 2]}" for k in range(80)]
    (raw / "two.csv").write_text("\n".join(["time,x,label", *rows]) + "\n")
    assert "time: 10 Hz; 1 gap, where time goes back, the first at two.csv line 42" in tinyfed.text(
        "data", "check", "two.csv"
    )


def test_folders_of_arrays_and_sounds(tinyfed: Tinyfed, raw: Path) -> None:
    for name in ("train/a", "held_out/b"):
        (raw / "n" / name).parent.mkdir(parents=True)
        np.savez(raw / f"n/{name}.npz", x=np.random.default_rng(len(name)).normal(size=(40, 4, 3)), y=np.arange(40) % 2)
    tinyfed.text("data", "check", "n", "-o", "n.toml")
    assert "inputs = 12  #" in (raw / "n.toml").read_text() and "drop" not in (raw / "n.toml").read_text()
    require(importlib.util.find_spec("soundfile"), "soundfile is not installed: run `make setup`")
    import soundfile

    for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"):
        path = raw / f"sounds/{kind}/one.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.linspace(-0.5, 0.5, 1600).reshape(800, 2), 8000, kind)
    (facts,) = tinyfed.lines("data", "check", "sounds")
    assert (facts["files"], facts["rate_hz"], facts["client"]) == ({"wav": 5}, 8000, "folder")
    assert roles(facts) == {"channel 1": "number", "channel 2": "number"}
    for column in facts["columns"]:
        assert abs(column["low"] + 0.5) < 0.01 and abs(column["high"] - 0.5) < 0.01


def test_nothing_of_a_file_reaches_the_terminal_raw(tinyfed: Tinyfed, raw: Path) -> None:
    (raw / "bad").mkdir()
    head = "\x1b[2Jx,label\n"
    (raw / "bad/\x1b]0;a.csv").write_text(head + "".join(f"{k}.5,\x1b[31m{k % 2}\n" for k in range(40)))
    assert "\x1b" not in tinyfed.text("data", "check", "bad")


def test_published_files(tinyfed: Tinyfed, tmp_path: Path) -> None:
    """Occupancy's header has no name for the leading row number."""
    source = SHARED_DATA / "occupancy/datatraining.txt"
    require(source.is_file(), "shared/data/occupancy is not beside the checkout")
    (facts,) = tinyfed.lines("data", "check", str(source))
    assert roles(facts)["column 1"] == "index" and roles(facts)["date"] == "time"
    assert facts["label"] == "Occupancy" and facts["gaps"] == 0 and json.dumps(facts)


def test_stamps_are_shown_as_dates_and_numbers_to_learn_as_targets(tinyfed: Tinyfed, raw: Path) -> None:
    for name in "ab":
        (raw / "rooms").mkdir(exist_ok=True)
        rows = [f"{1_700_000_000_000 + 60_000 * k},{k % 9}.{k % 7},{k * k % 61}.25" for k in range(60)]
        (raw / f"rooms/{name}.csv").write_text("timestamp,co2,temperature\n" + "\n".join(rows) + "\n")
        days = [f"{k % 12 + 1:02}/11/2023 22:13,{k % 9}.5,{'xy'[k // 20 % 2]}" for k in range(12)]
        (raw / "days").mkdir(exist_ok=True)
        (raw / f"days/{name}.csv").write_text("date,co2,label\n" + "\n".join(days) + "\n")
    said = tinyfed.text("data", "check", "rooms")
    assert "time in ms  2023-11-14 22:13:20 to 2023-11-14 23:12:20" in said
    assert "next: tinyfed data import rooms rooms-samples --client file --target COLUMN --held-out 0.2" in said
    said = tinyfed.text("data", "check", "days")
    assert "- days/a.csv: column 'date': is the day first, or the month? --time date:DMY or MDY" in said


PEOPLE = ("anna", "bert", "cleo")


@pytest.mark.parametrize(
    ("names", "client", "label", "classes"),
    [
        ([f"{who}/{what}" for who in PEOPLE for what in ("walk", "sit")], "folder", "file", ["sit", "walk"]),
        ([f"{what}/p0{k}" for what in ("walk", "sit") for k in range(3)], "file:.+", "folder", ["sit", "walk"]),
        (
            [f"{who}/{what}/day{k}" for who in PEOPLE for what in ("walk", "sit") for k in range(2)],
            "folder", "folder", ["sit", "walk"],
        ),
        (
            [f"spk{k}/{what}_{j}" for k in range(3) for what in ("low", "high") for j in range(2)],
            "folder", "file:^([^ _.-]+)", ["high", "low"],
        ),
        (
            [f"{digit}_{who}_{j}" for digit in range(3) for who in PEOPLE for j in range(2)],
            "file:^[^ _.-]*[ _.-]([^ _.-]+)", "file:^([^ _.-]+)", ["0", "1", "2"],
        ),
        ([f"{who}/2024-0{k}" for who in PEOPLE for k in (1, 2)], "folder", None, []),
        ([f"{who}_{k}" for who in PEOPLE for k in (1, 2)], "file", None, []),
    ],
)  # fmt: skip
def test_labels_in_names(
    tinyfed: Tinyfed, raw: Path, names: list[str], client: str, label: str | None, classes: list[str]
) -> None:
    for name in names:
        (raw / f"n/{name}.csv").parent.mkdir(parents=True, exist_ok=True)
        (raw / f"n/{name}.csv").write_text("v,w\n" + "".join(f"{k % 7}.5,{k * k % 11}.25\n" for k in range(40)))
    (facts,) = tinyfed.lines("data", "check", "n")
    assert (facts["client"], facts["label"]) == (client, label)
    assert sorted({each for one in facts["clients"].values() for each in one["classes"]} - {""}) == classes
    words = shlex.split(facts["import"])[1:]
    if label:
        (made,) = tinyfed.lines(*words)
        assert made["classes"] == classes and {**made["train"], **made["held_out"]} == {
            name: one["classes"] for name, one in facts["clients"].items()
        }
    else:
        assert words[4:8] == ["--client", client, "--target", "COLUMN"]


def test_all_people_in_the_file_of_each_day(tinyfed: Tinyfed, raw: Path) -> None:
    (raw / "days").mkdir()
    for day in range(3):
        rows = [f"{k % 7}.5,s{k % 4},{'ab'[k // 4 % 2]}" for k in range(40)]
        (raw / f"days/day{day}.csv").write_text("v,subject,state\n" + "\n".join(rows) + "\n")
    (facts,) = tinyfed.lines("data", "check", "days")
    assert facts["client"] == "subject" and facts["clients"]["s3"] == {
        "part": "",
        "rows": 30,
        "classes": {"a": 15, "b": 15},
    }
    assert "--client subject --label state" in facts["import"]
    said = tinyfed.error(2, "data", "import", "days", "out")
    assert "no column is called label; there are v, subject, state; say --label state, which looks like one, or" in said
