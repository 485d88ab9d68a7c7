"""Says on standard error that something takes time."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from tinyfed_host.cli import output

QUICK_S = 1.0  # what takes less is not said
REDRAW_S = 0.5


@contextlib.contextmanager
def working(text: str) -> Iterator[Callable[[str], None]]:
    """When this takes over a second: a line that counts in a terminal, one plain line elsewhere, none with --json.

    Gives what is told how far it is. What `output` prints meanwhile goes above it; what others write on standard error
    would be drawn over.
    """
    parts = [text]

    def told(part: str) -> None:
        parts[1:] = [part]

    over = threading.Event()
    thread = threading.Thread(target=_tell, args=(parts, over), name="working", daemon=True)
    if not output.is_json():
        thread.start()
    try:
        yield told
    except BaseException as error:
        if not isinstance(error, Exception):
            output.stopped_at(" ".join(parts))
        raise
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()


@contextlib.contextmanager
def standing(tell: Callable[[], str]) -> Iterator[None]:
    """On Ctrl-C, what `tell` gives is said: what is kept, and how to go on."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception):
            error.add_note(tell())
        raise


def _tell(parts: list[str], over: threading.Event) -> None:
    begun = time.monotonic()
    if over.wait(QUICK_S):
        return
    with contextlib.suppress(OSError, ValueError):
        if not sys.stderr.isatty():
            output.print_note(f"{parts[0]} …")
            return
        while True:
            output.print_over(f"{' '.join(parts)} … {time.monotonic() - begun:.0f} s")
            if over.wait(REDRAW_S):
                break
        output.print_over("")
