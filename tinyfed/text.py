"""Others' text on one line: names in files, and what exceptions of other libraries say."""

from collections.abc import Iterable


def printable(text: str) -> str:
    """`text` with everything that does not print, and what is not Unicode, shown escaped."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown.encode("utf-8", "backslashreplace").decode()


def shown(text: object, most: int = 200) -> str:
    """The first characters of a value's text, `printable`."""
    return printable(str(text)[:most])


def listed(names: Iterable[object], most: int = 12) -> str:
    """The first `most` of some names in a row, `printable`, and how many more there are."""
    there = [shown(name, 60) for name in names]
    return ", ".join(there[:most]) + (f" and {len(there) - most:,} more" if len(there) > most else "")


def names_in(text: str) -> tuple[str, ...]:
    """Those of `a, b`, as an option or a key of a file lists them."""
    return tuple(filter(None, map(str.strip, text.split(","))))


def first_line(error: BaseException, most: int = 300) -> str:
    """The first line of what an exception says, `printable`; its class where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown(lines[0] if lines else type(error).__name__, most)
