"""Which views watch a run."""

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from tinyfed_host.run.events import Event
from tinyfed_host.view.lines import JsonView, PlainView
from tinyfed_host.view.live import LiveView


class View(Protocol):
    """Something that watches; a context manager and an observer."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, event: Event) -> None: ...


class Views:
    """Several at once."""

    def __init__(self, *views: View) -> None:
        self._views = views

    def __enter__(self) -> Self:
        for view in self._views:
            view.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for view in reversed(self._views):
            view.__exit__(kind, error, trace)

    def __call__(self, event: Event) -> None:
        """Tell all."""
        for view in self._views:
            view(event)


def choose_view(
    *, as_json: bool, title: str, names: Mapping[str, str], until: float | None = None, stays: bool = False
) -> View:
    """JSON lines when asked for, the live view on a terminal (which `stays` there when the run is over), else plain
    lines."""
    if as_json:
        return JsonView()
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(title, console, names, until, stays=stays)
    return PlainView(until=until)
