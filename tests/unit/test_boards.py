"""Board manifests: the ones that are there are right, and a wrong one is told by its field."""

import json
from pathlib import Path
from typing import Any

import pytest

from tinyfed.boards import LEVELS, board_names, read_board, read_boards
from tinyfed.errors import UsageError


def manifest() -> dict[str, Any]:
    return json.loads(read_board("mps2_an386").path.read_text())  # type: ignore[no-any-return]


def read_changed(folder: Path, changed: dict[str, Any]) -> None:
    (folder / "strange.json").write_text(json.dumps(changed))
    read_board("strange", folder)


def test_every_manifest_is_right() -> None:
    boards = read_boards()
    assert {"mps2_an386", "raspberrypi", "native"} <= {board.name for board in boards}
    for board in boards:
        assert board.verified in LEVELS
        assert board.arena_bytes % 16 == 0, "an arena is a multiple of its alignment"
        if board.verified == "emulated":
            assert board.emulator is not None, f"{board.name} claims what cannot be repeated"


def test_a_new_board_on_an_existing_port_is_one_file(tmp_path: Path) -> None:
    changed = manifest()
    changed["name"] = "A bigger one"
    changed["tinyfed"]["arena_bytes"] = 176 * 1024
    read_changed(tmp_path, changed)
    assert board_names(tmp_path) == ["strange"]
    assert read_board("strange", tmp_path).arena_bytes == 180224


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("name", 5, "name must be a text"),
        ("vendor", "", "vendor must be a text, not an empty text"),
        ("build.f_cpu", "fast", "build.f_cpu must be hertz"),
        ("tinyfed", [], "tinyfed must be an object, not a list"),
        ("tinyfed.port", "pdp11", 'tinyfed.port names "pdp11", which is no folder'),
        ("tinyfed.arena_bytes", 12, "tinyfed.arena_bytes must be a whole number"),
        ("tinyfed.arena_bytes", True, "tinyfed.arena_bytes must be a whole number"),
        (
            "tinyfed.arena_bytes",
            262144,
            "tinyfed.arena_bytes and stack_bytes ask for 266,240 bytes, the RAM has 262,144",
        ),
        ("tinyfed.arena_byte", 5, 'tinyfed.arena_byte is not a field tinyfed knows; did you mean "arena_bytes"?'),
        ("tinyfed.serial.baud", 3, "tinyfed.serial.baud must be a whole number"),
        ("tinyfed.memory.ram.address", "here", "tinyfed.memory.ram.address must be a whole number"),
        ("tinyfed.linker_script", "cortexm/none.ld", "tinyfed.linker_script names cortexm/none.ld"),
        ("tinyfed.compiler.flags", "-O2", "tinyfed.compiler.flags must be a list of texts"),
        ("tinyfed.compiler.flags", ["-ffast-math"], "tinyfed.compiler.flags must not hold -ffast-math"),
        ("tinyfed.verified.level", "surely", "tinyfed.verified.level must be one of compiled, emulated, hardware"),
        ("tinyfed.emulator.command", ["{imgae}"], 'tinyfed.emulator.command has "{imgae}"'),
    ],
)
def test_a_wrong_field_is_told_in_one_line(field: str, value: object, told: str, tmp_path: Path) -> None:
    changed = manifest()
    place = changed
    *path, last = field.split(".")
    for name in path:
        place = place[name]
    place[last] = value
    with pytest.raises(UsageError) as caught:
        read_changed(tmp_path, changed)
    message = str(caught.value)
    assert told in message
    assert "strange.json" in message
    assert "\n" not in message


def paths(value: dict[str, Any], where: str = "") -> list[str]:
    found = []
    for name, inner in value.items():
        found.append(f"{where}{name}")
        if isinstance(inner, dict):
            found += paths(inner, f"{where}{name}.")
    return found


# PlatformIO's own, which tinyfed does not read, and what a board may leave out.
NOT_NEEDED = (
    *("url", "upload", "build.cpu"),
    *("tinyfed.memory.data_flash", "tinyfed.memory.identity", "tinyfed.memory.store"),
    "tinyfed.memory.recording",
)
OPTIONAL = (
    "tinyfed.shared",
    "tinyfed.int8",
    "tinyfed.linker_script",
    "tinyfed.emulator",
    "tinyfed.budget",
    "tinyfed.compiler.libraries",
)
OPTIONAL_INSIDE = (
    "tinyfed.emulator.counting",
    "tinyfed.emulator.store",
    "tinyfed.emulator.sensor",
    "tinyfed.record_bytes",
)


def test_every_missing_field_is_told(tmp_path: Path) -> None:
    told = 0
    for field in paths(manifest()):
        if field.startswith("upload.") or field in NOT_NEEDED + OPTIONAL + OPTIONAL_INSIDE:
            continue
        changed = manifest()
        place = changed
        *path, last = field.split(".")
        for name in path:
            place = place[name]
        del place[last]
        with pytest.raises(UsageError) as caught:
            read_changed(tmp_path, changed)
        missing = field if field != "tinyfed.memory" else "tinyfed.memory.flash"
        assert f"{missing} is missing" in str(caught.value), field
        told += 1
    assert told > 20


def test_a_file_that_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UsageError, match=r"broken\.json: cannot be read as JSON"):
        read_board("broken", tmp_path)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UsageError, match="the manifest must be an object, not a list"):
        read_board("list", tmp_path)


def test_an_unknown_board_gets_a_hint() -> None:
    with pytest.raises(UsageError, match='there is no board "mps2_an368"; did you mean "mps2_an386"'):
        read_board("mps2_an368")
