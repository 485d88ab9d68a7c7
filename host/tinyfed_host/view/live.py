"""A run as a panel in a terminal."""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from tinyfed.text import printable
from tinyfed_host.run.events import Event
from tinyfed_host.view.progress import SPARKS, Progress, sparkline
from tinyfed_host.view.units import show_bytes

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text


FIGURES = ("visits", "loss", "retries", "bytes", "")  # of a client; the last: what it does now
NAME_LEAST = 8  # columns of the screen
ROOMY = 80  # columns from which there are two blanks between figures
WIDE = 100  # columns from which ids are shown whole
STYLES = {"at work": "green", "failed": "red", "trying again": "yellow", "late": "yellow"}


class LiveView:
    """A panel that is redrawn in place: bar, bytes, the loss so far with its scale, each client, the last troubles."""

    def __init__(
        self,
        title: str,
        console: "Console",
        names: Mapping[str, str] | None = None,
        until: float | None = None,
        *,
        stays: bool = False,
    ) -> None:
        """`names` says what each device is, by unique id. `stays`: what it shows last is left on the screen."""
        from rich.live import Live

        self._title = title
        self._names = names or {}
        self._lock = threading.Lock()
        self._progress = Progress(until=until)
        self._console = console
        self._live = Live(
            console=console, refresh_per_second=8, get_renderable=self._draw, transient=not stays, redirect_stderr=False
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

        with self._lock:
            progress = self._progress
            bar = Table.grid()  # a bar by itself does not end its line
            bar.add_row(ProgressBar(total=1.0, completed=progress.share(), width=min(60, self._console.width)))
            line = _text(progress.line())
            troubles = [_text(text, "yellow", no_wrap=True, overflow="ellipsis") for text in progress.troubles]
            # title, bar, scale, the table's head, what is more, the cursor's line
            taken = 6 + len(line.wrap(self._console, self._console.width)) + len(troubles)
            table, more = self._clients(max(3, self._console.height - taken))
            head = _text(self._title, "bold", no_wrap=True, overflow="ellipsis")
            return Group(head, bar, line, *self._curve(), table, *more, *troubles)

    def _curve(self) -> "list[Text]":
        """The loss over the run, with what the lowest and the highest block stand for."""
        from rich.text import Text

        points = self._progress.losses.points(max(8, self._console.width - 30))
        if not points:
            return []
        scale = f"  {SPARKS[0]} {min(points):.4f} {SPARKS[-1]} {max(points):.4f}"
        return [Text.assemble(("loss ", "dim"), (sparkline(points), "cyan"), (scale, "dim"), no_wrap=True)]

    def _clients(self, most: int) -> "tuple[Table, list[Text]]":
        from rich.table import Table

        progress, width = self._progress, self._console.width
        wide, gap = width >= WIDE, 2 if width >= ROOMY else 1
        shown = progress.shown(most)
        named = any(share.name for share in progress.shares.values())
        names, figures = [], [list(FIGURES)]
        for share in shown:
            device = f"{self._names.get(share.device, '')} {share.device if wide else _short(share.device)}".strip()
            names.append([share.name or device, *([device] if named and wide else [])])
            loss = "" if share.loss is None else f"{share.loss:.4f}"
            state = progress.state(share)
            figures.append([f"{share.visits:,}", loss, f"{share.retries:,}", show_bytes(share.bytes), state])
        taken = [max(len(row[number]) for row in figures) + gap for number in range(len(FIGURES))]
        columns = ["client", "device"] if named and wide else ["client" if named else "device"]
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, gap, 0, 0))
        for title in columns:
            most_wide = max(NAME_LEAST, (width - sum(taken)) // len(columns) - gap)
            table.add_column(title, no_wrap=True, overflow="ellipsis", max_width=most_wide)
        for title in FIGURES:
            table.add_column(title, justify="right" if title else "left", no_wrap=True, overflow="ellipsis")
        for row, (*numbers, state) in zip(names, figures[1:], strict=True):
            style = STYLES.get(state.partition(" (")[0], "dim")
            table.add_row(*map(_text, [*row, *numbers]), _text(state, style))
        shown_ids = {id(share) for share in shown}
        others = [share for share in progress.shares.values() if id(share) not in shown_ids]
        if not others:
            return table, []
        losses = [share.loss for share in others if share.loss is not None]
        between = f", loss {min(losses):.4f} to {max(losses):.4f}" if losses else ""
        return table, [_text(f"and {len(others):,} more{between}", "dim")]


def _short(unique_id: str) -> str:
    """The end of an id, which tells devices apart that are counted; a short one whole."""
    return f"…{unique_id[-4:]}" if len(unique_id) > 12 else unique_id


def _text(text: str, style: str = "", **layout: Any) -> "Text":
    """Others' text on one line, as it is: no markup, no control character."""
    from rich.text import Text

    return Text(printable(text), style, **layout)
