"""`tinyfed init`."""

import contextlib
import re
from pathlib import Path
from typing import Annotated

import typer

from tinyfed.errors import UsageError
from tinyfed.paths import share
from tinyfed_host.cli.output import print_json, print_line, write_files

app = typer.Typer(add_completion=False)

# What one can begin with -> the bundled example that is its experiment ("": its folder has one).
STARTS = {"gestures": "watch", "sine": "sine", "own-data": ""}


@app.command(epilog="Examples: tinyfed init gestures · tinyfed init own-data machines")
def init(
    start: Annotated[
        str, typer.Argument(metavar="|".join(STARTS), autocompletion=lambda: list(STARTS), help="What to begin with.")
    ],
    folder: Annotated[Path | None, typer.Argument(help="Where to write it; without: a folder of its name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Write an experiment to start from, a README, and for own data its layout with small samples.

    No file is ever replaced.
    """
    if start not in STARTS:
        raise UsageError(f"init: {start!r} is none of {', '.join(STARTS)}")
    place = folder if folder is not None else Path(start)
    contents = {place / name: content for name, content in _contents(start).items()}
    there = [path for path in contents if path.exists() or path.is_symlink()]
    if there:
        raise UsageError(f"{there[0]} is there already and stays as it is: name another folder")
    made = [path for path in {folder for file in contents for folder in file.parents} if not path.exists()]
    try:
        for path in made:
            path.mkdir(parents=True, exist_ok=True)
        write_files(contents)
    except OSError as error:
        raise UsageError(f"{error.filename}: cannot make the folder: {error.strerror}") from error
    finally:
        for path in sorted(made, reverse=True):
            with contextlib.suppress(OSError):  # what holds a file stays
                path.rmdir()
    if as_json:
        print_json({"folder": str(place), "files": [str(path) for path in contents]})
        return
    for path in contents:
        print_line(f"wrote {path}")
    print_line(f"next: cd {place} && tinyfed run {start}.toml")


def _contents(start: str) -> dict[Path, bytes]:
    root = share() / "examples" / "init" / start
    files = {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    if STARTS[start]:
        example = (share() / "examples" / f"{STARTS[start]}.toml").read_text(encoding="utf-8")
        here = re.sub(r"examples/\w+\.toml", f"{start}.toml", example)
        files[Path(f"{start}.toml")] = here.encode("utf-8")
    return files
