"""The buttons of a machine that QEMU emulates whole, over its control socket (QMP: a JSON object a line)."""

import json
import socket
from pathlib import Path
from typing import Any

from tinyfed.errors import DeviceError

TIMEOUT_S = 5.0


def system_reset(control: Path) -> None:
    """Press the reset button of the machine whose QEMU listens on this unix socket.

    Registers start anew and what was loaded into memory (image, identity, shard) is there again; other RAM and the
    serial line stay as they are. Raises `DeviceError` when QEMU is not there or refuses.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(str(control))
            with connection.makefile("rwb") as lines:
                lines.readline()  # its greeting
                for name in ("qmp_capabilities", "system_reset"):
                    lines.write(json.dumps({"execute": name}).encode() + b"\n")
                    lines.flush()
                    answer: dict[str, Any] = {}
                    while not {"return", "error"} & answer.keys():  # events come in between
                        answer = json.loads(lines.readline())
                    if "error" in answer:
                        raise DeviceError(
                            f"QEMU refuses {name}: {answer['error'].get('desc', 'no reason')}", where=str(control)
                        )
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"QEMU does not answer: {error}", where=str(control), remedy="start the emulated board again"
        ) from error
