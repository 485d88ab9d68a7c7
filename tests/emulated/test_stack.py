"""The worst-case stack from GCC's call graph: within what the board reserves, above what a step was seen to use."""

from pathlib import Path

import pytest
from conftest import require_tools
from tinyfed_host.bench import board as on_board
from tinyfed_host.bench import stack
from tinyfed_host.bench.nets import bench_net

from tinyfed.boards import read_board
from tinyfed.errors import BuildError, UsageError


def graph(folder: Path, *lines: str) -> stack._Graph:
    file = folder / "port_test.ci"
    file.write_text("\n".join(lines) + "\n")
    return stack._Graph([file])


def node(name: str, size: int, kind: str = "static") -> str:
    return f'node: {{ title: "{name}" label: "{name}\\na.c:1:1\\n{size} bytes ({kind})" }}'


def edge(caller: str, callee: str) -> str:
    return f'edge: {{ sourcename: "{caller}" targetname: "{callee}" label: "a.c:2:2" }}'


def test_the_worst_case_fits_and_the_measured_is_below_it():
    require_tools("arm-none-eabi-gcc", "qemu-system-arm")
    board = read_board("mps2_an386")
    worst = stack.worst_stack(board)
    measured = on_board.run(board, on_board.build_bench(board), bench_net("cnn-omniglot")).stack_bytes
    assert measured <= worst.program_bytes <= worst.worst_bytes <= board.stack_bytes
    assert sum(size for _, size in worst.chain) == worst.program_bytes


def test_the_deepest_chain_counts(tmp_path):
    found = graph(
        tmp_path, node("start", 8), node("a", 40), node("b", 16), node("c", 100),
        edge("start", "a"), edge("start", "b"), edge("b", "c"), edge("a", "memcpy"),
    )  # fmt: skip
    assert found.worst("start") == 8 + 16 + 100
    assert found.worst("a") == 40 + stack.LIBRARY_BYTES
    assert found.chain("start") == (("start", 8), ("b", 16), ("c", 100))


def test_recursion_and_unbounded_frames_are_refused(tmp_path):
    with pytest.raises(BuildError, match="recursion: a -> b -> a"):
        graph(tmp_path, node("a", 8), node("b", 8), edge("a", "b"), edge("b", "a")).worst("a")
    with pytest.raises(BuildError, match="no bound"):
        graph(tmp_path, node("a", 8, "dynamic"))


def test_a_call_through_a_pointer_takes_the_deepest_of_the_port(tmp_path):
    found = graph(tmp_path, node("a", 8), node("now", 24), edge("a", "__indirect_call"))
    assert found.worst("a") == 8 + 24


def test_a_board_with_an_operating_system_has_no_stack_of_its_own():
    with pytest.raises(UsageError, match="operating system"):
        stack.worst_stack(read_board("native"))
