"""`tinyfed devices save PORT`."""

from typing import Annotated

import typer

from tinyfed_host.cli.output import print_json, print_line

EXAMPLES = "Examples: tinyfed devices save /dev/ttyACM0 · tinyfed devices save /dev/ttyACM0 --forget"


def save(
    port: Annotated[str, typer.Argument(help="The device's port or address.")],
    forget: Annotated[bool, typer.Option("--forget", help="Erase what is saved instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Write the model a device holds into its flash: after a power cut it starts with it.

    Two slots are written in turn, so a power cut while saving leaves the model that was saved before.

    Exit codes: 4 when the device does not answer or cannot save, 5 when the model is larger than a slot.
    """
    from tinyfed_host.cli.working import standing
    from tinyfed_host.device.discovery import open_transport
    from tinyfed_host.device.line import RemoteDevice

    told = -1

    def show(done: int, total: int) -> None:
        nonlocal told
        percent = 100 * done // total
        if percent == told:
            return
        told = percent
        if as_json:
            print_json({"bytes_done": done, "bytes_total": total})
        else:
            print_line(f"saving: {percent} %")

    device = RemoteDevice(open_transport(port), progress=show)
    try:
        with standing(lambda: "what was saved before is still there, or the new model whole: save again"):
            device.save(forget=forget)
        info = device.info
    finally:
        device.close()
    if as_json:
        print_json(
            {
                "port": port,
                "board": info.board,
                "unique_id": info.unique_id,
                "saved": not forget,
                "structure_hash": f"{info.structure_hash:016x}" if info.structure_hash else "",
                "weights_hash": f"{info.weights_hash:016x}" if info.weights_hash else "",
            }
        )
    elif forget:
        print_line(f"{port}  {info.board}  {info.unique_id}  keeps no model any more")
    else:
        print_line(f"{port}  {info.board}  {info.unique_id}  starts with weights {info.weights_hash:016x}")
