"""The Linux port's sensor and watchdogs, without either: sysfs and the kernel's watchdog are files here."""

import os
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, require_tools
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import start
from tinyfed_host.firmware import build

POSIX = ROOT / "firmware" / "port" / "posix"
RAW = {"accel": (16384, -8192, 4096), "anglvel": (100, -200, 300)}  # one g is 16,384
SCALE = {"accel": 9.80665 / 16384, "anglvel": 0.001}
EXPECTED = [1.0, -0.5, 0.25, 0.11, -0.19, 0.31]  # of the gyroscope, 10 are added first


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tools("gcc")
    path = tmp_path_factory.mktemp("linux") / "test"
    options = ["-std=c99", "-g", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsanitize=address,undefined"]
    sources = [ROOT / "tests" / "c" / "port" / "test_linux.c", POSIX / "iio.c", POSIX / "watchdog.c"]
    subprocess.run(["gcc", *options, f"-I{POSIX}", f"-I{POSIX.parent}", *sources, "-o", path], check=True, timeout=60)
    return path


def write_device(folder: Path, name: str, *kinds: str, rate_hz: float = 52.0) -> Path:
    """What the kernel's driver of an IMU shows of it."""
    folder.mkdir(parents=True)
    values = {"name": name, "sampling_frequency": rate_hz}
    for kind in kinds:
        values |= {f"in_{kind}_{axis}_raw": raw for axis, raw in zip("xyz", RAW[kind], strict=True)}
        values[f"in_{kind}_scale"] = SCALE[kind]
        if kind == "anglvel":
            values[f"in_{kind}_x_offset"] = values[f"in_{kind}_offset"] = 10
    for file, value in values.items():
        (folder / file).write_text(f"{value}\n")
    return folder


def told(program: Path, *words: object, code: int = 0) -> list[str]:
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("together", [True, False])
def test_an_imu_of_one_device_or_two(program: Path, tmp_path: Path, together: bool) -> None:
    """A reading every 20 ms: not before, and one that is a period late is a gap."""
    if together:
        write_device(tmp_path / "iio:device3", "mpu6050", "accel", "anglvel")
        names = f"{tmp_path}/mpu6050"
    else:
        write_device(tmp_path / "iio:device0", "lsm6ds3_gyro", "anglvel")
        write_device(tmp_path / "iio:device1", "lsm6ds3_accel", "accel")
        names = f"{tmp_path}/lsm6ds3_accel,{tmp_path}/lsm6ds3_gyro"
    lines = told(program, "iio", names, 6, 50, 19_999, 1, 20_000, 19_999, 20_000, 40_000, 20_000)
    assert [line.split()[0] for line in lines] == ["0", "1", "1", "0", "1", "-1", "1"]
    for line in lines:
        if line.startswith("1"):
            assert [float(word) for word in line.split()[1:]] == pytest.approx(EXPECTED, rel=1e-15)


def test_a_device_that_does_not_do_is_one_line(program: Path, tmp_path: Path) -> None:
    slow = write_device(tmp_path / "iio:device0", "slow", "accel", "anglvel", rate_hz=12.5)
    write_device(tmp_path / "iio:device1", "gyro", "anglvel")
    write_device(tmp_path / "iio:device2", "accel", "accel")
    write_device(tmp_path / "iio:device3", "torn", "accel", "anglvel")
    (tmp_path / "iio:device3" / "in_accel_y_raw").unlink()
    for name, channels, words in (
        ("none", 6, "no such device; `cat "),
        ("gyro", 6, "it has no accelerometer"),
        ("accel", 6, "it has no gyroscope"),
        ("torn", 6, "a channel is missing"),
        ("accel", 4, "windows of this firmware are of other sensors"),
    ):
        (line,) = told(program, "iio", f"{tmp_path}/{name}", channels, 50, code=1)
        assert words in line
    assert told(program, "iio", f"{tmp_path}/slow", 6, 50) == []
    assert (slow / "sampling_frequency").read_text().startswith("50\n"), "it was asked to measure often enough"
    (slow / "sampling_frequency").write_text("12.5\n")
    (slow / "sampling_frequency_available").write_text("12.5 104 52 26\n")
    assert told(program, "iio", f"{tmp_path}/slow", 6, 50) == []
    assert (slow / "sampling_frequency").read_text().startswith("52\n"), "the least that does"
    # One ends with a space; the other is longer than 63 characters, the 63rd of which is a space.
    for rates in ("12.5 25 51 ", "12.500000 25.000000 50.000000 100.000000 200.000000 400.000000 51.000000"):
        (slow / "sampling_frequency").write_text("12.5\n")
        (slow / "sampling_frequency_available").write_text(f"{rates}\n")
        assert told(program, "iio", f"{tmp_path}/slow", 6, 51) == []
        assert (slow / "sampling_frequency").read_text().startswith("51\n")
    scale = (slow / "in_accel_scale").read_text()
    for wrong in ("busy", "nan", "1e999", ""):
        (slow / "in_accel_scale").write_text(wrong)
        assert told(program, "iio", f"{tmp_path}/slow", 6, 50, code=1) == ["its scale is no number"]
    (slow / "in_accel_scale").write_text(scale)
    (tmp_path / "iio:device0" / "in_accel_z_raw").write_text("busy\n")
    assert told(program, "iio", f"{tmp_path}/slow", 6, 50, 20_000) == ["-2"]


def test_the_program_has_the_sensor_that_it_is_given(tmp_path: Path) -> None:
    require_tools("gcc")
    write_device(tmp_path / "iio:device0", "mpu6050", "accel", "anglvel")
    image = build.build("native")
    done = subprocess.run(
        [image, "--port", "pty", "--iio", f"{tmp_path}/x"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "no such device" in done.stderr
    wrapped = tmp_path / "device"
    wrapped.write_text(f'#!/bin/sh\nexec {image} "$@" --iio {tmp_path}/mpu6050\n')
    wrapped.chmod(0o755)
    with start("native", "0" * 24, image=wrapped) as emulated:
        device = RemoteDevice(emulated.connect())
        assert "sensor" in device.info.capabilities
        device.close()


def test_the_kernels_watchdog_is_fed_once_a_second_and_let_go(program: Path, tmp_path: Path) -> None:
    file = tmp_path / "watchdog"
    file.touch()
    assert told(program, "watchdog", file) == ["timeout of 8 s"]
    fed = file.read_bytes()
    assert fed[-1:] == b"V" and set(fed[:-1]) == {0} and 2 <= len(fed[:-1]) <= 3
    assert told(program, "watchdog", tmp_path / "none", code=1) == ["No such file or directory"]
    image = build.build("native")
    done = subprocess.run([image, "--port", "pty", "--watchdog", "/dev/null"], capture_output=True, text=True)
    assert done.returncode == 2 and "--watchdog '/dev/null': it is no watchdog" in done.stderr


@pytest.mark.parametrize("name", ["{folder}/notify", "@tinyfed-test-{pid}"])
def test_systemds_watchdog_is_fed(name: str, tmp_path: Path) -> None:
    image = build.build("native")
    name = name.format(folder=tmp_path, pid=os.getpid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0"))
        manager.settimeout(30)
        environment = {**os.environ, "NOTIFY_SOCKET": name, "WATCHDOG_USEC": "8000000"}
        process = subprocess.Popen([image, "--port", "pty"], env=environment, stdout=subprocess.DEVNULL)
        try:
            assert [manager.recv(100) for _ in range(2)] == [b"WATCHDOG=1"] * 2
        finally:
            process.kill()
            process.wait()
