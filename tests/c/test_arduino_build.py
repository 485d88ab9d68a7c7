"""The Arduino boards' build, by PlatformIO itself and our own script, behind a stand-in for the platform nordicnrf52
and its framework: they choose the framework by the board's name, and append soft floating point last, as the
real ones do (platform 10.11). No registry is asked."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import FIRMWARE, RECIPE, ROOT, require_tools
from tinyfed_host.cli.firmware import app
from tinyfed_host.device import discovery
from tinyfed_host.firmware import build, flash
from typer.testing import CliRunner

from tinyfed.boards import read_board, read_board_file
from tinyfed.errors import BuildError, DeviceError

PLATFORM = """
from platformio.platform.base import PlatformBase
class Nordicnrf52Platform(PlatformBase):
    def is_embedded(self):
        return True
    def configure_default_packages(self, variables, targets):
        if variables.get("board") == "nano33ble":
            self.frameworks["arduino"]["script"] = "builder/mbed.py"
        return super().configure_default_packages(variables, targets)
"""
MAIN = """
import shutil
from SCons.Script import AlwaysBuild, Default, DefaultEnvironment
env = DefaultEnvironment()
tools = dict(AR="ar", AS="as", CC="gcc", CXX="g++", OBJCOPY="objcopy", RANLIB="ranlib", SIZETOOL="size", LINK="gcc")
env.Replace(**{key: "arm-none-eabi-" + tool for key, tool in tools.items()})
env.Replace(PROGNAME="firmware", PROGSUFFIX=".elf", SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES")
env.Append(LINKFLAGS=["-Wl,-Ttext-segment=0x10000"])
program = env.Command("$BUILD_DIR/firmware.bin", env.BuildProgram(), "$OBJCOPY -O binary $SOURCE $TARGET")
def upload(target, source, env):
    shutil.copy(str(source[0]), env.subst("$UPLOAD_PORT"))
AlwaysBuild(env.Alias("upload", program, upload))
Default(program)
"""
MBED = """
from SCons.Script import DefaultEnvironment
env = DefaultEnvironment()
own = ["-mcpu=cortex-m4", "-mfloat-abi=softfp", "-mfpu=fpv4-sp-d16", "-mthumb"]
soft = ["-mfloat-abi=soft", "-mfpu=fpv4-sp-d16"]
env.Append(ASFLAGS=[*own, *soft], CCFLAGS=["-g", "-Os", *own, "-nostdlib", *soft], CFLAGS=["-std=gnu11"])
env.Append(CPPDEFINES=[("__MBED__", 1)])
env.Append(CXXFLAGS=["-std=gnu++14", "-fno-exceptions", "-fno-rtti"], CPPPATH=[STAND_IN], LIBPATH=[STAND_IN])
env.Append(LINKFLAGS=["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=softfp", "--specs=nosys.specs", "-Wl,--gc-sections"])
env.Append(LINKFLAGS=soft, CCFLAGS=["-ffunction-sections", "-fdata-sections"])
core = env.BuildLibrary("$BUILD_DIR/FrameworkArduino", STAND_IN, "+<core.cpp>")
env.Prepend(LIBS=[core])
"""
# As Arduino.cpp, for a program that is linked and not run.
CORE = """
#include "Arduino.h"
#include "FlashIAP.h"
StandInSerial Serial;
void StandInSerial::begin(unsigned long) {}
int StandInSerial::available() { return 0; }
int StandInSerial::read() { return 0; }
size_t StandInSerial::write(const uint8_t *, size_t byte_count) { return byte_count; }
int StandInSerial::availableForWrite() { return 0; }
bool StandInSerial::connected() { return false; }
void StandInSerial::send_nb(uint8_t *, uint32_t, uint32_t *taken, bool) { *taken = 0; }
bool stand_in_imu_is(const char *) { return false; }
void stand_in_hang() { for (;;) {} }
StandInWatchdog stand_in_watchdog;
StandInPower stand_in_power;
void StandInWatchdog::Start::operator=(uint32_t) {}
void StandInWatchdog::Reload::operator=(uint32_t) {}
int mbed::FlashIAP::init() { return 0; }
int mbed::FlashIAP::erase(uint32_t, uint32_t) { return 0; }
int mbed::FlashIAP::program(const void *, uint32_t, uint32_t) { return 0; }
uint32_t mbed::FlashIAP::get_sector_size(uint32_t) const { return 4096; }
uint32_t mbed::FlashIAP::get_page_size() const { return 4; }
unsigned long micros() { return 0; }
unsigned long millis() { return 0; }
void delay(unsigned long) {}
void NVIC_SystemReset() { for (;;) {} }
int main() { setup(); for (;;) loop(); }
"""
IMUS = {
    "nano33ble": ("Arduino_LSM9DS1", "lsm9ds1/Arduino_LSM9DS1.h"),
    "nano33ble_rev2": ("Arduino_BMI270_BMM150", "bmi270/Arduino_BMI270_BMM150.h"),
}
OWN = "my-nano"  # a board of the user's own


def package(folder: Path, kind: str, name: str, owner: str, files: dict[str, str]) -> Path:
    """Installed, as PlatformIO notes it."""
    spec = {"owner": owner, "id": None, "name": name, "requirements": None, "uri": None}
    noted = {"type": kind, "name": name, "version": "1.0.0", "spec": spec}
    for path, text in {**files, ".piopm": json.dumps(noted)}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PlatformIO's folder with the stand-ins; everything that is built lies beside it."""
    require_tools("arm-none-eabi-g++")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "core_folder", lambda: tmp_path / "core")
    core = build.seed()
    shutil.copytree(ROOT / "tests" / "c" / "port" / "arduino", tmp_path / "arduino")
    (tmp_path / "arduino" / "core.cpp").write_text(CORE)
    usual = subprocess.run(["arm-none-eabi-ld", "--verbose"], capture_output=True, text=True, check=True).stdout
    (tmp_path / "arduino" / "linker_script.ld").write_text(usual.split("=" * 50)[1])
    about: dict[str, Any] = {"name": "nordicnrf52", "version": "1.0.0", "title": "", "description": ""}
    about["frameworks"] = {"arduino": {"script": "builder/none.py"}}
    about["packages"] = {"toolchain-gccarmnoneeabi": {"type": "toolchain", "owner": "platformio", "version": "*"}}
    files = {"platform.json": json.dumps(about), "platform.py": PLATFORM, "builder/main.py": MAIN}
    files["builder/mbed.py"] = f"STAND_IN = {str(tmp_path / 'arduino')!r}\n" + MBED
    package(core / "platforms" / "nordicnrf52", "platform", "nordicnrf52", "platformio", files)
    chain = {"package.json": json.dumps({"name": "toolchain-gccarmnoneeabi", "version": "1.0.0"})}
    package(core / "packages" / "toolchain-gccarmnoneeabi", "tool", "toolchain-gccarmnoneeabi", "platformio", chain)
    for board, (name, header) in {**IMUS, OWN: IMUS["nano33ble_rev2"]}.items():
        text = (tmp_path / "arduino" / header).read_text()
        library = {"library.json": json.dumps({"name": name, "version": "1.0.0"}), f"src/{name}.h": text}
        library[f"src/{name}.cpp"] = f'#include "{name}.h"\n'
        libraries = tmp_path / "cache" / "tinyfed" / "firmware" / "pio" / board / "libdeps" / board
        package(libraries / name, "library", name, "arduino-libraries", library)
    return core


def compiler_of_its_own(core: Path, version: str) -> None:
    """PlatformIO's toolchain: the compiler that is installed here, but it says that it is another."""
    folder = core / "packages" / "toolchain-gccarmnoneeabi" / "bin"
    folder.mkdir(exist_ok=True)
    for tool in ("gcc", "g++", "ar", "as", "ranlib", "objcopy", "size"):
        real = shutil.which(f"arm-none-eabi-{tool}", path=os.defpath + ":/usr/local/bin")
        asked = f'[ "$1" = -dumpmachine ] && echo {version} && exit\n' if tool == "gcc" else ""
        (folder / f"arm-none-eabi-{tool}").write_text(f'#!/bin/sh\n{asked}exec {real} "$@"\n')
        (folder / f"arm-none-eabi-{tool}").chmod(0o755)


@pytest.mark.slow
@pytest.mark.parametrize("name", IMUS)
def test_the_board_computes_with_its_floating_point_unit(name: str, stand_in: Path) -> None:
    elf = build.build(name)
    assert build.info(elf).board == name
    disassembly = subprocess.run(["arm-none-eabi-objdump", "-d", elf], capture_output=True, text=True).stdout
    assert "vmla.f32" in disassembly or "vmul.f32" in disassembly
    objects = elf.parent / "src"
    for source, flag in (
        ("core/kernels/cortexm4/dense.c", "-O2"),
        ("core/model/layout.c", "-Os"),
        ("app/app.c", "-Os"),
    ):
        told = subprocess.run(
            ["arm-none-eabi-readelf", "--debug-dump=info", objects / f"{source}.o"], capture_output=True, text=True
        ).stdout
        producer = next(line for line in told.splitlines() if "DW_AT_producer" in line)
        assert re.findall(r" (-O\w+)", producer)[-1] == flag, source


@pytest.mark.slow
def test_flashing_needs_platformios_compiler_alone(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the board that answers has the build which that compiler made."""
    programs, port = stand_in.parent / "bin", stand_in.parent / "board"
    programs.mkdir()
    (programs / "sh").symlink_to("/bin/sh")
    (programs / "pio").write_text(f'#!/bin/sh\nexec {sys.executable} -m platformio "$@"\n')
    (programs / "pio").chmod(0o755)

    def answer(port: str) -> SimpleNamespace:
        if not Path(port).exists():
            raise DeviceError("nobody answers", where=port)
        there = build.info(Path(port))
        return SimpleNamespace(board=there.board, firmware_build=there.build_id, unique_id="1")

    board = read_board("nano33ble")
    ids = [build.build_id(board)]  # as the compiler on PATH would have it
    monkeypatch.setattr(discovery, "probe_port", answer)
    monkeypatch.setenv("PATH", str(programs))
    compiler_of_its_own(stand_in, "7.2.1")
    for written in (True, False):
        done = CliRunner().invoke(app, ["flash", "--board", "nano33ble", "--port", str(port), "--json"])
        assert done.exit_code == 0, (done.output, done.exception)
        told = json.loads(done.output.splitlines()[-1])
        assert told["written"] is written
        ids.append(told["build_id"])
    assert ids[0] != ids[1] == ids[2]
    compiler_of_its_own(stand_in, "11.2.0")
    before = port.read_bytes()
    assert build.size(board).flash > 20_000, "of the last build: nothing is compiled"
    last = build.last_built(board)
    assert last is not None and last.with_suffix(".bin").read_bytes() == before


@pytest.mark.slow
def test_a_board_of_ones_own_is_flashed_with_its_samples(stand_in: Path, tmp_path: Path) -> None:
    """And a program that would reach into the saved models is refused."""
    manifest = json.loads((ROOT / "boards" / "nano33ble_rev2.json").read_text())
    manifest["tinyfed"] |= {"arena_bytes": 65536, "record_bytes": 16384}
    manifest["tinyfed"]["flash"] = {"pio": {"extends": "env:nano33ble_rev2"}}
    (tmp_path / f"{OWN}.json").write_text(json.dumps(manifest))
    (tmp_path / "person.shard").write_bytes(b"shard of a person")
    board = read_board_file(tmp_path / f"{OWN}.json")
    image, _ = flash.make_image(board, None)
    (step,) = flash.plan(board, image, port=str(tmp_path / "board"), shard=tmp_path / "person.shard")
    step = replace(step, command=[sys.executable, "-m", "platformio", *step.command[1:]])
    flash.run(step, lambda text: None)
    written = (tmp_path / "board").read_bytes()
    assert build.info(tmp_path / "board").board == OWN and build.size(board).arena == 65536
    assert written[0x80000 - 0x10000 :] == b"shard of a person"
    manifest["tinyfed"]["memory"]["flash"]["bytes"] = 20_480
    (tmp_path / f"{OWN}.json").write_text(json.dumps(manifest))
    with pytest.raises(BuildError, match=r"more than tinyfed\.memory\.flash has"):
        build.build(read_board_file(tmp_path / f"{OWN}.json"))


@pytest.mark.parametrize("board", [*IMUS, "nrf52840dk"])
def test_flags_that_do_not_reach_the_compiler_end_the_build(board: str) -> None:
    require_tools("arm-none-eabi-gcc")
    kind = read_board(board)
    defines = [f"-D{name}={value}" for name, value in RECIPE.defines(board, dict(kind.manifest)).items()]
    compile_it = ["arm-none-eabi-gcc", *kind.compiler.flags, *defines, *RECIPE.include_flags(FIRMWARE, "core")]
    compile_it += ["-fsyntax-only", str(FIRMWARE / "core" / "kernels" / "plain" / "dispatch.c")]
    subprocess.run(compile_it, check=True)
    done = subprocess.run([*compile_it, "-mfloat-abi=soft"], capture_output=True, text=True)
    assert done.returncode != 0 and "__ARM_FP is not what the board has" in done.stderr
