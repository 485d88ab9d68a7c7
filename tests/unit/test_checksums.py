"""A checksum's constants stand in one file of C and in one of Python: a second copy is where the fault will be."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import ROOT

# Hexadecimal, as C and Python write them, and decimal.
CONSTANTS = {
    "the start of FNV-1a, 64 bit": ("0xcbf29ce484222325", "14695981039346656037"),
    "the prime of FNV-1a, 64 bit": ("0x100000001b3", "1099511628211"),
    "FNV-1a, 32 bit": ("0x811c9dc5", "0x1000193"),
    "the polynomial of CRC-32": ("0xedb88320", "0x4c11db7", "3988292384"),
}
# It runs in PlatformIO's Python, which has no tinyfed; test_firmware.py holds its hash to the engine's.
ALONE = Path("firmware/platform/tinyfed_build.py")


def holders(name: str, files: Iterable[Path]) -> list[str]:
    """The files with a constant, whatever its case, leading zeros and suffix."""
    found = []
    for path in files:
        words = re.findall(r"\b(?:0x[0-9a-f]+|\d+)", path.read_text(encoding="utf-8").lower())
        if {re.sub(r"^0x0+(?=.)", "0x", word) for word in words} & set(CONSTANTS[name]):
            found.append(str(path.relative_to(ROOT)))
    return found


def sources(pattern: str, *folders: str) -> list[Path]:
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob(pattern)) if ".pio" not in path.parts]
    assert files
    return [path for path in files if path.relative_to(ROOT) != ALONE]


@pytest.mark.parametrize(
    ("name", "c", "python"),
    [
        ("the start of FNV-1a, 64 bit", ["firmware/base/tinyfed_checksum.h"], ["tinyfed/engine/core.py"]),
        ("the prime of FNV-1a, 64 bit", ["firmware/base/tinyfed_checksum.c"], []),  # Python asks the engine
        ("FNV-1a, 32 bit", [], []),
        ("the polynomial of CRC-32", ["firmware/base/tinyfed_checksum.c"], []),  # Python has zlib
    ],
)
def test_a_constant_stands_once_in_each_language(name: str, c: list[str], python: list[str]) -> None:
    assert holders(name, sources("*.[ch]", "firmware", "tinyfed")) == c
    assert holders(name, sources("*.py", "tinyfed", "host", "firmware", "studies")) == python


def test_every_way_to_write_a_constant_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_checksums.ROOT", tmp_path)
    path = tmp_path / "x.c"
    for text, name in (
        ("hash = 0xCBF29CE484222325u;", "the start of FNV-1a, 64 bit"),
        ("x * 1099511628211ULL", "the prime of FNV-1a, 64 bit"),
        ("{0x04C11DB7}", "the polynomial of CRC-32"),
        ("0xEDB88320u, 1", "the polynomial of CRC-32"),
        ("* 0x01000193", "FNV-1a, 32 bit"),
    ):
        path.write_text(text)
        assert holders(name, [path]) == ["x.c"], text
    path.write_text("0xCBF29CE4842223250")
    assert holders("the start of FNV-1a, 64 bit", [path]) == []
