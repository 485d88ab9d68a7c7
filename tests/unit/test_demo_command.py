"""What the demo says of its rounds."""

import sqlite3
from pathlib import Path

import pytest
from sine_toml import sine_toml
from tinyfed_host.demo.screen import Screen
from tinyfed_host.demo.steps import check_same
from tinyfed_host.run.events import nobody
from tinyfed_host.run.names import DATABASE
from tinyfed_host.run.parts import make_fleet, read_experiment
from tinyfed_host.run.run import Run

from tinyfed.errors import TinyfedError


def test_rounds_are_compared_while_the_same_devices_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "x.toml").write_text(sine_toml(5))
    with Run.begin(tmp_path / "x", read_experiment(tmp_path / "x.toml"), "") as run:
        with make_fleet(run.parts) as fleet:
            run.go(fleet, nobody)
        assert check_same(run, 5, Screen(as_json=False)) == 5
        with monkeypatch.context() as during, pytest.raises(KeyboardInterrupt) as pressed:
            during.setattr(Run, "go", interrupt)
            check_same(run, 5, Screen(as_json=False))
        assert not hasattr(pressed.value, "__notes__")  # its folder is gone: there is nothing to go on with
        with sqlite3.connect(tmp_path / "x" / DATABASE) as store:
            store.execute("UPDATE round SET weights_sha256 = 'other' WHERE number = 4")
        with pytest.raises(TinyfedError, match=r"round 4: .* must be the same bits"):
            check_same(run, 5, Screen(as_json=False))
        with sqlite3.connect(tmp_path / "x" / DATABASE) as store:
            store.execute("UPDATE visit SET device = 'another' WHERE round = 3")
        capsys.readouterr()
        assert check_same(run, 5, Screen(as_json=False)) == 2
    assert "round 3 went on without a device that did not answer in time" in capsys.readouterr().out
