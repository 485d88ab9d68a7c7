"""The benchmark nets on the emulated Cortex-M4F, into docs/benchmarks.md and README.md between their markers.

    python -m studies.bench [--check]

--check: write nothing, fail where the board's figures are not those of the page (they are the same on every run).
"""

import sys
from pathlib import Path

from tinyfed_host.bench.board import build_bench
from tinyfed_host.bench.figures import Figures, measure
from tinyfed_host.bench.layers import LAYERS
from tinyfed_host.bench.layers import measure as measure_layer
from tinyfed_host.bench.nets import NETS, bench_net

from studies.markers import replaced
from tinyfed.boards import Board, read_board

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
README = Path(__file__).parent.parent / "README.md"
BOARD = "mps2_an386"
CHIP_NAMES = ("STM32F405, 168 MHz", "STM32L4R5, 120 MHz", "nRF52840, 64 MHz")
# What the net is, and the fewest cycles that a model by the same rules gave for others: cited, not measured here.
ELSEWHERE = {
    "mlp-relu": ("1-32-32-1 ReLU", "39,084 (PULP-TrainLib, no biases), 206,398 (AIfES)"),
    "mlp-tanh": ("1-32-32-1 tanh", "227,151 (AIfES)"),
    "cnn-omniglot": ("28x28 CNN, 4,133 parameters", "20,481,123 (AIfES)"),
}


def board_table(found: list[Figures], dense_bytes: int, online_bytes: int) -> str:
    """What does not depend on the machine this runs on."""
    lines = [
        "| net | instructions a step (most) | cycles, estimated | zeros | parameters | arena with them | stack | RAM |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for facts in (figures.facts() for figures in found):
        lines.append(
            f"| `{facts['model']}` | {facts['instructions']:,} ({facts['instructions_most']:,}) "
            f"| {facts['cycles_estimated']:,} | {100 * facts['zero_share']:.1f} % | {facts['parameter_bytes']:,} "
            f"| {facts['arena_bytes']:,} | {facts['stack_bytes']:,} | {facts['ram_bytes']:,} |"
        )
    lines += [
        "",
        f"Engine code in flash: {found[0].code_bytes:,} bytes with all layers and optimizers (target 24,576); "
        f"{dense_bytes:,} bytes built for dense nets alone, with batches and optimizers (target 8,192), "
        f"{online_bytes:,} bytes of them where they are trained online.",
    ]
    lines += ["", "| cycles a step, estimated (of these flash) | core | " + " | ".join(CHIP_NAMES) + " |"]
    lines.append("|---" * (2 + len(CHIP_NAMES)) + "|")
    for facts in (figures.facts() for figures in found):
        chips = [f"{chip['cycles']:,} ({chip['flash']:,})" for chip in facts["chips_estimated"].values()]
        lines.append(f"| `{facts['model']}` | {facts['cycles_estimated']:,} | " + " | ".join(chips) + " |")
    for figures in found:
        steps = len(figures.count.instructions)
        parts = sorted(figures.profile.by_function.items(), key=lambda item: -item[1][1])[:6]
        text = ", ".join(f"`{name}` {round(cycles / steps):,}" for name, (_, cycles) in parts)
        causes = ", ".join(f"{name} {cycles:,}" for name, cycles in figures.facts()["causes_estimated"].items())
        lines += ["", f"Cycles of `{figures.net.name}`, estimated, by function: {text}; by cause: {causes}."]
    return "\n".join(lines)


def layer_table(board: Board) -> str:
    """A step of each kind of layer."""
    lines = [
        "| layer | multiply-adds forward, or values | cycles, estimated | each | most of it |",
        "|---|---|---|---|---|",
    ]
    for facts in (measure_layer(board, name).facts() for name in LAYERS):
        most = ", ".join(f"`{name}` {cycles:,}" for name, cycles in list(facts["functions_estimated"].items())[:3])
        lines.append(
            f"| {facts['layer']} | {facts['units']:,} | {facts['cycles_estimated']:,} "
            f"| {facts['cycles_per_unit_estimated']:.1f} | {most} |"
        )
    return "\n".join(lines)


def readme_table(found: list[Figures]) -> str:
    """The figures of the front page: the board's, the same on every run."""
    lines = [
        "| one online training step on a Cortex-M4F (QEMU) | cycles, estimated | elsewhere, estimated and cited "
        "| RAM in all, bytes |",
        "|---|---|---|---|",
    ]
    for figures in found:
        facts = figures.facts()
        what, others = ELSEWHERE[facts["model"]]
        what += f", {100 * facts['zero_share']:.0f} % zeros"
        lines.append(f"| {what} | {facts['cycles_estimated']:,} | {others} | {facts['ram_bytes']:,} |")
    return "\n".join(lines)


def host_table(found: list[Figures]) -> str:
    """This computer, as busy as it was."""
    lines = ["| net | steps a second | visits of 32 steps a second |", "|---|---|---|"]
    for figures in found:
        rate = figures.host_steps_per_s
        lines.append(f"| `{figures.net.name}` | {rate:,.0f} | {rate / 32:,.0f} |")
    return "\n".join(lines)


def main() -> int:
    """Exit code 1 when --check finds a difference."""
    board = read_board(BOARD)
    found = [measure(board, bench_net(name)) for name in NETS]
    dense, online = (build_bench(board, ("-DTINYFED_DENSE_ONLY",), keep_all=keep_all) for keep_all in (True, False))
    page = replaced(PAGE, "board", board_table(found, dense.code_bytes, online.code_bytes))
    page = replaced(PAGE, "layers", layer_table(board), page)
    if "--check" in sys.argv:
        same = page == PAGE.read_text(encoding="utf-8")
        if not same:
            print("bench: docs/benchmarks.md is out of date: run `make bench`", file=sys.stderr)
        return int(not same)
    PAGE.write_text(replaced(PAGE, "host", host_table(found), page), encoding="utf-8")
    README.write_text(replaced(README, "bench", readme_table(found)), encoding="utf-8")
    print(f"wrote {PAGE} and {README}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
