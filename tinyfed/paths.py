"""Where the files live that are not Python: firmware sources, board manifests, examples, the user's cache."""

import os
import stat
import tempfile
from pathlib import Path

from tinyfed.errors import UsageError


def share() -> Path:
    """The folder with `firmware/`, `boards/` and `examples/`: inside an installed wheel, else the repository."""
    installed = Path(__file__).parent / "_share"
    return installed if installed.is_dir() else Path(__file__).parent.parent


def cache() -> Path:
    """The user's cache: `$XDG_CACHE_HOME/tinyfed`, where that is an absolute path, or `~/.cache/tinyfed`; not created
    here. Who has no home has a folder of their own among the temporary ones. Raises `UsageError` where that is
    somebody else's."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():
        return base / "tinyfed"
    try:
        home = Path.home()
    except RuntimeError:
        home = Path("/")
    return home / ".cache" / "tinyfed" if home.is_absolute() and home != Path("/") else _temporary_cache()


def config() -> Path | None:
    """The user's own settings: `$XDG_CONFIG_HOME/tinyfed`, where that is an absolute path, or `~/.config/tinyfed`; None
    for who has no home."""
    base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    try:
        base = base if base.is_absolute() else Path.home() / ".config"
    except RuntimeError:
        return None
    return base / "tinyfed" if base.is_absolute() else None


def _temporary_cache() -> Path:
    """What is built there is run, so it must be ours."""
    problem = "names no folder of yours"
    try:
        folder = Path(tempfile.gettempdir()) / f"tinyfed-cache-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
        if stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid():
            return folder
    except OSError as error:
        problem = f"{problem} ({error.strerror})"
    raise UsageError(problem, key="HOME", remedy="set XDG_CACHE_HOME to a folder that can be written")
