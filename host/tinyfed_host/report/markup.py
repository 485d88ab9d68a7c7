"""HTML and SVG text in which every value is escaped unless it is markup already."""

from collections.abc import Sequence
from html import escape
from string import Formatter

# XML has no place for these, escaped or not.
_CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127, 0xFFFE, 0xFFFF])


class Markup(str):
    """Text that is HTML or SVG, made by `markup` and by nothing else."""


class _Escaping(Formatter):
    def format_field(self, value: object, format_spec: str) -> str:
        if isinstance(value, Markup):
            return value
        if isinstance(value, list | tuple):
            return "".join(self.format_field(each, format_spec) for each in value)
        text = format(value, format_spec).translate(_CONTROLS)
        return escape(text.encode("utf-8", "replace").decode("utf-8"))


_FORMATTER = _Escaping()


def markup(template: str, /, **values: object) -> Markup:
    """The template, a constant, with values for its {names}. Text and numbers are escaped, quotes too; `Markup` stays
    as it is; of a list each item is put in."""
    return Markup(_FORMATTER.vformat(template, (), values))


def joined(parts: Sequence[Markup], between: str = "\n") -> Markup:
    """Markup one after the other."""
    return Markup(between.join(parts))
