"""Flashing, against stand-ins for OpenOCD, st-flash, dfu-util and pyOCD that record their arguments and fail as the
real ones do. What the four say without a probe was seen from the real programs; their other words stand in the
programs (OpenOCD 0.12, st-flash 1.7, dfu-util 0.11, pyOCD 0.46), but were not yet met on hardware."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import require
from tinyfed_host.firmware import flash
from tinyfed_host.firmware.flashers import TOOLS

from tinyfed.boards import Board, read_board, read_boards
from tinyfed.errors import BuildError, DeviceError, DoesNotFitError, MissingToolError, UsageError

FAKE = """#!{python}
import json, os, pathlib, signal, sys
folder = pathlib.Path({folder!r})
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv) + "\\n")
script = json.loads((folder / "script").read_text())
sys.stdout.write(script["says"])
sys.stdout.flush()
if script["holds"] is not None and "-U" in sys.argv:
    pathlib.Path(sys.argv[sys.argv.index("-U") + 1]).write_bytes(bytes.fromhex(script["holds"]))
if script["code"] < 0:
    os.kill(os.getpid(), -script["code"])
sys.exit(script["code"])
"""


class Fakes:
    """Programs on PATH that do as `script` says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in TOOLS:
            program = folder / name
            program.write_text(FAKE.format(python=sys.executable, folder=str(folder)))
            program.chmod(0o755)
        self.script()

    def script(self, says: str = "", code: int = 0, holds: bytes | None = None) -> None:
        """`holds` is what dfu-util reads back."""
        held = None if holds is None else holds.hex()
        (self.folder / "script").write_text(json.dumps({"says": says, "code": code, "holds": held}))

    def calls(self) -> list[list[str]]:
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return Fakes(folder)


def board(**tools: dict[str, str]) -> Board:
    settings: dict[str, Any] = {
        "openocd": {"interface": "interface/stlink.cfg", "target": "target/stm32f4x.cfg"},
        "st-flash": {},
        "dfu-util": {"usb": "0483:df11"},
        "pyocd": {"target": "nrf52840"},
        "pio": {},
    }
    return replace(read_board("stm32f405"), flash=settings | tools)


def an_image(folder: Path) -> Path:
    """An ELF file's name, with the raw image beside it."""
    (folder / "firmware.bin").write_bytes(bytes(100))
    return folder / "firmware.elf"


def flash_with(name: str, tmp_path: Path, **options: Any) -> list[str]:
    said: list[str] = []
    image = an_image(tmp_path)
    for step in flash.plan(board(), image, method=name, **options):
        flash.run(step, said.append)
    return said


def test_what_each_tool_is_called_with(fakes: Fakes, tmp_path: Path) -> None:
    shard = tmp_path / "person.shard"
    shard.write_bytes(bytes(100))
    fakes.script(holds=bytes(100))
    for name in (name for name in TOOLS if TOOLS[name].write_data):
        flash_with(name, tmp_path, probe="SER1", shard=shard)
    elf, binary = str(tmp_path / "firmware.elf"), str(tmp_path / "firmware.bin")
    ocd = ["-f", "interface/stlink.cfg", "-c", "adapter serial SER1", "-f", "target/stm32f4x.cfg", "-c"]
    pyocd = ["--uid", "SER1", "--no-wait", "--target", "nrf52840"]
    write = ["pyocd", "flash", "--uid", "SER1", "--no-wait", "-O", "auto_unlock=false", "--target", "nrf52840"]
    dfu = ["dfu-util", "-S", "SER1", "-a", "0", "-d", "0483:df11", "-s"]
    readback = str(flash._own_files().path / "readback.bin")
    wanted = [
        ["openocd", *ocd, f"program {{{shard}}} verify reset exit 0x08080000"],
        ["openocd", *ocd, f"program {{{elf}}} verify reset exit"],
        ["st-flash", "--serial", "SER1", "--reset", "write", str(shard), "0x08080000"],
        ["st-flash", "--serial", "SER1", "--reset", "write", binary, "0x08000000"],
        [*dfu, "0x08080000", "-D", str(shard)],
        [*dfu, "0x08080000:100", "-U", readback],
        [*dfu, "0x08000000", "-D", binary],
        [*dfu, "0x08000000:100:leave", "-U", readback],
        [*write, "--format", "bin", "--base-address", "0x08080000", str(shard)],
        ["pyocd", "commander", *pyocd, "-c", f'compare 0x08080000 "{shard}"'],
        [*write, elf],
        ["pyocd", "commander", *pyocd, "-c", f'compare 0x08000000 "{binary}"'],
    ]
    assert [[Path(call[0]).name, *call[1:]] for call in fakes.calls()] == wanted
    assert not Path(readback).exists()


def test_a_jlink_is_told_its_transport(tmp_path: Path, fakes: Fakes) -> None:
    step = flash.plan(read_board("nrf52840dk"), an_image(tmp_path), method="openocd", probe="SER1")[0]
    assert step.command[1:7] == ["-f", "interface/jlink.cfg", "-c", "adapter serial SER1", "-c", "transport select swd"]


def test_what_a_tool_does_not_verify_is_read_back(fakes: Fakes, tmp_path: Path) -> None:
    for held in (bytes(99), bytes(99) + b"\1", None):
        fakes.script(holds=held)
        with pytest.raises(BuildError, match="dfu-util: the flash reads back differently; try again"):
            flash_with("dfu-util", tmp_path)
    fakes.script(
        "Comparing 100 bytes @ 0x00000000\nMismatched byte at 0x00000007 (offset 0x7): 0x00 (memory) != 0x01\n"
    )
    with pytest.raises(BuildError, match="pyocd: the flash reads back differently"):
        flash_with("pyocd", tmp_path)


FAILURES = [
    ("openocd", "Error: open failed\n", "no debug probe was found; connect"),
    ("openocd", "Error: unable to find a matching CMSIS-DAP device\n", "no debug probe was found; connect"),
    (
        "openocd",
        "Error: Multiple devices found, specify the desired device\n",
        "several debug probes; disconnect",
    ),
    ("openocd", "Error: stm32x device protected\nError: failed erasing sectors 0 to 0\n", "stm32f2x unlock 0; exit'"),
    ("openocd", "Warn : nRF52 device has AP lock engaged (see UICR APPROTECT register).\n", "nrf52_recover; halt; "),
    (
        "openocd",
        "Error: checksum mismatch - attempting binary compare\n** Verify Failed **\n",
        "reads back differently",
    ),
    ("openocd", "Error: jtag status contains invalid mode value - communication failure\n", "broke off; check cable"),
    ("openocd", "Error: LIBUSB_ERROR_ACCESS\nError: open failed\n", "may not be opened; install the tool's udev rules"),
    ("st-flash", "Couldn't find any ST-Link devices\n", "no ST-Link was found; connect"),
    ("st-flash", "ERROR common_flash.c: Flash memory is write protected\n", "the chip is locked; "),
    ("st-flash", "ERROR flash_loader.c: Verification of flash failed at offset: 0\n", "reads back differently"),
    ("st-flash", "ERROR usb.c: GET_STATUS send_recv: LIBUSB_ERROR_NO_DEVICE\n", "broke off; check cable"),
    (
        "dfu-util",
        "dfu-util: No DFU capable USB device available\n",
        "no board is in DFU mode; hold the",
    ),
    ("dfu-util", "dfu-util: More than one DFU capable USB device found!\n", "several boards in DFU mode; disconnect"),
    (
        "dfu-util",
        "state(10) = dfuERROR, status(7) = Programmed memory failed verification\n",
        "reads back differently",
    ),
    ("dfu-util", "state(10) = dfuERROR, status(11) = iString indicates a vendor specific error\n", "it is locked; "),
    ("dfu-util", 'dfu-util: Error during special command "ERASE_PAGE" get_status\n', "it is locked; "),
    ("dfu-util", "dfu-util: Error during download (LIBUSB_ERROR_NO_DEVICE)\n", "broke off; check cable"),
    ("pio", "No device found on ttyACM0\n*** [upload] Error 1\n", "boot loader does not answer; press RESET twice"),
    ("pio", "Error: Please specify `upload_port` for environment or use\n", "boot loader does not answer; press"),
    ("pio", "Verify failed\nPage errors: 1\n", "reads back differently"),
    ("pio", "No serial ports available\n", "boot loader does not answer; press RESET twice"),
    ("pio", "Failed to open port at 1200bps\n", "boot loader does not answer; press RESET twice"),
    ("pio", "SAM-BA operation failed\n", "broke off; press RESET twice"),
    ("pio", "could not open port /dev/ttyACM0: [Errno 13] Permission denied\n", "may not be opened; ask for the group"),
    ("pio", "could not open port /dev/ttyACM0: [Errno 16] Device or resource busy\n", "another program has"),
    ("pio", "HTTPClientError: \n", "registry, which cannot be reached; go online"),
    ("pyocd", "0001 C No connected debug probes [commands]\n", "no debug probe was found; connect"),
    ("pyocd", "Enter the number of the debug probe or 'q' to quit> EOFError\n", "several debug probes; disconnect"),
    ("pyocd", "0512 W NRF52840 APPROTECT enabled: not automatically unlocking\n", "the chip is locked; "),
    (
        "pyocd",
        "Mismatched byte at 0x00001000 (offset 0x1000): 0xff (memory) != 0x20 (file)\n",
        "reads back differently",
    ),
    ("pyocd", "0819 C SWD/JTAG communication failure (No ACK) [__main__]\n", "broke off; check cable"),
]


WAYS = ("was found|in DFU mode; hold", "several", "locked|unlock|recover", "reads back differently", "broke off")


def test_each_tool_fails_in_each_of_the_five_ways() -> None:
    """But ST-Link's tool takes the first of two probes: it is not called then (`test_several_probes_are_refused`)."""
    for name in ("openocd", "st-flash", "dfu-util", "pyocd"):
        told = [text for tool, _, text in FAILURES if tool == name]
        for way in WAYS:
            assert (name, way) == ("st-flash", "several") or any(re.search(way, text) for text in told), (name, way)


@pytest.mark.parametrize(("name", "says", "told"), FAILURES, ids=[f"{n}-{t[:20]}" for n, _, t in FAILURES])
def test_each_failure_is_one_line_with_a_remedy(name: str, says: str, told: str, fakes: Fakes, tmp_path: Path) -> None:
    fakes.script("Licensed under GNU GPL v2\n" + says, code=1)
    with pytest.raises(BuildError) as caught:
        flash_with(name, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{name}: ") and told in message
    assert "\n" not in message
    assert len(fakes.calls()) == 1, "nothing is written behind a failure"


@pytest.mark.parametrize(("name", "driver"), [("b_l475e_iot01a", "stm32l4x"), ("stm32f405", "stm32f2x")])
def test_a_locked_chip_is_unlocked_by_its_own_familys_driver(
    name: str, driver: str, fakes: Fakes, tmp_path: Path
) -> None:
    fakes.script("Error: stm32x device protected\n", code=1)
    step = flash.plan(read_board(name), an_image(tmp_path), method="openocd")[0]
    with pytest.raises(BuildError, match=f"{step.command[4]} -c 'init; reset halt; {driver} unlock 0; exit'"):
        flash.run(step, lambda text: None)


def test_platformio_builds_and_uploads_over_the_boards_own_port(fakes: Fakes, tmp_path: Path) -> None:
    kind = read_board("nano33ble")
    step = flash.plan(kind, tmp_path / "firmware.elf", port="/dev/ttyACM7")[0]
    flash.run(step, lambda text: None)
    called = fakes.calls()[0][1:]
    assert called[:3] == ["run", "--upload-port", "/dev/ttyACM7"]
    assert called[-4:] == ["-e", "nano33ble", "-t", "upload"]
    (tmp_path / "person.shard").write_bytes(bytes(10))
    (step,) = flash.plan(kind, tmp_path / "firmware.elf", shard=tmp_path / "person.shard")
    assert str(step).startswith(f"TINYFED_SHARD={tmp_path}/person.shard pio run "), "samples go into the same upload"
    with pytest.raises(UsageError, match="without a model; leave --model away"):
        flash.make_image(kind, tmp_path / "net.tfm")


def test_an_unknown_failure_shows_the_tools_own_words(fakes: Fakes, tmp_path: Path) -> None:
    fakes.script("hello\nError: the moon is full\nshutdown\n", code=3)
    with pytest.raises(BuildError, match=r"openocd: Error: the moon is full \(flashing firmware\.elf\)"):
        flash_with("openocd", tmp_path)
    fakes.script("", code=-9)
    with pytest.raises(BuildError, match="openocd: it said nothing"):
        flash_with("openocd", tmp_path)


LOCKS = [(tool, says) for tool, says, told in FAILURES if "locked" in told or "unlock" in told or "recover" in told]


@pytest.mark.parametrize(("name", "says"), LOCKS, ids=[name for name, _ in LOCKS])
def test_unlocking_says_what_it_erases(name: str, says: str, fakes: Fakes, tmp_path: Path) -> None:
    fakes.script(says, code=1)
    with pytest.raises(BuildError, match=r"locked; what unlocks it also erases program, saved models and samples: \w"):
        flash_with(name, tmp_path)


def test_the_remedy_is_the_line_to_type(fakes: Fakes, tmp_path: Path) -> None:
    """A J-Link begins with JTAG, which the nRF52840 has not; an erased chip is locked again by the next reset."""
    locked = "Warn : nRF52 device has AP lock engaged (see UICR APPROTECT register).\n"
    fakes.script(locked, code=1)
    step = flash.plan(read_board("nrf52840dk"), an_image(tmp_path), method="openocd")[0]
    with pytest.raises(BuildError) as caught:
        flash.run(step, lambda text: None)
    typed = shlex.split(str(caught.value).partition("samples: ")[2])
    jlink = ["openocd", "-f", "interface/jlink.cfg", "-c", "transport select swd", "-f", "target/nrf52.cfg"]
    assert typed[:-2] == jlink
    assert typed[-1] == f"init; nrf52_recover; halt; flash write_image {{{tmp_path / 'firmware.elf'}}}; reset run; exit"
    fakes.script("APPROTECT enabled: not automatically unlocking\n", code=1)
    with pytest.raises(BuildError, match="pyocd erase --chip --target nrf52840; then flash again"):
        flash_with("pyocd", tmp_path)


def test_progress_is_told_once_a_percent(fakes: Fakes, tmp_path: Path) -> None:
    fakes.script(
        "Download [=====    ]  50%\rDownload [=====    ]  50%\rDownload [=========] 100% done\n", holds=bytes(100)
    )
    said = flash_with("dfu-util", tmp_path)
    assert said == ["firmware: 100 %", "comparison: 100 %"]
    assert len(said) == len(set(said))


def test_a_tool_that_hangs_is_ended(fakes: Fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fakes.folder / "openocd").write_text(f"#!{sys.executable}\nimport time; time.sleep(60)\n")
    monkeypatch.setattr(flash, "SILENCE_S", 0.2)
    with pytest.raises(BuildError, match="openocd has said nothing for 0 s; replug the probe"):
        flash_with("openocd", tmp_path)


def test_the_first_installed_tool_is_taken(fakes: Fakes) -> None:
    assert flash.choose(board()).name == "openocd"
    (fakes.folder / "openocd").unlink()
    assert flash.choose(board()).name == "st-flash"
    with pytest.raises(MissingToolError, match="openocd is not installed: sudo apt-get install openocd"):
        flash.choose(board(), "openocd")
    with pytest.raises(UsageError, match="cannot be flashed with avrdude; its manifest names openocd, st-flash"):
        flash.choose(board(), "avrdude")
    with pytest.raises(UsageError, match="has no flash to write; `tinyfed emulate --board native` starts it"):
        flash.choose(read_board("native"))
    with pytest.raises(UsageError, match=r"tinyfed\.flash\.avrdude is no flasher tinyfed knows"):
        flash.choose(board(avrdude={}))


def test_a_field_the_tool_needs_is_named(fakes: Fakes, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"tinyfed\.flash\.pyocd\.target: is missing"):
        flash.plan(board(pyocd={}), tmp_path / "firmware.elf", method="pyocd")


def test_a_shard_that_does_not_fit(fakes: Fakes, tmp_path: Path) -> None:
    shard = tmp_path / "big.shard"
    shard.write_bytes(bytes(board().memory["data_flash"].size_bytes + 3))
    with pytest.raises(DoesNotFitError, match=r"big\.shard: 524,275 bytes, .* 3 too many"):
        flash.plan(board(), tmp_path / "firmware.elf", shard=shard)
    with pytest.raises(UsageError, match=r"none\.shard: the shard cannot be read"):
        flash.plan(board(), tmp_path / "firmware.elf", shard=tmp_path / "none.shard")


def attach(folder: Path, **devices: tuple[str, str, str]) -> Path:
    for serial, (vendor, product, name) in devices.items():
        device = folder / f"1-{len(list(folder.glob('*')))}"
        device.mkdir(parents=True)
        for file, text in (("idVendor", vendor), ("idProduct", product), ("product", name), ("serial", serial)):
            (device / file).write_text(text + "\n")
    return folder


STLINKS = {"A1": ("0483", "374b", "STM32 STLink"), "B2": ("0483", "374e", "STLINK-V3")}
PAIRS = {
    "openocd": STLINKS,
    "st-flash": STLINKS,
    "dfu-util": {"A1": ("0483", "df11", "STM32  BOOTLOADER"), "B2": ("0483", "df11", "STM32  BOOTLOADER")},
    "pyocd": {"A1": ("1366", "1015", "J-Link"), "B2": ("0d28", "0204", "BBC micro:bit CMSIS-DAP")},
}


@pytest.mark.parametrize("name", PAIRS)
def test_several_probes_are_refused(name: str, tmp_path: Path) -> None:
    usb = attach(tmp_path / "usb", **PAIRS[name], D4=("046d", "c077", "USB Optical Mouse"))
    tool = TOOLS[name]
    assert flash.attached(tool, usb) == ["A1", "B2"]
    with pytest.raises(UsageError, match=rf"{name}: 2 are attached \(A1, B2\); name one with --probe SERIAL"):
        flash.refuse_several(tool, None, usb)
    flash.refuse_several(tool, "B2", usb)
    with pytest.raises(UsageError, match="there is no D4; attached: A1, B2"):
        flash.refuse_several(tool, "D4", usb)


def test_the_comparison_decides_whether_the_image_is_there(fakes: Fakes, tmp_path: Path) -> None:
    step = flash.verify_step(board(), tmp_path / "firmware.elf", method="openocd")
    assert step is not None
    fakes.script("verified 24188 bytes in 0.3s\n")
    assert flash.is_there(step)
    fakes.script("Error: checksum mismatch - attempting binary compare\n", code=1)
    assert not flash.is_there(step)
    fakes.script("Error: open failed\n", code=1)
    with pytest.raises(BuildError, match="no debug probe"):
        flash.is_there(step)
    assert flash.verify_step(board(), tmp_path / "firmware.elf", method="st-flash") is None
    step = flash.verify_step(board(), tmp_path / "firmware.elf", method="pyocd")
    assert step is not None
    fakes.script("All 100 bytes match.\n")
    assert flash.is_there(step)
    fakes.script("Mismatched byte at 0x08000000 (offset 0x0): 0xff (memory) != 0x20 (file)\n")
    assert not flash.is_there(step)


def test_a_board_that_does_not_answer_is_told() -> None:
    with pytest.raises(DeviceError, match="flashed, but nothing answers after 0 s; press RESET"):
        flash.wait_for_answer("unix:///none", "00", timeout_s=0)


def test_every_manifest_names_tools_with_their_fields(tmp_path: Path, fakes: Fakes) -> None:
    named = 0
    for kind in read_boards():
        for name in flash.methods(kind):
            assert flash.plan(kind, an_image(tmp_path), method=name)
            named += 1
    assert named >= 3


OPENOCD = [kind.name for kind in read_boards() if "openocd" in flash.methods(kind)]


@pytest.mark.parametrize("name", OPENOCD)
def test_the_real_openocd_without_a_probe_is_understood(name: str, tmp_path: Path) -> None:
    """With each board's own settings: what OpenOCD says when they are wrong is something else."""
    require(shutil.which("openocd"), "openocd is not installed: run `make setup`")
    step = flash.plan(read_board(name), an_image(tmp_path), method="openocd")[0]
    done = subprocess.run(step.command, capture_output=True, text=True, timeout=60)
    require("open failed" in done.stderr or "No J-Link device found" in done.stderr, "a debug probe is attached")
    with pytest.raises(BuildError, match="openocd: no debug probe was found; connect"):
        flash.run(step, lambda text: None)


@pytest.mark.parametrize(
    ("name", "told"), [("st-flash", "no ST-Link was found"), ("dfu-util", "no board is in DFU mode")]
)
def test_the_real_tool_without_a_board_is_understood(name: str, told: str, tmp_path: Path) -> None:
    require(shutil.which(name), f"{name} is not installed: run `make setup`")
    require(not flash.attached(TOOLS[name]), "a board or probe is attached")
    with pytest.raises(BuildError, match=f"{name}: {told}; "):
        flash.run(flash.plan(board(), an_image(tmp_path), method=name)[0], lambda text: None)
