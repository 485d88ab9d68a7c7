"""Task distributions and data sets. `get("watch")` gives a `Task`; a new one is a module and a line here."""

import importlib
from typing import Any

from tinyfed.errors import UsageError
from tinyfed.tasks.task import Client, Task

__all__ = ["Client", "Task", "get", "names", "option_names"]

_MODULES = {"sine": "tinyfed.tasks.sine", "watch": "tinyfed.tasks.watch"}


def names() -> tuple[str, ...]:
    """The tasks there are."""
    return tuple(sorted(_MODULES))


def get(name: str, **options: Any) -> Task:
    """The task of that name. Raises UsageError for an unknown one, a wrong option, or data that is not there."""
    if name not in _MODULES:
        raise UsageError(f"task: {name!r} is unknown, allowed are {', '.join(names())}")
    make = importlib.import_module(_MODULES[name]).make
    try:
        task: Task = make(**options)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        allowed = ", ".join(importlib.import_module(_MODULES[name]).OPTIONS) or "none"
        raise UsageError(f"task {name}: an option is unknown ({error}); allowed: {allowed}") from None
    return task


def option_names(name: str) -> tuple[str, ...]:
    """What `get` takes beside the name. Raises KeyError for an unknown task."""
    options: tuple[str, ...] = importlib.import_module(_MODULES[name]).OPTIONS
    return options
