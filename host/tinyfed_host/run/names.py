"""The names of runs, and the folders they stand for."""

import re
import shlex
import unicodedata
from pathlib import Path

from tinyfed.errors import UsageError

BASE = Path("runs")
NAME_MAX = 64
_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{NAME_MAX - 1}}}")
_SPELLED = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "æ": "ae", "Æ": "Ae", "ø": "o",
     "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "ı": "i"}
)  # fmt: skip


def new_folder(name: str, base: Path = BASE) -> Path:
    """`runs/NAME` of a run that is to begin. Raises `UsageError` for what is no name."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f'"{name}" is no name for a run: write 1..{NAME_MAX} letters, digits, ".", "_" or "-", the first a letter, '
            f'a digit or "_"; a run is written to {base}/NAME'
        )
    return base / name


def run_folder(name_or_path: str, base: Path = BASE) -> Path:
    """Where a run is that was begun before: `runs/NAME`, or the path itself when it is one. Raises `UsageError`."""
    return Path(name_or_path) if "/" in name_or_path else new_folder(name_or_path, base)


def shown_name(folder: Path) -> str:
    """What to type for a run that is there."""
    return shlex.quote(folder.name if folder.parent == BASE else str(folder))


def name_of(experiment: str | Path) -> str:
    """The name that a run of this file has when none is given: the file's own, with what no name holds left out."""
    stem = unicodedata.normalize("NFC", Path(experiment).stem).translate(_SPELLED)
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
