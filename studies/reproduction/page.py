"""`tinyfed reproduce`: docs/reproduction.md and its pictures, written from what was measured."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from studies.reproduction.claim import claim, kept_claims, section
from studies.reproduction.confirm import BOARD
from studies.reproduction.figures import curves_svg
from studies.reproduction.measure import STUDIES, Reached, Study
from studies.reproduction.pairs import to_markdown as pairs_to_markdown
from studies.reproduction.papers import found
from studies.reproduction.price import BITS_PER_S, CLOCK_HZ
from studies.reproduction.table import Table, amount
from tinyfed.errors import UsageError

FIGURES = ("learning", "adaptation")
PAIRS_ALONE = " The pairs of speakers below ran on simulated devices alone."
IMAGES = "images"  # beside the page
POINTS_SHOWN = 10  # of a learning curve; the picture and the JSON have all


def to_json(table: Table) -> list[dict[str, object]]:
    """A row an object."""
    objects: list[dict[str, object]] = []
    for each in table.rows:
        reached, price, done = each.reached, each.price, each.confirmed
        visits = reached.visits_to(table.study.target[1], smaller_is_better=table.smaller_is_better)
        row: dict[str, object] = {
            "task": table.study.task,
            "row": reached.label,
            "strategy": each.method.strategy,
            "values": _numbers(reached),
            "curve": [list(point) for point in reached.curve],
            "visits_to_target": visits,
        }
        if price is not None:
            row |= {
                "instructions": price.instructions,
                "arena_bytes": price.arena_bytes,
                "stack_bytes": price.stack_bytes,
                "bytes_down": price.bytes_down,
                "bytes_up": price.bytes_up,
                "ram_beside_weights_bytes": price.ram_bytes,
                "visit_s": round(price.visit_s, 4),
            }
        if done is not None:
            row["confirmed"] = {"boards": done.boards, "visits": done.visits, "adaptations": done.adaptations}
        objects.append(row)
    for reached in table.references:
        objects.append({"task": table.study.task, "row": reached.label, "values": _numbers(reached)})
    for pair in table.pairs:
        for kind in pair.rows:
            values = _numbers(kind)
            objects.append({"task": table.study.task, "held_out": pair.held_out, "row": kind.label, "values": values})
    return objects


def _numbers(reached: Reached) -> Mapping[str, object]:
    return {
        str(k): {"mean": round(reached.mean(k), 4), "half_width": _or_none(reached.half_width(k))}
        for k in reached.shots
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def to_markdown(table: Table) -> str:
    """The tables of a study."""
    study = table.study
    smaller = table.smaller_is_better
    learned = [row.reached for row in table.rows]
    shots = learned[0].shots
    what = "mean squared error" if smaller else "accuracy"
    target_shots, target = study.target
    lines = [
        f"## {study.task}",
        "",
        f"{_sizes(study)}, {study.visits:,} visits, {len(table.seeds)} seeds. {what.capitalize()} on devices that took "
        f"no part in the training, after so many {'steps' if study.points_a_step else 'samples a class'}; +- is half "
        "of the 95 % interval over seeds.",
        "",
        "| | " + " | ".join(amount(study, k).split()[0] for k in shots) + " |",
        "|---|" + "---|" * len(shots),
    ]
    for reached in learned:
        lines.append(f"| {reached.label} | " + " | ".join(_cell(reached, k) for k in shots) + " |")
    for reached in table.references:
        lines.append(f"| *{reached.label}* | " + " | ".join(_cell(reached, k) for k in shots) + " |")
    lines += ["", f"While it learned, {what} after {amount(study, target_shots)}, by visits:", ""]
    visits = shown([point for point, _ in learned[0].curve])
    lines += ["| | " + " | ".join(f"{v:,}" for v in visits) + " |", "|---|" + "---|" * len(visits)]
    for reached in learned:
        cells = [f"{value:.3f}" if value is not None else "" for value in map(reached.value_at, visits)]
        lines.append(f"| {reached.label} | " + " | ".join(cells) + " |")
    lines += ["", *(f"![{task_figure}]({IMAGES}/{figure_name(study.task, task_figure)})" for task_figure in FIGURES)]
    if all(row.price is not None for row in table.rows):
        lines += ["", *_price_lines(table, target, smaller)]
    lines += _confirmed_lines(table)
    if study.left_out:
        lines += ["", f"Not run: {study.left_out}."]
    lines += ["", *found(table)]
    if table.pairs:
        lines += ["", pairs_to_markdown(table.pairs).rstrip()]
    return "\n".join(lines) + "\n"


def shown(visits: Sequence[int]) -> list[int]:
    """The last point and others evenly before it, at most `POINTS_SHOWN`."""
    stride = -(-len(visits) // POINTS_SHOWN)
    return sorted(visits[::-1][::stride])


def _price_lines(table: Table, target: float, smaller: bool) -> list[str]:
    lines = [
        "| a visit | RAM beside the weights | of it stored samples | arena | stack | instructions | bytes down "
        f"| bytes up | device time | visits to {table.bound} | device time to it |",
        "|---|" + "---|" * 10,
    ]
    for row in table.rows:
        reached, price = row.reached, row.price
        assert price is not None
        visits = reached.visits_to(target, smaller_is_better=smaller)
        total = "" if visits is None else f"{visits * price.visit_s:,.0f} s"
        lines.append(
            f"| {reached.label} | {price.ram_bytes:,} B | {price.memory.support_bytes:,} B | "
            f"{price.arena_bytes:,} B | {price.stack_bytes:,} B | {price.instructions:,} | {price.bytes_down:,} | "
            f"{price.bytes_up:,} | {price.visit_s:.2f} s | {_visits(visits, reached, target, smaller)} | "
            f"{total} |"
        )
    return lines


def _visits(visits: int | None, reached: Reached, target: float, smaller: bool) -> str:
    """Of the mean curve, and from the quickest seed's own to the slowest's."""
    told = "not reached" if visits is None else f"{visits:,}"
    seeds = reached.visits_of_seeds(target, smaller_is_better=smaller)
    known = [each for each in seeds if each is not None]
    if len(seeds) < 2 or not known:
        return told
    return f"{told} ({min(known):,} to {f'{max(known):,}' if len(known) == len(seeds) else 'never'})"


def _confirmed_lines(table: Table) -> list[str]:
    done = [row.confirmed for row in table.rows if row.confirmed is not None]
    if len(done) < len(table.rows):
        return []
    return [
        "",
        f"Of each row the run of seed {table.seeds[0]} ran on emulated boards ({BOARD}) too, {_how_much(table)}: "
        f"{sum(each.visits for each in done):,} visits and {sum(each.adaptations for each in done):,} newcomers, each "
        f"with the bits of the simulated device.{PAIRS_ALONE if table.pairs else ''}",
    ]


def _how_much(table: Table) -> str:
    parts = [
        f"of {row.reached.label} its first {row.method.confirmed} visits" for row in table.rows if row.method.confirmed
    ]
    return f"whole ({'; '.join(parts)})" if parts else "whole"


def _sizes(study: Study) -> str:
    task = study.make_task()
    if study.convolutions:
        spec = study.make_spec(task)
        shapes = "-".join("x".join(str(n) for n in shape) for shape in spec.shapes)
        return f"{shapes}, {spec.parameter_count:,} parameters"
    return "-".join(str(n) for n in (task.feature_count, *study.hidden, task.output_count)) + f" {study.activation}"


def _cell(reached: Reached, shots: int) -> str:
    half = reached.half_width(shots)
    return f"{reached.mean(shots):.3f}" + ("" if math.isnan(half) else f" +-{half:.3f}")


def figure_name(task: str, kind: str) -> str:
    """The file of a picture, in images/ beside the page."""
    return f"reproduction-{task}-{kind}.svg"


def figures(table: Table) -> dict[str, str]:
    """SVG by file name: performance while it learned, and while newcomers adapt."""
    smaller = table.smaller_is_better
    what = "mean squared error" if smaller else "accuracy"
    target = amount(table.study, table.study.target[0])
    learned = [row.reached for row in table.rows]
    learning = [(reached.label, [(float(v), y) for v, y in reached.curve]) for reached in learned]
    everybody = learned + list(table.references)
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
    claims = kept_claims(old)
    return {name: line for name, line in claims.items() if name in sections}, sections


def page(tables: Sequence[Table], command: str, cost: str, old: str = "") -> str:
    """docs/reproduction.md, which says what `command` took. Sections of other tasks are kept as `old`, the page that is
    there, has them."""
    claims_by_task, sections = kept(old, tables)
    for table in tables:
        sections[table.study.task] = f"{to_markdown(table)}\nWritten by `{command}`, which took {cost}.\n"
        if (line := claim(table)) is not None:
            claims_by_task[table.study.task] = line
    claims = [claims_by_task[task] for task in STUDIES if task in claims_by_task]
    head = [
        "# What the papers claim, measured here",
        "",
        "Written by `tinyfed reproduce`, each section by the command below it; the figures are its output. Runs are on "
        "simulated devices, which give a board's bits. Where a section says so, the run of each row's first seed was "
        f"repeated on emulated Cortex-M4 boards ({BOARD}), one for each client, which must answer every visit and "
        "every newcomer's with the same bits. (There the line's bytes go through memory; of the references, which are "
        "trained on the host, the newcomers were repeated.) Instructions, arena and stack are those of the first visit "
        "of a run on that board, its instructions counted; bytes are those on the line, frames included, of the median "
        "visit of the run on boards. "
        f"Device time is the instructions at {CLOCK_HZ // 1_000_000} MHz, one a cycle, and the bytes at {BITS_PER_S:,} "
        "baud. RAM beside the weights counts the arena without the weights, the stack, and the samples that must be "
        "stored when they come from a sensor and are gone through more than once.",
        "",
        "Rates for the watch data were chosen on training people only (TinyReptile's alpha out of seven, serial "
        "Reptile's rate out of five, FOMAML's out of two, "
        "TinyMetaFed's share out of four and the samples it rebuilds with out of three; FedAvg's was tried once) and "
        "used on FSDD and presence as they are; those of the rows *for time* to reach the performance below in the "
        "fewest visits, on other training people (speakers, rooms) than those it learned from: TinyReptile's out of 17 "
        "on the watch data, 10 on FSDD and 12 on ROBOD, serial Reptile's out of 21, 8 and 19 (on FSDD TinyReptile's "
        "were chosen a second time, with 40 samples a class in a visit, after the first choice, with 10, had reached "
        "0.684 on the speakers held out), those with a rebuilt last layer out of 13 and 17 for TinyReptile, 13 and 15 "
        "for serial Reptile; those of the sines on other sines, which [sine.md](sine.md) compares with "
        "Reptile's own. That a presence task trains on rows in any order was decided "
        "after a held-out room had been looked at. Omniglot's were chosen on 160 of the training characters, left "
        "out, TinyReptile's out of 10 and serial Reptile's out of 22, seven of which diverged; FOMAML's are those "
        "[omniglot.md](omniglot.md) tells of. The performance whose price is compared is one that TinyReptile and "
        "serial Reptile both reach on the newcomers; Omniglot's was 0.9 at first, which in 2,000 visits neither did. "
        "Visits to it are those of the mean over seeds, in brackets those of the quickest and the slowest seed, in "
        "steps of a fortieth of a run (a twelfth on Omniglot). `studies/reproduction/measure.py` lists the settings. "
        "Newcomers adapt online, except on the sines, where they take Reptile's 32 steps "
        "on the mean gradient of 10 points. *random*, "
        "*global* (joint training) and *transfer* (pre-trained on the pooled data with the true labels, new last "
        "layer) are what they are held against.",
        "",
        *section(claims),
    ]
    return "\n".join(head) + "\n" + "\n".join(sections[task] for task in STUDIES if task in sections)


def read_page(path: Path) -> str:
    """The page that is there, empty when there is none. Raises UsageError where none can be read or written, before
    an hour is spent on it."""
    try:
        (path.parent / IMAGES).mkdir(exist_ok=True)
        with path.open("a+", encoding="utf-8") as file:
            file.seek(0)
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be written: {getattr(error, 'strerror', None) or 'it is no text'}") from None


def write_page(path: Path, tables: Sequence[Table], command: str, cost: str, old: str) -> None:
    """The page and its pictures, into images/ beside it. Raises UsageError."""
    try:
        path.write_text(page(tables, command, cost, old), encoding="utf-8")
        for table in tables:
            for name, svg in figures(table).items():
                (path.parent / IMAGES / name).write_text(svg, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
