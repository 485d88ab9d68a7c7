"""The one validator: what a declared field takes, what it says of the rest, and where."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pytest

from tinyfed.errors import UsageError
from tinyfed.fields import (
    Field,
    Source,
    Table,
    check_fields,
    checked,
    fields_of,
    flag,
    number,
    show,
    text,
    texts,
    whole,
    word,
)

TAKEN: list[tuple[Field, object, object]] = [
    (whole(1, 5), 1, 1),
    (whole(1, 5), 5, 5),
    (whole(), -(10**30), -(10**30)),
    (whole(0, 99, from_text=True), "0x20", 32),
    (number(0, 1), 1, 1.0),
    (number(0, 1, above=True), 1e-300, 1e-300),
    (number(2, 3, or_zero=True), 0, 0.0),
    (number(), np.float32(0.5), 0.5),
    (word("a", "b"), "b", "b"),
    (text(), "", ""),
    (texts(), ["a", "b"], ("a", "b")),
    (flag(), False, False),
]


@pytest.mark.parametrize(("field", "value", "expected"), TAKEN)
def test_what_is_allowed_is_taken(field: Field, value: object, expected: object) -> None:
    taken = field.check(value)
    assert taken == expected and type(taken) is type(expected)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (whole(1, 5), 0, " = 0: must be a whole number, 1..5"),
        (whole(1, 5), 6, " = 6: must be a whole number, 1..5"),
        (whole(1, 5), True, " = true: must be a whole number, 1..5"),
        (whole(1, 5), 2.0, " = 2.0: must be a whole number, 1..5"),
        (whole(1, 5), "2", ' = "2": must be a whole number, 1..5'),
        (whole(1), 0, " = 0: must be a whole number, 1 or more"),
        (whole(0, 9, from_text=True), "x", ' = "x": must be a whole number (or a text as "0x20000000"), 0..9'),
        (number(0, 1), math.nan, " = nan: must be a number, 0..1"),
        (number(), math.inf, " = inf: must be a number"),
        (number(), 10**400, f" = 1{'0' * 36}...: must be a number"),
        (number(0, 1, above=True), 0, " = 0: must be a number above 0, at most 1"),
        (number(0, 1), True, " = true: must be a number, 0..1"),
        (number(2.0**-126, 1000, or_zero=True), 1e-40, " = 1e-40: must be 0, or a number, 1.2e-38..1000"),
        (word("mean", "sum"), "maen", ' = "maen": must be one of "mean", "sum"; did you mean "mean"?'),
        (word("mean", "sum"), ["mean"], ' = [\'mean\']: must be one of "mean", "sum"'),
        (text(empty=False), "", ' = "": must be a text that is not empty'),
        (texts(example='"-O2"'), "-O2", ' = "-O2": must be a list of texts such as "-O2"'),
        (flag(), 1, " = 1: must be true or false"),
    ],
)
def test_what_is_not_is_told_with_what_would_be(field: Field, value: object, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Table({"key": value}, Source("x.json")).take("key", field)
    assert str(caught.value) == f"x.json: key{said}"
    assert (caught.value.where, caught.value.key) == ("x.json", "key")


@dataclass(frozen=True)
class Visit:
    shots: Annotated[int, whole(1, 9)]
    rate: Annotated[float, number(0, 1)] = 0.5
    name: str = "visit"
    parts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, "visit")


def test_a_dataclass_declares_its_fields_in_its_annotations() -> None:
    assert list(fields_of(Visit)) == ["shots", "rate", "name"]
    assert fields_of(Visit)["rate"].default == 0.5
    Visit(9, 1)
    for arguments, key in (({"shots": 10}, "shots"), ({"shots": 1, "rate": -0.1}, "rate")):
        with pytest.raises(UsageError) as caught:
            Visit(**arguments)  # type: ignore[arg-type]
        assert (caught.value.where, caught.value.key) == ("visit", key)


def test_a_value_that_equals_the_default_in_another_kind_is_refused() -> None:
    @dataclass(frozen=True)
    class Counted:
        count: Annotated[int, whole(0, 1)] = 1

    for value in (True, 1.0):
        with pytest.raises(UsageError, match="count = "):
            check_fields(Counted(value), "x")  # type: ignore[arg-type]


def test_a_function_checks_its_arguments_before_it_runs() -> None:
    ran = []

    @checked("task x")
    def make(ways: Annotated[int, whole(2, 4)] = 2, path: str = "") -> int:
        ran.append(ways)
        return ways

    assert make(3) == 3 and fields_of(make)["path"].default == ""
    for arguments in ({"ways": 5}, {"path": 3}):
        with pytest.raises(UsageError, match=rf"^task x: {next(iter(arguments))} = "):
            make(**arguments)  # type: ignore[arg-type]
    assert ran == [3]


def table(values: dict[str, Any]) -> Table:
    return Table(values, Source("x.toml", {("a",): 3, ("a", "b"): 4}), ("a",))


def test_a_table_names_the_line_and_the_nearest_key() -> None:
    fields = {"beta": whole(0, 9), "gamma": text(default="none")}
    assert table({"beta": 1}).read(fields) == {"beta": 1, "gamma": "none"}
    for values, said in (
        ({"beta": 1, "gama": ""}, 'x.toml:3: a.gama: no such key; allowed: beta, gamma; did you mean "gamma"?'),
        ({}, "x.toml:3: a.beta: is missing, must be a whole number, 0..9"),
        ({"beta": 10}, "x.toml:3: a.beta = 10: must be a whole number, 0..9"),
    ):
        with pytest.raises(UsageError) as caught:
            table(values).read(fields)
        assert str(caught.value) == said


def test_an_error_of_somebody_else_gets_the_line_of_its_key() -> None:
    error = UsageError("is too much", where="strategy x", key="b", value="7")
    assert str(table({"b": 7}).placed(error)) == "x.toml:4: a.b = 7: is too much"
    assert str(table({}).placed(UsageError("no data", where="y.csv"))) == "x.toml:3: a: y.csv: no data"


def test_paths_are_shown_as_toml_writes_them() -> None:
    assert show(("model", "layers", 1, "kind")) == "model.layers[1].kind"
    assert show(("a", "b c")) == 'a."b c"'
