"""Task distributions and data sets. `get("watch")` gives a `Task`; a new one is a module and a line here."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tinyfed.errors import UsageError
from tinyfed.options import check_options
from tinyfed.tasks.task import Client, Task

__all__ = ["Client", "Task", "fsdd", "get", "names", "options", "task"]

_MODULES = {
    "folder": "tinyfed.tasks.folder",
    "fsdd": "tinyfed.tasks.fsdd",
    "occupancy": "tinyfed.tasks.occupancy",
    "omniglot": "tinyfed.tasks.omniglot",
    "robod": "tinyfed.tasks.robod",
    "sine": "tinyfed.tasks.sine",
    "watch": "tinyfed.tasks.watch",
}


def names() -> tuple[str, ...]:
    """The tasks there are."""
    return tuple(sorted(_MODULES))


def get(name: str, **chosen: Any) -> Task:
    """The task of that name. Raises UsageError for an unknown one, a wrong option, or data that is not there."""
    check_options(f"task {name}", options(name), chosen)
    return _make(name)(**chosen)


def options(name: str) -> Mapping[str, Any]:
    """The options of a task with their defaults. Raises UsageError for an unknown task."""
    return {key: value.default for key, value in inspect.signature(_make(name)).parameters.items()}


def _make(name: str) -> Callable[..., Task]:
    if name not in _MODULES:
        raise UsageError(f"task: {name!r} is unknown, allowed are {', '.join(names())}")
    make: Callable[..., Task] = importlib.import_module(_MODULES[name]).make
    return make
