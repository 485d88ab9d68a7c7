"""Every course of a small case, short form; `make soak` looks further. See wire_search.py."""

import pytest
from wire_search import Search, nameless_upload


@pytest.mark.parametrize(("moves", "states"), [(1, 100), pytest.param(2, 10_000, marks=pytest.mark.slow)])
def test_no_moves_have_other_weights_taken_or_an_order_carried_out_twice(moves: int, states: int) -> None:
    """Frames lost, swapped, said again (those of an earlier session too) and the power cut, any two of them: 22,000
    states. Most courses end well, and each of those with the visit's own weights."""
    found = Search().run(moves)
    print(found)
    assert (found.wrong, found.twice, found.trace) == (0, 0, [])
    assert found.states > states
    assert found.well > found.courses / 2


def test_a_good_line_has_one_course() -> None:
    found = Search(visits=3).run(0)
    assert (found.courses, found.well, found.wrong, found.twice) == (1, 1, 0, 0)


@pytest.mark.slow
def test_the_search_finds_what_version_1_let_through() -> None:
    """A device that takes an earlier session's frames and a host that does not say whose weights it wants: the image is
    said again between RESULT and UPLOAD. The name in the upload alone is enough against it, and so is the session."""
    found = Search(upload=nameless_upload, forgetful=True).run(2, until_found=True)
    print(found)
    assert found.wrong == 1
    said = [move for move in found.trace if move != "."]
    assert [move.split()[3] for move in said] == ["TRANSFER_BEGIN", "CHUNK_DOWN"]


def test_the_search_finds_an_order_that_is_carried_out_twice() -> None:
    """An earlier session's order, said again once its image is loaded anew: a device that knows no sessions obeys."""
    found = Search(earlier=2, forgetful=True).run(1, until_found=True)
    print(found)
    assert found.twice == 1
    assert [move.split()[3] for move in found.trace if move != "."] == ["ORDER"]
    assert Search(earlier=2).run(1).twice == 0
