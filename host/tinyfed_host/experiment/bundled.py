"""The examples that come with tinyfed, by their names."""

from pathlib import Path

from tinyfed.errors import UsageError
from tinyfed.paths import share


def examples() -> dict[str, str]:
    """Their names, sorted, and what each is: the first sentence of its file."""
    return {path.stem: _title(path) for path in sorted((share() / "examples").glob("*.toml"))}


def find_experiment(text: str) -> Path:
    """The experiment file that `text` means: a file, or else the example of that name.

    Raises UsageError where it is a bare word that is neither.
    """
    path = Path(text)
    if path.suffix or len(path.parts) != 1 or path.exists():
        return path
    if text not in examples():
        raise UsageError(f"{text}: there is no such file, and no example of that name ({', '.join(examples())})")
    return share() / "examples" / f"{text}.toml"


def _title(path: Path) -> str:
    comment = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        comment.append(line[2:])
    return " ".join(comment).partition(": ")[0].partition(". ")[0]
