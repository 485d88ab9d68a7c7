"""What the demo shows: steps, a table; for programs, JSON lines instead."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tinyfed.text import printable
from tinyfed_host.evaluation.evaluate import LEARNED, Working, silent
from tinyfed_host.evaluation.kept import KINDS, Kept, how_sure
from tinyfed_host.run.store import RunStore, StoreError
from tinyfed_host.view.units import show_time
from tinyfed_host.view.views import View, choose_view

STEPS = 5


class Screen:
    """Writes to standard output for people; with `as_json`, events there and nothing else."""

    def __init__(self, working: Working = silent, *, as_json: bool) -> None:
        self.working = working  # around what takes time
        self._as_json = as_json
        self._console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
        self._begun = time.monotonic()

    def step(self, number: int, title: str) -> None:
        """A heading."""
        if self._as_json:
            _print_json({"event": "step", "number": number, "of": STEPS, "text": title})
            return
        at = Text(f"  {show_time(time.monotonic() - self._begun)}", style="dim")
        self._console.print(Text.assemble("\n", (f"{number}/{STEPS} ", "bold cyan"), (printable(title), "bold"), at))

    def say(self, text: str) -> None:
        """A line below the heading."""
        self._line(text, "", "  ")

    def good(self, text: str) -> None:
        """Something was checked and held."""
        self._line(text, "green", "  ✓ ")

    def _line(self, text: str, style: str, mark: str) -> None:
        if self._as_json:
            _print_json({"event": "told", "text": text})
        else:
            self._console.print(Text(mark + printable(text), style=style))

    def view(self, title: str, names: Mapping[str, str], until: float | None) -> View:
        """Something that watches rounds."""
        return choose_view(as_json=self._as_json, title=title, names=names, until=until)

    def finish_table(self, kept: Kept, store: RunStore) -> str:
        """The adaptation table; returns the learned weights' SHA-256."""
        last = store.last_round()
        if last is None:
            raise StoreError(f"{store.folder}: the run has no round")
        if not self._as_json:
            self._console.print()
            self._console.print(adaptation_table(kept))
            self.say(how_sure(kept))
        return str(last["weights_sha256"])

    def done(self, folder: Path, report: Path, seconds: float) -> None:
        """Where everything is."""
        self.say("")
        self.say(f"report   {report}")
        self.say(f"model    {folder / 'model.tfm'}, metrics {folder / 'metrics.jsonl'}")
        self.say(f"done in {show_time(seconds)}")


def adaptation_table(kept: Kept) -> Table:
    """Mean accuracies with their 95 % intervals."""
    table = Table(
        title="Accuracy on the stranger's device, by examples of each gesture", title_justify="left", box=None,
        title_style="", header_style="bold", pad_edge=True, padding=(0, 2),
    )  # fmt: skip
    table.add_column("initialization")
    for number in kept["shots"]:
        table.add_column(str(number), justify="right")
    for kind, found in kept["kinds"].items():
        style = "bold green" if kind == LEARNED else ""
        cells = [
            Text.assemble((f"{mean:.3f}", style), ("" if half is None else f" ± {half:.3f}", "dim"))
            for mean, half in found["curve"]
        ]
        table.add_row(Text(printable(KINDS.get(kind, kind)), style=style), *cells)
    return table


def _print_json(value: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
    sys.stdout.flush()
