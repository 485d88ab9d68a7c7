"""The report's pictures: what is drawn of a run, and how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinyfed_host.report.markup import Markup
from tinyfed_host.report.svg import Axis, Line, Mark, line_chart

WIDE, NARROW = (860, 330), (400, 320)  # a phone gets the narrow one
CURVE_POINTS = 400
BLUE, ORANGE, GREY = 0, 1, 7
BAND_COLORS = (BLUE, GREY, ORANGE, 2, 3)


@dataclass(frozen=True)
class Band:
    """A curve with an interval at each x."""

    label: str
    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


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


def thin(x: Sequence[float], y: Sequence[float], count: int = CURVE_POINTS) -> list[tuple[float, float]]:
    """At most `count` points and the last one."""
    step = max(1, -(-len(x) // count))
    keep = sorted({*range(0, len(x), step), len(x) - 1}) if len(x) else []
    return [(x[k], y[k]) for k in keep]


def learning_curve(
    rounds: Sequence[int], curves: Mapping[str, Sequence[float]], marks: Mapping[str, int], *, narrow: bool
) -> Markup:
    """Loss over rounds. `marks` names rounds where something changed."""
    window = max(1, min(50, len(rounds) // 12))
    lines = []
    for color, (label, values) in zip((ORANGE, BLUE), curves.items(), strict=True):
        lines.append(Line("", thin(rounds, values), color=color, raw=True))
        lines.append(Line(label, thin(rounds, smooth(values, window)), color=color))
    return line_chart(
        "Learning curve",
        lines,
        Axis("round", low=min(rounds), high=max(rounds)),
        Axis("loss on the device", low=0.0),
        marks=[Mark(label, x=number) for label, number in marks.items()],
        size=NARROW if narrow else WIDE,
        legend_right=False,
    )


def adaptation_curves(bands: Sequence[Band], chance: float | None, *, error: str, narrow: bool) -> Markup:
    """Accuracy over samples a class, or over samples the `error` of that name: a line with its interval for each
    start."""
    lines = [
        Line(
            band.label,
            list(zip(band.x, band.mean, strict=True)),
            list(zip(band.x, band.low, band.high, strict=True)),
            color=color,
            dots=True,
        )
        for color, band in zip(BAND_COLORS, bands, strict=False)
    ]
    return line_chart(
        "Adaptation curves",
        lines,
        Axis(
            "samples learned from" if error else "samples of each class",
            ticks=sorted({x for band in bands for x in band.x}),
            show="{:g}".format,
        ),
        Axis(f"{error} on held-out clients", low=0.0)
        if error
        else Axis("accuracy on held-out clients", 0.0, 1.0, show="{:.0%}".format),
        marks=[] if chance is None else [Mark("chance", y=chance)],
        size=NARROW if narrow else WIDE,
        legend_right=not narrow,
    )
