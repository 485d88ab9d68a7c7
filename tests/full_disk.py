"""A full disk for a process of its own, on any machine: `full_disk.c`, preloaded."""

import os
import subprocess
from pathlib import Path

from conftest import require_tools

SOURCE = Path(__file__).with_name("full_disk.c")


def full_disk(folder: Path, below: Path, *, after: int | None = None, when: Path | None = None) -> dict[str, str]:
    """The environment of a process for which the disk below a folder is full: after so many bytes, or while a file
    exists. `folder` is where the library is made."""
    require_tools("gcc")
    library = folder / "full_disk.so"
    if not library.exists():
        warnings = ["-Wall", "-Wextra", "-Werror"]
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-O1", *warnings, str(SOURCE), "-o", str(library), "-ldl"], check=True
        )
    more = {} if after is None else {"FULL_AFTER": str(after)}
    if when is not None:
        more["FULL_WHEN"] = str(when)
    return {**os.environ, "LD_PRELOAD": str(library), "FULL_BELOW": str(below), **more}
