"""Where each key of a TOML file stands, and typed reading with errors that name the line.

`tomllib` does not tell lines, so a small scanner finds them. It only ever sees text that `tomllib` has accepted.
"""

import difflib
import json
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyfed.errors import UsageError

KeyPath = tuple[str | int, ...]


@dataclass
class _Scanner:
    """Walks valid TOML once and notes the line of each key and of each array element."""

    text: str
    position: int = 0
    lines: dict[KeyPath, int] = field(default_factory=dict)
    tables: dict[KeyPath, int] = field(default_factory=dict)  # [[name]] -> how many so far

    def scan(self) -> dict[KeyPath, int]:
        prefix: KeyPath = ()
        while self._skip(newlines=True):
            if self.text[self.position] != "[":
                self._pair(prefix)
                continue
            repeated = self.text.startswith("[[", self.position)
            line = self._line()
            self.position += 2 if repeated else 1
            prefix = self._resolve(self._keys("]"))
            self.position += 2 if repeated else 1
            if repeated:
                count = self.tables.get(prefix, 0)
                self.tables[prefix] = count + 1
                self.lines.setdefault(prefix, line)
                prefix = (*prefix, count)
            self.lines.setdefault(prefix, line)
        return self.lines

    def _line(self) -> int:
        return self.text.count("\n", 0, self.position) + 1

    def _resolve(self, keys: list[str]) -> KeyPath:
        """The path a header means: below an array of tables it is in the last of them."""
        path: KeyPath = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            if path in self.tables and number + 1 < len(keys):
                path = (*path, self.tables[path] - 1)
        return path

    def _skip(self, *, newlines: bool) -> bool:
        """Go past white space and comments; false at the end of the text."""
        blanks = " \t\r\n" if newlines else " \t"
        while self.position < len(self.text):
            character = self.text[self.position]
            if character == "#":
                end = self.text.find("\n", self.position)
                self.position = len(self.text) if end < 0 else end
            elif character in blanks:
                self.position += 1
            else:
                return True
        return False

    def _keys(self, end: str) -> list[str]:
        """A dotted key, up to but not including `end`."""
        keys: list[str] = []
        while True:
            self._skip(newlines=False)
            if self.text[self.position] in "\"'":
                keys.append(self._string())
            else:
                start = self.position
                while self.text[self.position] not in " \t.=]":
                    self.position += 1
                keys.append(self.text[start : self.position])
            self._skip(newlines=False)
            if self.text[self.position] == end:
                return keys
            self.position += 1  # the dot

    def _string(self) -> str:
        quote = self.text[self.position]
        mark = quote * 3 if self.text.startswith(quote * 3, self.position) else quote
        self.position += len(mark)
        start = self.position
        while not self.text.startswith(mark, self.position):
            self.position += 2 if quote == '"' and self.text[self.position] == "\\" else 1
        value = self.text[start : self.position]
        self.position += len(mark)
        # a multi-line string may end in up to two quotes of its own
        while len(mark) == 3 and self.text.startswith(quote, self.position):
            self.position += 1
        return value

    def _pair(self, prefix: KeyPath) -> None:
        line = self._line()
        path = (*prefix, *self._keys("="))
        self.position += 1
        for length in range(len(prefix) + 1, len(path) + 1):
            self.lines.setdefault(path[:length], line)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip(newlines=True)
        character = self.text[self.position]
        if character in "\"'":
            self._string()
        elif character == "[":
            self.position += 1
            for number in range(len(self.text)):
                if self._closed("]"):
                    break
                self.lines[(*path, number)] = self._line()
                self._value((*path, number))
        elif character == "{":
            self.position += 1
            while not self._closed("}"):
                self._pair(path)
        else:
            while self.position < len(self.text) and self.text[self.position] not in ",]}#\n":
                self.position += 1

    def _closed(self, end: str) -> bool:
        """Go past separators; true, and past `end`, when the array or inline table is over."""
        self._skip(newlines=True)
        while self.text[self.position] == ",":
            self.position += 1
            self._skip(newlines=True)
        if self.text[self.position] == end:
            self.position += 1
            return True
        return False


@dataclass(frozen=True)
class Source:
    """A TOML file's text with the line of each key."""

    name: str
    lines: Mapping[KeyPath, int]

    def error(self, path: KeyPath, text: str) -> UsageError:
        """An error that starts with `file:line: key`, at the nearest line known."""
        line = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), 1)
        return UsageError(f"{self.name}:{line}: {show(path)}{text}")


def show(path: KeyPath) -> str:
    """`model.layers[1].kind`."""
    shown = ""
    for part in path:
        text = str(part) if re.fullmatch(r"[A-Za-z0-9_-]+", str(part)) else json.dumps(part, ensure_ascii=False)
        shown += f"[{part}]" if isinstance(part, int) else f".{text}" if shown else text
    return shown


def near(word: str, allowed: Sequence[str]) -> str:
    """`; did you mean "x"?`, or nothing."""
    match = difflib.get_close_matches(word, allowed, n=1)
    return f'; did you mean "{match[0]}"?' if match else ""


def parse(text: str, name: str) -> "Table":
    """The whole file as a table. Raises `UsageError` with the line where it is not TOML."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        line = message.partition("at line ")[2].partition(",")[0] or str(text.count("\n") + 1)
        raise UsageError(f"{name}:{line}: not TOML: {' '.join(message.split())}") from error
    return Table(values, Source(name, _Scanner(text.replace("\r\n", "\n")).scan()), ())


def read(path: Path) -> "Table":
    """`parse` a file. Raises `UsageError` when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; examples are in examples/") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as text: {error}") from error
    return parse(text, str(path))


_MISSING: Any = object()


@dataclass(frozen=True)
class Table:
    """A TOML table whose values are taken by type and range."""

    values: Mapping[str, Any]
    source: Source
    path: KeyPath

    def error(self, key: str | int | None, text: str) -> UsageError:
        """An error about `key` of this table, or about the table itself."""
        return self.source.error(self.path if key is None else (*self.path, key), text)

    def only(self, *allowed: str) -> None:
        """Refuse any other key."""
        for key in self.values:
            if key not in allowed:
                where = f"[{show(self.path)}]" if self.path else "the file"
                raise self.error(
                    key, f" is no key of {where}; allowed: {', '.join(sorted(set(allowed)))}{near(key, allowed)}"
                )

    def _take(self, key: str, default: Any, kind: str) -> Any:
        if key in self.values:
            return self.values[key]
        if default is _MISSING:
            raise self.error(None if self.path else key, self._missing(key, kind))
        return default

    def _missing(self, key: str, kind: str) -> str:
        return f" is missing: {kind}" if not self.path else f': "{key}" is missing: {kind}'

    def integer(self, key: str, low: int, high: int, default: Any = _MISSING) -> int:
        """A whole number, low..high."""
        kind = f"a whole number, {low}..{high}"
        value = self._take(key, default, kind)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(key, f" = {quote(value)}: must be {kind}")
        return value

    def number(self, key: str, low: float, high: float, default: Any = _MISSING, *, above: bool = False) -> float:
        """A number, low..high, or above low."""
        kind = f"a number above {low:g}, at most {high:g}" if above else f"a number, {low:g}..{high:g}"
        value = self._take(key, default, kind)
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not low <= value <= high or (above and value == low):
            raise self.error(key, f" = {quote(value)}: must be {kind}")
        return float(value)

    def scalar(self, key: str) -> int | float | str:
        """A number, or a text that somebody else will refuse with the range at hand."""
        value = self._take(key, _MISSING, "a number")
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise self.error(key, f" = {quote(value)}: must be a whole number")
        return value

    def like(self, key: str, default: bool | int | float | str) -> bool | int | float | str:
        """A value of the kind of `default`, whose range somebody else knows."""
        if isinstance(default, bool):
            return self.boolean(key)
        if isinstance(default, str):
            return self.text(key)
        kind, kinds = ("a whole number", int) if isinstance(default, int) else ("a number", int | float)
        value = self._take(key, _MISSING, kind)
        if isinstance(value, bool) or not isinstance(value, kinds) or not abs(value) <= sys.float_info.max:
            raise self.error(key, f" = {quote(value)}: must be {kind}")
        return value if isinstance(default, int) else float(value)

    def boolean(self, key: str, default: Any = _MISSING) -> bool:
        """true or false."""
        value = self._take(key, default, "true or false")
        if not isinstance(value, bool):
            raise self.error(key, f" = {quote(value)}: must be true or false")
        return value

    def word(self, key: str, allowed: Sequence[str], default: Any = _MISSING) -> str:
        """One of the allowed words."""
        kind = "one of " + ", ".join(f'"{word}"' for word in allowed)
        value = self._take(key, default, kind)
        if value not in allowed:
            hint = near(value, allowed) if isinstance(value, str) else ""
            raise self.error(key, f" = {quote(value)}: must be {kind}{hint}")
        return str(value)

    def text(self, key: str, default: Any = _MISSING) -> str:
        """Any text."""
        value = self._take(key, default, "a text")
        if not isinstance(value, str):
            raise self.error(key, f" = {quote(value)}: must be a text")
        return value

    def table(self, key: str, default: Any = _MISSING) -> "Table":
        """A table below this one."""
        if key not in self.values and default is _MISSING:
            raise self.error(None, f" [{show((*self.path, key))}] is missing".lstrip(" " if not self.path else ""))
        value = self._take(key, default, "a table")
        if not isinstance(value, dict):
            raise self.error(key, f" = {quote(value)}: must be a table, written [{show((*self.path, key))}]")
        return Table(value, self.source, (*self.path, key))

    def tables(self, key: str) -> list["Table"]:
        """A non-empty list of tables."""
        kind = "a list of tables, at least one"
        value = self._take(key, _MISSING, kind)
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            raise self.error(key, f" = {quote(value)}: must be {kind}")
        return [Table(item, self.source, (*self.path, key, number)) for number, item in enumerate(value)]


def quote(value: object) -> str:
    """A value as it was written, in one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:37] + "..."
