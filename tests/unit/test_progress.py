"""What a person watching a run sees."""

import io
import json
import re
from pathlib import Path

from rich.console import Console
from tinyfed_host.run.events import Event
from tinyfed_host.view.lines import JsonView, LogView, PlainView
from tinyfed_host.view.live import LiveView
from tinyfed_host.view.progress import Curve, Progress, sparkline
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
        for event in (*EVENTS, Event("run-ended", data={"rounds": 2, "weights_sha256": "ab12"})):
            view(event)
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert [line.split()[1] for line in lines] == [
        "run-started",
        "retry",
        "device-failed",
        "device-back",
        "run-ended",
    ]
    assert [line.split(maxsplit=2)[2] for line in (lines[0], lines[-2], lines[-1])] == [
        "4 rounds, 0 of them done",
        "round 2: device bb answers again",
        "2 rounds done, weights ab12",
    ]
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


def shown_at(width: int, height: int, view_of: list[Event]) -> list[str]:
    """The lines of the live view, as a terminal of this size has them."""
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width, height=height)
    view = LiveView("runs/a-name-that-is-long: fedavg, folder task, simulated", console, stays=True)
    for event in view_of:
        view(event)
    console.print(view._draw())
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in lines) and len(lines) < height
    return [line.rstrip() for line in lines]


def test_clients_by_name_with_their_figures() -> None:
    """40 clients of 60 columns and 24 lines: those with trouble and the largest loss are among what fits."""
    ids = [f"{number:024x}" for number in range(40)]
    names = {
        unique_id: f"person-{number:02d}" + "-of-many-letters" * (number == 7) for number, unique_id in enumerate(ids)
    }
    events = [Event("run-started", data={"rounds": 2, "done": 0, "devices": ids, "clients": names})]
    for number, unique_id in enumerate(ids):
        data = {"bytes_down": 10_000, "bytes_up": 345, "loss_last": number / 10}
        events.append(Event("visit-ended", 1, unique_id, client=names[unique_id], data=data))
    events += [Event("retry", 1, ids[7], "no answer", client=names[ids[7]]) for _ in range(3)]
    events += [Event("round-ended", number, data={"loss": 2.0 / number}) for number in (1, 2)]
    lines = shown_at(60, 24, events)
    rows = [line.split() for line in lines if line.startswith("person")]
    assert ["person-39", "1", "3.9000", "0", "10.3", "KB", "waiting"] in rows
    assert any(
        row[0].startswith("person-07-of") and row[0].endswith("…") and row[2:4] == ["0.7000", "3"] for row in rows
    )
    assert len(rows) < 40 and f"and {40 - len(rows)} more, loss 0." in "\n".join(lines)
    assert any(line.startswith("loss █▁  ▁ 1.0000 █ 2.0000") for line in lines)
    assert len([line for line in shown_at(100, 80, events) if line.startswith("person")]) == 40
    ended = shown_at(60, 24, [*events, Event("run-ended")])
    assert not any("waiting" in line for line in ended) and any("done in" in line for line in ended)


def test_a_curve_keeps_the_whole_run() -> None:
    """1,000 rounds of a loss that is the round: in at most 64 points, from the start to the end."""
    curve = Curve()
    for number in range(1000):
        curve.add(float(number))
    points = curve.points()
    assert 32 <= len(points) < 64 and points == sorted(points)
    assert points[0] < 32 and points[-1] > 968 and curve.last == 999
    assert len(curve.points(10)) <= 10


def test_several_clients_of_one_device() -> None:
    """They are told apart, and only the one that it works for now is said to be at work."""
    progress = Progress(clock=Clock())
    for event in (
        Event("run-started", data={"rounds": 2, "done": 0, "devices": ["aa"], "clients": {"aa": "anna"}}),
        Event("visit-ended", 1, "aa", client="anna", data=VISIT),
        Event("visit-started", 2, "aa", client="bert"),
    ):
        progress.add(event)
    anna, bert = progress.shown(9)
    assert (anna.name, anna.visits, anna.bytes, progress.state(anna)) == ("anna", 1, 2000, "")
    assert (bert.name, bert.visits, bert.bytes, progress.state(bert)) == ("bert", 0, 0, "at work")
