"""`tinyfed devices [PORT...]`, and the commands behind it, such as `tinyfed devices save PORT`."""

from typing import Annotated, Any

import typer

from tinyfed_host.cli.devices import adapt as devices_adapt
from tinyfed_host.cli.devices import label as devices_label
from tinyfed_host.cli.devices import save as devices_save

app = typer.Typer(add_completion=False)


@app.callback(
    epilog="Examples: tinyfed devices · tinyfed devices /dev/ttyACM0 socket://127.0.0.1:5000 · tinyfed devices "
    "--json · tinyfed devices save /dev/ttyACM0"
)
def root() -> None:
    """Ask each port (none given: every USB serial port) who is there: board, id, firmware, model, free RAM.

    `tinyfed devices [PORT...] [--json]`. All are asked at once; a port that is something else is left as it was found.

    Exit codes: 0 also when some ports have no device on them, 4 when ports were named and none has one.
    """


@app.command(
    "ask",
    epilog="Examples: tinyfed devices · tinyfed devices /dev/ttyACM0 socket://127.0.0.1:5000 · tinyfed devices --json",
)
def devices(
    ports: Annotated[
        list[str] | None, typer.Argument(metavar="[PORT...]", help="Ports or addresses (every USB serial port).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, the last one the count.")] = False,
) -> None:
    """Ask each port who is there: board, unique id, firmware build, loaded model, free RAM.

    All are asked at once; a port that is something else is left as it was found.

    Exit codes: 0 also when some ports have no device on them, 4 when ports were named and none has one.
    """
    from tinyfed.errors import DeviceError
    from tinyfed_host.cli.output import print_json, print_line, print_table
    from tinyfed_host.cli.working import working
    from tinyfed_host.device.discovery import probe_all

    with working("asking each port who is there"):
        found = probe_all(list(ports or []))
    answering = [entry for entry in found if not entry["error"]]
    if as_json:
        for entry in found:
            print_json(entry)
        print_json({"devices": len(answering), "ports": len(found)})
    elif not found:
        print_line("no USB serial port found; plug a board in, or start one with `tinyfed emulate`")
    else:
        columns = ("port", "board", "unique id", "firmware", "model", "RAM for models", "samples", "started by", "USB")
        print_table(columns, [_row(entry) for entry in found])
    if ports and not answering:
        first = found[0]["error"]
        rest = f" (and {len(found) - 1} other ports alike)" if len(found) > 1 else ""
        raise DeviceError(f"{first}{rest}")


def _row(entry: dict[str, Any]) -> list[str]:
    if entry["error"]:
        return [entry["port"], *["–"] * 5, entry["problem"], "–", entry["usb_id"]]
    model = entry["structure_hash"] or "none"
    samples = f"{entry['class_count']} x {entry['feature_count']}" if entry["feature_count"] else "none stored"
    return [
        entry["port"], entry["board"], entry["unique_id"], entry["firmware_build"], model,
        f"{entry['arena_bytes']:,} B", samples, entry["reset_cause"], entry["usb_id"],
    ]  # fmt: skip


app.command("adapt", epilog=devices_adapt.EXAMPLES)(devices_adapt.adapt)
app.command("label", epilog=devices_label.EXAMPLES)(devices_label.label)
app.command("save", epilog=devices_save.EXAMPLES)(devices_save.save)
