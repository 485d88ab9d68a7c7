"""What goes wrong is told in one line with a documented exit code, leaves no emulator, and loses no round."""

import contextlib
import json
import os
import pty
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import require, require_tools
from preload import other_clock
from run_helpers import ROOT, TINYFED, Command
from tinyfed_host.device.line import KILL_LINE
from tinyfed_host.emulation.qemu import Emulators
from tinyfed_host.fleet.fleet import Fleet
from tinyfed_host.fleet.watcher import PortWatcher

from tinyfed.data.shard import write_shard

SINE = ROOT / "examples" / "sine.toml"
WATCH = ROOT / "examples" / "watch.toml"


@pytest.fixture
def tinyfed(tmp_path: Path) -> Command:
    return Command(tmp_path)


def write_sine(folder: Path, name: str = "x.toml", **changes: str) -> str:
    """sine.toml with lines replaced: `rounds="9"`; `more` is put at the end."""
    text = SINE.read_text()
    more = changes.pop("more", "")
    for key, value in changes.items():
        lines = [f"{key} = {value}" if line.startswith(f"{key} =") else line for line in text.splitlines()]
        assert lines != text.splitlines(), key
        text = "\n".join(lines) + "\n"
    (folder / name).write_text(text + more)
    return name


# ---- what the user wrote


def test_wrong_key_type_and_range_name_the_line(tinyfed: Command) -> None:
    for changes, words in (
        ({"rounds": '"many"'}, ["x.toml:", "rounds", "whole number"]),
        ({"alpha": "7.5"}, ["alpha", "at most 1"]),
        ({"shots": "0"}, ["task.shots = 0", "1..1024"]),
        ({"more": "[round]\nquorm = 0.5\n"}, ["round.quorm", 'did you mean "quorum"?']),
    ):
        message = tinyfed("run", write_sine(tinyfed.folder, **changes)).error(2)
        for word in words:
            assert word in message, message
    assert not (tinyfed.folder / "runs").exists()


def test_missing_file_board_and_run(tinyfed: Command) -> None:
    assert "no such file" in tinyfed("run", "none.toml").error(2)
    assert 'did you mean "mps2_an386"?' in tinyfed("run", SINE, "--board", "mps2_an368").error(2)
    assert 'did you mean "emulated"?' in tinyfed("run", SINE, "--fleet", "emulatd").error(2)
    assert "there is no run" in tinyfed("run", "--resume", "nothing").error(7)
    assert "there is no run" in tinyfed("report", "nothing").error(7)
    assert "is no name for a run" in tinyfed("run", SINE, "--name", "a b").error(2)


def test_a_run_is_not_overwritten_and_has_one_writer(tinyfed: Command) -> None:
    experiment = write_sine(tinyfed.folder, rounds="20000")
    with tinyfed.started("run", experiment, "--json") as process:
        assert process.stdout is not None
        assert "round-ended" in next(line for line in process.stdout if "round-ended" in line)
        drain = threading.Thread(target=process.stdout.read)
        drain.start()
        second = tinyfed_without_check(tinyfed, "run", "--resume", "x")
        assert second[0] == 7
        assert "another tinyfed process" in second[1]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        drain.join()
    assert "there is a run already" in tinyfed("run", experiment, "--name", "x").error(7)


def tinyfed_without_check(tinyfed: Command, *arguments: str) -> tuple[int, str]:
    """While another command of the same mark runs."""
    import subprocess

    done = subprocess.run(
        [TINYFED, *arguments], cwd=tinyfed.folder, env=tinyfed.environment(), capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr


# ---- tools and ports


def test_missing_emulator(tinyfed: Command, tmp_path: Path) -> None:
    """Without QEMU on PATH, though the firmware is built."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        for program in Path(folder).glob("*") if Path(folder).is_dir() else ():
            if not program.name.startswith("qemu-") and not (programs / program.name).exists():
                (programs / program.name).symlink_to(program)
    message = tinyfed("run", SINE, "--fleet", "emulated", "--rounds", "2", PATH=str(programs)).error(3)
    assert "qemu-system-arm is not installed: sudo apt-get install" in message


@contextlib.contextmanager
def something_else(*, echo: bool) -> Iterator[tuple[str, bytearray]]:
    """A PTY with a line that is no tinyfed device: silent, or an echo. Gives its path and what it was sent."""
    master, slave = pty.openpty()
    heard = bytearray()

    def listen() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(master, 1000):
                heard.extend(data)
                if echo:
                    os.write(master, data)

    import tty

    tty.setraw(slave)
    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield os.ttyname(slave), heard
    finally:
        os.close(slave)
        os.close(master)
        thread.join(2)


@pytest.mark.parametrize("echo", [False, True], ids=["silent", "echo"])
def test_port_that_is_no_device(tinyfed: Command, echo: bool) -> None:
    with something_else(echo=echo) as (port, heard):
        message = tinyfed("run", SINE, "--port", port).error(4)
        assert port in message
        assert "no tinyfed device answers" in message
        assert port in tinyfed("devices", port).error(4)
        assert heard
        assert b"\n" not in heard
        assert b"\r" not in heard  # nothing a shell would carry out
    assert not (tinyfed.folder / "runs" / "sine").exists()  # what failed before its first round leaves nothing
    assert "this is no serial port" in tinyfed("run", SINE, "--port", "/dev/null").error(4)
    assert "there is no such port" in tinyfed("run", SINE, "--port", "/dev/ttyNONE").error(4)
    assert "given twice" in tinyfed("run", SINE, "--port", "/dev/ttyNONE", "--port", "/dev/ttyNONE").error(4)
    assert "write socket://HOST:PORT" in tinyfed("run", SINE, "--port", "http://x").error(2)


def test_devices_lists_what_answers_and_what_does_not(tinyfed: Command) -> None:
    require_tools("gcc")
    with Emulators() as emulators, something_else(echo=False) as (silent, _):
        port = emulators.start("native", f"{7:024x}").port
        ended = tinyfed("devices", port, silent, "--json")
        assert ended.code == 0
        first, second, last = (json.loads(line) for line in ended.out.splitlines())
        assert (first["port"], first["board"], first["unique_id"]) == (port, "native", f"{7:024x}")
        assert "no tinyfed device answers" in second["error"]
        assert last == {"devices": 1, "ports": 2}
        table = tinyfed("devices", port, silent)
        assert f"{7:024x}" in table.out
        assert silent in table.out


# ---- memory and shards


def test_model_too_large_for_the_board(tinyfed: Command) -> None:
    """1-250-250-1 with tanh: 63,501 parameters are 254,004 bytes, the board's arena has 245,760."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    text = SINE.read_text().replace("outputs = 32", "outputs = 250")
    (tinyfed.folder / "large.toml").write_text(text)
    for fleet in ("simulated", "emulated"):
        message = tinyfed("run", "large.toml", "--fleet", fleet, "--name", fleet, "--rounds", "2").error(5)
        assert "bytes short" in message
        assert "245,760" in message


def test_shard_of_the_wrong_shape(tinyfed: Command) -> None:
    require_tools("gcc")
    require_watch()
    rng = np.random.default_rng(1)
    wrong = write_shard([rng.normal(size=(20, 60)).astype(np.float32) for _ in range(7)])
    few = write_shard([rng.normal(size=(20, 120)).astype(np.float32) for _ in range(3)])
    with Emulators() as emulators:
        ports = [emulators.start("native", f"{k:024x}", shard).port for k, shard in enumerate((wrong, few, None))]
        message = tinyfed("run", WATCH, "--port", ports[0]).error(2)
        assert "60 values a sample" in message
        assert "120" in message
        assert "3 classes, the task draws 4" in tinyfed("run", WATCH, "--port", ports[1], "--name", "b").error(2)
        assert "no samples stored" in tinyfed("run", WATCH, "--port", ports[2], "--name", "c").error(2)


def require_watch() -> None:
    import importlib.util

    require(importlib.util.find_spec("seglearn"), "the watch data is in the package seglearn")


def test_two_devices_with_one_id(tinyfed: Command) -> None:
    require_tools("gcc")
    with Emulators() as emulators:
        ports = [emulators.start("native", f"{5:024x}").port for _ in range(2)]
        message = tinyfed("run", SINE, "--port", ports[0], "--port", ports[1]).error(4)
    assert f"{5:024x}" in message
    assert "two devices with one unique id" in message
    assert ports[0] in message
    assert ports[1] in message


# ---- the computer it runs on


LONG = "long" * 40


@pytest.mark.slow
@pytest.mark.parametrize("other", ["1970", "2106", "a,b", LONG], ids=["1970", "2106", "comma", "long"])
def test_a_strange_clock_or_temporary_folder_changes_nothing(tinyfed: Command, other: str) -> None:
    """2106: the first second that 32 bits do not hold. A comma ends a word of QEMU's options, and the address of a
    socket holds 107 bytes."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    experiment = write_sine(tinyfed.folder, rounds="3")
    expected = tinyfed("run", experiment, "--name", "here", "--json").result()["weights_sha256"]
    if other.isdecimal():
        more = other_clock(tinyfed.folder, 5 if other == "1970" else 2**32)
    else:
        (tinyfed.folder / other).mkdir()
        more = {"TMPDIR": str(tinyfed.folder / other)}
    found = tinyfed("run", experiment, "--fleet", "emulated", "--name", "there", "--json", **more).result()
    assert found["weights_sha256"] == expected
    runs = [json.loads(line) for line in tinyfed("runs", "--json", **more).out.splitlines()][:-1]
    begun = {run["run"]: run["created"] for run in runs}["there"]
    assert not other.isdecimal() or begun.startswith(other)
    assert tinyfed("report", "there", **more).code == 0
    assert tinyfed("emulate", "--store", "s", "--for", "1", "--json", **more).result()["ports"]
    if other == "1970":
        message = tinyfed("model", "export", "runs/there/model.tfm", "-o", "x.keras", **more).error(2)
        assert "x.keras: Keras cannot write it: ZIP does not support timestamps before 1980" in message


@pytest.mark.slow
def test_what_the_emulator_says_when_it_ends_is_what_the_run_says(tinyfed: Command) -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    program = tinyfed.folder / "bin" / "qemu-system-arm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shutil.which("qemu-system-arm")} "$@" -accel nonsense\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    message = tinyfed("run", write_sine(tinyfed.folder), "--fleet", "emulated", PATH=path).error(4)
    assert "ended: qemu-system-arm: " in message and "nonsense" in message


# ---- devices that go away


def test_device_unplugged_in_the_middle(tinyfed: Command) -> None:
    """One of two is killed: the run goes on with the other. Then the other: the run ends, and goes on later."""
    require_tools("gcc")
    experiment = write_sine(tinyfed.folder, rounds="4000", more="[round]\nretries = 0\nretry_after = 30\n")
    with Emulators() as emulators:
        boards = [emulators.start("native", f"{k:024x}") for k in range(2)]
        arguments = [word for board in boards for word in ("--port", board.port)]
        with tinyfed.started("run", experiment, *arguments, "--wait", "1s", "--json") as process:
            assert process.stdout is not None
            alive = len(boards)
            for line in process.stdout:
                event = json.loads(line)
                if "error" in event:
                    assert event["exit_code"] == 4
                    continue
                if event["event"] == "round-ended" and event["round"] == 10 and alive == 2:
                    os.kill(boards[0].pid or 0, signal.SIGKILL)
                    alive = 1
                if event["event"] == "round-ended" and event["round"] == 60 and alive == 1:
                    os.kill(boards[1].pid or 0, signal.SIGKILL)
                    alive = 0
            assert process.stderr is not None
            message = process.stderr.read()
            assert process.wait(60) == 4
    assert len(message.splitlines()) == 1
    assert "--resume" in message
    rounds = tinyfed.metrics("x")
    assert len(rounds) >= 60
    assert [entry["round"] for entry in rounds] == list(range(1, len(rounds) + 1))
    failures = {visit["device"] for entry in rounds for visit in entry["visits"] if visit["failure"]}
    assert failures == {f"{0:024x}"}
    result = tinyfed("run", "--resume", "x", "--fleet", "simulated", "--json").result()
    assert result["rounds"] == 4000


def test_a_run_with_one_board_outlives_a_touched_cable(tinyfed: Command) -> None:
    """The board is gone in the middle of a round, and there again once it is waited for: the same bits as without."""
    require_tools("gcc")
    experiment = write_sine(tinyfed.folder, rounds="60")
    with Emulators() as emulators:
        board = emulators.start("native", f"{7:024x}")
        touched = back = False
        with tinyfed.started("run", experiment, "--port", board.port, "--wait", "forever", "--json") as process:
            assert process.stdout is not None
            for line in process.stdout:
                event = json.loads(line)
                if event.get("event") == "round-ended" and event["round"] == 20 and not touched:
                    os.kill(board.pid or 0, signal.SIGKILL)
                    touched = True
                if event.get("event") == "waiting" and not back:
                    board.reload(None)
                    back = True
            assert process.wait(60) == 0, process.stderr and process.stderr.read()
    assert back
    result = json.loads(line)
    assert result["rounds"] == 60
    (tinyfed.folder / experiment).rename(tinyfed.folder / "y.toml")
    simulated = tinyfed("run", "y.toml", "--fleet", "simulated", "--json").result()
    assert simulated["weights_sha256"] == result["weights_sha256"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_ends_in_order(tinyfed: Command, number: signal.Signals) -> None:
    require_tools("gcc")
    experiment = write_sine(tinyfed.folder, rounds="100000")
    with tinyfed.started("run", experiment, "--fleet", "emulated", "--board", "native", "--json") as process:
        assert process.stdout is not None
        events = (json.loads(line) for line in process.stdout)
        assert next(event for event in events if event["event"] == "round-ended" and event["round"] >= 5)
        assert len(tinyfed.processes()) > 1
        drain = threading.Thread(target=process.stdout.read)
        drain.start()
        process.send_signal(number)
        assert process.wait(60) == (130 if number == signal.SIGINT else 143)
        drain.join()
        assert process.stderr is not None
        assert len(process.stderr.read().splitlines()) == 1
    tinyfed.nothing_left()
    rounds = tinyfed.metrics("x")
    assert (tinyfed.folder / "runs" / "x" / "model.tfm").stat().st_size > 4000
    shown = tinyfed("runs", "--json").out.splitlines()
    assert json.loads(shown[0])["rounds"] == len(rounds) >= 5


def test_a_second_ctrl_c_ends_at_once_and_leaves_no_emulator(tinyfed: Command) -> None:
    require_tools("gcc")
    experiment = write_sine(tinyfed.folder, rounds="100000")
    with tinyfed.started("run", experiment, "--fleet", "emulated", "--board", "native", "--json") as process:
        assert process.stdout is not None
        events = (json.loads(line) for line in process.stdout)
        told = next(event for event in events if event["event"] == "round-ended" and event["round"] >= 5)
        drain = threading.Thread(target=process.stdout.read)
        drain.start()
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        drain.join()
    tinyfed.nothing_left()
    shown = tinyfed("runs", "--json").out.splitlines()
    assert json.loads(shown[0])["rounds"] >= told["round"]


def test_devices_that_are_plugged_in_join(tmp_path: Path) -> None:
    """The list of ports is the test's, as a computer's would change; the devices are real ones."""
    require_tools("gcc")
    ports: list[str] = []
    with Emulators() as emulators, something_else(echo=True) as (other, heard), Fleet(()) as fleet:
        boards = [emulators.start("native", f"{k:024x}") for k in range(2)]
        watcher = PortWatcher(fleet, lambda: ports)
        assert watcher.look() == []
        ports += [boards[0].port, other]
        assert watcher.look() == [f"{0:024x}"]
        ports.append(boards[1].port)
        assert watcher.look() == [f"{1:024x}"]
        assert watcher.look() == []
        time.sleep(0.5)
        assert heard.count(KILL_LINE) == 1  # what is no device is asked once
        assert fleet.ids() == [f"{0:024x}", f"{1:024x}"]
        for unique_id in fleet.ids():
            assert fleet.ready(unique_id, 0).info.unique_id == unique_id
        # unplugged, and back on another port
        fleet.lost(f"{1:024x}")
        boards[1].stop()
        ports.remove(boards[1].port)
        watcher.look()
        again = emulators.start("native", f"{1:024x}")
        ports.append(again.port)
        assert watcher.look() == []  # it has not joined anew: it is back
        assert fleet.ready(f"{1:024x}", 3).info.unique_id == f"{1:024x}"
