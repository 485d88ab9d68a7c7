"""A board whose main loop stands still is reset by its watchdog, says so, and a run goes on with it. It is the board's
own image, stopped as a debugger would stop it."""

import json
import re
import socket
from pathlib import Path

import pytest
from conftest import require_tools
from run_helpers import ROOT, Command
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import EmulatedDevice, start

ID = "0123456789abcdef01234567"
BRANCH_TO_ITSELF = "fee7"  # Thumb's `b .`, as it lies in memory


def packet(connection: socket.socket, command: str) -> str:
    """A command of GDB's remote protocol, and its answer: that the processor stopped (T) is said unasked."""
    connection.sendall(f"${command}#{sum(command.encode()) % 256:02x}".encode())
    heard = ""
    while True:
        heard += connection.recv(4096).decode()
        answers = re.findall(r"\$([^T#][^#]*)#..", heard)
        if answers:
            connection.sendall(b"+")
            return str(answers[0])


def hang(board: EmulatedDevice) -> None:
    """Put a loop without end where its processor is just now."""
    folder = board._control_path.parent
    with socket.socket(socket.AF_UNIX) as control, control.makefile("rwb") as lines:
        control.settimeout(30)
        control.connect(str(board._control_path))
        lines.readline()
        debug = {"command-line": f"gdbserver unix:{folder}/gdb,server=on,wait=off"}
        for name, arguments in (("qmp_capabilities", {}), ("human-monitor-command", debug)):
            lines.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
            lines.flush()
            while b"return" not in lines.readline():
                pass
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(f"{folder}/gdb")
        program_counter = int.from_bytes(bytes.fromhex(packet(connection, "g")[15 * 8 : 16 * 8]), "little")
        assert packet(connection, f"M{program_counter:x},2:{BRANCH_TO_ITSELF}") == "OK"
        assert packet(connection, "D") == "OK"


def test_it_says_why_it_started() -> None:
    require_tools("arm-none-eabi-gcc", "qemu-system-arm")
    with start("mps2_an386", ID) as board:
        causes = []
        for again in (lambda: None, board.reset, lambda: board.reload(None)):
            again()
            device = RemoteDevice(board.connect())
            causes.append(device.info.reset_cause)
            device.reset()
            causes.append(device.info.reset_cause)
            device.close()
    assert causes == ["power", "software", "pin", "software", "power", "software"]


@pytest.mark.slow
def test_a_run_goes_on_with_a_board_that_its_watchdog_has_reset(tmp_path: Path) -> None:
    require_tools("arm-none-eabi-gcc", "qemu-system-arm")
    tinyfed = Command(tmp_path)
    with start("mps2_an386", ID) as board:
        words = ("run", ROOT / "examples" / "sine.toml", "--port", board.port, "--rounds", "6", "--json")
        with tinyfed.started(*words) as process:
            assert process.stdout is not None
            events = [json.loads(next(process.stdout)) for _ in range(10)]
            hang(board)
            events += map(json.loads, process.stdout)
            assert process.wait(60) == 0
        device = RemoteDevice(board.connect())
        assert device.info.reset_cause == "watchdog"
        device.close()
    told = [event for event in events if event.get("event") in ("retry", "device-restarted")]
    assert [event["event"] for event in told] == ["retry", "device-restarted"]
    assert told[1]["reset_cause"] == "watchdog"
    assert events[-1]["rounds"] == 6
