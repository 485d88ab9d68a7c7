"""What a person watching a run sees."""

import io
import json
import re
from pathlib import Path

from rich.console import Console
from tinyfed_host.run.events import Event
from tinyfed_host.view.lines import JsonView, LogView, PlainView
from tinyfed_host.view.live import LiveView
from tinyfed_host.view.progress import Progress, sparkline
from tinyfed_host.view.units import show_bytes, show_time

VISIT = {"bytes_down": 1500, "bytes_up": 500}
EVENTS = (
    Event("run-started", data={"rounds": 4, "done": 0, "devices": ["aa", "bb"]}),
    Event("round-started", 1, data={"devices": ["aa"]}),
    Event("visit-started", 1, "aa"),
    Event("retry", 1, "aa", "port x (board aa): no answer; trying again"),
    Event("visit-ended", 1, "aa", data=VISIT),
    Event("round-ended", 1, data={"loss_last": 0.5, "loss": 0.5}),
    Event("visit-started", 2, "bb"),
    Event("device-failed", 2, "bb", "unplugged"),
    Event("round-ended", 2, data={"loss_last": 0.25, "loss": 0.375}),
    Event("device-back", 2, "bb"),
)


class Clock:
    """Goes on by a second at each look."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_progress_adds_up() -> None:
    """Two rounds in two looks at a clock of one second each: 1 round/s, 2 rounds and so 2 s left."""
    progress = Progress(clock=Clock())
    for event in EVENTS:
        progress.add(event)
    assert (progress.done, progress.rounds, progress.bytes_down, progress.bytes_up) == (2, 4, 1500, 500)
    assert (progress.failures, progress.retries) == (1, 1)
    assert progress.doing == {"aa": "waiting", "bb": "failed"}
    assert progress.loss() == 0.375
    assert progress.rounds_per_s() == 1.0
    assert progress.left_s() == 2.0
    assert progress.share() == 0.5
    line = progress.line()
    for part in ("round 2/4", "loss 0.3750", "1.5 KB down", "500 B up", "1 failed visits, 1 retries", "2 s left"):
        assert part in line, line
    assert progress.troubles[-1] == "round 2: device bb answers again"


def test_time_budget_bounds_what_is_left() -> None:
    clock = Clock()
    progress = Progress(clock=clock, until=11.0)
    for event in EVENTS:
        progress.add(event)
    clock.now = 9.5
    assert progress.left_s() == 0.5  # looks at the clock once: 10.5
    clock.now = 20.0
    assert progress.left_s() == 0.0
    assert progress.share() == 1.0


def test_plain_view_tells_troubles_at_once() -> None:
    stream = io.StringIO()
    with PlainView(stream, every_s=1000.0) as view:
        for event in EVENTS:
            view(event)
        view(Event("run-ended", data={"rounds": 2, "weights_sha256": "x"}))
    lines = stream.getvalue().splitlines()
    assert [line for line in lines if "unplugged" in line] == ["round 2: device bb unplugged"]
    assert lines[-1].startswith("round 2/4")
    assert len(lines) == 4


def test_json_view_is_one_object_a_line() -> None:
    stream = io.StringIO()
    with JsonView(stream) as view:
        for event in EVENTS:
            view(event)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [entry["event"] for entry in told] == [event.kind for event in EVENTS if event.kind != "visit-started"]
    assert told[2] == {"event": "retry", "round": 1, "device": "aa", "text": EVENTS[3].text}


def test_log_explains_each_retry(tmp_path: Path) -> None:
    with LogView(tmp_path / "run.log") as view:
        for event in EVENTS:
            view(event)
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["run-started", "retry", "device-failed", "device-back"]
    assert "no answer; trying again" in lines[1]


def test_live_view_draws_devices_and_troubles() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    view = LiveView("the title", console, {"aa": "mps2_an386"})
    for event in EVENTS:
        view(event)
    console.print(view._draw())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("the title", "round 2/4", "mps2_an386", "failed", "unplugged", "loss"):
        assert part in text, part
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in text.splitlines()]
    assert any(line and not line.strip("━╸╺ ") for line in plain), "the bar has no line of its own"
    assert any(line.startswith("round 2/4") for line in plain)


def test_numbers_for_people() -> None:
    assert [show_bytes(n) for n in (0, 999, 1000, 12_345, 999_700, 4_560_000)] == [
        "0 B", "999 B", "1 KB", "12.3 KB", "1 MB", "4.56 MB",
    ]  # fmt: skip
    assert [show_time(n) for n in (8.4, 200, 7500)] == ["8 s", "3 min 20 s", "2 h 5 min"]
    assert sparkline([]) == ""
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
