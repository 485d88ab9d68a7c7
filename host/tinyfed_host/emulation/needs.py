"""What emulated boards need on this computer, all of it found out before anything starts."""

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from tinyfed.boards import Board
from tinyfed.errors import MissingToolError
from tinyfed.paths import cache
from tinyfed_host.firmware import build


def check(boards: Iterable[Board], folder: Path, more: Sequence[str] = ()) -> None:
    """Raises `MissingToolError` with everything that is missing to build and emulate these boards, and to write into
    `folder` and the cache; `more` is what the caller found missing."""
    problems = [*missing(boards), *more]
    for place in (folder, cache()):
        there = next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            problems.append(f"{place} cannot be written: {there} is not yours to write")
    if problems:
        raise MissingToolError("; ".join(dict.fromkeys(problems)))


def missing(boards: Iterable[Board]) -> list[str]:
    """What is not installed, each with how to get it."""
    problems = build.missing_packages()
    for board in boards:
        needed = [(f"{board.compiler.prefix}gcc", board.compiler.package)]
        if board.emulator is not None and board.emulator.program:
            needed.append((board.emulator.program, board.emulator.package))
        problems += [
            str(build.not_installed(program, package)) for program, package in needed if shutil.which(program) is None
        ]
    return list(dict.fromkeys(problems))
