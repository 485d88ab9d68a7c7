"""Values as C99 and C++11 text that means the same in both."""

import re
from collections.abc import Iterable

import numpy as np

from tinyfed.errors import UsageError

_WORDS = """
    alignas alignof and and_eq asm atomic auto bitand bitor bool break case catch char class compl concept const
    constexpr const_cast continue decltype default delete do double dynamic_cast else enum explicit export extern
    false float for friend goto if inline int int8_t int16_t int32_t int64_t long main mutable namespace new noexcept
    not not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires restrict return
    short signed sizeof static static_assert static_cast struct switch template this thread_local throw true try
    typedef typeid typename uint8_t uint16_t uint32_t uint64_t union unsigned using virtual void volatile wchar_t
    while xor xor_eq
"""
_RESERVED = frozenset(_WORDS.split())
LONGEST_NAME = 40
BYTES_A_LINE = 16


def check_name(name: str) -> str:
    """`name`, where it is a prefix of C identifiers and a file name on every system. Raises UsageError."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(
            "use lower-case letters, digits and underscores, starting with a letter, as in kws_model",
            key=f"name {name!r}",
        )
    if len(name) > LONGEST_NAME:
        raise UsageError(f"{len(name)} characters; at most {LONGEST_NAME}", key=f"name {name!r}")
    if "__" in name or name.endswith("_"):
        raise UsageError(
            "two underscores in a row are reserved in C++, and none may end the name", key=f"name {name!r}"
        )
    if name in _RESERVED:
        raise UsageError("this is a word of C or C++", key=f"name {name!r}", remedy="choose another")
    if name.startswith("tinyfed_"):
        raise UsageError("the prefix tinyfed_ is the engine's", key=f"name {name!r}", remedy="choose another")
    return name


def byte_lines(content: bytes) -> Iterable[str]:
    """The bytes as lines of an initializer."""
    for start in range(0, len(content), BYTES_A_LINE):
        yield "    " + " ".join(f"0x{value:02x}," for value in content[start : start + BYTES_A_LINE])


def float_text(value: float) -> str:
    """A float32 constant that reads back as the same bits."""
    number = np.float32(value)
    if not np.isfinite(number):
        raise UsageError(f"{number} has no constant in C")
    text = np.format_float_scientific(number, unique=True, trim="0")
    assert np.float32(text) == number
    return text + "f"


def int_text(value: int) -> str:
    """An int32 constant. The most negative one has no literal of its own in C."""
    if value == -(2**31):
        return "(-2147483647 - 1)"
    return f"({value})" if value < 0 else str(value)


def string_text(text: str) -> str:
    """A string literal of UTF-8 bytes. Octal escapes: a hexadecimal one would swallow digits that follow it."""
    escaped = []
    for byte in text.encode():
        character = chr(byte)
        if character in '"\\?':  # the question mark because of trigraphs
            escaped.append("\\" + character)
        elif 32 <= byte < 127:
            escaped.append(character)
        else:
            escaped.append(f"\\{byte:03o}")
    return '"' + "".join(escaped) + '"'


def comment_text(text: str) -> str:
    """Text that can stand in a C comment: printable ASCII, without the comment's own marks and without trigraphs."""
    plain = "".join(c if " " <= c <= "~" and c != "\\" else "." for c in text)
    return re.sub(r"\?(?=\?)", "? ", plain.replace("*/", "* /").replace("/*", "/ *"))
