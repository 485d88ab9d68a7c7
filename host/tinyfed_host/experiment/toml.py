"""Reading a TOML file with the line of each key.

`tomllib` does not tell lines, so a small scanner finds them. It only ever sees text that `tomllib` has accepted.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from tinyfed.errors import UsageError
from tinyfed.fields import KeyPath, Source, Table
from tinyfed.reading import TEXT_BYTES_MAX, read_text

DEPTH_MAX = 32  # of lists and tables in each other; an experiment needs four


@dataclass
class _Scanner:
    """Walks valid TOML once and notes the line of each key and of each array element."""

    text: str
    position: int = 0
    lines: dict[KeyPath, int] = field(default_factory=dict)
    counted: tuple[int, int] = (0, 1)  # a position, and the line it is in
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
        position, line = self.counted
        line += self.text.count("\n", position, self.position)
        self.counted = self.position, line
        return line

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


def parse(text: str, name: str) -> Table:
    """The whole file as a table. Raises `UsageError` with the line where it is not TOML."""
    try:
        values = tomllib.loads(text)
        deep = _is_deeper(values, DEPTH_MAX)
    except RecursionError:
        deep = True
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        line = message.partition("at line ")[2].partition(",")[0] or str(text.count("\n") + 1)
        raise UsageError(f"not TOML: {' '.join(message.split())}", where=f"{name}:{line}") from error
    except ValueError as error:  # a number of thousands of digits
        raise UsageError(f"not TOML: {error}", where=name) from error
    if deep:
        raise UsageError(f"lists and tables are nested more than {DEPTH_MAX} deep", where=name)
    return Table(values, Source(name, _Scanner(text.replace("\r\n", "\n")).scan()), ())


def _is_deeper(values: object, most: int) -> bool:
    """Whether lists and tables are nested in each other more than `most` deep; without recursion."""
    level = [values]
    for _ in range(most):
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return any(isinstance(value, dict | list) for value in level)


def read(path: Path) -> Table:
    """`parse` a file. Raises `UsageError` when it cannot be read."""
    try:
        text = read_text(path, TEXT_BYTES_MAX)
    except UsageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise UsageError("no such file", where=str(path), remedy="examples are in examples/") from error
        raise
    return parse(text, str(path))
