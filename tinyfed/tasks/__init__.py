"""Task distributions and data sets. `get("watch")` gives a `Task`; a new one is a module and a line here."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from tinyfed.errors import UsageError
from tinyfed.fields import Field, Source, Table, fields_of, near
from tinyfed.tasks.task import Client, Task

__all__ = ["Client", "Task", "fields", "fsdd", "get", "names", "options", "raw", "standardization", "task"]

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
    Table(chosen, Source(f"task {name}")).only(tuple(fields(name)))
    return _make(name)(**chosen)


def options(name: str) -> Mapping[str, Any]:
    """The options of a task with their defaults. Raises UsageError for an unknown task."""
    return {option: field.default for option, field in fields(name).items()}


def fields(name: str) -> Mapping[str, Field]:
    """The options of a task with what each may be. Raises UsageError for an unknown task."""
    return fields_of(_make(name))


def _make(name: str) -> Callable[..., Task]:
    if name not in _MODULES:
        raise UsageError(
            f"{name!r} is unknown, allowed are {', '.join(names())}", where="task", remedy=near(name, names())
        )
    make: Callable[..., Task] = importlib.import_module(_MODULES[name]).make
    return make
