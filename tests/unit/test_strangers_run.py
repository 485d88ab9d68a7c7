"""A run's folder from somebody else is read, reported and gone on with; nothing in it is carried out or trusted."""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import require
from sine_toml import sine_toml
from test_report import EVALUATED
from tinyfed_host.cli.main import run_command
from tinyfed_host.device import discovery
from tinyfed_host.evaluation.kept import EVALUATION
from tinyfed_host.report.document import NOTES, write_report
from tinyfed_host.run.names import DATABASE
from tinyfed_host.run.store import METRICS, StoreError
from tinyfed_host.transport import serial

from tinyfed.errors import DeviceError

ROOT = Path(__file__).parents[2]
EXPERIMENT = sine_toml(3, outputs=4, shots=5, devices=2)
SCRIPT = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three rounds."""
    place = tmp_path_factory.mktemp("finished")
    (place / "x.toml").write_text(EXPERIMENT)
    before = Path.cwd()
    os.chdir(place)
    try:
        assert run_command(["run", "x.toml", "--json"]) == 0
    finally:
        os.chdir(before)
    return place / "runs/x"


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, tmp_path / "runs/x")
    return tmp_path / "runs/x"


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit the stored experiment."""
    with sqlite3.connect(folder / DATABASE) as connection:
        (text,) = connection.execute("SELECT value FROM run WHERE key = 'experiment'").fetchone()
        values = json.loads(text)
        edit(values)
        connection.execute("UPDATE run SET value = ? WHERE key = 'experiment'", (json.dumps(values),))
    connection.close()


def evil_board(place: Path) -> Path:
    """A board whose compiler, emulator and PlatformIO flags each leave a mark; returns the mark."""
    mark, program = place / "mark", place / "evil-gcc"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    manifest = json.loads((ROOT / "boards/mps2_an386.json").read_text())
    manifest["tinyfed"]["compiler"]["prefix"] = str(place / "evil-")
    manifest["tinyfed"]["emulator"]["program"] = str(program)
    (place / "evil.json").write_text(json.dumps(manifest))
    return mark


def test_a_board_that_is_a_path_is_no_board(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exploit: a stored board is a manifest of the stranger's, whose compiler is run."""
    mark = evil_board(tmp_path)
    for path in (str(tmp_path / "evil"), os.path.relpath(tmp_path / "evil", ROOT / "boards")):
        change(folder, lambda values, path=path: values["fleet"].update(kind="emulated", boards=[path] * 2))
        change(folder, lambda values: values.update(rounds=9))
        commands = [["run", "--resume", str(folder)]]
        commands += [["run", str(ROOT / "examples/sine.toml"), "--fleet", "emulated", "--name", "y", "--board", path]]
        commands += [["firmware", "build", "--board", path], ["emulate", "--board", path, "--for", "0"]]
        for command in commands:
            assert run_command(command) == 2, command
            assert "no such board" in (said := capsys.readouterr().err) or "there is no board" in said
            assert not mark.exists()
    assert not (tmp_path / "runs/y").exists()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda v: v.update(rounds=10**9), "rounds = 1000000000: must be a whole number, 1..10000000"),
        (lambda v: v.update(seed="7"), "seed"),
        (lambda v: v.update(extra=1), "no such key"),
        (lambda v: v.pop("model"), "model: is missing"),
        (lambda v: v["model"].update(layers=[]), "layers"),
        (lambda v: v["model"]["layers"][0].update(outputs=10**9), "outputs"),
        (lambda v: v["model"]["layers"][0].update(kind="../x"), "kind"),
        (lambda v: v["model"].update(image="/etc/passwd"), "inputs|image"),
        (lambda v: v["task"].update(name="os"), 'task.name = "os"'),
        (lambda v: v["task"].update(options=[]), "options"),
        (lambda v: v["task"]["order"].update(shots=10**6), "shots"),
        (lambda v: v["strategy"]["options"].update(alpha=float("1e30")), "alpha"),
        (lambda v: v["fleet"].update(kind="shell"), "fleet.kind"),
        (lambda v: v["fleet"].update(boards=[]), "boards"),
        (lambda v: v["fleet"].update(boards=["mps2_an386"] * 5000), "boards"),
        (lambda v: v["round"].update(timeout_s="inf"), "timeout_s"),
    ],
)
def test_what_is_stored_is_checked_as_what_is_typed(
    edit: Callable[[dict[str, Any]], object], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder, edit)
    code, told = run_command(["run", "--resume", "x"]), capsys.readouterr().err
    if said == "inputs|image":  # the run's own model stands for the file: nothing is read from there
        assert code == 0 and "root:" not in told
        return
    assert code == 2 and said in told and told.count("\n") == 1, told
    assert f"{folder.relative_to(Path.cwd())}/{DATABASE}" in told


def test_no_port_is_opened_because_a_run_names_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither those that are stored nor, to see who is there, others: only what is typed."""
    opened: list[str] = []

    def open_none(port: str) -> Any:
        opened.append(port)
        raise DeviceError("not there", where=port)

    monkeypatch.setattr(discovery, "open_transport", open_none)
    monkeypatch.setattr(serial, "list_serial_ports", lambda: pytest.fail("looked at all ports"))
    stored = ["socket://10.0.0.1:25", "/dev/tty\x1b[2J"]
    change(folder, lambda values: values["fleet"].update(kind="ports", ports=stored))
    change(folder, lambda values: values.update(rounds=9))
    assert run_command(["run", "--resume", "x"]) == 2
    said = capsys.readouterr().err
    assert "named again, each with --port; it had --port socket://10.0.0.1:25" in said
    assert said.count("\n") == 1 and "\x1b" not in said and not opened
    assert run_command(["run", "--resume", "x", "--port", "/dev/ttyMINE"]) == 4
    assert opened == ["/dev/ttyMINE"]
    change(folder, lambda values: values["fleet"].update(kind="ports", ports=["any"]))
    assert run_command(["run", "--resume", "x"]) == 2
    assert opened == ["/dev/ttyMINE"]
    assert run_command(["run", "--resume", "x", "--fleet", "simulated", "--json"]) == 0


def test_an_untouched_run_goes_on(folder: Path) -> None:
    assert run_command(["run", "--resume", "x", "--json"]) == 0
    assert run_command(["report", "x"]) == 0


@pytest.mark.parametrize("name", [METRICS, "run.log", "model.tfm", "report.html", "run.lock"])
def test_a_link_in_the_folder_leads_nowhere(
    name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").write_text("mine\n" * 9)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "precious")
    for command in (["run", "--resume", "x"], ["report", "x"]):
        assert run_command(command) == 7
        assert f"{name}: is a link" in capsys.readouterr().err
    assert (tmp_path / "precious").read_text() == "mine\n" * 9


def test_a_trigger_in_the_database_is_seen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(folder / DATABASE) as connection:
        connection.execute("CREATE TRIGGER t AFTER INSERT ON round BEGIN DELETE FROM round; END")
    connection.close()
    for command in (["run", "--resume", "x"], ["report", "x"]):
        assert run_command(command) == 7
        assert "its tables are not those of a run" in capsys.readouterr().err


FIELDS = [
    ("run", "value"), ("round", "weights_sha256"), ("round", "metrics"), ("visit", "device"), ("visit", "failure"),
    ("visit", "metrics"), ("device", "unique_id"), ("device", "facts"), ("result", "value"), ("state", "document"),
]  # fmt: skip


def hostile(value: Any, text: str) -> list[Any]:
    """The value with each of the texts and numbers in it, keys too, replaced in turn by `text`."""
    if isinstance(value, dict):
        made = [{**value, key: changed} for key, item in value.items() for changed in hostile(item, text)]
        return [*made, *({**value, text: item} for item in list(value.values())[:1]), text]
    if isinstance(value, list):
        return [*([*value[:k], c, *value[k + 1 :]] for k, item in enumerate(value) for c in hostile(item, text)), text]
    return [text]


class Tags(HTMLParser):
    """Nothing but what the report itself writes."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "img", "iframe", "object", "embed", "a", "form", "base"), tag
        assert not any(name.startswith("on") or (value or "").startswith("javascript:") for name, value in attrs)


def variants(folder: Path) -> list[tuple[str, str, str, str]]:
    """(table, column, old text, new text): every field of every row, once with a script in it."""
    found = []
    with sqlite3.connect(folder / DATABASE) as connection:
        for table, column in FIELDS:
            for (old,) in connection.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL"):
                try:
                    found += [(table, column, old, json.dumps(new)) for new in hostile(json.loads(old), SCRIPT)]
                except ValueError:
                    found.append((table, column, old, SCRIPT))
    connection.close()
    return found


def with_results(folder: Path) -> None:
    """Give it a visit that failed, and what `evaluate` and `demo` find."""
    with sqlite3.connect(folder / DATABASE) as connection:
        connection.execute("UPDATE visit SET failure = 'the port is gone' WHERE round = 2")
        for key, value in ((EVALUATION, EVALUATED), (NOTES, ["checked"])):
            connection.execute("INSERT OR REPLACE INTO result VALUES (?, ?)", (key, json.dumps(value)))
    connection.close()


def test_no_value_of_the_database_is_markup(folder: Path) -> None:
    with_results(folder)
    reported = 0
    cases = variants(folder)
    for table, column, old, new in cases:
        connection = sqlite3.connect(folder / DATABASE)
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {column} = ?", (new, old))
        try:
            path = write_report(folder)
        except StoreError as error:
            assert "\n" not in str(error)
        else:
            reported += 1
            html = path.read_text(encoding="utf-8")
            Tags().feed(html)
            assert html.count('http-equiv="Content-Security-Policy" content="default-src &#x27;none&#x27;;') == 1
        with connection:
            connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {column} = ?", (old, new))
        connection.close()
    assert len(cases) > 60 and reported > len(cases) // 3, (len(cases), reported)


@pytest.mark.slow
def test_a_browser_runs_nothing_of_it(folder: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    require(browser, "chromium is not on PATH")
    assert browser is not None
    with_results(folder)
    with sqlite3.connect(folder / DATABASE) as connection:
        connection.execute("UPDATE run SET value = ? WHERE key IN ('name', 'command')", (json.dumps(SCRIPT),))
        connection.execute("UPDATE visit SET failure = ? WHERE failure IS NOT NULL", (SCRIPT,))
        connection.execute("UPDATE device SET unique_id = unique_id || ?", (SCRIPT,))
        connection.execute("UPDATE result SET value = ? WHERE key = ?", (json.dumps([SCRIPT]), NOTES))
    connection.close()
    page = write_report(folder)
    broken = tmp_path / "broken.html"  # what the browser would do without the escapes: by the policy still nothing
    broken.write_text(page.read_text(encoding="utf-8").replace("<h1>", f"{SCRIPT}<h1>"), encoding="utf-8")
    control = tmp_path / "control.html"
    control.write_text(f"<title>a</title>{SCRIPT}", encoding="utf-8")

    def title(path: Path) -> str:
        shown = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
             "--virtual-time-budget=2000", "--dump-dom", path.as_uri()],
            capture_output=True, text=True, timeout=180,
        )  # fmt: skip
        return shown.stdout.partition("<title>")[2].partition("</title>")[0]

    assert title(control) == "owned", "the script works where nothing stops it"
    assert title(page).startswith("tinyfed: ")
    assert title(broken).startswith("tinyfed: ")


def test_one_damaged_run_hides_no_other(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [
        "null", "[]", '"x"', "{}", "{", '{"rounds": "many"}', '{"task": 1}',
        json.dumps({"rounds": "\x1b]0;x", "task": {"name": []}, "strategy": {"name": "\x1b[31m"}}),
    ]  # fmt: skip
    for number, text in enumerate(texts):
        shutil.copytree(folder, tmp_path / f"runs/damaged{number}")
        with sqlite3.connect(tmp_path / f"runs/damaged{number}" / DATABASE) as connection:
            connection.execute("UPDATE run SET value = ? WHERE key = 'experiment'", (text,))
        connection.close()
    shutil.copytree(folder, tmp_path / "runs/nan")
    with sqlite3.connect(tmp_path / "runs/nan" / DATABASE) as connection:
        connection.execute("UPDATE round SET metrics = '{\"loss\": NaN}'")
    connection.close()
    (tmp_path / "runs/text").mkdir()
    (tmp_path / "runs/text" / DATABASE).write_text("no database, " * 99)
    (tmp_path / "runs/folder" / DATABASE).mkdir(parents=True)
    assert run_command(["runs", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1] == {"runs": len(lines) - 1} and len(lines) == len(texts) + 5
    assert [entry["run"] for entry in lines[:-1] if not entry["error"]] == ["nan", "x"]
    assert run_command(["runs"]) == 0
    shown = capsys.readouterr().out
    assert "3/3" in shown and "\x1b" not in shown
