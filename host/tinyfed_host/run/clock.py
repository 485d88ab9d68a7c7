"""The time a run goes by: how long it has taken, and waiting."""

import threading
import time
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Protocol


class Clock(Protocol):
    """Thread-safe."""

    def now(self) -> float:
        """Seconds since some moment."""

    def wait(self, futures: Collection["Future[Any]"], timeout_s: float) -> set["Future[Any]"]:
        """Those of the futures that are done, as soon as there is one; none when the time is over."""

    def pause(self, seconds: float, end: threading.Event | None = None) -> None:
        """Do nothing for so long, or until the event is set."""


class SystemClock:
    """The computer's."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, futures: Collection["Future[Any]"], timeout_s: float) -> set["Future[Any]"]:
        return wait(futures, timeout_s, FIRST_COMPLETED).done

    def pause(self, seconds: float, end: threading.Event | None = None) -> None:
        (end or threading.Event()).wait(seconds)
