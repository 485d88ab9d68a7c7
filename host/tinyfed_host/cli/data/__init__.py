"""`tinyfed data list|info|fetch|shard|recording|check|import`."""

import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer

from tinyfed import tasks
from tinyfed.data import datasets
from tinyfed.data.tables import read_whole
from tinyfed.errors import TinyfedError, UsageError
from tinyfed.reading import DATA_BYTES_MAX
from tinyfed_host.cli.data.check import check
from tinyfed_host.cli.data.import_ import import_
from tinyfed_host.cli.data.recording import recording
from tinyfed_host.cli.options import complete_task
from tinyfed_host.cli.output import print_json, print_line, print_table, write_file
from tinyfed_host.cli.working import working

app = typer.Typer(add_completion=False)

TIMEOUT_S = 60.0
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def _facts(name: str) -> dict[str, Any]:
    dataset = datasets.dataset(name)
    folder = datasets.folder(name)
    return {
        "data": name,
        "what": dataset.summary,
        "clients": dataset.clients,
        "licence": dataset.licence,
        "source": dataset.source,
        "folder": None if folder is None else str(folder),
        "addresses": [address for _, address in dataset.files],
    }


@app.command("list", epilog="Examples: tinyfed data list · tinyfed data list --json")
def list_command(as_json: AsJson = False) -> None:
    """List the published data sets the tasks use, and where they lie. The watch data comes with a Python package."""
    found = [_facts(name) for name in datasets.DATASETS]
    if as_json:
        for facts in found:
            print_json(facts)
        print_json({"data": [facts["data"] for facts in found]})
        return
    rows = [[f["data"], f["what"], f["licence"], f["folder"] or "not here"] for f in found]
    print_table(["data", "what it is", "licence", "where"], rows)


@app.command(epilog="Example: tinyfed data info omniglot")
def info(name: Annotated[str, typer.Argument(help="A name of `tinyfed data list`.")], as_json: AsJson = False) -> None:
    """Show a data set, and check its files when they are here."""
    facts = _facts(name)
    if facts["folder"] is not None:
        with working(f"checking the files of {name}"):
            members = datasets.read(name)
        facts |= {"files": len(members), "bytes": sum(map(len, members.values())), "checked": "SHA-256 as published"}
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else "not here" if value is None else value
        print_line(f"{key:<10} {shown}")


def download(address: str) -> bytes:
    """The bytes at an address. Raises TinyfedError when it cannot be reached."""
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
            content: bytes = answer.read(DATA_BYTES_MAX + 1)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise TinyfedError(
            f"data: {address} cannot be read ({reason}): try again, or put its files into a folder below TINYFED_DATA "
            "named like the data set"
        ) from None
    return content


@app.command(epilog="Example: tinyfed data fetch fsdd")
def fetch(name: Annotated[str, typer.Argument(help="A name of `tinyfed data list`.")], as_json: AsJson = False) -> None:
    """Download a data set from its official address into the user's cache, and check its SHA-256."""
    with working(f"downloading {name}"):
        folder = datasets.fetch(name, download)
    if as_json:
        print_json({"data": name, "folder": str(folder)})
    else:
        print_line(f"{name} is in {folder}")


@app.command(epilog="Example: tinyfed data shard watch person2-wrist0 -o person2.shard")
def shard(
    task: Annotated[
        str, typer.Argument(autocompletion=complete_task, help="A task: " + ", ".join(tasks.names()) + ".")
    ],
    client: Annotated[str | None, typer.Argument(help="One of its clients; without: list them.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="An option of the task, as KEY=VALUE.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a client's samples as they go into a board's data flash (docs/shard.md)."""
    with working(f"reading the {task} task"):
        made = tasks.get(task, **_options(task, option or []))
    if client is None:
        for part, members in (("train", made.train), ("held out", made.held_out)):
            for member in members:
                if as_json:
                    print_json({"client": member.name, "part": part})
                else:
                    print_line(f"{member.name:<24} {part}")
        return
    try:
        content = made.client(client).shard
    except KeyError:
        raise UsageError(
            f"task {task}: there is no client {client!r}: `tinyfed data shard {task}` lists them"
        ) from None
    if content is None:
        raise UsageError(f"task {task}: its devices make their samples themselves: there is no shard to write")
    path = output or Path(f"{client}.shard")
    write_file(path, content)
    if as_json:
        print_json({"client": client, "file": str(path), "bytes": len(content), "notes": list(made.notes)})
    else:
        for note in made.notes:
            print_line(f"task {task}: {note}")
        print_line(f"{path}: {len(content):,} bytes")


app.command(
    epilog="Examples: tinyfed data recording walk.csv run.csv -o me.tfrc · tinyfed data recording watch person2-wrist0 "
    "--classes 3,0,6,4 -o me.tfrc"
)(recording)


app.command(
    "import",
    epilog="Examples: tinyfed data import raw people --window 2.56s --step 50% · "
    "tinyfed data import rooms.csv rooms --client room --label occupied --drop note --held-out 0.3 · "
    "tinyfed data import walks people --client folder --label file --rate 50 --window 128 --features all",
)(import_)
app.command(epilog="Examples: tinyfed data check mydata · tinyfed data check mydata -o mydata.toml")(check)


def _options(task: str, given: list[str]) -> dict[str, int | str]:
    defaults = tasks.options(task)
    chosen: dict[str, int | str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or key not in defaults:
            raise UsageError(f"--option {text}: must be KEY=VALUE, KEY one of {', '.join(defaults)}")
        number = read_whole(value)
        if isinstance(defaults[key], str):
            chosen[key] = value
        elif number is not None:
            chosen[key] = number
        else:
            raise UsageError(f"--option {text}: {value!r} is no whole number")
    return chosen
