"""`tinyfed doctor`: what is there, what is missing, what brings it."""

import json
import re
import sys
from pathlib import Path

import pytest
from tinyfed_command import Tinyfed
from tinyfed_host.cli import main as cli
from tinyfed_host.cli.setup.doctor import find


def facts(lines: str) -> dict[str, dict[str, object]]:
    return {found["part"]: found for found in map(json.loads, lines.splitlines()) if "part" in found}


def test_without_any_program_it_names_each_and_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.run_command(["doctor", "--json"]) == 3
    said = capsys.readouterr()
    found = facts(said.out)
    assert not found["qemu-system-arm"]["is_there"]
    assert found["qemu-system-arm"]["remedy"] == "sudo apt-get install qemu-system-arm"
    assert "gcc-arm-none-eabi" in str(found["arm-none-eabi-gcc"]["remedy"])
    assert found["openocd"]["optional"]
    assert found["openocd"]["remedy"] == "sudo apt-get install openocd"
    assert found["Python"]["is_there"]
    assert "qemu-system-arm" in said.out
    assert "openocd" not in said.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "programs"),
    [
        ("demo", ["arm-none-eabi-gcc", "qemu-system-arm", "aarch64-linux-gnu-gcc", "qemu-aarch64"]),
        ("firmware build --board mps2_an386 -o out", ["arm-none-eabi-gcc"]),
    ],
)
def test_what_needs_a_compiler_names_all_that_is_missing_at_once(
    words: str,
    programs: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    told = Tinyfed(capsys).error(3, *words.split())
    assert re.findall(r"(\S+) is not installed: sudo apt-get install \S", told) == programs
    assert not list(tmp_path.iterdir())


def test_a_compiler_without_its_library_is_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Debian's cross compiler only recommends newlib: `-print-file-name` answers the bare name where it lacks."""
    fake = tmp_path / "arm-none-eabi-gcc"
    fake.write_text("#!/bin/sh\ncase $1 in -dumpfullversion) echo 12.2.1;; *) echo libc.a;; esac\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    (compiler,) = (found for found in find() if found.part == "arm-none-eabi-gcc")
    assert not compiler.is_there
    assert compiler.detail == "12.2.1, without its C library"


def test_a_cache_that_is_a_file_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (cache,) = (found for found in find() if found.part == "cache")
    assert not cache.is_there
    assert "XDG_CACHE_HOME" in cache.remedy


def test_nothing_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert all(found.remedy for found in find() if not found.is_there)
    assert list(tmp_path.iterdir()) == []


def test_for_people_it_is_a_table_and_a_command_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.run_command(["doctor"])
    said = capsys.readouterr().out
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in said
    missing = [found for found in find() if not found.is_there]
    for found in missing:
        assert f"{found.part}: {found.remedy}" in said
    assert code == (3 if any(not found.optional for found in missing) else 0)
