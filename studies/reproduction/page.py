"""docs/reproduction.md and its pictures, rendered from results/. By itself: `python -m studies.reproduction.page`."""

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from tinyfed_host.report.svg import COLORS, Axis, Bar, Line, bar_chart, line_chart

from studies.reproduction import results as kept
from studies.reproduction.claim import HEAD, claim
from studies.reproduction.confirm import BOARD
from studies.reproduction.measure import STUDIES
from studies.reproduction.pairs import to_markdown as pairs_to_markdown
from studies.reproduction.papers import found
from studies.reproduction.results import BITS_PER_S, CLOCK_HZ, Results, Row, Value
from tinyfed.errors import UsageError
from tinyfed.files import TemporaryFolder, is_special, write_all

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "reproduction.md"
RESULTS = HERE / "results"
NOTES = HERE / "notes"  # the page's template, and what is said of a task below its tables
FIGURES = ("learning", "adaptation", "time")
IMAGES = "images"  # beside the page
SIZE = (860, 380)  # pixels of a picture
POINTS_SHOWN = 10  # of a learning curve; the picture and the JSON have all


def to_json(results: Results) -> list[dict[str, object]]:
    """What `tinyfed reproduce --json` prints: a row an object."""
    objects: list[dict[str, object]] = []
    for each in results.rows:
        row: dict[str, object] = {
            "task": results.task,
            "row": each.label,
            "strategy": each.settings.strategy if each.settings is not None else None,
            "values": _numbers(each.values),
            "curve": [list(point) for point in each.curve],
            "visits_to_target": each.to_target.mean if each.to_target is not None else None,
        }
        if (price := each.price) is not None:
            row |= {
                "instructions": price.instructions,
                "arena_bytes": price.arena_bytes,
                "stack_bytes": price.stack_bytes,
                "bytes_down": price.bytes_down,
                "bytes_up": price.bytes_up,
                "ram_beside_weights_bytes": price.ram_bytes,
                "visit_s": round(price.visit_s, 4),
            }
        if (done := each.on_boards) is not None:
            row["confirmed"] = {"boards": done.boards, "visits": done.visits, "adaptations": done.newcomers}
        objects.append(row)
    for each in results.references:
        objects.append({"task": results.task, "row": each.label, "values": _numbers(each.values)})
    for pair in results.pairs:
        for kind, values in pair.values.items() if pair.held_out else ():
            row = {"task": results.task, "held_out": pair.held_out, "row": kind, "values": _numbers(values)}
            objects.append(row)
    return objects


def _numbers(values: Mapping[int, Value]) -> Mapping[str, object]:
    return {
        str(shots): {
            "mean": round(value.mean, 4),
            "half_width": None if value.half_width is None else round(value.half_width, 4),
        }
        for shots, value in values.items()
    }


def to_markdown(results: Results) -> str:
    """The tables of a task."""
    shots = results.rows[0].shots
    target_shots = results.target[0]
    lines = [
        f"## {results.task}",
        "",
        f"{results.model}, {results.visits:,} visits, {len(results.seeds)} seeds. {results.metric.capitalize()} on "
        f"devices that took no part in the training, after so many "
        f"{'steps' if results.points_a_step else 'samples a class'}; +- is half of the 95 % interval over seeds.",
        "",
        "| | " + " | ".join(results.amount(k).split()[0] for k in shots) + " |",
        "|---|" + "---|" * len(shots),
    ]
    for row in results.rows:
        lines.append(f"| {row.label} | " + " | ".join(_cell(row.values[k]) for k in shots) + " |")
    for row in results.references:
        lines.append(f"| *{row.label}* | " + " | ".join(_cell(row.values[k]) for k in shots) + " |")
    lines += ["", f"While it learned, {results.metric} after {results.amount(target_shots)}, by visits:", ""]
    visits = shown([point for point, _ in results.rows[0].curve])
    lines += ["| | " + " | ".join(f"{v:,}" for v in visits) + " |", "|---|" + "---|" * len(visits)]
    for row in results.rows:
        cells = [f"{value:.3f}" if value is not None else "" for value in map(row.value_at, visits)]
        lines.append(f"| {row.label} | " + " | ".join(cells) + " |")
    pictures = figures(results)
    names = {kind: figure_name(results.task, kind) for kind in FIGURES}
    shown_kinds = [kind for kind, name in names.items() if name in pictures]
    lines += ["", *(f"![{kind}]({IMAGES}/{names[kind]})" for kind in shown_kinds)]
    if all(row.price is not None for row in results.rows):
        lines += ["", *_price_lines(results)]
    lines += _on_boards_lines(results)
    note = NOTES / f"{results.task}.md"
    if note.exists():
        lines += ["", note.read_text(encoding="utf-8").rstrip()]
    lines += ["", *found(results)]
    if results.pairs:
        lines += ["", pairs_to_markdown(results.pairs, len(results.seeds)).rstrip()]
    return "\n".join(lines) + "\n"


def shown(visits: Sequence[int]) -> list[int]:
    """The last point and others evenly before it, at most `POINTS_SHOWN`."""
    stride = -(-len(visits) // POINTS_SHOWN)
    return sorted(visits[::-1][::stride])


def _price_lines(results: Results) -> list[str]:
    lines = [
        "| a visit | RAM beside the weights | of it stored samples | arena | stack | instructions | bytes down "
        f"| bytes up | device time | visits to {results.bound} | device time to it |",
        "|---|" + "---|" * 10,
    ]
    for row in results.rows:
        price, visits = row.price, row.to_target.mean if row.to_target is not None else None
        assert price is not None
        total = "" if visits is None else f"{visits * price.visit_s:,.0f} s"
        lines.append(
            f"| {row.label} | {price.ram_bytes:,} B | {price.stored_bytes:,} B | "
            f"{price.arena_bytes:,} B | {price.stack_bytes:,} B | {price.instructions:,} | {price.bytes_down:,} | "
            f"{price.bytes_up:,} | {price.visit_s:.2f} s | {_visits(row)} | {total} |"
        )
    return lines


def _visits(row: Row) -> str:
    """Of the mean curve, and from the quickest seed's own to the slowest's."""
    to = row.to_target
    told = "not reached" if to is None or to.mean is None else f"{to.mean:,}"
    if to is None or to.quickest is None:
        return told
    return f"{told} ({to.quickest:,} to {'never' if to.slowest is None else f'{to.slowest:,}'})"


def _on_boards_lines(results: Results) -> list[str]:
    done = [(row, row.on_boards) for row in results.rows if row.on_boards is not None]
    if len(done) < len(results.rows):
        return []
    parts = [
        f"of {row.label} its first {each.visits} visits"
        for row, each in done
        if row.settings is not None and each.visits < row.settings.visits
    ]
    return [
        "",
        f"Of each row the run of seed {results.seeds[0]} ran on emulated boards ({results.measured.board}) too, "
        f"whole{f' ({chr(59).join(parts)})' if parts else ''}: {sum(each.visits for _, each in done):,} visits and "
        f"{sum(each.newcomers for _, each in done):,} newcomers, each with the bits of the simulated device."
        + (" The pairs of speakers below ran on simulated devices alone." if results.pairs else ""),
    ]


def _cell(value: Value) -> str:
    return f"{value.mean:.3f}" + ("" if value.half_width is None else f" +-{value.half_width:.3f}")


def figure_name(task: str, kind: str) -> str:
    """The file of a picture, in images/ beside the page."""
    return f"reproduction-{task}-{kind}.svg"


def figures(results: Results) -> dict[str, str]:
    """SVG by file name: performance while it learned, while newcomers adapt, and, where a row has a price and reached
    the performance, the device time that it took."""
    task, what = results.task, results.metric
    target = results.amount(results.target[0])
    learning = [(row.label, row.curve) for row in results.rows]
    everybody = (*results.rows, *results.references)
    adaptation = [(row.label, [(shots, value.mean) for shots, value in row.values.items()]) for row in everybody]
    unit = results.points_a_step or 1
    shots = Axis(
        "steps" if results.points_a_step else "samples a class",
        ticks=results.rows[0].shots,
        show=lambda count: f"{count / unit:g}",
    )
    performance = Axis(what, log=results.smaller_is_better, show="{:g}".format)
    pictures: dict[str, str] = {
        figure_name(task, kind): line_chart(
            f"{task}: newcomers' {title}",
            [
                Line(label, points, color=number % COLORS, dashed=number >= COLORS, dots=dots)
                for number, (label, points) in enumerate(curves)
            ],
            x,
            performance,
            size=SIZE,
            standalone=True,
        )
        for kind, title, curves, x, dots in (
            ("learning", f"{what} after {target}, by visits of the run", learning, Axis("visits", low=0.0), False),
            ("adaptation", f"{what} as they learn", adaptation, shots, True),
        )
    }
    bars = [
        Bar(row.label, seconds, f"{seconds:,.0f} s")
        for row in results.rows
        if row.price is not None and row.to_target is not None and row.to_target.mean is not None
        for seconds in [row.to_target.mean * row.price.visit_s]
    ]
    if bars:
        title = f"{task}: device time to {results.bound}"
        at = f"seconds at {CLOCK_HZ // 1_000_000} MHz and {BITS_PER_S:,} baud"
        pictures[figure_name(task, "time")] = bar_chart(title, bars, at, width=SIZE[0], standalone=True)
    return pictures


def page(results: Mapping[str, Results]) -> str:
    """docs/reproduction.md, with what there is of the studies."""
    tables = [results[task] for task in STUDIES if task in results]
    claims = [line for line in map(claim, tables) if line is not None]
    sections = [
        f"{to_markdown(table)}\nWritten by `{table.measured.command}`, which took {table.measured.cost}.\n"
        for table in tables
    ]
    return Template((NOTES / "page.md").read_text(encoding="utf-8")).substitute(
        board=BOARD,
        clock_mhz=CLOCK_HZ // 1_000_000,
        baud=f"{BITS_PER_S:,}",
        claims="\n".join([*HEAD, *claims]),
        sections="\n".join(sections).rstrip(),
    )


def prepare(path: Path, folder: Path) -> None:
    """Make the folders. Raises UsageError where the page cannot be written or the folder's rows not be read, before an
    hour is spent on it."""
    try:
        if is_special(path):
            raise UsageError(
                "is no regular file, and a page has pictures beside it", where=str(path), remedy="name a file"
            )
        folder.mkdir(parents=True, exist_ok=True)
        (path.parent / IMAGES).mkdir(exist_ok=True)
        if path.is_dir() or (path.exists() and not os.access(path, os.W_OK)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with TemporaryFolder(path.parent, hidden=True):
            pass
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    kept.read(folder, list(STUDIES))


def write(path: Path, folder: Path, measured: Sequence[Results]) -> None:
    """Keep what was measured in the folder, beside what it holds of other tasks; then the page and its pictures, of
    all that the folder holds. Raises UsageError."""
    results = kept.read(folder, list(STUDIES)) | {each.task: each for each in measured}
    contents = kept.files(folder, measured) | {path: page(results).encode()}
    for each in results.values():
        contents |= {path.parent / IMAGES / name: svg.encode() for name, svg in figures(each).items()}
    write_all(contents)


if __name__ == "__main__":
    write(PAGE, RESULTS, ())
