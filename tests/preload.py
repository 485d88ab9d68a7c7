"""A full disk or another date for a process of its own, on any machine: C beside this file, preloaded."""

import os
import subprocess
import time
from pathlib import Path

from conftest import require_tools


def _library(folder: Path, name: str) -> str:
    require_tools("gcc")
    library = folder / f"{name}.so"
    if not library.exists():
        warnings = ["-Wall", "-Wextra", "-Werror"]
        source = Path(__file__).with_name(f"{name}.c")
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-O1", *warnings, str(source), "-o", str(library), "-ldl"], check=True
        )
    return str(library)


def full_disk(folder: Path, below: Path, *, after: int | None = None, when: Path | None = None) -> dict[str, str]:
    """The environment of a process for which the disk below a folder is full: after so many bytes, or while a file
    exists. `folder` is where the library is made."""
    more = {} if after is None else {"FULL_AFTER": str(after)}
    if when is not None:
        more["FULL_WHEN"] = str(when)
    return {**os.environ, "LD_PRELOAD": _library(folder, "full_disk"), "FULL_BELOW": str(below), **more}


def other_clock(folder: Path, now_s: int) -> dict[str, str]:
    """What to add to the environment of a process for which the time is `now_s` seconds after 1970."""
    return {"LD_PRELOAD": _library(folder, "other_clock"), "OTHER_CLOCK_S": str(now_s - int(time.time()))}
