#!/usr/bin/env python3
"""Measure the benchmark nets and write docs/benchmarks.md between its markers. Usage: bench [--check]

--check: write nothing, fail where the board's figures are not those of the page (they are the same on every run).
"""

import re
import sys
from pathlib import Path

from tinyfed_host.bench.board import build
from tinyfed_host.bench.figures import Figures, measure
from tinyfed_host.bench.nets import NETS, bench_net

from tinyfed.boards import read_board

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
README = Path(__file__).parent.parent / "README.md"
BOARD = "mps2_an386"
# What the net is, and the fewest instructions published or measured for it.
ELSEWHERE = {
    "mlp-relu": ("1-32-32-1 ReLU", "29,160 (PULP-TrainLib, no biases), 141,040 (AIfES)"),
    "mlp-tanh": ("1-32-32-1 tanh", "150,784 (AIfES)"),
    "cnn-omniglot": ("28x28 CNN, 4,133 parameters", "12,212,000 (AIfES)"),
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
            f"| {facts['cycles_estimate']:,} | {100 * facts['zero_share']:.1f} % | {facts['parameter_bytes']:,} "
            f"| {facts['arena_bytes']:,} | {facts['stack_bytes']:,} | {facts['ram_bytes']:,} |"
        )
    lines += ["", *without_vmla(found)]
    lines += [
        "",
        f"Engine code in flash: {found[0].code_bytes:,} bytes with all layers and optimizers (target 24,576); "
        f"{dense_bytes:,} bytes built for dense nets alone, with batches and optimizers (target 8,192), "
        f"{online_bytes:,} bytes of them where they are trained online.",
    ]
    for figures in found:
        steps = len(figures.count.instructions)
        parts = sorted(figures.profile.by_function.items(), key=lambda item: -item[1])[:6]
        text = ", ".join(f"`{name}` {round(count / steps):,}" for name, count in parts)
        lines += ["", f"`{figures.net.name}` goes to: {text}."]
    return "\n".join(lines)


def without_vmla(found: list[Figures]) -> list[str]:
    """What the same steps would take with VMUL and VADD, one cycle each, for every VMLA, three cycles."""
    lines = ["| with VMUL and VADD for VMLA | instructions a step | cycles, estimated |", "|---|---|---|"]
    for figures in found:
        facts = figures.facts()
        changed = round(figures.profile.by_kind.get("vmla", 0) / len(figures.count.instructions))
        more, fewer = facts["instructions"] + changed, facts["cycles_estimate"] - changed
        lines.append(f"| `{facts['model']}` | {more:,} | {fewer:,} |")
    return lines


def readme_table(found: list[Figures]) -> str:
    """The figures of the front page: the board's, the same on every run."""
    lines = [
        "| one online training step on a Cortex-M4F (QEMU) | instructions | best known elsewhere | RAM in all, bytes |",
        "|---|---|---|---|",
    ]
    for figures in found:
        facts = figures.facts()
        what, others = ELSEWHERE[facts["model"]]
        what += f", {100 * facts['zero_share']:.0f} % zeros"
        lines.append(f"| {what} | {facts['instructions']:,} | {others} | {facts['ram_bytes']:,} |")
    return "\n".join(lines)


def host_table(found: list[Figures]) -> str:
    """This computer, as busy as it was."""
    lines = ["| net | steps a second | visits of 32 steps a second |", "|---|---|---|"]
    for figures in found:
        rate = figures.host_steps_per_s
        lines.append(f"| `{figures.net.name}` | {rate:,.0f} | {rate / 32:,.0f} |")
    return "\n".join(lines)


def replaced(page: str, marker: str, text: str) -> str:
    """The page with what stands between a marker's lines replaced."""
    pattern = re.compile(rf"(<!-- {marker}: begin[^\n]*-->\n).*?(<!-- {marker}: end -->)", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"bench: {PAGE} has lost its markers {marker}")
    return pattern.sub(lambda match: f"{match[1]}{text}\n{match[2]}", page)


def main() -> int:
    """Exit code 1 when --check finds a difference."""
    board = read_board(BOARD)
    found = [measure(board, bench_net(name)) for name in NETS]
    page = PAGE.read_text(encoding="utf-8")
    dense, online = (build(board, ("-DTINYFED_DENSE_ONLY",), keep_all=keep_all) for keep_all in (True, False))
    written = replaced(page, "board", board_table(found, dense.code_bytes, online.code_bytes))
    if "--check" in sys.argv:
        if written != page:
            print("bench: docs/benchmarks.md is out of date: run `make bench`", file=sys.stderr)
        return int(written != page)
    PAGE.write_text(replaced(written, "host", host_table(found)), encoding="utf-8")
    front = README.read_text(encoding="utf-8")
    head, begin, rest = front.partition("<!-- bench:begin -->\n")
    _, end, tail = rest.partition("<!-- bench:end -->")
    if not end:
        raise SystemExit(f"bench: {README} has lost its markers bench")
    README.write_text(head + begin + readme_table(found) + "\n" + end + tail, encoding="utf-8")
    print(f"wrote {PAGE} and {README}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
