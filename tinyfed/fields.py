"""What a value may be, said once: options, orders, sections of a file and board manifests declare their fields.

A dataclass or a function declares them in its annotations, a mapping of names says the same without one:

    alpha: Annotated[float, number(0, 1, above=True)] = 0.3

`Table` reads a mapping by such fields. Every error has its parts: where, key, value, problem, remedy.
"""

import dataclasses
import difflib
import functools
import inspect
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, ParamSpec, TypeVar, get_type_hints

from tinyfed.errors import UsageError

KeyPath = tuple[str | int, ...]
REQUIRED: Any = object()  # the default of a field that has none

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Field:
    """What a value may be. `whole`, `number`, `word`, `text`, `texts`, `flag` make one."""

    kind: type  # int, float, bool, str, or list: of texts
    low: float = -math.inf
    high: float = math.inf
    above: bool = False  # `low` itself is not allowed
    or_zero: bool = False  # 0 is, whatever `low` says
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()  # one of these may stand for a number
    empty: bool = True  # a text may be
    from_text: bool = False  # a whole number may be written as a text as in C, "0x20000000" or "64000000L"
    or_texts: bool = False  # a text may be written as a list of texts: they are joined by ", "
    is_path: bool = False  # a text names a file or folder, in an experiment from the experiment's folder
    example: str = ""
    default: Any = REQUIRED

    @property
    def allowed(self) -> str:
        """In words: "a whole number, 1..255"."""
        if self.choices:
            return "one of " + ", ".join(f'"{word}"' for word in self.choices)
        if self.kind is bool:
            return "true or false"
        if self.kind is list:
            return "a list of texts" + (f" such as {self.example}" if self.example else "")
        if self.kind is str:
            said = "a text or a list of texts" if self.or_texts else "a text"
            return said if self.empty else f"{said} that is not empty"
        said = "a whole number" if self.kind is int else "a number"
        if self.from_text:
            said += ' (or a text as "0x20000000")'
        if self.above and self.high < math.inf:
            said += f" above {_digits(self.low)}, at most {_digits(self.high)}"
        elif self.low > -math.inf:
            said += f", {_digits(self.low)}" + (f"..{_digits(self.high)}" if self.high < math.inf else " or more")
        said = f"0, or {said}" if self.or_zero else said
        return ", ".join((said, *(f'"{word}"' for word in self.words[:-1]))) + (
            f' or "{self.words[-1]}"' if self.words else ""
        )

    def check(self, value: Any) -> Any:
        """The value, a number of kind float as one. Raises `UsageError` without a place or a key."""
        if isinstance(value, str) and value in self.words:
            return value
        if self.kind is int:
            number = _from_text(value) if self.from_text and isinstance(value, str) else value
            if isinstance(number, int) and not isinstance(number, bool) and self.low <= number <= self.high:
                return number
        elif self.kind is float:
            number = _finite(value)
            if number is not None:
                if self.low <= number <= self.high and not (self.above and number == self.low):
                    return number
                if self.or_zero and number == 0:
                    return number
        elif self.choices:
            if isinstance(value, str) and value in self.choices:
                return value
        elif self.kind is list:
            if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
                return tuple(value)
        elif self.or_texts and isinstance(value, list) and all(isinstance(item, str) for item in value):
            return ", ".join(value)
        elif isinstance(value, self.kind) and (self.empty or value):
            return value
        hint = near(value, self.choices or self.words) if isinstance(value, str) else ""
        raise UsageError(f"must be {self.allowed}", value=quote(value), remedy=hint)


def whole(low: float = -math.inf, high: float = math.inf, **more: Any) -> Field:
    """A whole number, low..high."""
    return Field(int, low, high, **more)


def number(low: float = -math.inf, high: float = math.inf, **more: Any) -> Field:
    """A finite number, low..high."""
    return Field(float, low, high, **more)


def word(*choices: str, **more: Any) -> Field:
    """One of these words."""
    return Field(str, choices=choices, **more)


def text(**more: Any) -> Field:
    """A text."""
    return Field(str, **more)


def texts(**more: Any) -> Field:
    """A list of texts."""
    return Field(list, **more)


def flag(**more: Any) -> Field:
    """True or false."""
    return Field(bool, **more)


def fields_of(declared: Callable[..., object]) -> Mapping[str, Field]:
    """The fields of a dataclass or of a function's parameters, in order, with their defaults.

    Those annotated with a `Field`, and plain bool, int, float and str, which may have any value of their kind.
    """
    return _fields_of(declared)


@functools.cache
def _fields_of(declared: Any) -> Mapping[str, Field]:
    hints = get_type_hints(declared, include_extras=True)
    found = {}
    for name, default in _defaults(declared).items():
        hint = hints.get(name)
        said = [part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Field)]
        plain = [kind for kind in (bool, int, float, str) if hint is kind]
        if said or plain:
            found[name] = replace(said[0] if said else Field(plain[0]), default=default)
    return found


def _defaults(declared: Callable[..., object]) -> dict[str, Any]:
    if dataclasses.is_dataclass(declared):
        return {
            one.name: REQUIRED if one.default is dataclasses.MISSING else one.default
            for one in dataclasses.fields(declared)
        }
    parameters = inspect.signature(declared).parameters
    return {
        name: REQUIRED if parameter.default is parameter.empty else parameter.default
        for name, parameter in parameters.items()
    }


def check_fields(made: Any, where: str) -> None:
    """Raises `UsageError` unless each declared field of a dataclass has its default or a value it may have."""
    declared: Callable[..., object] = type(made)
    fields = fields_of(declared)
    given = {name: getattr(made, name) for name in fields}
    check_values(fields, {name: value for name, value in given.items() if value is not fields[name].default}, where)


def check_values(fields: Mapping[str, Field], values: Mapping[str, Any], where: str) -> None:
    """Raises `UsageError` unless each of these fields that has a value has one it may have."""
    for name, one in fields.items():
        if name in values:
            try:
                one.check(values[name])
            except UsageError as error:
                raise error.located(where, name) from None


def checked(where: str) -> Callable[[Callable[Arguments, Made]], Callable[Arguments, Made]]:
    """A function whose arguments are checked by its declared fields, before it runs."""

    def decorate(function: Callable[Arguments, Made]) -> Callable[Arguments, Made]:
        @functools.wraps(function)
        def check_first(*arguments: Arguments.args, **named: Arguments.kwargs) -> Made:
            given = inspect.signature(function).bind(*arguments, **named).arguments
            check_values(fields_of(function), given, where)
            return function(*arguments, **named)

        return check_first

    return decorate


@dataclass(frozen=True)
class Source:
    """Where a mapping comes from: a file's name, with the line of each key where it has lines."""

    name: str
    lines: Mapping[KeyPath, int] | None = None
    remedy: str = ""  # of every mistake in it that has none of its own

    def where(self, path: KeyPath) -> str:
        """`file:line`, at the nearest line known."""
        if self.lines is None:
            return self.name
        line = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), 1)
        return f"{self.name}:{line}"


@dataclass(frozen=True)
class Table:
    """A mapping whose values are taken by their fields."""

    values: Mapping[str, Any]
    source: Source
    path: KeyPath = ()

    def error(self, key: str | int | None, problem: str, *, value: str = "", remedy: str = "") -> UsageError:
        """An error about `key` of this table, or about the table itself."""
        return self.error_at(self.path if key is None else (*self.path, key), problem, value=value, remedy=remedy)

    def error_at(self, path: KeyPath, problem: str, *, value: str = "", remedy: str = "") -> UsageError:
        """An error about a path of the whole file."""
        remedy = remedy or self.source.remedy
        return UsageError(problem, where=self.source.where(path), key=show(path), value=value, remedy=remedy)

    def wrong(self, key: str, problem: str, remedy: str = "") -> UsageError:
        """An error about the value of `key`, as it stands there."""
        return self.error(key, problem, value=quote(self.values[key]), remedy=remedy)

    def placed(self, error: UsageError) -> UsageError:
        """An error that somebody else found in this table's values: with the line of the key it names, or of the
        table where the file leaves that key away."""
        if not error.key:
            return self.error(None, str(error))
        return self.error(error.key, error.problem, value=error.value, remedy=error.remedy)

    def only(self, allowed: Sequence[str]) -> None:
        """Refuse any other key."""
        for key in self.values:
            if key not in allowed:
                known = ", ".join(sorted(set(allowed))) or "none"
                raise self.error(key, f"no such key; allowed: {known}", remedy=near(key, allowed))

    def take(self, key: str, field: Field) -> Any:
        """The value of a key, or its field's default."""
        if key not in self.values:
            if field.default is REQUIRED:
                raise self.error(key, f"is missing, must be {field.allowed}")
            return field.default
        try:
            return field.check(self.values[key])
        except UsageError as error:
            raise self.placed(error.located(key=key)) from None

    def read(self, fields: Mapping[str, Field], *, beside: Sequence[str] = ()) -> dict[str, Any]:
        """The values of all fields; any key that is none of them and not `beside` them is refused."""
        self.only((*fields, *beside))
        return {key: self.take(key, field) for key, field in fields.items()}

    def given(self, fields: Mapping[str, Field]) -> dict[str, Any]:
        """The values of those fields that are there."""
        return {key: self.take(key, field) for key, field in fields.items() if key in self.values}

    def table(self, key: str, default: Any = REQUIRED) -> "Table":
        """A table below this one."""
        path = (*self.path, key)
        value = self.values.get(key, default)
        must = "must be an object" if self.source.lines is None else f"must be a table, written [{show(path)}]"
        if value is REQUIRED:
            raise self.error(key, f"is missing, {must}")
        if not isinstance(value, dict):
            raise self.error(key, must, value=quote(value))
        return Table(value, self.source, path)

    def tables(self, key: str) -> list["Table"]:
        """A list of tables, not empty."""
        allowed = "must be a list of tables, at least one"
        if key not in self.values:
            raise self.error(key, f"is missing, {allowed}")
        value = self.values[key]
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            raise self.wrong(key, allowed)
        return [Table(item, self.source, (*self.path, key, number)) for number, item in enumerate(value)]


def show(path: KeyPath) -> str:
    """`model.layers[1].kind`."""
    shown = ""
    for part in path:
        text = str(part) if re.fullmatch(r"[A-Za-z0-9_-]+", str(part)) else json.dumps(part, ensure_ascii=False)
        shown += f"[{part}]" if isinstance(part, int) else f".{text}" if shown else text
    return shown


def near(word: str, allowed: Sequence[str]) -> str:
    """`did you mean "x"?`, or nothing."""
    match = difflib.get_close_matches(word, allowed, n=1)
    return f'did you mean "{match[0]}"?' if match else ""


def quote(value: object) -> str:
    """A value as it was written, in one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:37] + "..."


def _digits(value: float) -> str:
    short = f"{value:g}"
    return str(value) if isinstance(value, int) else short if len(short) <= 6 else f"{value:.2g}"


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def _from_text(value: str) -> int | None:
    try:
        return int(value.rstrip("Ll"), 0)
    except ValueError:
        return None
