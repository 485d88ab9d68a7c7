"""Numbers on the command line: the limits of files, numbers as programs write them, and nothing wraps."""

from pathlib import Path

import numpy as np
import pytest
from tinyfed_host.cli.main import run_command

from tinyfed.data.tables import read_number, read_whole
from tinyfed.errors import UsageError
from tinyfed.model import initialize, mlp
from tinyfed.random import SplitMix64

ROUNDS, SEED = "a whole number, 1..10000000", "a whole number, 0..9007199254740992"
EXPERIMENT = Path(__file__).parents[2] / "examples/sine.toml"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", str(EXPERIMENT), "--seed", "18446744073709551617"], f"--seed = 18446744073709551617: must be {SEED}"),
        (["run", str(EXPERIMENT), "--seed", "-1"], f"--seed = -1: must be {SEED}"),
        (["run", str(EXPERIMENT), "--seed", "1_000"], f'--seed = "1_000": must be {SEED}'),
        (["run", str(EXPERIMENT), "--rounds", "99999999999"], f"--rounds = 99999999999: must be {ROUNDS}"),
        (["run", str(EXPERIMENT), "-r", "0"], f"--rounds = 0: must be {ROUNDS}"),
        (["run", str(EXPERIMENT), "--rounds", "\u0663"], f'--rounds = "\u0663": must be {ROUNDS}'),
        (["run", str(EXPERIMENT), "--rounds", "1e3"], f'--rounds = "1e3": must be {ROUNDS}'),
        (["demo", "--rounds", "99999999999"], f"--rounds = 99999999999: must be {ROUNDS}"),
        (["demo", "--budget", "nan"], "--budget = nan: must be a number, 1 or more"),
        (["emulate", "--for", "inf"], "--for = inf: must be a number, 0 or more"),
        (["emulate", "--count", "65"], "--count = 65: must be a whole number, 1..64"),
        (["devices", "adapt", "x", "y", "--shots", "1025"], "--shots = 1025: must be a whole number, 1..1024"),
        (["devices", "adapt", "x", "y", "--seed", str(2**64)], "--seed = 18446744073709551616: must be a whole number"),
        (["devices", "label", "x", "65534"], "CLASS = 65534: must be a whole number, 0..31"),
        (["devices", "label", "x", "1", "--seconds", "1e300"], "--seconds = 1e+300: must be a number, 0..4"),
        (["data", "shard", "folder", "--option", "shots=\u00b2"], "'\u00b2' is no whole number"),
        (["data", "recording", "watch", "person2-wrist0", "--classes", "\u00b2"], "'\u00b2' is no class of task watch"),
        (["model", "plan", "mlp-relu", "--batch", "0"], "--batch = 0: must be a whole number, 1..65535"),
    ],
)
def test_what_is_out_of_range_is_refused_before_anything_begins(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    more = ["-o", "o.tfrc"] if words[:2] == ["data", "recording"] else []
    assert run_command([*words, *more]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_help_tells_the_limits(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1..10000000" in said and "0..9007199254740992" in said


@pytest.mark.parametrize("seed", [-1, 2**64, 2**64 + 1])
def test_a_seed_is_never_taken_for_another(seed: int) -> None:
    with pytest.raises(UsageError, match=f"seed = {seed}: must be a whole number"):
        SplitMix64(seed)
    with pytest.raises(UsageError, match=f"seed = {seed}: must be a whole number"):
        initialize(mlp(1, (2,), 1), seed)
    assert SplitMix64(2**64 - 1).state == 2**64 - 1


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), (" -.5e3 ", -500), ("+2.", 2), ("1e-400", 0), ("1e400", np.inf), ("-inf", -np.inf), ("0012", 12)],
)
def test_numbers(text: str, value: float) -> None:
    assert read_number(text) == value


@pytest.mark.parametrize(
    "text", ["", "1_0", "\u0661", "0x10", "1,5", "1 2", "e5", ".", "++1", "1e", "in\u0131t", "\u00b2"]
)
def test_no_numbers(text: str) -> None:
    assert read_number(text) is None and read_whole(text) is None


def test_long_texts_take_no_time_that_grows_with_their_square() -> None:
    assert read_number("1" * 1_000_000 + "x") is None
    assert read_whole("1" * 1_000_000) is None
