"""Values of an experiment that the command line sets in place of the file's: `task.learning_rate=0.01`."""

import copy
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinyfed.errors import UsageError
from tinyfed.fields import KeyPath, Source, Table, quote, show

_PART = re.compile(r"[A-Za-z0-9_-]+|\[[0-9]{1,4}\]")
_PATH = re.compile(rf"(?:{_PART.pattern}|\.)+")


@dataclass(frozen=True)
class Setting:
    """A key and its value, as in TOML."""

    path: KeyPath
    value: Any

    def __str__(self) -> str:
        word = isinstance(self.value, str) and "," not in self.value and _value(self.value) == self.value
        return f"{show(self.path)}={self.value if word else _as_toml(self.value)}"


@dataclass(frozen=True)
class _Set(Source):
    """A file some of whose values are set elsewhere."""

    settings: Sequence[Setting] = ()

    def where(self, path: KeyPath) -> str:
        unwritten = path not in (self.lines or {})
        given = any(
            path[: len(setting.path)] == setting.path or (unwritten and setting.path[: len(path)] == path)
            for setting in self.settings
        )
        return "--set" if given else super().where(path)


def read_settings(text: str) -> list[Setting]:
    """`KEY=VALUE`, or `KEY=VALUE,VALUE...` with a setting for each. A value is TOML's, a bare word a string. Raises
    `UsageError`."""
    key, equals, values = text.partition("=")
    if not equals or not _PATH.fullmatch(key) or not values.strip():
        problem = "must be KEY=VALUE, with a key of the experiment file: task.learning_rate=0.01"
        raise UsageError(problem, key="--set", value=quote(text))
    path = tuple(int(part[1:-1]) if part[0] == "[" else part for part in _PART.findall(key))
    try:  # a list's commas, and a string's, are its own
        return [Setting(path, value) for value in tomllib.loads(f"x = [{values}]")["x"]]
    except (ValueError, RecursionError):
        return [Setting(path, _value(value.strip())) for value in values.split(",")]


def _as_toml(value: Any) -> str:
    """On one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_as_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_toml, value)) + "]"
    return json.dumps(value) if isinstance(value, bool | str) else str(value)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except (ValueError, RecursionError):
        return text


def with_settings(root: Table, settings: Sequence[Setting]) -> Table:
    """The file with these values. Raises `UsageError` where a key leads nowhere."""
    if not settings:
        return root
    values: dict[str, Any] = copy.deepcopy(dict(root.values))
    for setting in settings:
        at: Any = values
        for part in setting.path[:-1]:
            if isinstance(at, dict) and isinstance(part, str):
                at = at.setdefault(part, {})
            else:
                at = at[part] if isinstance(at, list) and isinstance(part, int) and part < len(at) else None
        last = setting.path[-1]
        fits = isinstance(at, list) and isinstance(last, int) and last < len(at)
        if not fits and not (isinstance(at, dict) and isinstance(last, str)):
            raise UsageError("there is no such place in the file", where="--set", key=show(setting.path))
        at[last] = setting.value
    return Table(values, _Set(root.source.name, root.source.lines, settings=settings), root.path)
