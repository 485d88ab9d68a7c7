"""Where the files live that are not Python: firmware sources, board manifests, examples, the user's cache."""

import os
from pathlib import Path


def share() -> Path:
    """The folder with `firmware/`, `boards/` and `examples/`: inside an installed wheel, else the repository."""
    installed = Path(__file__).parent / "_share"
    return installed if installed.is_dir() else Path(__file__).parent.parent


def cache() -> Path:
    """The user's cache, `$XDG_CACHE_HOME/tinyfed` or `~/.cache/tinyfed`; not created here."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tinyfed"
