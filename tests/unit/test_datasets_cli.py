"""`tinyfed data`: what it prints and what it refuses."""

import json
from pathlib import Path

import pytest
from conftest import require
from tinyfed_host.cli.data import app
from typer.testing import CliRunner

from tinyfed.data.shard import read_shard
from tinyfed.errors import UsageError
from tinyfed.tasks import watch


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("TINYFED_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(*arguments: str) -> list[dict[str, object]]:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert isinstance(done.exception, UsageError), done.output
    return str(done.exception)


def test_the_list_says_where_data_lies() -> None:
    rows = lines("list")
    assert rows[-1] == {"data": ["omniglot", "fsdd", "occupancy", "robod"]}
    assert all(row["folder"] is None and row["licence"] for row in rows[:-1])
    assert lines("info", "fsdd")[0]["data"] == "fsdd"


def test_a_shard_is_written_for_a_board() -> None:
    try:
        watch.dataset_path()
    except UsageError as error:
        require(False, str(error))
    clients = lines("shard", "watch")
    assert {"client": "person2-wrist0", "part": "held out"} in clients and len(clients) == 20
    written = lines("shard", "watch", "person2-wrist0", "--option", "step_s=2", "--option", "shots=5")[0]
    shard = read_shard(Path(str(written["file"])).read_bytes())
    assert (len(shard.classes), shard.feature_count) == (7, 120)


def test_mistakes_are_one_line() -> None:
    assert "allowed are omniglot" in refused("info", "mnist")
    assert "is unknown, allowed are" in refused("shard", "wach")
    assert "no client 'anna'" in refused("shard", "watch", "anna")
    assert "make their samples themselves" in refused("shard", "sine", "sine-0")
    assert "must be KEY=VALUE" in refused("shard", "watch", "--option", "ways")
    assert "no whole number" in refused("shard", "watch", "--option", "ways=four")
    assert "ways = 9" in refused("shard", "watch", "--option", "ways=9")
    assert "cannot write the file" in refused("shard", "watch", "person2-wrist0", "-o", "no/such/folder")
    assert "tinyfed data fetch fsdd" in refused("shard", "fsdd")
