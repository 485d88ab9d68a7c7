"""The report's HTML: one file, nothing loaded from elsewhere, readable on a phone, a desktop and on paper, by day and
by night. Its style is style.css and the charts'; the page allows that style and nothing else."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from tinyfed_host.report import svg
from tinyfed_host.report.markup import Markup, joined, markup

STYLE = (files(__package__) / "style.css").read_text(encoding="utf-8") + svg.STYLE
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Column:
    """A table's column. Numbers stand to the right."""

    name: str
    number: bool = False

    @property
    def attribute(self) -> Markup:
        """Of its cells."""
        return Markup(' class="n"' if self.number else "")


def page(title: str, lead: str, body: Sequence[Markup], footer: str) -> Markup:
    """The whole document."""
    return markup(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>{title}</title><style>{style}</style></head>\n<body><main>\n"
        "<header><h1>{title}</h1><p>{lead}</p></header>\n{body}"
        "\n<footer><p>{footer}</p></footer>\n</main></body></html>\n",
        policy=POLICY, title=title, style=Markup(STYLE), lead=lead, body=joined(body), footer=footer,
    )  # fmt: skip


def tiles(entries: Sequence[tuple[str, str, bool]]) -> Markup:
    """Large figures: (value, what it is, whether to stress it)."""
    cells = [
        markup(
            '<div class="tile{good}"><b>{value}</b><span>{text}</span></div>',
            good=" good" if stressed else "", value=value, text=text,
        )
        for value, text, stressed in entries
    ]  # fmt: skip
    return markup('<div class="tiles">{cells}</div>', cells=cells)


def section(heading: str, text: str, *content: Markup) -> Markup:
    """A card."""
    return markup(
        "<section><h2>{heading}</h2>{text}{content}</section>",
        heading=heading, text=note(text) if text else "", content=content,
    )  # fmt: skip


def note(text: str | Markup) -> Markup:
    """A paragraph in a quiet colour."""
    return markup('<p class="note">{text}</p>', text=text)


def picture(wide: Markup, narrow: Markup) -> Markup:
    """A picture in two widths; the screen decides."""
    return markup(
        '<figure class="wide">{wide}</figure><figure class="narrow">{narrow}</figure>', wide=wide, narrow=narrow
    )


def small(text: str) -> Markup:
    """Beside a figure."""
    return markup("<small>{text}</small>", text=text)


def code(text: str) -> Markup:
    """An identifier; it may be broken anywhere."""
    return markup('<code class="id">{text}</code>', text=text)


def matrix(names: Sequence[str], shares: Sequence[Sequence[float]]) -> Markup:
    """A square of shares 0..1 in percent, the darker the larger; nothing where there is none."""
    head = [markup('<th class="n">{name}</th>', name=name) for name in names]
    lines = []
    for name, row in zip(names, shares, strict=True):
        cells = [
            markup(
                '<td class="n h{level}">{share}</td>',
                level=round(9 * share),
                share=f"{100 * share:.0f}" if share else "",
            )
            for share in row
        ]
        lines.append(markup("<tr><th>{name}</th>{cells}</tr>", name=name, cells=cells))
    return markup(
        '<div class="scroll"><table class="matrix"><thead><tr><th></th>{head}</tr></thead>'
        "<tbody>{lines}</tbody></table></div>",
        head=head, lines=lines,
    )  # fmt: skip


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, cards: bool, stress_first: bool = False
) -> Markup:
    """Cells are text or markup. With `cards`, each row is a card on a phone."""
    head = [markup("<th{kind}>{name}</th>", kind=column.attribute, name=column.name) for column in columns]
    lines = []
    for number, row in enumerate(rows):
        cells = [
            markup(
                '<td{kind} data-name="{name}"><span>{cell}</span></td>',
                kind=column.attribute, name=column.name, cell=cell,
            )
            for column, cell in zip(columns, row, strict=True)
        ]  # fmt: skip
        first = Markup(' class="first"' if stress_first and number == 0 else "")
        lines.append(markup("<tr{first}>{cells}</tr>", first=first, cells=cells))
    return markup(
        '<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>',
        kind=Markup(' class="cards"' if cards else ""), head=head, lines=lines,
    )  # fmt: skip
