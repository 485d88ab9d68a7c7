"""The pictures of docs/reproduction.md: curves as plain SVG, the same bytes each time, a few kilobytes."""

import html
from collections.abc import Sequence

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 48, 230, 34, 40
COLORS = ("#0b6e99", "#c2571a", "#5b7f2b", "#7a4fa3", "#b0902a", "#a33a5c", "#2a8f86", "#6b7683")
TICKS = 5
Curve = tuple[str, Sequence[tuple[float, float]]]


def curves_svg(title: str, x_name: str, curves: Sequence[Curve]) -> str:
    """An SVG document. `curves` are labels with their (x, y); the second eight are dashed."""
    x_max = max((x for _, points in curves for x, _ in points), default=1.0) or 1.0
    values = [y for _, points in curves for _, y in points]
    y_max = 1.0 if values and 0.5 < max(values) <= 1.0 else 1.05 * max(values, default=1.0) or 1.0

    def at(x: float, y: float) -> str:
        right, low = WIDTH - RIGHT, HEIGHT - BOTTOM
        return f"{LEFT + (right - LEFT) * x / x_max:.1f},{low - (low - TOP) * y / y_max:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="11" fill="#1d2733">',
        f"<title>{html.escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="13">{html.escape(title)}</text>',
    ]
    for tick in range(TICKS + 1):
        x, y = x_max * tick / TICKS, y_max * tick / TICKS
        (left, height), (right, _) = at(0, y).split(","), at(x_max, y).split(",")
        parts.append(f'<path d="M{left},{height}H{right}" stroke="#e6eaef"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{height}" dy="4" text-anchor="end">{y:.3g}</text>')
        place = at(x, 0).split(",")[0]
        parts.append(f'<text x="{place}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:,.6g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(x_name)}</text>')
    for number, (label, points) in enumerate(curves):
        color = COLORS[number % len(COLORS)]
        dash = ' stroke-dasharray="5 3"' if number >= len(COLORS) else ""
        line = " ".join(at(x, y) for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.8"{dash}/>')
        row = TOP + 10 + 17 * number
        start = WIDTH - RIGHT + 14
        parts.append(f'<path d="M{start},{row}h20" stroke="{color}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{start + 26}" y="{row}" dy="4">{html.escape(label)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
