"""Output files appear whole or not at all."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tinyfed.errors import UsageError


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path` through a temporary file beside it: a reader never sees half of it.

    Raises UsageError where the folder is missing or cannot be written.
    """
    write_all({path: content})


def write_all(contents: Mapping[Path, bytes]) -> None:
    """`write_whole` for files that belong together: none is replaced before all of them are written."""
    temporary: list[tuple[str, Path]] = []
    path = Path()
    try:
        for path, content in contents.items():
            if path.is_dir():
                raise UsageError(f"{path}: this is a folder; name a file")
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            temporary.append((name, path))
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            # mkstemp makes files that only the owner reads.
            umask = os.umask(0)
            os.umask(umask)
            Path(name).chmod(0o666 & ~umask)
        while temporary:
            name, path = temporary[0]
            Path(name).replace(path)
            temporary.pop(0)
    except OSError as error:
        raise UsageError(f"{path}: cannot write the file: {error.strerror}") from error
    finally:
        for name, _ in temporary:
            Path(name).unlink(missing_ok=True)
