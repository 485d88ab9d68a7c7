"""Runs with a man in the middle: firmware/app whole and in-process, the host's own `RemoteDevice`, and a clock that is
a number. Whatever he does, what a visit gives is what a good line gives, or the visit fails."""

from man_in_the_middle import Outcome, run_through, total

from tinyfed.engine._device import LineDevice


class Board:
    """A transport to a `LineDevice`, each byte of which takes its time."""

    name = "in-process"
    bytes_per_s = 115_200.0

    def __init__(self) -> None:
        self.now_s = 100.0
        self._device = LineDevice(65536, bytes(range(12)), "board")
        self._pending = b""

    def clock(self) -> float:
        return self.now_s

    def _feed(self, data: bytes) -> None:
        self.now_s += len(data) / self.bytes_per_s
        said = self._device.feed(data, int(self.now_s * 1e6) % 2**32, 8)
        self.now_s += len(said) / self.bytes_per_s
        self._pending += said

    def read(self, timeout_s: float) -> bytes:
        self._feed(b"")
        if not self._pending:
            self.now_s += min(max(timeout_s, 1e-4), 0.05)
            self._feed(b"")
        data, self._pending = self._pending, b""
        return data

    def write(self, data: bytes) -> None:
        self._feed(data)

    def close(self) -> None:
        pass


def run(seed: int) -> Outcome:
    board = Board()
    return run_through(seed, lambda: board, board.clock)


def test_nothing_is_silently_other_with_a_man_in_the_middle() -> None:
    figures = total([run(seed) for seed in range(40)])
    print(figures)
    assert figures["wrong"] == 0
    assert figures["visits"] > 100
    assert figures["faults"] > 500
