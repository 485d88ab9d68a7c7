"""Tables that are generated between a page's markers: `<!-- NAME: begin ... -->` and `<!-- NAME: end -->`."""

from pathlib import Path


def replaced(path: Path, name: str, table: str, page: str | None = None) -> str:
    """The page at `path`, or `page` for it, with `table` between the markers. Ends the program where they are lost."""
    text = path.read_text(encoding="utf-8") if page is None else page
    head, begin, rest = text.partition(f"<!-- {name}: begin")
    label, close, body = rest.partition("-->\n")
    _, end, tail = body.partition(f"<!-- {name}: end -->")
    if not (begin and close and end):
        raise SystemExit(f"{path} has lost its markers {name}")
    return f"{head}{begin}{label}{close}{table.rstrip()}\n{end}{tail}"
