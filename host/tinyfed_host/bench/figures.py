"""The figures of one online training step, with the names that `tinyfed bench step --json` gives them."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyfed import engine as core
from tinyfed.boards import Board
from tinyfed_host.bench import board as on_board
from tinyfed_host.bench.cycles import Profile, profile
from tinyfed_host.bench.nets import BenchNet, zero_share

HOST_S = 0.4  # CPU time spent on measuring this computer
HOST_STEPS = 3200  # in one call


@dataclass(frozen=True)
class Figures:
    """One net on one board."""

    board: str
    net: BenchNet
    count: on_board.StepCount
    profile: Profile
    code_bytes: int
    host_steps_per_s: float

    def facts(self) -> dict[str, Any]:
        """By name; means over the measured steps, rounded to whole instructions and cycles."""
        steps = len(self.count.instructions)
        return {
            "model": self.net.name,
            "board": self.board,
            "steps": steps,
            "instructions": round(sum(self.count.instructions) / steps),
            "instructions_most": max(self.count.instructions),
            **self.profile.estimates(steps),
            "parameter_bytes": self.count.parameter_bytes,
            "arena_bytes": self.count.arena_bytes,
            "arena_includes_parameters": True,
            "stack_bytes": self.count.stack_bytes,
            "ram_bytes": self.count.arena_bytes + self.count.stack_bytes,
            "code_bytes": self.code_bytes,
            "zero_share": round(zero_share(self.net), 4),
            "weights_hash": f"{self.count.weights_hash:016x}",
            "host_steps_per_s": round(self.host_steps_per_s),
        }


def host_steps_per_s(net: BenchNet) -> float:
    """Steps in a second of this computer's CPU time, the best of several calls: other work only takes away.

    A call takes the net's samples again and again, `HOST_STEPS` in all, so that it is the engine that is measured.
    """
    engine = core.Engine(net.image)
    repeats = -(-HOST_STEPS // len(net.inputs))
    x, y = np.concatenate([net.inputs] * repeats), np.concatenate([net.targets] * repeats)
    best, spent = float("inf"), 0.0
    while spent < HOST_S:
        engine.parameters = net.weights
        begin = time.process_time()
        engine.train_online(x, y, net.learning_rate)
        taken = time.process_time() - begin
        best, spent = min(best, taken), spent + taken
    return len(x) / best


def profile_of(board: Board, image: on_board.BenchImage, net: BenchNet) -> Profile:
    """What the net's measured steps take by the model. Raises as `cycles.profile`."""

    def emulate(extra: tuple[str, ...]) -> str:
        return on_board.emulate(board, image, net, extra)

    flash = board.memory["flash"]
    return profile(board.compiler.prefix, image.elf, [range(flash.address, flash.end)], emulate)


def measure(board: Board, net: BenchNet) -> Figures:
    """Count the net's steps on the emulated board and time them here.

    Raises:
        UsageError: the board cannot be measured. MissingToolError, BuildError: as `on_board.build_bench` and `run`.
    """
    image = on_board.build_bench(board)
    count = on_board.run(board, image, net)
    return Figures(board.name, net, count, profile_of(board, image, net), image.code_bytes, host_steps_per_s(net))
