"""What commands take alike: numbers, by the fields of files and library (one limit for all); models; names for Tab."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from tinyfed.boards import Board, read_board, read_board_file
from tinyfed.errors import UsageError
from tinyfed.fields import Field, quote

MODELS = (".tfm", ".tflite", ".keras", ".h5")
SAVED_MODEL = "saved_model.pb"  # the folder with it is a model


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


def find_run(text: str) -> Path | None:
    """The folder of the run that is meant, be it there or not; None: a model's file or folder is.

    A run goes before a file or folder of its name in the current one. Raises `UsageError` for what names neither.
    """
    from tinyfed_host.run.names import DATABASE, run_folder
    from tinyfed_host.run.store import MODEL

    path = Path(text)
    if path.suffix == ".toml":
        return run_folder(text)
    if path.suffix in MODELS and path.name != MODEL and path.is_file():
        return None
    is_model = bool(path.suffix) or path.is_file() or any((path / name).is_file() for name in (SAVED_MODEL, MODEL))
    is_model = is_model or (any(path.glob("*.json")) and any(path.glob("*.h5")))  # Keras' layers beside their weights
    try:
        folder = run_folder(text)
    except UsageError:
        if is_model:
            return None
        raise
    return None if is_model and not (folder / DATABASE).is_file() else folder


def model_path(text: str | Path) -> Path:
    """The file that is meant; one that is nowhere is given back as it is. Raises `StoreError` where a word is neither a
    file nor a run."""
    from tinyfed_host.run.store import MODEL, check_there

    folder = find_run(str(text))
    if folder is None:  # what a run learned, in a folder that is no run any more, is its model
        return Path(text) / MODEL if (Path(text) / MODEL).is_file() else Path(text)
    check_there(folder, "there is no run, nor a model's file of that name")
    return folder / MODEL


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


BOARD_FILE = typer.Option("--board-file", help="A board of your own: its manifest, a file NAME.json.")


def chosen_board(board: str | None, file: Path | None) -> Board:
    """The board of `--board` or `--board-file`, one of which was given. Raises `UsageError`."""
    if (board is None) == (file is None):
        remedy = "--board NAME (`tinyfed boards` lists them) or --board-file FILE, not both"
        raise UsageError("say which board", remedy=remedy)
    return read_board_file(file) if file is not None else read_board(board or "")


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
    return [*complete_run(), *sorted(path.name for path in Path().iterdir() if path.suffix in MODELS)]


def complete_experiment(context: typer.Context) -> list[str]:
    """Bundled examples and experiment files here; with --resume runs."""
    if context.params.get("resume"):
        return complete_run()
    from tinyfed_host.experiment.bundled import examples

    return [*examples(), *sorted(path.name for path in Path().glob("*.toml"))]
