"""How weights go down and back: what a device holds, what it is asked to answer in, and what is stored of it."""

import dataclasses

import numpy as np
import pytest
from tinyfed_host.run.events import Event
from tinyfed_host.run.exchange import WeightsExchange, as_if_sent_exactly

from tinyfed.device import DeviceInfo
from tinyfed.model import encode, mlp
from tinyfed.weights import Weights
from tinyfed.wire.order import Order

ORDER = Order("sine", 1, 4, 0, 0, 0.02)
IMAGE = encode(mlp(1, (), 3), np.zeros(6, np.float32))
WEIGHTS = np.float32([0.1, 0.2, 0.3, 0.4, 0.5, 7.0]).tobytes()
ALL = frozenset({"float16", "int8", "delta", "answers"})


def info(unique_id: str = "aa", capabilities: frozenset[str] = ALL) -> DeviceInfo:
    return DeviceInfo(unique_id, "scripted", "0", 1, 4096, 256, capabilities, 0, 0, 0, 0)


def test_a_difference_is_sent_to_who_holds_what_came_back() -> None:
    """Nothing is told of a device that takes differences and holds nothing yet."""
    events: list[Event] = []
    exchange = WeightsExchange("int8-delta", IMAGE, events.append)
    assert exchange.shorten(info(), WEIGHTS, ORDER, 1).encoding.name == "int8"
    exchange.holds("aa", ORDER, WEIGHTS)
    sent = exchange.shorten(info(), WEIGHTS, ORDER, 2)
    assert (sent.encoding.name, sent.base) == ("int8-delta", WEIGHTS)
    assert exchange.shorten(info("bb"), WEIGHTS, ORDER, 2).encoding.name == "int8"
    assert events == []


@pytest.mark.parametrize(
    ("change", "came"),
    [({"top": 10}, WEIGHTS), ({"local_last": 1}, WEIGHTS), ({"local_first": 1}, WEIGHTS), ({}, None)],
)
def test_a_part_or_nothing_is_no_base(change: dict[str, int], came: bytes | None) -> None:
    exchange = WeightsExchange("float16-delta", IMAGE, lambda event: None)
    exchange.holds("aa", ORDER, WEIGHTS)
    exchange.holds("bb", ORDER, WEIGHTS)
    exchange.holds("aa", dataclasses.replace(ORDER, **change), came)
    assert exchange.document() == ["bb"]
    assert exchange.changes() == {"held/bb": WEIGHTS}
    exchange.holds("cc", ORDER, None)
    assert exchange.document() == ["bb"]


def test_without_differences_nothing_is_held() -> None:
    exchange = WeightsExchange("int8", IMAGE, lambda event: None)
    exchange.holds("aa", ORDER, WEIGHTS)
    assert exchange.document() == [] and exchange.changes() == {}


def test_what_is_stored_is_what_changed_and_all_of_it_comes_back() -> None:
    exchange = WeightsExchange("int8-delta", IMAGE, lambda event: None)
    stored: dict[str, bytes] = {}
    for unique_id in ("bb", "aa"):
        exchange.holds(unique_id, ORDER, WEIGHTS + unique_id.encode())
        stored.update(exchange.changes())
        assert exchange.changes() == {}
    assert exchange.document() == ["aa", "bb"]
    again = WeightsExchange("int8-delta", IMAGE, lambda event: None)
    again.restore([*exchange.document(), "lost"], stored)
    assert again.document() == ["aa", "bb"]
    assert again.changes() == {}
    assert stored == {"held/aa": WEIGHTS + b"aa", "held/bb": WEIGHTS + b"bb"}


@pytest.mark.parametrize(
    ("answer", "change", "expected"),
    [
        ("int8-delta", {}, "int8-delta"),
        ("int8", {"top": 10}, "float32"),
        ("int8-delta", {"meta_gradient": True, "update": "sgd"}, "float32"),
        ("int8", {"meta_gradient": True, "update": "sgd"}, "int8"),
        ("float32", {}, "float32"),
    ],
)
def test_how_a_device_is_asked_to_answer(answer: str, change: dict[str, object], expected: str) -> None:
    exchange = WeightsExchange("float32", IMAGE, lambda event: None, answer)
    order = dataclasses.replace(ORDER, **change)  # type: ignore[arg-type]
    assert exchange.answered(info(), order, 1) == dataclasses.replace(order, answer=expected)


def test_what_a_firmware_lacks_is_told_once_a_device() -> None:
    events: list[Event] = []
    exchange = WeightsExchange("int8-delta", IMAGE, events.append, "int8")
    old = frozenset({"int8"})
    for number in (3, 4):
        for unique_id in ("aa", "bb"):
            assert exchange.shorten(info(unique_id, old), WEIGHTS, ORDER, number).encoding.name == "int8"
            assert exchange.answered(info(unique_id, old), ORDER, number).answer == "float32"
    assert [(event.kind, event.round, event.device) for event in events] == [
        ("fallback", 3, "aa"),
        ("fallback", 3, "aa"),
        ("fallback", 3, "bb"),
        ("fallback", 3, "bb"),
    ]
    assert [event.text for event in events[:2]] == [
        "its firmware takes no int8-delta weights: sent as int8; flash a newer one",
        "its firmware answers in float32 only, not in int8; flash a newer one",
    ]
    partial = dataclasses.replace(ORDER, local_last=1)
    sent = exchange.shorten(info("cc", old), WEIGHTS, partial, 5)
    assert (sent.encoding.name, sent.weights, len(events)) == ("float32", WEIGHTS, 4)


def test_what_was_learned_is_added_to_what_was_meant() -> None:
    """Meant 1.5, sent as 1, came back 3: 1.5 + (3 - 1) = 3.5. Sent exactly, what came back is taken
    to the bit, without the rounding of the sum."""
    meant, start, trained = (Weights.of(np.float32([value])) for value in (1.5, 1, 3))
    assert as_if_sent_exactly(meant, start, trained).array.tolist() == [3.5]
    sent, trained = Weights.of(np.float32([0.1])), Weights.of(np.float32([0.7]))
    assert as_if_sent_exactly(sent, sent, trained) is trained
