"""Text of files and of other libraries, on one line."""

import pytest

from tinyfed.text import first_line, listed, names_in, printable, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [("grün 1", "grün 1"), ("a\nb\x00", "a\\nb\\x00"), ("\udcff", "\\udcff"), ("\u202eabc", "\\u202eabc"), ("", "")],
)
def test_what_does_not_print_is_escaped(text: str, expected: str) -> None:
    assert printable(text) == expected and printable(text).isprintable()


def test_long_values_are_cut() -> None:
    assert shown([1, "a\tb"]) == "[1, 'a\\tb']" and shown("x" * 300) == "x" * 200 and shown("abcdef", 3) == "abc"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n  bad\tshape \nmore"), "bad\\tshape"),
        (ValueError(), "ValueError"),
        (OSError("x" * 400), "x" * 300),
    ],
)
def test_the_first_line_of_an_error(error: Exception, line: str) -> None:
    assert first_line(error) == line


def test_names_in_a_row_say_how_many_more_there_are() -> None:
    assert listed("abc", 3) == "a, b, c" and listed("abcd", 3) == "a, b, c and 1 more" and listed([]) == ""
    assert names_in(" a, b c ,,d") == ("a", "b c", "d") and names_in(" ") == names_in(",") == ()
    assert listed(["a\nb", "x" * 99]) == "a\\nb, " + "x" * 60
