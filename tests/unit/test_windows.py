"""Time stamps and windows of readings."""

from pathlib import Path

import numpy as np
import pytest

from tinyfed.data.importing import Span
from tinyfed.data.tables import Table
from tinyfed.data.times import DMY, ISO, MDY, elapsed, moment_text, seconds, unit_of
from tinyfed.data.windows import pieces, rate_of, resampled, summarized, windows


@pytest.mark.parametrize(
    ("name", "cells", "unit", "told"),
    [
        ("time", ["0", "0.02", "0.04"], "s", [0, 0.02, 0.04]),
        ("time", ["0", "20", "40"], "ms", [0, 0.02, 0.04]),
        ("t", ["100", "20100", "40100"], "us", [1e-4, 0.0201, 0.0401]),
        ("time", ["0", "1", "2"], "s", [0, 1, 2]),
        ("time", ["0", "5", "10"], "ms", [0, 0.005, 0.01]),
        ("time_s", ["0", "1", "2"], "s", [0, 1, 2]),
        ("t [us]", ["0", "1", "2"], "us", [0, 1e-6, 2e-6]),
        ("seconds_elapsed", ["0", "60"], "s", [0, 60]),
        ("timestamp", ["1700000000", "1700000060"], "s", [1.7e9, 1.7e9 + 60]),
        ("timestamp", ["1700000000000", "1700000060000"], "ms", [1.7e9, 1.7e9 + 60]),
        ("timestamp", ["1700000000000000000", "1700000000020000000"], "ns", [1.7e9, 1.7e9 + 0.02]),
        ("time", ["1970-01-01 00:00:01", "1970-01-01T00:00:02.500", "1970-01-01T01:00:03+01:00"], ISO, [1, 2.5, 3]),
        ("time", ["0.5", "", "x", "nan", "1_0"], "s", [0.5, np.nan, np.nan, np.nan, np.nan]),
        ("time", ["1970-01-01", "yesterday", "1970-01-01 09:00 +08:00"], ISO, [0, np.nan, 3600]),
        ("time", ["00:00:01.5", "00:01:00"], ISO, [1.5, 60]),
        ("time", ["14.11.2023 22:13:20.5", "05.12.2023 9:05", "x"], DMY, [1700000000.5, 1701767100, np.nan]),
        ("time", ["02/11/2023", "14/11/2023 22:13"], DMY, [1698883200, 1699999980]),
        ("time", ["11/02/2023", "11/14/2023, 22:13"], MDY, [1698883200, 1699999980]),
        ("time", ["02/11/2023", "03/11/2023"], "", None),  # either
        ("when", ["yesterday"], "", None),
        ("when", ["", " "], "", None),
    ],
)
def test_times_are_recognized(name: str, cells: list[str], unit: str, told: list[float] | None) -> None:
    table = Table(Path("x.csv"), (name,), len(cells), [cells])
    assert unit_of(table, name) == unit
    if told is not None:
        np.testing.assert_allclose(seconds(table, name, unit), told, rtol=0, atol=1e-6)


def test_times_since_1970_are_resampled_as_those_since_0() -> None:
    """At 50 Hz, labels change with each reading; a float64 of 1.7e9 s has 0.24 us."""
    steps = 20 * np.arange(500.0)
    values, labels = np.sin(steps)[:, None], np.arange(500)
    cells = [f"{1_700_000_000_000 + step:.0f}" for step in steps]
    table = Table(Path("x.csv"), ("t",), len(cells), [cells])
    made, told = resampled(elapsed(table, "t", "ms"), values, labels, 50)
    np.testing.assert_allclose(made, values, rtol=0, atol=1e-12)
    assert told.tolist() == labels.tolist()
    made, told = resampled(1.7e9 + steps / 1000, values, labels, 50)
    assert told.tolist() == labels.tolist() and np.abs(made - values).max() < 5e-5
    assert moment_text(1.7e9 + 0.02, "ms") == "2023-11-14 22:13:20.020" and moment_text(59.98, "ms") == "59980"
    assert moment_text(60, ISO) == "00:01:00"


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h", 3600), ("10min", 600), ("30 m", 1800), ("2.5 s", 2.5), ("20ms", 0.02)]
)
def test_a_window_is_as_long_as_it_says(text: str, seconds: float) -> None:
    assert Span.parse(text) == Span(seconds, "s")
    assert Span.parse(text).readings(50) == 50 * seconds


def test_a_gap_ends_a_piece() -> None:
    """The median step is 0.1: a step of 0.4 is none, 0.5 is; time that goes back begins another piece."""
    times = np.array([0, 0.1, 0.2, 0.3, 0.7, 0.8, 1.31, 1.41, 0.2, 0.3])
    assert [(one.start, one.stop) for one in pieces(times)] == [(0, 6), (6, 8), (8, 10)]
    assert pieces(times[:0]) == [] and pieces(times[:1]) == [slice(0, 1)]
    assert rate_of(times) == pytest.approx(10) and rate_of(times[:1]) == 0
    assert rate_of(times[:4:2], times[1:4:2]) == pytest.approx(5) and rate_of() == 0


def test_resampling_is_linear_and_keeps_the_label_before() -> None:
    times, labels = np.array([1.0, 1.1, 1.4]), np.array([0, 1, 2])
    values = np.array([[0.0, 5], [1, 5], [4, 5]])
    made, told = resampled(times, values, labels, 20)
    np.testing.assert_allclose(made[:, 0], np.arange(9) / 2)
    assert (made[:, 1] == 5).all() and told.tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 2]


def test_windows_have_the_label_of_most_readings() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, -1, -1, -1, 2])
    values = np.arange(20.0).reshape(10, 2)
    x, told = windows(values, labels, 4, 2)
    assert x.shape == (4, 4, 2) and (x[1] == values[2:6]).all()
    assert told.tolist() == [0, 1, -1, -1]  # three of 0; three of 1; two of 1; three without a label
    assert windows(values[:3], labels[:3], 4, 2)[0].shape == (0, 4, 2)


def test_features_are_those_of_each_channel() -> None:
    """mean of (1, 3), deviation, least, largest, mean square (1 + 9) / 2; the other channel is twice as large."""
    x = np.array([[[1.0, 2], [3, 6]]])
    made = summarized(x, ["mean", "std", "min", "max", "energy"])
    assert made.tolist() == [[2, 1, 1, 3, 5, 4, 2, 2, 6, 20]]
