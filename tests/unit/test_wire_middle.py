"""Runs with a man in the middle: firmware/app whole and in-process, the host's own `RemoteDevice`, and a clock that is
a number. Whatever he does, what a visit gives is what a good line gives, or the visit fails."""

from board_in_process import Board
from man_in_the_middle import Outcome, run_through, total


def run(seed: int) -> Outcome:
    board = Board(115_200.0)
    return run_through(seed, lambda: board, board.clock)


def test_nothing_is_silently_other_with_a_man_in_the_middle() -> None:
    figures = total([run(seed) for seed in range(40)])
    print(figures)
    assert figures["wrong"] == 0
    assert figures["visits"] > 100
    assert figures["faults"] > 500
