"""Numbers on the command line, by the fields that files and the library declare: one limit for both."""

from collections.abc import Callable
from typing import Any

import typer

from tinyfed.data.tables import read_number, read_whole
from tinyfed.errors import UsageError
from tinyfed.fields import Field, quote


def number_option(field: Field, *names: str, help: str) -> Any:
    """An option `names` whose number may be what `field` says; a `UsageError` names the option otherwise."""
    return typer.Option(*names, parser=_parser(field, names[0]), metavar=_metavar(field), help=_limits(field, help))


def number_argument(field: Field, name: str, help: str) -> Any:
    """As `number_option`, an argument that may be left out."""
    return typer.Argument(parser=_parser(field, name), metavar=f"[{name}]", help=_limits(field, help))


def _parser(field: Field, name: str) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        if not isinstance(value, str):  # a default
            return value
        number = read_whole(value) if field.kind is int else read_number(value)
        if number is None:
            raise UsageError(f"must be {field.allowed}", key=name, value=quote(value))
        try:
            return field.check(number)
        except UsageError as error:
            raise error.located(key=name) from None

    return parse


def _metavar(field: Field) -> str:
    return "INTEGER" if field.kind is int else "FLOAT"


def _limits(field: Field, help: str) -> str:
    said = field.allowed
    return f"{help} [{said.partition(', ')[2] or said}]" if any(c.isdigit() for c in said) else help
