"""`tinyfed data recording`."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from tinyfed import tasks
from tinyfed.data.recording import read_takes, write_recording
from tinyfed.data.tables import read_whole
from tinyfed.errors import UsageError
from tinyfed.fields import whole
from tinyfed.text import names_in
from tinyfed_host.cli.options import number_option
from tinyfed_host.cli.output import print_json, print_line, write_file
from tinyfed_host.cli.working import working


def recording(
    sources: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Takes: .csv, .npy, .npz; or a task and one of its clients.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    rate_hz: Annotated[
        int | None, number_option(whole(1, 65_535), "--rate", help="Readings a second (50, or the task's).")
    ] = None,
    period_us: Annotated[
        int | None,
        number_option(
            whole(1, 2**31 - 1), "--period-us", help="Board's time from one reading to the next: play faster."
        ),
    ] = None,
    columns: Annotated[
        str, typer.Option("--columns", help="Channels to use, by name or number from 1: ax,ay,az,gx,gy,gz.")
    ] = "",
    classes: Annotated[
        str, typer.Option("--classes", help="Of a task's client: what it does, in this order: 3,0,6,4.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Write what an emulated board's sensor plays (`tinyfed emulate --sensor`), a take for each recording that begins.

    The watch task's windows are made of 6 channels at 50 readings a second: accelerometer in g, gyroscope in rad/s.

    Exit code 2 for a file that cannot be read or is not as described in docs/recording.md.
    """
    if len(sources) == 2 and sources[0] in tasks.names():
        if columns:
            raise UsageError("--columns is for files; a task's client has the channels its model wants")
        takes, own_rate_hz = _of_client(sources[0], sources[1], classes)
    elif classes:
        raise UsageError("--classes is for a task's client; the takes of files are played in their order")
    else:
        chosen = list(names_in(columns))
        with working(f"reading {len(sources)} files"):
            takes, own_rate_hz = [take for source in sources for take in read_takes(Path(source), chosen)], 50
    rate_hz = rate_hz or own_rate_hz
    content = write_recording(takes, rate_hz, period_us)
    write_file(output, content, *map(Path, sources))
    readings = [len(take) for take in takes]
    channels = takes[0].shape[1]
    if as_json:
        facts = {"readings": readings, "channels": channels, "rate_hz": rate_hz}
        print_json({"file": str(output), "bytes": len(content), **facts})
    else:
        seconds = ", ".join(f"{count / rate_hz:.1f}" for count in readings)
        print_line(f"{output}: {len(content):,} bytes, {channels} channels at {rate_hz} Hz, takes of {seconds} s")


def _of_client(task: str, name: str, classes: str) -> tuple[list[NDArray[np.float64]], int]:
    made = tasks.get(task)
    try:
        client = made.client(name)
    except KeyError:
        raise UsageError(f"task {task}: there is no client {name!r}: `tinyfed data shard {task}` lists them") from None
    if client.make_takes is None:
        raise UsageError(
            f"task {task}: its readings were not published, only samples: `tinyfed data shard` writes them"
        )
    takes = client.make_takes()
    if not classes:
        return takes, client.rate_hz
    words = [word.strip() for word in classes.split(",")]
    numbers = [read_whole(word) for word in words]
    wrong = [word for word, found in zip(words, numbers, strict=True) if found not in range(len(takes))]
    if wrong:
        raise UsageError(f"--classes {classes}: {wrong[0]!r} is no class of task {task} (0 to {len(takes) - 1})")
    return [takes[found] for found in numbers if found is not None], client.rate_hz
