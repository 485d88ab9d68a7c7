"""The report's HTML: one file, nothing loaded from elsewhere, readable on a phone, a desktop and on paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
:root { --ink: #1d2733; --soft: #5a6776; --line: #e1e6ec; --accent: #0b6e99; --page: #f4f6f8; --card: #fff }
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100% }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
main { max-width: 62rem; margin: 0 auto; padding: 2.2rem 1.2rem 3rem }
header p, .note { color: var(--soft) }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em }
h2 { font-size: 1.12rem; margin: 0 0 .2rem }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1.2rem 1.3rem; margin: 1.1rem 0 }
section > p { margin: .2rem 0 .8rem }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.4rem, 1fr)); gap: .8rem; margin: 1.3rem 0 }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem }
.tile b { display: block; font-size: 1.55rem; line-height: 1.25; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums }
.tile span { color: var(--soft); font-size: .88rem }
.tile.good b { color: var(--accent) }
figure { margin: .4rem 0 0 } figure svg { display: block; width: 100%; height: auto }
.narrow { display: none }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 600; font-size: .86rem; color: var(--soft) }
th, td { padding: .42rem .9rem .42rem 0; border-bottom: 1px solid var(--line); vertical-align: baseline }
tbody tr:last-child td { border-bottom: 0 }
td.n, th.n { text-align: right } td b { font-weight: 600 } tr.first td { font-weight: 650; color: var(--accent) }
td small { color: var(--soft); font-weight: 400; white-space: nowrap }
code, pre { font: .86em/1.5 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace }
pre { background: var(--page); border-radius: 7px; padding: .8rem 1rem; overflow-x: auto; margin: .6rem 0 }
code.id { overflow-wrap: anywhere }
footer { color: var(--soft); font-size: .88rem }
@media (max-width: 40rem) {
  main { padding: 1.3rem .8rem 2rem } section { padding: 1rem .9rem } h1 { font-size: 1.5rem }
  .tiles { grid-template-columns: 1fr 1fr; gap: .6rem } .tile b { font-size: 1.3rem }
  .wide { display: none } .narrow { display: block }
  table.cards thead { display: none }
  table.cards tr { display: block; padding: .6rem 0; border-bottom: 1px solid var(--line) }
  table.cards tbody tr:last-child { border-bottom: 0 }
  table.cards td { display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .12rem 0;
    text-align: right }
  table.cards td::before { content: attr(data-name); color: var(--soft); font-size: .88rem; text-align: left;
    flex: none; font-weight: 400 }
}
@media print { body { background: #fff } section { break-inside: avoid } }
"""


@dataclass(frozen=True)
class Column:
    """A table's column. Numbers stand to the right."""

    name: str
    number: bool = False


def page(title: str, lead: str, body: Sequence[str], footer: str) -> str:
    """The whole document. `lead` and `footer` are text, `body` is HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        f"<header><h1>{escape(title)}</h1><p>{escape(lead)}</p></header>\n"
        + "\n".join(body)
        + f"\n<footer><p>{escape(footer)}</p></footer>\n</main></body></html>\n"
    )


def tiles(entries: Sequence[tuple[str, str, bool]]) -> str:
    """Large figures: (value, what it is, whether to stress it)."""
    cells = "".join(
        f'<div class="tile{" good" if stressed else ""}"><b>{escape(value)}</b><span>{escape(text)}</span></div>'
        for value, text, stressed in entries
    )
    return f'<div class="tiles">{cells}</div>'


def section(heading: str, text: str, *content: str) -> str:
    """A card. `text` is text, `content` is HTML."""
    note = f'<p class="note">{escape(text)}</p>' if text else ""
    return f"<section><h2>{escape(heading)}</h2>{note}{''.join(content)}</section>"


def picture(wide: str, narrow: str) -> str:
    """A picture in two widths; the screen decides."""
    return f'<figure class="wide">{wide}</figure><figure class="narrow">{narrow}</figure>'


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, cards: bool, stress_first: bool = False) -> str:
    """Cells are HTML. With `cards`, each row is a card on a phone."""
    head = "".join(f"<th{_right(column)}>{escape(column.name)}</th>" for column in columns)
    lines = []
    for number, row in enumerate(rows):
        cells = "".join(
            f'<td{_right(column)} data-name="{escape(column.name)}"><span>{cell}</span></td>'
            for column, cell in zip(columns, row, strict=True)
        )
        lines.append(f'<tr class="first">{cells}</tr>' if stress_first and number == 0 else f"<tr>{cells}</tr>")
    kind = ' class="cards"' if cards else ""
    return (
        f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def _right(column: Column) -> str:
    return ' class="n"' if column.number else ""
