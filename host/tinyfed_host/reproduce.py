"""`tinyfed reproduce`: the tables of docs/reproduction.md, measured on simulated devices and on an emulated board."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinyfed.boards import read_board
from tinyfed.engine.device import SimulatedDevice
from tinyfed.errors import DeviceError
from tinyfed.meta.reproduction import (
    STUDIES,
    Memory,
    Method,
    Reached,
    Study,
    memory,
    reach,
    reach_reference,
)
from tinyfed.meta.strategy import Reply
from tinyfed.model import encode
from tinyfed_host.link import SerialDevice
from tinyfed_host.reproduce_figures import curves_svg
from tinyfed_host.transport.emulator import start
from tinyfed_host.transport.socket import connect

BOARD = "mps2_an386"
UNIQUE_ID = "7265 7072 6f64 7563 6520 3031".replace(" ", "")
CLOCK_HZ = 64_000_000
BITS_PER_S = 115_200
CONFIRMED_ROUNDS = 3
FIGURES = ("learning", "adaptation")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Price:
    """What a visit costs a device, measured on the emulated Cortex-M4."""

    instructions: int
    stack_bytes: int
    bytes_down: int
    bytes_up: int
    memory: Memory

    @property
    def compute_s(self) -> float:
        """At 64 MHz and one instruction a cycle."""
        return self.instructions / CLOCK_HZ

    @property
    def wire_s(self) -> float:
        """At 115,200 baud, ten bits a byte."""
        return 10 * (self.bytes_down + self.bytes_up) / BITS_PER_S

    @property
    def visit_s(self) -> float:
        """Both."""
        return self.compute_s + self.wire_s


@dataclass(frozen=True)
class Table:
    """A study's rows."""

    study: Study
    seeds: tuple[int, ...]
    rows: tuple[tuple[Method, Reached, Price | None], ...]
    references: tuple[Reached, ...]


def measure_table(study: Study, seeds: Sequence[int], *, boards: bool, tell: Tell) -> Table:
    """All rows of a study. `boards` False leaves the emulated board away, and with it instructions and bytes."""
    rows = []
    for method in study.methods:
        tell(f"{study.task}: {method.label}, {study.visits} visits, {len(seeds)} seeds")
        reached = reach(study, method, seeds)
        rows.append((method, reached, measure_price(study, method) if boards else None))
    references = []
    for kind in study.references:
        tell(f"{study.task}: {kind}")
        references.append(reach_reference(study, kind, seeds))
    return Table(study, tuple(seeds), tuple(rows), tuple(references))


def measure_price(study: Study, method: Method) -> Price:
    """The first rounds of a row on an emulated board, which must give the simulated devices' bits; the price of a
    visit: the first one's instructions, the fewest bytes. Raises DeviceError when the bits differ."""
    task = study.make_task()
    spec = study.make_spec(task)
    strategy = study.make_strategy(method, task)
    weights = study.first_weights(spec, 1)
    image = encode(spec, weights)
    client = task.train[0]
    with start(read_board(BOARD), UNIQUE_ID, client.shard, counting=True) as emulated:
        device = SerialDevice(connect(emulated.port))
        try:
            device.load(image)
            simulated = SimulatedDevice(client.name, shard=client.shard, arena_bytes=device.info.arena_bytes)
            simulated.load(image)
            state, visits = strategy.begin(weights, 1), []
            for _ in range(CONFIRMED_ROUNDS):
                assignment = strategy.configure(state, client.name)
                sent = assignment.weights.astype("<f4").tobytes()
                outcome = device.visit(sent, assignment.order, want_weights=True)
                expected = simulated.visit(sent, assignment.order, want_weights=True)
                if outcome.weights is None or outcome.weights != expected.weights:
                    raise DeviceError(f"reproduce: {method.label} on {BOARD}: other bits than the simulated device's")
                visits.append(outcome)
                trained = np.frombuffer(outcome.weights, "<f4").astype(np.float32)
                state = strategy.aggregate(state, [Reply(client.name, outcome.result, trained)])
            result = visits[0].result
            return Price(
                result.train_instructions,
                result.stack_bytes,
                min(visit.bytes_down for visit in visits),
                min(visit.bytes_up for visit in visits),
                memory(spec, strategy.configure(strategy.begin(weights, 1), client.name).order),
            )
        finally:
            device.close()


# ---- writing it down


def to_json(table: Table) -> list[dict[str, object]]:
    """A row an object."""
    found: list[dict[str, object]] = []
    smaller = _smaller(table)
    for method, reached, price in table.rows:
        visits = reached.visits_to(table.study.target[1], smaller_is_better=smaller)
        row: dict[str, object] = {
            "task": table.study.task,
            "row": reached.label,
            "strategy": method.strategy,
            "values": _numbers(reached),
            "curve": [list(point) for point in reached.curve],
            "visits_to_target": visits,
        }
        if price is not None:
            row |= {
                "instructions": price.instructions,
                "stack_bytes": price.stack_bytes,
                "bytes_down": price.bytes_down,
                "bytes_up": price.bytes_up,
                "ram_beside_weights_bytes": price.memory.total + price.stack_bytes,
                "visit_s": round(price.visit_s, 4),
            }
        found.append(row)
    for reached in table.references:
        found.append({"task": table.study.task, "row": reached.label, "values": _numbers(reached)})
    return found


def _numbers(reached: Reached) -> Mapping[str, object]:
    return {
        str(k): {"mean": round(reached.mean(k), 4), "half_width": _or_none(reached.half_width(k))}
        for k in reached.shots
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _smaller(table: Table) -> bool:
    return table.study.make_task().loss == "mse"


def to_markdown(table: Table) -> str:
    """The tables of a study."""
    study = table.study
    smaller = _smaller(table)
    shots = table.rows[0][1].shots
    what = "mean squared error" if smaller else "accuracy"
    target_shots, target = study.target
    lines = [
        f"## {study.task}",
        "",
        f"{_sizes(study)}, {study.visits:,} visits, {len(table.seeds)} seeds. {what.capitalize()} on devices that took "
        f"no part in the training, after so many samples{'' if smaller else ' a class'}; +- is half of the 95 % "
        "interval over seeds.",
        "",
        "| | " + " | ".join(str(k) for k in shots) + " |",
        "|---|" + "---|" * len(shots),
    ]
    for _, reached, _ in table.rows:
        lines.append(f"| {reached.label} | " + " | ".join(_cell(reached, k) for k in shots) + " |")
    for reached in table.references:
        lines.append(f"| *{reached.label}* | " + " | ".join(_cell(reached, k) for k in shots) + " |")
    lines += ["", f"While it learned, {what} after {_samples(target_shots)}, by visits:", ""]
    visits = sorted({point for _, reached, _ in table.rows for point, _ in reached.curve})
    lines += ["| | " + " | ".join(f"{v:,}" for v in visits) + " |", "|---|" + "---|" * len(visits)]
    for _, reached, _ in table.rows:
        at = dict(reached.curve)
        lines.append(f"| {reached.label} | " + " | ".join(f"{at[v]:.3f}" if v in at else "" for v in visits) + " |")
    lines += ["", *(f"![{task_figure}](images/{figure_name(study.task, task_figure)})" for task_figure in FIGURES)]
    if all(price is not None for _, _, price in table.rows):
        lines += ["", *_price_lines(table, target, smaller)]
    return "\n".join(lines) + "\n"


def _price_lines(table: Table, target: float, smaller: bool) -> list[str]:
    target_shots = table.study.target[0]
    bound = f"{'at most' if smaller else 'at least'} {target:g} after {_samples(target_shots)}"
    lines = [
        "| a visit | RAM beside the weights | of it stored samples | stack | instructions | bytes down | bytes up | "
        f"device time | visits to {bound} | device time to it |",
        "|---|" + "---|" * 9,
    ]
    for _, reached, price in table.rows:
        assert price is not None
        visits = reached.visits_to(target, smaller_is_better=smaller)
        total = "" if visits is None else f"{visits * price.visit_s:,.0f} s"
        lines.append(
            f"| {reached.label} | {price.memory.total + price.stack_bytes:,} B | {price.memory.support_bytes:,} B | "
            f"{price.stack_bytes:,} B | {price.instructions:,} | {price.bytes_down:,} | {price.bytes_up:,} | "
            f"{price.visit_s:.2f} s | {'not reached' if visits is None else f'{visits:,}'} | {total} |"
        )
    return lines


def _sizes(study: Study) -> str:
    task = study.make_task()
    return "-".join(str(n) for n in (task.feature_count, *study.hidden, task.output_count)) + f" {study.activation}"


def _samples(count: int) -> str:
    return f"{count} sample{'s' if count != 1 else ''}"


def _cell(reached: Reached, shots: int) -> str:
    half = reached.half_width(shots)
    return f"{reached.mean(shots):.3f}" + ("" if math.isnan(half) else f" +-{half:.3f}")


def claim(table: Table) -> str | None:
    """TinyReptile beside serial Reptile at the study's target; None without prices."""
    rows = {reached.label: (reached, price) for _, reached, price in table.rows}
    tiny, serial = rows.get("TinyReptile"), rows.get("Reptile, serial")
    if tiny is None or serial is None or tiny[1] is None or serial[1] is None:
        return None
    ram = _factor((serial[1].memory.total + serial[1].stack_bytes) / (tiny[1].memory.total + tiny[1].stack_bytes))
    smaller = _smaller(table)
    visits = [row.visits_to(table.study.target[1], smaller_is_better=smaller) for row in (tiny[0], serial[0])]
    if visits[0] is None or visits[1] is None:
        missing = " and ".join(
            name for name, v in zip(("TinyReptile", "serial Reptile"), visits, strict=True) if v is None
        )
        time = f"time not comparable, {missing} did not reach the target"
    else:
        time = _factor(visits[1] * serial[1].visit_s / (visits[0] * tiny[1].visit_s))
        compute = _factor(visits[1] * serial[1].compute_s / (visits[0] * tiny[1].compute_s))
        time = f"{time} device time to the target, {compute} computing"
    line = f"{100 * tiny[1].wire_s / tiny[1].visit_s:.0f} %"
    return f"| {table.study.task} | {ram} | {time} | {line} |"


def _factor(ratio: float) -> str:
    """How much less (or more) the second takes than the first, when first / second is `ratio`."""
    return f"{ratio:.1f} times less" if ratio >= 1 else f"{1 / ratio:.1f} times more"


def figure_name(task: str, kind: str) -> str:
    """The file of a picture, in images/ beside the page."""
    return f"reproduction-{task}-{kind}.svg"


def figures(table: Table) -> dict[str, str]:
    """SVG by file name: performance while it learned, and while newcomers adapt."""
    smaller = _smaller(table)
    what = "mean squared error" if smaller else "accuracy"
    target = _samples(table.study.target[0])
    learning = [(reached.label, [(float(v), y) for v, y in reached.curve]) for _, reached, _ in table.rows]
    everybody = [reached for _, reached, _ in table.rows] + list(table.references)
    adaptation = [(reached.label, [(float(k), reached.mean(k)) for k in reached.shots]) for reached in everybody]
    return {
        figure_name(table.study.task, "learning"): curves_svg(
            f"{table.study.task}: newcomers' {what} after {target}, by visits", "visits", learning
        ),
        figure_name(table.study.task, "adaptation"): curves_svg(
            f"{table.study.task}: newcomers' {what} by samples{'' if smaller else ' a class'}", "samples", adaptation
        ),
    }


def kept(old: str, tables: Sequence[Table]) -> tuple[dict[str, str], dict[str, str]]:
    """Of a page written before: claims and sections of the tasks that were not measured now, as they stand."""
    new = {table.study.task for table in tables}
    sections = {}
    for part in re.split(r"^(?=## )", old, flags=re.MULTILINE)[1:]:
        name = part[3:].split("\n", 1)[0]
        if name in STUDIES and name not in new:
            sections[name] = part.strip() + "\n"
    claims = {m[1]: m[0] for m in re.finditer(r"^\| (\w+) \| [\d.]+ times .*$", old, flags=re.MULTILINE)}
    return {name: line for name, line in claims.items() if name in sections}, sections


def page(tables: Sequence[Table], command: str, old: str = "") -> str:
    """docs/reproduction.md. Sections of other tasks are kept as `old`, the page that is there, has them."""
    claims_by_task, sections = kept(old, tables)
    for table in tables:
        sections[table.study.task] = f"{to_markdown(table)}\nWritten by `{command}`.\n"
        if (line := claim(table)) is not None:
            claims_by_task[table.study.task] = line
    claims = [claims_by_task[task] for task in STUDIES if task in claims_by_task]
    head = [
        "# What the papers claim, measured here",
        "",
        "Written by `tinyfed reproduce`, each section by the command below it; the figures are its output. Every run "
        "is on simulated devices, which give a "
        f"board's bits; the first {CONFIRMED_ROUNDS} visits of each row ran on an emulated Cortex-M4 ({BOARD}) too and "
        "gave the same. Instructions and stack are that board's, bytes are those on its line, frames included, "
        "in the visit of the first three that repeated least. Device "
        f"time is the instructions at {CLOCK_HZ // 1_000_000} MHz, one a cycle, and the bytes at {BITS_PER_S:,} baud. "
        "RAM beside the weights counts the arena without the weights, the stack, and the samples that must be stored "
        "when they come from a sensor and are gone through more than once.",
        "",
        "Rates for the watch data were chosen on training people only (TinyReptile's alpha out of seven, serial "
        "Reptile's rate out of five, FOMAML's out of two, "
        "TinyMetaFed's share out of four and the samples it rebuilds with out of three; FedAvg's was tried once) and "
        "used on FSDD and presence as "
        "they are; those of the sines on other sines. That a presence task trains on rows in any order was decided "
        "after a held-out room had been looked at. `tinyfed/meta/reproduction.py` lists the settings. "
        "Newcomers adapt online, except on the sines, where they take Reptile's 32 steps "
        "on the mean gradient of 10 points (10, 80 and 320 samples looked at are 1, 8 and 32 steps). *random*, "
        "*global* (joint training) and *transfer* (pre-trained on the pooled data with the true labels, new last "
        "layer) are what they are held against.",
        "",
        "TinyReptile's claim is at least a factor of two less resources and time than the baselines at comparable "
        "performance. Against serial Reptile:",
        "",
        "| task | RAM beside the weights | time | the line's share of TinyReptile's visit |",
        "|---|---|---|---|",
        *claims,
        "",
        "Memory: a gradient buffer and a stored support set are what TinyReptile does without. Computing: it goes "
        "through its samples once where Reptile goes through them several times. Device time: both send the whole "
        "model both ways, so where the line takes most of a visit, the time to a performance follows the number of "
        "visits and not the computing.",
        "",
    ]
    return "\n".join(head) + "\n" + "\n".join(sections[task] for task in STUDIES if task in sections)


__all__ = ["Price", "Table", "claim", "figures", "measure_price", "measure_table", "page", "to_json", "to_markdown"]
