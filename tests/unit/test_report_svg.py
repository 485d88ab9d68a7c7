"""Charts as SVG: where points land, which ticks there are, and that no text of a user becomes markup."""

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from tinyfed_host.report.markup import Markup, joined, markup
from tinyfed_host.report.svg import STYLE, Axis, Bar, Line, Mark, bar_chart, line_chart, log_ticks, nice_ticks

NAMESPACE = "{http://www.w3.org/2000/svg}"
EVIL = "<script>&\"'\x00</script>"


def elements(svg: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(NAMESPACE + tag))


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in elements(svg, "text")]


def points(svg: str, number: int = 0) -> list[tuple[float, float]]:
    found = elements(svg, "polyline")[number].get("points", "").split()
    return [(float(x), float(y)) for x, y in (point.split(",") for point in found)]


def test_values_are_escaped_and_markup_is_not() -> None:
    inner = markup("<b>{x}</b>", x=EVIL)
    assert inner == "<b>&lt;script&gt;&amp;&quot;&#x27;&lt;/script&gt;</b>"
    assert markup("<p>{x}{y}{z:.1f}</p>", x=[inner, EVIL], y=None, z=0.25) == (
        f"<p>{inner}&lt;script&gt;&amp;&quot;&#x27;&lt;/script&gt;None0.2</p>"
    )
    assert isinstance(joined([inner, inner]), Markup)
    assert markup("{x}", x="a\udc80b\x1b") == "a?b"


def test_ticks_are_round() -> None:
    """At most about five: 0 to 1 by 0.2, 0 to 30,000 by 10,000 (5,000 would be seven), 0.31 to 0.79 by 0.1."""
    assert nice_ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(0, 30_000) == [0, 10_000, 20_000, 30_000]
    assert nice_ticks(0.31, 0.79) == [0.4, 0.5, 0.6, 0.7]
    assert log_ticks(0.008, 120) == [0.01, 0.1, 1.0, 10.0, 100.0]
    assert log_ticks(0.03, 4) == [0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
    assert log_ticks(3, 4) == [3, 4]


def test_points_land_where_the_scale_says() -> None:
    """Five points evenly along both axes: so far apart in x, and in y downwards, to a tenth of a pixel each."""
    svg = line_chart("t", [Line("a", [(k, k / 4) for k in range(5)])], Axis("x"), Axis("y", 0.0, 1.0))
    found = points(svg)
    for index, growing in ((0, True), (1, False)):
        steps = [after[index] - before[index] for before, after in pairwise(found)]
        assert all(abs(step - steps[0]) < 0.21 for step in steps) and (steps[0] > 0) == growing
    assert {"0", "0.2", "1", "4"} <= set(texts(svg))


def test_a_logarithmic_axis_has_equal_steps_for_equal_factors() -> None:
    """1, 10, 100: the second halfway. What has no logarithm is left out, what is not finite everywhere."""
    values = [(0, 1.0), (1, 10.0), (2, 100.0), (3, 0.0), (4, -1.0), (5, math.nan), (6, math.inf)]
    first, middle, last = points(line_chart("t", [Line("a", values)], Axis("x"), Axis("y", log=True)))
    assert middle[1] == pytest.approx((first[1] + last[1]) / 2, abs=0.11) and last[1] < first[1]
    assert len(points(line_chart("t", [Line("a", values)], Axis("x"), Axis("y")))) == 5
    with pytest.raises(ValueError, match="t: no point to draw"):
        line_chart("t", [Line("a", [(0, math.nan)])], Axis("x"), Axis("y"))


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-30, 1e30])
@pytest.mark.parametrize("low", [None, 0.0])
def test_a_single_value_can_be_drawn(value: float, low: float | None) -> None:
    svg = line_chart("t", [Line("a", [(5, value)])], Axis("x"), Axis("y", low=low))
    assert all(math.isfinite(part) for part in points(svg)[0])
    assert len(texts(svg)) > 4


def test_bands_marks_and_dots_are_drawn() -> None:
    line = Line("a", [(0, 0.2), (1, 0.5)], [(0, 0.1, 0.3), (1, 0.4, 0.6)], color=9, dots=True)
    svg = line_chart("t", [line], Axis("x"), Axis("y"), marks=[Mark("here", x=0.5), Mark("chance", y=0.25)])
    (band,) = elements(svg, "polygon")
    assert len(band.get("points", "").split()) == 4
    assert [each.findtext(f"{NAMESPACE}title") for each in elements(svg, "circle")][:2] == [
        "a: 0.2 at 0",
        "a: 0.5 at 1",
    ]
    assert {"here", "chance"} <= set(texts(svg))
    assert 'class="k1"' in svg  # the tenth colour is the second again


def test_a_legend_above_takes_as_many_rows_as_it_needs() -> None:
    lines = [Line(f"a rather long name {k}", [(0, 0), (1, 1)]) for k in range(4)]
    svg = line_chart("t", lines, Axis("x"), Axis("y"), size=(400, 320), legend_right=False)
    heights = {each.get("y") for each in elements(svg, "text") if (each.text or "").startswith("a rather")}
    assert len(heights) == 4
    assert len({y for (y,) in ((each.get("y"),) for each in elements(svg, "text") if each.text == "0")}) > 0


def test_bars_are_as_long_as_their_values() -> None:
    """20 is half of 40, which ends at the right."""
    svg = bar_chart("t", [Bar("a", 20, "20 s"), Bar("b", 40, "40 s"), Bar("c", math.nan, "never")], "time")
    first, second, third = (float(each.get("width", "")) for each in elements(svg, "rect"))
    assert first == pytest.approx(second / 2, abs=0.11) and third == 1
    assert {"a", "b", "c", "20 s", "40 s", "never", "time"} <= set(texts(svg))
    with pytest.raises(ValueError, match="t: no bar to draw"):
        bar_chart("t", [], "time")


def test_every_text_is_escaped() -> None:
    pictures = [
        line_chart(EVIL, [Line(EVIL, [(0, 1), (1, 2)], dots=True)], Axis(EVIL, show=lambda _: EVIL),
                   Axis(EVIL, show=lambda _: EVIL), marks=[Mark(EVIL, x=1)], standalone=True),
        bar_chart(EVIL, [Bar(EVIL, 1, EVIL)], EVIL, standalone=True),
    ]  # fmt: skip
    for svg in pictures:
        root = ElementTree.fromstring(svg)
        assert not list(root.iter(f"{NAMESPACE}script")) and "<script" not in svg
        assert root.findtext(f"{NAMESPACE}title") == EVIL.replace("\x00", "")
        assert root.get("role") == "img" and root.findtext(f"{NAMESPACE}desc")


def test_a_picture_alone_carries_its_style_and_one_in_a_page_does_not() -> None:
    lines = [Line("a", [(0, 1), (1, 2)])]
    alone = line_chart("t", lines, Axis("x"), Axis("y"), standalone=True)
    assert STYLE in alone and "prefers-color-scheme: dark" in STYLE
    inside = line_chart("t", lines, Axis("x"), Axis("y"))
    assert "<style" not in inside and "style=" not in inside
    assert inside == line_chart("t", lines, Axis("x"), Axis("y"))
    used = {name for picture in (alone, bar_chart("t", [Bar("a", 1, "1")], "time")) for name in classes(picture)}
    assert all(f".{name}" in STYLE for name in used - {"chart"}), used


def classes(svg: str) -> set[str]:
    return {name for each in ElementTree.fromstring(svg).iter() for name in each.get("class", "").split()}
