"""Errors are data first: their parts, the sentence of them, and that both survive copies and processes."""

import copy
import pickle
from collections.abc import Callable

import pytest

from tinyfed.errors import DeviceError, TinyfedError, UsageError

PARTS = {"where": "sine.toml:3", "key": "model.layers[1].outputs", "value": "0", "remedy": "use 1 to 4096"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "too few"),
        ({"where": "a.toml:3"}, "a.toml:3: too few"),
        ({"key": "rounds"}, "rounds: too few"),
        ({"key": "rounds", "value": "0"}, "rounds = 0: too few"),
        ({"remedy": "use 1"}, "too few; use 1"),
        (PARTS, "sine.toml:3: model.layers[1].outputs = 0: too few; use 1 to 4096"),
    ],
)
def test_the_sentence_is_made_of_the_parts_that_are_there(given: dict[str, str], sentence: str) -> None:
    assert str(UsageError("too few", **given)) == sentence


def test_the_detail_is_the_sentence_without_the_place() -> None:
    assert UsageError("too few", **PARTS).detail == "model.layers[1].outputs = 0: too few; use 1 to 4096"


@pytest.mark.parametrize("twin", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_copies_and_pickles_keep_every_part(twin: Callable[[DeviceError], DeviceError]) -> None:
    error = DeviceError("no answer", **PARTS)
    other = twin(error)
    assert type(other) is DeviceError and vars(other) == vars(error) and str(other) == str(error)


def test_an_error_is_located_where_it_does_not_know_better() -> None:
    bare: TinyfedError = UsageError("too few")
    placed = bare.located("a.toml", "rounds")
    assert (placed.where, placed.key, str(placed)) == ("a.toml", "rounds", "a.toml: rounds: too few")
    assert type(placed) is UsageError and (bare.where, bare.key) == ("", "")
    again = placed.located("b.toml", "seed")
    assert (again.where, again.key) == ("a.toml", "rounds")
