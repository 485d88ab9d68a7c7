"""Several devices at once, from a thread that can be interrupted."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def side_by_side(work: Callable[[Item], Answer], items: Sequence[Item], most: int = 64) -> list[Answer]:
    """What `work` makes of each, at most so many at a time, in their order. Raises the first one's error that failed.

    Work is done in daemon threads: a device that never comes to an end holds up neither Ctrl-C nor the process's end.
    """
    futures: list[Future[Answer]] = [Future() for _ in items]
    waiting: queue.SimpleQueue[tuple[Item, Future[Answer]]] = queue.SimpleQueue()
    for each in zip(items, futures, strict=True):
        waiting.put(each)

    def body() -> None:
        while True:
            try:
                item, future = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                future.set_result(work(item))
            except BaseException as error:  # handed to whoever waits
                future.set_exception(error)

    for _ in range(min(most, len(items))):
        threading.Thread(target=body, name="side-by-side", daemon=True).start()
    try:
        wait(futures)
    except BaseException:
        while not waiting.empty():
            waiting.get_nowait()
        raise
    return [future.result() for future in futures]
