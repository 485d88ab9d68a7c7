"""Who may be selected in a round, and for how long a device that failed is left out."""

import json

import pytest
from tinyfed_host.run.attendance import Attendance
from tinyfed_host.run.events import Event

IDS = ["a", "b", "c"]


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def attendance(told: list[Event]) -> Attendance:
    made = Attendance(3, told.append)
    made.begin(IDS)
    return made


def first_back(attendance: Attendance, device: str, after: int) -> int:
    """The first round after one in which a device may be selected beside the others."""
    return next(number for number in range(after + 1, 1000) if device in attendance.selectable(number, IDS, ()))


def test_each_failure_in_a_row_leaves_out_twice_as_long_up_to_64_rounds(
    attendance: Attendance, told: list[Event]
) -> None:
    """retry_after = 3: left out for 3, 6, 12, 24, 48, then 64 rounds; in the round after these it is back."""
    number, waits = 10, []
    for _ in range(7):
        attendance.failed("b", number, "unplugged")
        back = first_back(attendance, "b", number)
        waits.append(back - number - 1)
        number = back
    assert waits == [3, 6, 12, 24, 48, 64, 64]
    assert [event.kind for event in told] == ["device-failed"] * 7
    assert (told[0].round, told[0].device, told[0].text) == (11, "b", "unplugged; left out for 3 rounds")
    assert told[-1].text == "unplugged; left out for 64 rounds"


def test_twenty_failures_in_a_row_and_one_answer(attendance: Attendance, told: list[Event]) -> None:
    """The doubling has an end; an answer begins it anew and is told once."""
    for _ in range(20):
        attendance.failed("b", 0, "x")
    assert attendance.document() == {"b": [20, 65]}
    attendance.answered("b", 6)
    assert attendance.document() == {}
    assert (told[-1].kind, told[-1].round, told[-1].device) == ("device-back", 7, "b")
    attendance.answered("b", 7)
    assert len(told) == 21
    attendance.failed("b", 8, "x")
    assert attendance.document() == {"b": [1, 12]}


@pytest.mark.parametrize(("retry_after", "text"), [(0, "0 rounds"), (1, "1 round"), (100, "64 rounds")])
def test_how_long_the_first_failure_leaves_out(retry_after: int, text: str, told: list[Event]) -> None:
    attendance = Attendance(retry_after, told.append)
    attendance.begin(IDS)
    attendance.failed("a", 4, "gone")
    assert told[-1].text == f"gone; left out for {text}"
    assert first_back(attendance, "a", 4) == 5 + min(retry_after, 64)


def test_when_only_those_who_failed_are_there_they_are_selected(attendance: Attendance) -> None:
    attendance.failed("a", 0, "x")
    attendance.failed("b", 0, "x")
    assert attendance.selectable(1, IDS, ()) == ["c"]
    assert attendance.selectable(1, IDS, {"c"}) == ["a", "b"]
    assert attendance.selectable(1, IDS, set(IDS)) == []


def test_who_joins_and_leaves_is_told_once(attendance: Attendance, told: list[Event]) -> None:
    assert attendance.selectable(0, IDS, ()) == IDS
    assert told == []
    assert attendance.selectable(2, ["b", "c", "d"], ()) == ["b", "c", "d"]
    assert attendance.selectable(3, ["b", "c", "d"], ()) == ["b", "c", "d"]
    assert [(event.kind, event.round, event.device) for event in told] == [
        ("device-joined", 3, "d"),
        ("device-left", 3, "a"),
    ]


def test_it_goes_on_from_what_was_stored(attendance: Attendance, told: list[Event]) -> None:
    attendance.failed("c", 5, "x")
    attendance.failed("c", 9, "x")
    again = Attendance(3, told.append)
    again.begin(IDS)
    again.restore(json.loads(json.dumps(attendance.document())))
    assert again.document() == attendance.document() == {"c": [2, 16]}
    assert again.selectable(15, IDS, ()) == ["a", "b"]
    assert again.selectable(16, IDS, ()) == IDS
