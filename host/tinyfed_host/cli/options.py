"""What commands take alike: numbers, by the fields of files and library (one limit for all); models; names for Tab."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from tinyfed.errors import UsageError
from tinyfed.fields import Field, quote
from tinyfed.text import listed


def number_option(field: Field, *names: str, help: str) -> Any:
    """An option `names` whose number may be what `field` says; a `UsageError` names the option otherwise."""
    return typer.Option(*names, parser=_parser(field, names[0]), metavar=_metavar(field), help=_limits(field, help))


def number_argument(field: Field, name: str, help: str) -> Any:
    """As `number_option`, an argument that may be left out."""
    return typer.Argument(parser=_parser(field, name), metavar=f"[{name}]", help=_limits(field, help))


def model_argument(help: str) -> Any:
    """An argument that is a model's file or folder, or a run (see `run_folder`), which stands for what it learned."""
    return typer.Argument(
        parser=model_path, metavar="MODEL", autocompletion=complete_model, help=f"{help} Or a run: what it learned."
    )


def model_path(text: str | Path) -> Path:
    """The file that is meant; one that is nowhere is given back as it is. Raises `UsageError` where a bare word is
    neither a file nor a run."""
    from tinyfed.fields import near
    from tinyfed_host.run.names import BASE, DATABASE, run_folder
    from tinyfed_host.run.store import MODEL

    path = Path(text)
    if (path / DATABASE).is_file():
        return path / MODEL
    if path.suffix or len(path.parts) != 1 or path.exists():
        return path
    if (BASE / path / DATABASE).is_file():
        return run_folder(str(text)) / MODEL
    known = sorted(found.parent.name for found in BASE.glob(f"*/{DATABASE}"))
    hint = [near(str(text), known), f"runs: {listed(known, 8)}" if known else ""]
    raise UsageError("no such file, and no run of that name", where=str(text), remedy="; ".join(filter(None, hint)))


def _parser(field: Field, name: str) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        from tinyfed.data.tables import read_number, read_whole  # they bring NumPy, which a Tab need not wait for

        if not isinstance(value, str):  # a default
            return value
        number = read_whole(value) if field.kind is int else read_number(value)
        if number is None:
            raise UsageError(f"must be {field.allowed}", key=name, value=quote(value))
        try:
            return field.check(number)
        except UsageError as error:
            raise error.located(key=name) from None

    return parse


def _metavar(field: Field) -> str:
    return "INTEGER" if field.kind is int else "FLOAT"


def _limits(field: Field, help: str) -> str:
    said = field.allowed
    return f"{help} [{said.partition(', ')[2] or said}]" if any(c.isdigit() for c in said) else help


def complete_board() -> list[str]:
    """Boards, by name."""
    from tinyfed.boards import board_names

    return board_names()


def complete_task() -> list[str]:
    """Tasks, by name."""
    from tinyfed import tasks

    return list(tasks.names())


def complete_run() -> list[str]:
    """Runs in runs/, by name."""
    from tinyfed_host.run.names import BASE, DATABASE

    return sorted(path.parent.name for path in BASE.glob(f"*/{DATABASE}"))


def complete_model() -> list[str]:
    """Runs, and models' files here."""
    suffixes = {".tfm", ".tflite", ".keras", ".h5"}
    return [*complete_run(), *sorted(path.name for path in Path().iterdir() if path.suffix in suffixes)]


def complete_experiment(context: typer.Context) -> list[str]:
    """Bundled examples and experiment files here; with --resume runs."""
    if context.params.get("resume"):
        return complete_run()
    from tinyfed_host.experiment.bundled import examples

    return [*examples(), *sorted(path.name for path in Path().glob("*.toml"))]
