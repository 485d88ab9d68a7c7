"""A run as a panel in a terminal."""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from tinyfed.text import printable
from tinyfed_host.run.events import Event
from tinyfed_host.view.progress import Progress, sparkline

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text


class LiveView:
    """A panel that is redrawn in place: bar, loss, bytes, each device, the last troubles."""

    def __init__(
        self, title: str, console: "Console", names: Mapping[str, str] | None = None, until: float | None = None
    ) -> None:
        """`names` says what each device is, by unique id."""
        from rich.live import Live

        self._title = title
        self._names = names or {}
        self._lock = threading.Lock()
        self._progress = Progress(until=until)
        self._live = Live(
            console=console, refresh_per_second=8, get_renderable=self._draw, transient=True, redirect_stderr=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Remember it; the screen follows by itself."""
        with self._lock:
            self._progress.add(event)

    def _draw(self) -> "RenderableType":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            progress = self._progress
            head = _text(self._title, "bold")
            bar = Table.grid()  # a bar by itself does not end its line
            bar.add_row(ProgressBar(total=1.0, completed=progress.share(), width=60))
            spark = Text.assemble(("loss ", "dim"), (sparkline(list(progress.losses)), "cyan"))
            line = _text(progress.line())
            devices = Table(box=None, pad_edge=False, show_header=False)
            shown = sorted(progress.doing.items())
            for unique_id, doing in shown[:12]:
                style = {"at work": "green", "failed": "red", "trying again": "yellow"}.get(doing, "dim")
                devices.add_row(_text(unique_id, "dim"), _text(self._names.get(unique_id, "")), _text(doing, style))
            if len(shown) > 12:
                devices.add_row("", _text(f"and {len(shown) - 12} more"), "")
            troubles = [_text(text, "yellow", no_wrap=True, overflow="ellipsis") for text in progress.troubles]
            return Group(head, bar, line, spark, devices, *troubles)


def _text(text: str, style: str = "", **layout: Any) -> "Text":
    """Others' text on one line, as it is: no markup, no control character."""
    from rich.text import Text

    return Text(printable(text), style, **layout)
