"""Charts as SVG: lines with bands, and bars. Sizes are in pixels of the picture; the same input gives
the same bytes.

Colours and fonts are classes of chart.css, which knows light, dark and print: a page that holds charts has it once
(`STYLE`), a picture on its own carries it (`standalone`). No chart has a style attribute, so a page can forbid them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files

from tinyfed_host.report.markup import Markup, joined, markup

STYLE = (files(__package__) / "chart.css").read_text(encoding="utf-8")
COLORS = 8
FONT, EM = 13, 0.58  # pixels, and the mean width of a letter in them
ROW = 20  # of a legend
TICKS = 5  # about so many


@dataclass(frozen=True)
class Axis:
    """What is along it; `low` and `high` are found from the data where they are None, `ticks` where it is empty."""

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    ticks: Sequence[float] = ()
    show: Callable[[float], str] = "{:,.6g}".format


@dataclass(frozen=True)
class Line:
    """A curve through (x, y), with an interval (x, low, high) around it where it has one."""

    label: str  # empty: not in the legend
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()
    color: int = 0
    dashed: bool = False
    dots: bool = False
    raw: bool = False  # thin and pale: measured values behind their mean


@dataclass(frozen=True)
class Mark:
    """A dashed line across the chart: at an x, or at a y."""

    label: str
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True)
class Bar:
    """A bar from zero."""

    label: str
    value: float
    shown: str  # the value in words


@dataclass(frozen=True)
class _Scale:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, self.low * 1e-3))
        share = (min(max(value, low), high) - low) / (high - low)
        return self.start + (self.end - self.start) * share


def line_chart(
    title: str,
    lines: Sequence[Line],
    x: Axis,
    y: Axis,
    *,
    marks: Sequence[Mark] = (),
    size: tuple[int, int] = (860, 330),
    legend_right: bool = True,
    standalone: bool = False,
) -> Markup:
    """Curves over x. Values that are not finite, and on a logarithmic axis those not above zero, are left out. Without
    `legend_right` the legend is above. Raises ValueError: no point is left."""
    lines = [_drawable(line, x.log, y.log) for line in lines]
    found = [point for line in lines for point in line.points]
    if not found:
        raise ValueError(f"{title}: no point to draw")
    x = _ranged(x, [each for each, _ in found])
    bands = [value for line in lines for _, low, high in line.band for value in (low, high)]
    y = _ranged(y, [*(each for _, each in found), *bands])
    named = [line for line in lines if line.label]
    names = [line.label for line in named]
    width, height = size
    top = 30.0 if standalone else 8.0
    places: list[tuple[float, float]] = []
    right = width - 12.0
    left = 14 + FONT + 8 + max(_width(y.show(tick)) for tick in y.ticks)
    if legend_right and names:
        right = width - min(0.45 * width, 48 + max(map(_width, names)))
        places = [(right + 16, top + 12 + ROW * number) for number in range(len(names))]
        height = max(height, round(top + ROW * len(names) + 16))
    elif names:
        places = _flowed(names, left, width - 8.0, top + 10)
        top = places[-1][1] + 16
    bottom = height - 42.0
    across, up = _scale(x, left, right - 6), _scale(y, bottom, top + 4)
    parts = [*_grid(x, y, across, up, (left, right, top, bottom))]
    parts += [_mark(mark, across, up, (left, right, top, bottom)) for mark in marks]
    for line in sorted(lines, key=lambda each: not each.raw):
        parts += _line(line, x, y, across, up)
    parts += [_key(line, *place) for line, place in zip(named, places, strict=True)]
    about = f"{y.name} by {x.name}: {', '.join(names)}." if names else f"{y.name} by {x.name}."
    return _picture(title, about, (width, height), parts, standalone)


def bar_chart(title: str, bars: Sequence[Bar], name: str, *, width: int = 860, standalone: bool = False) -> Markup:
    """Bars one below the other, all from zero to the largest. Raises ValueError: there is none."""
    if not bars:
        raise ValueError(f"{title}: no bar to draw")
    top, row = 34.0 if standalone else 8.0, 24
    left = 12 + min(0.4 * width, max(_width(bar.label) for bar in bars)) + 8
    right = width - 16 - max(_width(bar.shown) for bar in bars)
    ends = [bar.value for bar in bars if math.isfinite(bar.value)]
    scale = _Scale(0.0, max(ends, default=1.0) or 1.0, left, right, log=False)
    parts = []
    for number, bar in enumerate(bars):
        middle = top + row * number + row / 2
        value = bar.value if math.isfinite(bar.value) else 0.0
        end = max(scale(value), left + 1)
        parts.append(
            markup(
                '<text x="{at:.1f}" y="{y:.1f}" dy=".35em" text-anchor="end">{label}</text>'
                '<rect class="bar k0" x="{left:.1f}" y="{up:.1f}" width="{long:.1f}" height="14" rx="2">'
                "<title>{label}: {shown}</title></rect>",
                at=left - 8, y=middle, label=bar.label, left=left, up=middle - 7,
                long=end - left, shown=bar.shown,
            )
        )  # fmt: skip
        parts.append(
            markup(
                '<text class="tick" x="{x:.1f}" y="{y:.1f}" dy=".35em">{shown}</text>',
                x=end + 6, y=middle, shown=bar.shown,
            )
        )  # fmt: skip
    height = top + row * len(bars)
    parts.append(markup('<path class="base" d="M{x:.1f},{top:.1f}V{end:.1f}"/>', x=left, top=top - 2, end=height + 2))
    parts.append(markup('<text class="axis" x="{x:.1f}" y="{y:.1f}">{name}</text>', x=left, y=height + 20, name=name))
    about = f"{name}: " + ", ".join(f"{bar.label} {bar.shown}" for bar in bars) + "."
    return _picture(title, about, (width, round(height + 28)), parts, standalone)


def nice_ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """About `count` round values within the range, 1, 2 or 5 times a power of ten apart."""
    step = 10.0 ** math.floor(math.log10((high - low) / count))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= count * 1.001)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [_short(number * step) for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within the range, with 2 and 5 times them where there are few; the ends where there is none."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        found = [factor * 10.0**power for power in powers for factor in factors]
        found = [_short(tick) for tick in found if low * 0.999 <= tick <= high * 1.001]
        if len(found) >= 3:
            return found
    return found if len(found) >= 2 else [low, high]


def _short(value: float) -> float:
    """Without what the arithmetic left in the last digits."""
    return float(f"{value:.12g}")


def _drawable(line: Line, x_log: bool, y_log: bool) -> Line:
    def good(x: float, *values: float) -> bool:
        return all(math.isfinite(each) for each in (x, *values)) and not (
            (x_log and x <= 0) or (y_log and min(values) <= 0)
        )

    return replace(
        line,
        points=[point for point in line.points if good(*point)],
        band=[point for point in line.band if good(*point)],
    )


def _ranged(axis: Axis, values: Sequence[float]) -> Axis:
    """With its ends and ticks; the ends are ticks where they are found from the data."""
    low = min(values) if axis.low is None else axis.low
    high = max(values) if axis.high is None else axis.high
    if not low < high:
        low, high = (low / 2, low * 2) if axis.log else (low - abs(low) / 2 - 0.5, low + abs(low) / 2 + 0.5)
        low, high = (low if axis.low is None else axis.low), max(high, (axis.low or low) + 1e-9)
    ticks = list(axis.ticks)
    if not ticks:
        ticks = log_ticks(low, high) if axis.log else nice_ticks(low, high)
    if not axis.log and not axis.ticks and len(ticks) > 1:
        step = ticks[1] - ticks[0]
        if axis.low is None and low < ticks[0] - 1e-9 * step:
            ticks.insert(0, _short(ticks[0] - step))
        if axis.high is None and high > ticks[-1] + 1e-9 * step:
            ticks.append(_short(ticks[-1] + step))
        low = ticks[0] if axis.low is None else low
        high = ticks[-1] if axis.high is None else high
    return replace(axis, low=low, high=high, ticks=ticks)


def _scale(axis: Axis, start: float, end: float) -> _Scale:
    assert axis.low is not None and axis.high is not None
    return _Scale(axis.low, axis.high, start, end, axis.log)


def _grid(x: Axis, y: Axis, across: _Scale, up: _Scale, frame: tuple[float, float, float, float]) -> list[Markup]:
    left, right, top, bottom = frame
    parts = []
    for tick in y.ticks:
        place = up(tick)
        parts.append(
            markup(
                '<path class="grid" d="M{left:.1f},{y:.1f}H{right:.1f}"/>'
                '<text class="tick" x="{at:.1f}" y="{y:.1f}" dy=".35em" text-anchor="end">{text}</text>',
                left=left, right=right, y=place, at=left - 6, text=y.show(tick),
            )
        )  # fmt: skip
    free = -math.inf
    for tick in x.ticks:
        place, text = across(tick), x.show(tick)
        parts.append(markup('<path class="base" d="M{x:.1f},{y:.1f}v4"/>', x=place, y=bottom))
        if place - _width(text) / 2 < free:
            continue  # two numbers would stand on each other
        free = place + _width(text) / 2 + 4
        parts.append(
            markup(
                '<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{text}</text>',
                x=place, y=bottom + 17, text=text,
            )
        )  # fmt: skip
    parts.append(markup('<path class="base" d="M{left:.1f},{y:.1f}H{right:.1f}"/>', left=left, right=right, y=bottom))
    return [*parts, _along(x.name, (left + right) / 2, bottom + 35), _upwards(y.name, 14, (top + bottom) / 2)]


def _along(name: str, x: float, y: float) -> Markup:
    return markup('<text class="axis" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{name}</text>', x=x, y=y, name=name)


def _upwards(name: str, x: float, y: float) -> Markup:
    return markup(
        '<text class="axis" transform="translate({x:.1f} {y:.1f}) rotate(-90)" text-anchor="middle">{name}</text>',
        x=x, y=y, name=name,
    )  # fmt: skip


def _line(line: Line, x: Axis, y: Axis, across: _Scale, up: _Scale) -> list[Markup]:
    classes = "line" + (" raw" if line.raw else "") + (" dashed" if line.dashed else "")
    parts = []
    if line.band:
        there = [f"{across(at):.1f},{up(high):.1f}" for at, _, high in line.band]
        back = [f"{across(at):.1f},{up(low):.1f}" for at, low, _ in reversed(line.band)]
        parts.append(markup('<polygon class="band" points="{points}"/>', points=" ".join(there + back)))
    path = " ".join(f"{across(at):.1f},{up(value):.1f}" for at, value in line.points)
    parts.append(markup('<polyline class="{classes}" points="{path}"/>', classes=classes, path=path))
    for at, value in line.points if line.dots else ():
        parts.append(
            markup(
                '<circle class="dot" cx="{cx:.1f}" cy="{cy:.1f}" r="4"><title>{label}: {y} at {x}</title></circle>',
                cx=across(at), cy=up(value), label=line.label, y=y.show(value), x=x.show(at),
            )
        )  # fmt: skip
    return [markup('<g class="k{color}">{parts}</g>', color=line.color % COLORS, parts=parts)]


def _mark(mark: Mark, across: _Scale, up: _Scale, frame: tuple[float, float, float, float]) -> Markup:
    left, right, top, bottom = frame
    if mark.x is not None:
        x = across(mark.x)
        late = x > (left + right) / 2  # its text goes to the left of it
        path, at = f"M{x:.1f},{top:.1f}V{bottom:.1f}", (x - 5 if late else x + 5, top + 12)
    else:
        y = up(mark.y or 0.0)
        late = True
        path, at = f"M{left:.1f},{y:.1f}H{right:.1f}", (right - 4, y + 15 if y + 18 < bottom else y - 6)
    return markup(
        '<path class="mark" d="{path}"/>'
        '<text class="note" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{label}</text>',
        path=path, x=at[0], y=at[1], anchor="end" if late else "start", label=mark.label,
    )  # fmt: skip


def _flowed(names: Sequence[str], left: float, right: float, first: float) -> list[tuple[float, float]]:
    """Where a legend's entries go that follow each other in rows."""
    places, x, y = [], left, first
    for name in names:
        long = 26 + _width(name) + 18
        if x > left and x + long > right:
            x, y = left, y + ROW
        places.append((x, y))
        x += long
    return places


def _key(line: Line, x: float, y: float) -> Markup:
    return markup(
        '<g class="k{color}"><path class="line{dashed}" d="M{x:.1f},{y:.1f}h20"/>{dot}</g>'
        '<text x="{at:.1f}" y="{y:.1f}" dy=".35em">{label}</text>',
        color=line.color % COLORS, dashed=" dashed" if line.dashed else "", x=x, y=y, at=x + 26, label=line.label,
        dot=markup('<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>', x=x + 10, y=y) if line.dots else "",
    )  # fmt: skip


def _picture(title: str, about: str, size: tuple[int, int], parts: Sequence[Markup], standalone: bool) -> Markup:
    """The whole, with its name and what it shows for those who do not see it."""
    head = markup("<title>{title}</title><desc>{about}</desc>", title=title, about=about)
    if standalone:
        head = markup(
            '{head}\n<style>{style}</style>\n<rect class="paper" width="{width}" height="{height}" rx="6"/>\n'
            '<text class="heading" x="14" y="21">{title}</text>',
            head=head, style=Markup(STYLE), width=size[0], height=size[1], title=title,
        )  # fmt: skip
    return markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" viewBox="0 0 {width} {height}">'
        "{head}\n{body}\n</svg>\n",
        width=size[0], height=size[1], head=head, body=joined(parts),
    )  # fmt: skip


def _width(text: str) -> float:
    """About how wide it is."""
    return EM * FONT * len(text)
