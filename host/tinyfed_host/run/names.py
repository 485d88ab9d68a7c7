"""The names of runs, and the folders they stand for."""

import os
import re
import shlex
import unicodedata
from pathlib import Path

from tinyfed.errors import UsageError

BASE = Path("runs")
DATABASE = "run.sqlite"  # a folder with it holds a run
NAME_MAX = 64
_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{NAME_MAX - 1}}}")
_SPELLED = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "æ": "ae", "Æ": "Ae", "ø": "o",
     "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "ı": "i"}
)  # fmt: skip


def new_folder(name: str, base: Path = BASE) -> Path:
    """`runs/NAME` of a run that is to begin. Raises `UsageError` for what is no name, or where no runs can be."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f'"{name}" is no name for a run: write 1..{NAME_MAX} letters, digits, ".", "_" or "-", the first a letter, '
            f'a digit or "_"; a run is written to {base}/NAME'
        )
    check_folder(base)
    return base / name


def check_folder(base: Path, remedy: str = "move it away, or work in another folder") -> None:
    """Raises `UsageError` where no folder of runs is nor can be, because of what lies there or on the way to it."""
    there = next((path for path in (base, *base.parents) if os.path.lexists(path)), None)
    if there is not None and not there.is_dir():
        what = "a file" if there.exists() else "a link that leads nowhere"
        raise UsageError(f"is {what}, and runs need a folder", where=str(there), remedy=remedy)


def run_folder(text: str, base: Path = BASE) -> Path:
    """Where a run is that was begun before, whichever way it is named: `sine`, its folder, a file in that, or the
    experiment file that gave it its name. Raises `UsageError`; whether there is a run the store says.
    """
    text = text.rstrip("/") or text
    path = Path(text)
    if path.suffix == ".toml":
        return new_folder(name_of(path), base)
    if path.is_file() and (path.parent / DATABASE).is_file():
        return path.parent
    if "/" in text or ((path / DATABASE).is_file() and not (base / path / DATABASE).exists()):
        return path
    return new_folder(text, base)


def shown_name(folder: Path) -> str:
    """What to type for a run that is there."""
    return shlex.quote(folder.name if folder.parent == BASE else str(folder))


def name_of(experiment: str | Path) -> str:
    """The name that a run of this file has when none is given: the file's own, of an experiment.toml its folder's, with
    what no name holds left out."""
    path = Path(experiment)
    called = path.parent.name if path.name == "experiment.toml" else path.stem
    stem = unicodedata.normalize("NFC", called or path.stem).translate(_SPELLED)
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", plain)[:NAME_MAX]
    return slug.lstrip(".-").rstrip("-") or "run"


def free_name(name: str, base: Path = BASE) -> str:
    """`name`, or the first of `name-2`, `name-3` … that no folder has yet."""
    found, number = name, 1
    while (base / found).exists() or (base / found).is_symlink():
        number += 1
        found = f"{name}-{number}"
    return found
