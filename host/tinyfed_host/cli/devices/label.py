"""`tinyfed devices label`."""

import dataclasses
import sys
from typing import Annotated, Any

import typer

from tinyfed.fields import number, whole
from tinyfed.wire.record import CLASSES_MAX
from tinyfed_host.cli.options import number_argument, number_option

EXAMPLES = (
    "Examples: tinyfed devices label /dev/ttyACM0 0 --seconds 20 · tinyfed devices label /dev/ttyACM0 1 "
    "--windows 15 · tinyfed devices label /dev/ttyACM0 --forget"
)


def label(
    port: Annotated[str, typer.Argument(metavar="PORT", help="Where the device is.")],
    label_class: Annotated[
        int | None, number_argument(whole(0, CLASSES_MAX - 1), "CLASS", help="What it is that is done from now on.")
    ] = None,
    seconds: Annotated[
        float, number_option(number(0, 4_000_000), "--seconds", help="Stop after so long; 0: no limit.")
    ] = 0.0,
    windows: Annotated[int, number_option(whole(0, 65_535), "--windows", help="Stop after so many; 0: no limit.")] = 0,
    stop: Annotated[bool, typer.Option("--stop", help="End a recording that still runs.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Drop everything the device has recorded.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line: each window, then the end.")] = False,
) -> None:
    """Have a device record labelled samples from its sensor, to learn from them. They never leave the device.

    It records until a limit, until its store is full, or Ctrl-C. A restart of the device drops what it has recorded.

    Exit codes: 2 for a wrong class or a board without a sensor, 4 when the device does not answer or its sensor gives
    nothing, 5 when the store is full or the model leaves it no room, 130 after Ctrl-C.
    """
    from tinyfed.errors import DeviceError, UsageError
    from tinyfed.status import Status
    from tinyfed.wire.record import FORGET, STOP, RecordStatus
    from tinyfed_host.cli.output import print_json, print_line
    from tinyfed_host.cli.working import standing
    from tinyfed_host.device.discovery import connect

    if [label_class is not None, stop, forget].count(True) != 1:
        raise UsageError("say which CLASS to record (0, 1, ...), or --stop, or --forget")
    device = connect(port)

    def facts(status: RecordStatus) -> dict[str, Any]:
        return {"port": port, **dataclasses.asdict(status)}

    def tell(status: RecordStatus) -> None:
        if as_json:
            print_json(facts(status))
        elif sys.stdout.isatty():
            print(f"\rclass {status.label}: {status.windows} windows ", end="", flush=True)

    try:
        if label_class is None:
            status = device.record(STOP if stop else FORGET)
        else:
            with standing(lambda: "what was recorded stays on the device: the same command records more"):
                status = device.record(label_class, windows=windows, seconds=seconds, progress=tell)
    finally:
        device.close()
    if as_json:
        print_json({**facts(status), "ended": True})
        return
    if label_class is not None:
        if sys.stdout.isatty():
            print("\r", end="")
        print_line(f"class {status.label}: {status.windows} windows recorded")
    by_class = ", ".join(f"{k}: {count}" for k, count in enumerate(status.counts)) or "none"
    print_line(f"stored by class: {by_class} ({sum(status.counts)} of {status.capacity})")
    if label_class is not None and status.status == Status.SOURCE:
        print_line("the sensor gives no more")
    elif label_class is not None and status.status < 0:
        raise DeviceError("recording ended early; the windows so far are kept", where=port)
