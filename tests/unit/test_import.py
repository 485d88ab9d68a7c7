"""`tinyfed data import`: raw files of people become what a run learns from."""

import hashlib
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import require
from raw_people import write_people
from tinyfed_host.cli.main import run_command
from tinyfed_host.run.personal import learned

from tinyfed.data.arrays import read_arrays
from tinyfed.meta.adaptation import adaptation


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Tinyfed:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def text(self, *words: str) -> str:
        code = run_command(list(words))
        said = self._capsys.readouterr()
        assert code == 0, said.err
        return said.out

    def json(self, *words: str) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(self.text(*words, "--json").splitlines()[-1])
        return made

    def error(self, *words: str) -> str:
        assert run_command(list(words)) == 2
        said = self._capsys.readouterr()
        assert len(said.err.splitlines()) == 1, said
        return said.err


@pytest.fixture
def tinyfed(capsys: pytest.CaptureFixture[str]) -> Tinyfed:
    return Tinyfed(capsys)


def write(path: str, *lines: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("\n".join(lines) + "\n")


def rooms(count: int = 5) -> None:
    """A file for each of `count` rooms with eight readings of two classes, and what nobody wants."""
    for room in range(count):
        rows = [f"{k},{10 * room - k},{k % 3},{'xy'[k % 2]},word,{k // 2 + 140}" for k in range(16)]
        write(f"raw/room{room}.csv", "row,a,b,label,note,", *rows)


def digest(folder: str) -> dict[str, str]:
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_rows_become_samples_of_the_columns_that_hold_numbers(tinyfed: Tinyfed) -> None:
    rooms()
    made = tinyfed.json("data", "import", "raw", "out")
    assert made["columns"] == ["a", "b"] and made["left_out"] == [
        "row (an index)",
        "note (text)",
        "column 6 (an index)",
    ]
    assert made["classes"] == ["x", "y"] and made["skipped"] == {}
    assert len(made["train"]) == 4 and len(made["held_out"]) == 1  # 0.2 of 5
    arrays = read_arrays(Path("out/train") / f"{next(iter(made['train']))}.npz")
    assert arrays["x"].dtype == np.float32 and arrays["columns"].tolist() == ["a", "b"]
    room = int(next(iter(made["train"]))[-1])
    np.testing.assert_array_equal(arrays["x"], [[10 * room - k, k % 3] for k in range(16)])
    assert arrays["y"].tolist() == ["x", "y"] * 8
    assert tinyfed.json("run", "out/experiment.toml", "--rounds", "3")["rounds"] == 3


def test_the_same_input_and_seed_give_the_same_bytes(tinyfed: Tinyfed) -> None:
    rooms(6)
    folders = {}
    for seed in ("0", "1", "0"):
        name = f"out{len(folders)}"
        tinyfed.text("data", "import", "raw", name, "--held-out", "0.5", "--seed", seed)
        folders[name] = digest(name)
        del folders[name]["experiment.toml"]  # says its own command
    assert folders["out0"] == folders["out2"] != folders["out1"]


def test_windows_are_cut_by_time_and_what_is_left_out_is_counted(tinyfed: Tinyfed) -> None:
    """Each file with rows: 40 at 10 Hz, a gap of 2 s before row 20; row 5 has no number, row 6 the time of row 4, row
    30 no label. Windows of 5 readings: the 18 that are left of rows 0-19 give 3, the 20 behind the gap 4. x changes to
    y at row 10, and back at row 30."""
    for name in "abc":
        rows = []
        for k in range(40):
            time = (4 if k == 6 else k) / 10 + (2 if k >= 20 else 0)
            value = "oops" if k == 5 else str(k)
            rows.append(f"{time},{value},{'' if k == 30 else 'xy'[k >= 10 and k < 30]}")
        write(f"raw/{name}.csv", "time,v,label", *rows)
    write("raw/d.csv", "time,v,label")
    Path("raw/e.csv").touch()
    made = tinyfed.json("data", "import", "raw", "out", "--window", "0.5s", "--min-samples", "2")
    assert (made["rate_hz"], made["window"], made["step"], made["shape"]) == (pytest.approx(10), 5, 5, [5, 1])
    told = {reason: (entry["count"], entry["first"]) for reason, entry in made["skipped"].items()}
    assert told == {
        "rows with a cell that is no number": (3, "raw/a.csv line 7: column 'v' is 'oops': not a number"),
        "rows without a label": (3, "raw/a.csv line 32"),
        "rows at the same time as the one before": (3, "raw/a.csv line 8"),
        "gaps, which no window crosses": (3, "raw/a.csv line 22"),
        "files without rows": (2, "raw/d.csv"),
    }
    arrays = read_arrays(next(Path("out/train").iterdir()))
    assert arrays["x"][:, :, 0].astype(int).tolist() == [
        [0, 1, 2, 3, 4],
        [7, 8, 9, 10, 11],
        [12, 13, 14, 15, 16],
        [20, 21, 22, 23, 24],
        [25, 26, 27, 28, 29],
        [30, 31, 32, 33, 34],
        [35, 36, 37, 38, 39],
    ]
    assert arrays["y"].tolist() == ["x", "x", "y", "y", "y", "x", "x"]


def test_readings_are_resampled_and_summarized(tinyfed: Tinyfed) -> None:
    """0, 1, 2 ... at 1, 2, 4 Hz by file, all as v = 2 t: at 4 Hz windows of a second hold 2 t, 2 t + 0.5 ..."""
    for name, rate in (("a", 1), ("b", 2), ("c", 4)):
        rows = [f"{1000 * k // rate},{2 * k / rate},{'xy'[k // rate % 2]}" for k in range(24 * rate)]
        write(f"raw/{name}.csv", "time_ms,v,label", *rows)
    words = ("data", "import", "raw", "out", "--rate", "4", "--window", "1s", "--features", "min,max,mean")
    made = tinyfed.json(*words)
    assert made["shape"] == [3] and made["time"] == "time_ms, ms" and made["rate_hz"] == 4
    for path in Path("out").rglob("*.npz"):
        arrays = read_arrays(path)
        assert arrays["columns"].tolist() == ["v_min", "v_max", "v_mean"]
        start = 2 * np.arange(len(arrays["x"]))
        np.testing.assert_allclose(arrays["x"], np.stack([start, start + 1.5, start + 0.75], axis=1), atol=1e-5)
    assert "raw/b.csv: has 2 readings a second, raw/a.csv has 1; say --rate" in tinyfed.error(
        "data", "import", "raw", "other", "--window", "4"
    )


def test_clients_and_labels_come_from_columns_folders_or_names(tinyfed: Tinyfed) -> None:
    rows = [f"{who},{k},{'yes' if k % 2 else 'No '}" for k in range(12) for who in ("anna/1", "Anna_1", "cleo", "")]
    write("all.csv", "who,v,ok", *rows)
    made = tinyfed.json(
        "data", "import", "all.csv", "one", "--client", "who", "--label", "ok", "--held-out", "cleo", "--map", "yes=Yes"
    )
    assert list(made["train"]) == ["Anna_1", "anna/1"] and list(made["held_out"]) == ["cleo"]
    assert made["train"]["anna/1"] == {"No": 6, "Yes": 6} and made["skipped"]["rows without a client"]["count"] == 12
    assert sorted(digest("one")) == [
        "experiment.toml", "held_out/cleo.npz", "train/Anna_1.npz", "train/anna_1-2.npz"
    ]  # fmt: skip
    for who in ("anna", "bert", "cleo"):
        for label in ("walk", "run"):
            for day in range(2):
                write(f"tree/{who}/{label}/day{day}.csv", "v", *map(str, range(8)), "8.5")
    write("names.txt", "# judged on", "bert")
    made = tinyfed.json(
        "data", "import", "tree", "two", "--client", "folder", "--label", "folder", "--held-out", "names.txt"
    )
    assert made["train"]["anna"] == {"run": 18, "walk": 18} and list(made["held_out"]) == ["bert"]
    for path in sorted(Path("tree").rglob("*.csv")):
        who, label, day = path.parts[1], path.parts[2], path.stem
        write(f"flat/{label}_{who}_{day}.csv", *path.read_text().split())
    made = tinyfed.json(
        "data",
        "import",
        "flat",
        "three",
        "--client",
        "file:_([a-z]+)_",
        "--label",
        "file:^[a-z]+",
        "--held-out",
        "bert",
    )
    assert {**digest("two"), "experiment.toml": ""} == {**digest("three"), "experiment.toml": ""}


def test_a_folder_that_is_split_stays_so(tinyfed: Tinyfed) -> None:
    rooms()
    for part, numbers in (("train", (0, 2, 3)), ("held_out", (1, 4))):
        Path(f"split/{part}").mkdir(parents=True)
        for number in numbers:
            Path(f"raw/room{number}.csv").rename(f"split/{part}/room{number}.csv")
    made = tinyfed.json("data", "import", "split", "out")
    assert list(made["train"]) == ["room0", "room2", "room3"] and list(made["held_out"]) == ["room1", "room4"]


def test_numbers_to_learn_are_those_with_a_windows_last_reading(tinyfed: Tinyfed) -> None:
    for room in range(4):
        x = np.random.default_rng(room).normal(size=120).cumsum()
        rows = [f"{k / 10},{x[k]:.6f},{20 + 3 * x[k] - 2 * x[max(k - 1, 0)]:.6f},{room}" for k in range(120)]
        write(f"raw/room{room}.csv", "time,a,temperature,wall", *rows)
    asked = ["data", "import", "raw", "out", "--target", "temperature", "--window", "2", "--drop", "wall"]
    made = tinyfed.json(*asked)
    assert (made["targets"], made["classes"], made["shape"]) == (["temperature"], [], [2, 1])
    samples = read_arrays(next(Path("out/train").glob("*.npz")))
    assert samples["x"].shape == (60, 2, 1) and samples["y"].shape == (60, 1)
    found = 20 + 3 * samples["x"][:, 1, 0] - 2 * samples["x"][:, 0, 0]
    np.testing.assert_allclose(samples["y"][:, 0], found, atol=1e-4)
    assert tinyfed.text("run", "out/experiment.toml", "--rounds", "300", "--name", "n")
    judged = tinyfed.json("evaluate", "n", "--beside", "random")
    assert (judged["measure"], judged["unit"]) == ("rmse", "temperature")
    errors = {kind: each["curve"][-1][0] for kind, each in judged["kinds"].items()}
    assert errors["learned"] < errors["random"] / 2
    assert "has no classes" in tinyfed.error(*asked[:3], "o2", "--target", "temperature", "--label", "wall")
    assert "'cold'" in tinyfed.error(*asked[:3], "o2", "--target", "cold")


def test_sound_is_read_at_its_rate(tinyfed: Tinyfed) -> None:
    require(importlib.util.find_spec("soundfile"), "soundfile is not installed")
    import soundfile

    for digit in (0, 1):
        for who in ("anna", "bert", "cleo"):
            for take in range(6):
                Path("raw").mkdir(exist_ok=True)
                wave = np.sin(np.arange(4000) * 0.05 * (1 + digit)) * 0.5
                soundfile.write(f"raw/{digit}_{who}_{take}.wav", wave, 8000)
    made = tinyfed.json(
        "data", "import", "raw", "out", "--client", "file:_([a-z]+)_", "--label", "file:^(.)", "--window", "0.25s",
        "--features", "std,max", "--rate", "4000",
    )  # fmt: skip
    assert (made["window"], made["rate_hz"], made["shape"]) == (1000, 4000, [2])
    assert made["time"] == "8000 Hz, as 0_anna_0.wav says"
    assert made["train"][next(iter(made["train"]))] == {"0": 12, "1": 12}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere", "out"), "nowhere: there is no such file or folder"),
        (("/dev/zero", "out"), "/dev/zero: is no regular file"),
        (("raw", "raw/out"), "raw/out: lies in raw: name a folder beside it"),
        (("raw", "full"), "full: is there already and stays as it is: name another folder"),
        (("raw", "no/out"), "no: there is no such folder"),
        (("raw", "out", "--label", "lable"), "raw/room0.csv: column 'lable' is missing; there are row, a, b, label"),
        (("raw", "out", "--drop", "c"), "column 'c' is missing"),
        (("raw", "out", "--drop", "a,b"), "raw/room0.csv: no column is left that holds numbers"),
        (("raw", "out", "--keep", "a,b", "--label", "note"), "there are 1 classes in 'note', needed are 2 to 32: word"),
        (("raw/room0.csv", "out"), "raw/room0.csv: is one file: which column names the client?"),
        (("raw/room0.csv", "out", "--client", "file"), "there is one client, 'room0': two are needed"),
        (("full", "out"), "full: holds no CSV, TSV, Parquet, NPZ or WAV file; it has 1 text files: name"),
        (("raw", "out", "--held-out", "room9"), "--held-out: there is no client 'room9'; there are room0, room1,"),
        (("raw", "out", "--held-out", "1.5"), "--held-out = 1.5: must be a share between 0 and 1"),
        (("raw", "out", "--held-out", "room0,room1,room2"), "no client is left to train, of 3 with enough samples"),
        (("raw", "out", "--keep", "note"), "raw/room0.csv line 2: column 'note' is 'word': not a number"),
        (("comma", "out"), "comma/a.csv line 2: column 'v' is '0,5': not a number: a decimal comma; say --decimal ,"),
        (("raw", "out", "--map", "z=y"), "--map: no row has the label 'z'; there are x, y"),
        (("raw", "out", "--map", "x=y"), "there are 1 classes"),
        (("raw", "out", "--map", "x"), "--map = x: must be old=new,..."),
        (("raw", "out", "--map", "x=Y"), "labels 'Y' and 'y' differ only in case; --map Y=y makes them one"),
        (("raw", "out", "--min-samples", "9"), "0 of 3 clients have 9 samples of each class: 3 lack 'x'"),
        (("raw", "out", "--min-samples", "1"), "--min-samples = 1: must be a whole number, 2..1000000"),
        (("raw", "out", "--step", "4"), "--step: needs --window"),
        (("raw", "out", "--window", "4", "--features", "men"), '--features = men: must be of mean, std, min'),
        (("raw", "out", "--window", "50%"), "--window = 50%: must be readings or seconds"),
        (("raw", "out", "--window", "2s"), "--window: is in seconds, and no column tells the time; say --rate"),
        (("raw", "out", "--time", "note"), "--time: column 'note' holds no times"),
        (("raw", "out", "--client", "file:("), "--client = (: is no regular expression"),
        (("raw", "out", "--client", "file:x(.)"), "raw/room0.csv: 'room0' does not match 'x(.)'"),
        (("raw", "out", "--client", "folder"), "raw/room0.csv: --client: lies in no folder of its own"),
        (("mixed", "out"), "mixed: some files lie in folders of it and some do not; say --client"),
        (("twins", "out", "--client", "file"), "twins/a/x.csv and twins/b/x.csv are one client by name"),
        (("others", "out"), "others/a.csv has columns that are missing here: v; there are w, label; leave them"),
    ],
)  # fmt: skip
def test_mistakes_end_in_one_line_and_nothing_is_left(tinyfed: Tinyfed, here: Path, words: Any, said: str) -> None:
    rooms(3)
    write("full/notes.txt", "mine")
    write("mixed/a.csv", "v,label", "1,x")
    for name in ("mixed/in/b", "twins/a/x", "twins/b/x", "others/a"):
        write(f"{name}.csv", "v,label", "1,x")
    write("others/b.csv", "w,label", "1,x")
    write("comma/a.csv", "v;label", "0,5;x", "0,5;y")
    before = sorted(here.rglob("*"))
    assert said in tinyfed.error("data", "import", *words)
    assert sorted(here.rglob("*")) == before


def test_a_dry_run_writes_nothing_and_says_the_same(tinyfed: Tinyfed, here: Path) -> None:
    rooms(3)
    before = sorted(here.rglob("*"))
    dry = tinyfed.text("data", "import", "raw", "out", "--dry-run").splitlines()
    assert sorted(here.rglob("*")) == before
    assert dry[-1] == "nothing is written; without --dry-run it is out/"
    Path("out").mkdir(0o750)  # an empty folder will do, and stays: it may be mounted, or the shell's own
    folder = Path("out").stat()
    assert tinyfed.text("data", "import", "raw", "out").splitlines()[:-1] == dry[:-1]
    assert os.path.samestat(folder, Path("out").stat()) and folder.st_mode == Path("out").stat().st_mode
    assert sorted(path.name for path in Path("out").iterdir()) == ["experiment.toml", "held_out", "train"]


def test_a_disk_that_is_full_leaves_nothing(here: Path) -> None:
    """No file may be larger than 1 KB: the first client's is."""
    rooms(3)
    before = sorted(here.rglob("*"))
    program = "from tinyfed_host.cli.main import main; main()"
    limited = f"ulimit -f 1; exec {sys.executable} -c '{program}' data import raw out"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].endswith("out: cannot be written: File too large")
    assert sorted(here.rglob("*")) == before


@pytest.mark.slow
def test_the_way_of_a_person(tinyfed: Tinyfed) -> None:
    """40 people's raw files, from the files to held-out accuracy; by chance it is one in three."""
    write_people(Path("raw"))
    checked = tinyfed.text("data", "check", "raw").splitlines()
    assert "clients: 40, one a file; classes: 3, by activity" in checked
    assert "- 75 rows have no label: an import leaves them out" in checked
    assert not [line for line in checked if "too few" in line]
    words = shlex.split(checked[-1].removeprefix("next: tinyfed "))
    assert tinyfed.json(*words, "--dry-run")["classes"] == ["run", "sit", "walk"]
    told = tinyfed.text("data", "import", "raw", "people", "--window", "2.56s", "--step", "50%")
    for line in (
        "read     40 files, 240,000 rows; label: activity; time: time, s",
        "columns  ax, ay, az; left out: note (text)",
        "samples  windows of 128 readings (2.56 s) at 50 Hz, one every 64: 128 x 3 values",
        # every fourth person's three; the cell of every fifth, thrice, and of every seventh, thrice; 25 rows, thrice
        "skipped  30 gaps, which no window crosses (first: raw/person00.csv line 702)",
        "skipped  42 rows with a cell that is no number (first: raw/person01.csv line 302: column 'ax' is 'err': not a "
        "number)",
        "skipped  75 rows without a label (first: raw/person03.csv line 2)",
        "wrote people/; next: tinyfed run people/experiment.toml",
    ):
        assert line in told.splitlines()
    result = tinyfed.json("run", "people/experiment.toml", "--rounds", "500")
    parts, image = learned(Path("runs/people"))
    assert (len(parts.task.train), len(parts.task.held_out), len(parts.experiment.fleet.boards)) == (32, 8, 32)
    assert result["rounds"] == 500
    by_shots = adaptation(image, parts.task.held_out, parts.task.adapt, draws=3).by_shots()
    assert by_shots[0] > 0.8 and by_shots[10] > 0.9
    judged = tinyfed.text("evaluate", "people")
    assert "learned together" in judged and all(name in judged for name in ("person00", "walk", "random start"))


def test_a_label_that_is_missing_is_no_class(tinyfed: Tinyfed) -> None:
    """12 of 0, 12 of 1, 6 NaN of each of three people."""
    y = np.r_[np.zeros(12), np.ones(12), np.full(6, np.nan)]
    for who in "abc":
        Path("raw").mkdir(exist_ok=True)
        np.savez(f"raw/{who}.npz", x=np.random.default_rng(0).normal(size=(30, 2)), y=y)
    made = tinyfed.json("data", "import", "raw", "out")
    assert made["classes"] == ["0.0", "1.0"] and made["skipped"]["rows without a label"]["count"] == 18
    assert made["skipped"]["rows without a label"]["first"] == "raw/a.npz row 25"
    facts = tinyfed.json("data", "check", "raw")
    assert facts["clients"]["a"]["classes"] == {"": 6, "0.0": 12, "1.0": 12}
    assert "18 rows have no label: an import leaves them out" in facts["notes"]
    Path("raw/train").mkdir()
    Path("raw/a.npz").rename("raw/train/a.npz")
    Path("raw/b.npz").rename("raw/train/b.npz")
    Path("raw/held_out").mkdir()
    Path("raw/c.npz").rename("raw/held_out/c.npz")
    assert "raw/train/a.npz: y[24]: the label is empty" in tinyfed.error("data", "check", "raw")
