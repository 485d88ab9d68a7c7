"""The report's pictures, as SVG text. The only place that imports matplotlib."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinyfed.errors import MissingToolError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1d2733"
FAINT = "#8a97a6"
GRID = "#e6eaef"
COLORS = ("#0b6e99", "#8a97a6", "#c2571a", "#5b7f2b", "#7a4fa3")
WIDE, NARROW = (8.6, 3.5), (4.4, 3.5)  # inches; a phone gets the narrow one
CURVE_POINTS = 400


@dataclass(frozen=True)
class Band:
    """A curve with an interval at each x."""

    label: str
    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def _figure(size: tuple[float, float]) -> "tuple[Figure, Axes]":
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingToolError(
            "the report's pictures need matplotlib, which is not installed: pip install 'tinyfed[report]'"
        ) from error
    matplotlib.rcParams.update(
        {
            "font.family": "sans-serif",
            "font.size": 10.5,
            "svg.fonttype": "path",
            "svg.hashsalt": "tinyfed",
            "axes.edgecolor": FAINT,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "text.color": INK,
        }
    )
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.9)
    axes.set_axisbelow(True)
    axes.tick_params(length=3)
    return figure, axes


def _legend_above(axes: "Axes") -> None:
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, fontsize=9, borderpad=0.2)


def _svg(figure: "Figure", title: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # ids are per picture; two pictures in a page must not share them
    key = re.sub(r"[^a-z]", "", title.lower()) + str(round(figure.get_figwidth() * 10))
    svg = re.sub(r'id="([^"]+)"', rf'id="{key}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{key}-\1"', svg)
    svg = re.sub(r'width="[^"]+pt" height="[^"]+pt"', "", svg, count=1)
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def smooth(values: Sequence[float], window: int) -> list[float]:
    """Mean over the last `window` values (fewer at the start)."""
    smoothed = []
    total = 0.0
    for index, value in enumerate(values):
        total += value
        if index >= window:
            total -= values[index - window]
        smoothed.append(total / min(index + 1, window))
    return smoothed


def thin(x: Sequence[float], y: Sequence[float], count: int = CURVE_POINTS) -> tuple[list[float], list[float]]:
    """At most `count` points, the last one among them."""
    step = max(1, -(-len(x) // count))
    keep = sorted({*range(0, len(x), step), len(x) - 1}) if len(x) else []
    return [x[k] for k in keep], [y[k] for k in keep]


def learning_curve(
    rounds: Sequence[int], curves: Mapping[str, Sequence[float]], marks: Mapping[str, int], *, narrow: bool
) -> str:
    """Loss over rounds. `marks` names rounds where something changed."""
    figure, axes = _figure(NARROW if narrow else WIDE)
    window = max(1, min(50, len(rounds) // 12))
    for color, (label, values) in zip(("#c2571a", COLORS[0]), curves.items(), strict=False):
        x, y = thin(rounds, values)
        axes.plot(x, y, color=color, alpha=0.16, linewidth=0.8)
        x, y = thin(rounds, smooth(values, window))
        axes.plot(x, y, color=color, linewidth=2.0, label=label)
    for label, number in marks.items():
        axes.axvline(number, color=FAINT, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.annotate(
            label, (number, 1.0), xycoords=("data", "axes fraction"), xytext=(5, -2), textcoords="offset points",
            va="top", fontsize=9, color=FAINT,
        )  # fmt: skip
    axes.set_xlabel("round")
    axes.set_ylabel("loss on the device")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    _legend_above(axes)
    return _svg(figure, "Learning curve")


def adaptation_curves(bands: Sequence[Band], chance: float | None, *, narrow: bool) -> str:
    """Accuracy over samples a class, a line with its interval for each initialization."""
    figure, axes = _figure(NARROW if narrow else WIDE)
    for color, band in zip(COLORS, bands, strict=False):
        axes.fill_between(band.x, band.low, band.high, color=color, alpha=0.15, linewidth=0)
        axes.plot(band.x, band.mean, color=color, linewidth=2.2, marker="o", markersize=4.5, label=band.label)
    if chance is not None:
        axes.axhline(chance, color=FAINT, linewidth=1.0, linestyle=(0, (1, 2)))
        axes.annotate("chance", (bands[0].x[-1], chance), xytext=(0, -11), textcoords="offset points",
                      ha="right", fontsize=9, color=FAINT)  # fmt: skip
    ticks: list[Any] = list(bands[0].x) if bands else []
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlabel("examples of each gesture")
    axes.set_ylabel("accuracy on the stranger's device")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if narrow:
        _legend_above(axes)
    else:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure, "Adaptation curves")
