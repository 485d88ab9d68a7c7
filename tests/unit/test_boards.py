"""Board manifests: the ones that are there are right, and a wrong one is told by its field."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from tinyfed_host.cli.main import run_command
from tinyfed_host.firmware.flashers import TOOLS

from tinyfed import boards
from tinyfed.boards import LEVELS, PLACEHOLDERS, board_names, read_board, read_boards
from tinyfed.errors import UsageError
from tinyfed.fields import fields_of


def manifest() -> dict[str, Any]:
    return json.loads(read_board("mps2_an386").path.read_text())  # type: ignore[no-any-return]


def read_changed(folder: Path, changed: dict[str, Any]) -> boards.Board:
    (folder / "strange.json").write_text(json.dumps(changed))
    return read_board("strange", folder)


def test_every_manifest_is_right() -> None:
    boards = read_boards()
    assert {"mps2_an386", "raspberrypi", "native"} <= {board.name for board in boards}
    for board in boards:
        assert board.verified in LEVELS
        assert board.arena_bytes % 16 == 0, "an arena is a multiple of its alignment"
        if board.verified == "emulated":
            assert board.emulator is not None, f"{board.name} claims what cannot be repeated"


@pytest.mark.parametrize("name", ["my board", "größe", "x" * 33, "a\x1b]52;c;eA==\x07", "[nope]"])
def test_a_board_has_a_name_that_can_be_printed(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.json").write_text(json.dumps(manifest()))
    with pytest.raises(UsageError, match="is no board's name") as caught:
        read_board(name, tmp_path)
    assert str(caught.value).isprintable()
    (tmp_path / "A-1_b.c.json").write_text(json.dumps(manifest()))
    assert read_board("A-1_b.c", tmp_path).name == "A-1_b.c"


def test_a_new_board_on_an_existing_port_is_one_file(tmp_path: Path) -> None:
    changed = manifest()
    changed["name"] = "A bigger one"
    changed["tinyfed"]["arena_bytes"] = 176 * 1024
    read_changed(tmp_path, changed)
    assert board_names(tmp_path) == ["strange"]
    assert read_board("strange", tmp_path).arena_bytes == 180224


def test_the_users_own_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the user's folder, or a file that is named: by no other way, and as strictly as ours."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "tinyfed" / "boards"
    folder.mkdir(parents=True)
    changed = manifest() | {"name": "Mine"}
    for name in ("mine", "native"):
        (folder / f"{name}.json").write_text(json.dumps(changed))
    assert "mine" in board_names() and read_board("mine").title == "Mine"
    assert read_board("native").title != "Mine", "a bundled board keeps its name"
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(json.dumps(changed))
    assert boards.read_board_file(elsewhere).name == "elsewhere"
    for name in (str(elsewhere), "../../elsewhere", "elsewhere"):
        with pytest.raises(UsageError, match="there is no board"):
            read_board(name)
    changed["tinyfed"]["compiler"]["flags"] = ["-ffast-math"]
    elsewhere.write_text(json.dumps(changed))
    with pytest.raises(UsageError, match=r"elsewhere\.json: tinyfed.compiler.flags: must not hold"):
        boards.read_board_file(elsewhere)
    with pytest.raises(UsageError, match=r"none\.json: there is no such file"):
        boards.read_board_file(tmp_path / "none.json")
    with pytest.raises(UsageError, match="is no board's manifest"):
        boards.read_board_file(tmp_path)


def test_a_wrong_board_of_the_users_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command that goes through all boards does its work; two of them say what is wrong."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    bundled = board_names()
    folder = tmp_path / "tinyfed" / "boards"
    (folder / "folder.json").mkdir(parents=True)
    for name, text in (("broken", "{bad"), ("a space", json.dumps(manifest())), ("mine", json.dumps(manifest()))):
        (folder / f"{name}.json").write_text(text)
    assert [board.name for board in read_boards()] == sorted([*bundled, "mine"])
    assert run_command(["boards"]) == 2
    told = capsys.readouterr()
    assert "mps2_an386" in told.out and "a space.json: is no board's name" in told.err
    run_command(["doctor"])
    told = capsys.readouterr()
    assert all(f"board {name}: " in told.out for name in ("broken", "folder", "a space"))


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("name", 5, "name = 5: must be a text"),
        ("vendor", "", 'vendor = "": must be a text that is not empty'),
        ("build.f_cpu", "fast", 'build.f_cpu = "fast": must be a whole number'),
        ("tinyfed", [], "tinyfed = []: must be an object"),
        ("tinyfed.port", "pdp11", 'tinyfed.port = "pdp11": is no folder'),
        ("tinyfed.arena_bytes", 12, "tinyfed.arena_bytes = 12: must be a whole number"),
        ("tinyfed.arena_bytes", True, "tinyfed.arena_bytes = true: must be a whole number"),
        (
            "tinyfed.arena_bytes",
            262144,
            "tinyfed.arena_bytes = 262144: with stack_bytes 266,240 bytes, the RAM has 262,144",
        ),
        ("tinyfed.arena_byte", 5, "tinyfed.arena_byte: no such key; allowed: arena_bytes, budget"),
        ("tinyfed.serial.baud", 3, "tinyfed.serial.baud = 3: must be a whole number"),
        (
            "tinyfed.memory.ram.address",
            "here",
            'ram.address = "here": must be a whole number (or a text',
        ),
        (
            "tinyfed.linker_script",
            "cortexm/none.ld",
            'linker_script = "cortexm/none.ld": is not in firmware/port',
        ),
        ("tinyfed.compiler.flags", "-O2", 'tinyfed.compiler.flags = "-O2": must be a list of texts'),
        ("tinyfed.compiler.flags", ["-ffast-math"], "tinyfed.compiler.flags: must not hold -ffast-math"),
        (
            "tinyfed.verified.level",
            "surely",
            'tinyfed.verified.level = "surely": must be one of "compiled"',
        ),
        ("tinyfed.emulator.command", ["{imgae}"], 'tinyfed.emulator.command: has "{imgae}"'),
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


@pytest.mark.parametrize("name", [board.name for board in read_boards() if "store" in board.memory])
def test_memory_overlaps_nowhere(name: str, tmp_path: Path) -> None:
    """Erasing a store that lies in the program, or in the samples, would take them along."""
    memory = read_board(name).memory
    changed = json.loads(read_board(name).path.read_text())

    def refused(region: str, address: int) -> str:
        changed["tinyfed"]["memory"][region]["address"] = address
        with pytest.raises(UsageError) as caught:
            read_changed(tmp_path, changed)
        changed["tinyfed"]["memory"][region]["address"] = memory[region].address
        return str(caught.value)

    for other in memory.keys() - {"store"}:
        said = refused("store", max(0, memory[other].end - 1))
        assert re.search(
            r"tinyfed\.memory\.\w+: 0x[0-9a-f]{8}\.\.0x[0-9a-f]{8} overlaps tinyfed\.memory\.\w+, 0x", said
        )
    said = refused("store", memory["flash"].address + 4096)
    assert "overlaps tinyfed.memory.flash" in said
    assert "ends behind the last address" in refused("store", 2**32 - 16)
    assert read_changed(tmp_path, changed).memory == memory


@pytest.mark.parametrize(
    "flag",
    [
        "-Ofast", "-ffast-math", "-funsafe-math-optimizations", "-fassociative-math", "-freciprocal-math",
        "-ffinite-math-only", "-fno-signed-zeros", "-fsingle-precision-constant", "-ffp-contract=fast",
        "-ffp-contract=on", "-ffp-contract=fast-honor-pragmas", "-ffp-contract", "-ffp-model=fast",
        "-ffp-model=precise",
        "-fexcess-precision=fast", "-fexcess-precision=16", "-mfpmath=387", "-mfpmath=sse,387", "-mrecip",
        "-mrecip=all",
        "-mdaz-ftz", "-fapprox-func", "-fno-honor-nans", "-fno-honor-infinities", "-menable-unsafe-fp-math",
        "-fdenormal-fp-math=positive-zero", "-fdenormal-fp-math-f32=preserve-sign", "-mfpu=neon", "-mfpu=neon-vfpv4",
        "-mfpu=neon-fp-armv8", "-mfpu=crypto-neon-fp-armv8",
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["flags", "link_flags"])
def test_a_flag_that_costs_bits_is_refused(flag: str, field: str, tmp_path: Path) -> None:
    changed = manifest()
    changed["tinyfed"]["compiler"][field] += ["-g", flag]
    with pytest.raises(UsageError, match=f"strange.json: tinyfed.compiler.{field}: must not hold {re.escape(flag)}: "):
        read_changed(tmp_path, changed)


def test_flags_that_keep_every_bit_are_taken(tmp_path: Path) -> None:
    kept = [
        "-O3",
        "-Os",
        "-ffp-contract=off",
        "-fno-fast-math",
        "-mfpu=fpv5-d16",
        "-mfma",
        "-fno-math-errno",
        "-flto=2",
    ]
    changed = manifest()
    changed["tinyfed"]["compiler"]["flags"] += kept
    read_changed(tmp_path, changed)
    assert read_board("strange", tmp_path).compiler.flags[-len(kept) :] == tuple(kept)


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("tinyfed.arena_bytes", 1024, 2**30),
        ("tinyfed.stack_bytes", 512, 2**20),
        ("tinyfed.record_bytes", 2048, 2**30),
        ("tinyfed.serial.baud", 1200, 4_000_000),
        ("tinyfed.memory.data_flash.address", 0, 2**32 - 1),
        ("tinyfed.memory.data_flash.bytes", 1, 2**32),
        ("tinyfed.budget.flash_bytes", 1, 2**30),
        ("tinyfed.budget.ram_bytes", 1, 2**30),
    ],
)
def test_a_number_is_taken_up_to_its_bounds(field: str, low: int, high: int, tmp_path: Path) -> None:
    """A number within its own bounds may still ask for more than the board's RAM has: that is another message."""
    *path, last = field.split(".")
    for value, good in ((low - 1, False), (low, True), (high, True), (high + 1, False), (hex(high), True)):
        changed = manifest()
        place = changed
        for name in path:
            place = place[name]
        place[last] = value
        told = ""
        try:
            read_changed(tmp_path, changed)
        except UsageError as error:
            told = str(error)
        assert (f"{field} = {value}: must be a whole number" in told) is not good, (value, told)


@pytest.mark.parametrize(
    "place", ["tinyfed.emulator", "tinyfed.budget", "tinyfed.compiler", "tinyfed.memory.ram", "tinyfed.serial"]
)
def test_a_field_that_is_not_known_is_told_in_every_object(place: str, tmp_path: Path) -> None:
    changed = manifest()
    inner = changed
    for name in place.split("."):
        inner = inner[name]
    inner["strange"] = 1
    with pytest.raises(UsageError, match=f"{place}.strange: no such key"):
        read_changed(tmp_path, changed)


def test_arena_and_stack_fill_the_ram_to_the_last_byte(tmp_path: Path) -> None:
    changed = manifest()
    ram = changed["tinyfed"]["memory"]["ram"]["bytes"]
    ram = int(ram, 0) if isinstance(ram, str) else ram
    stack = changed["tinyfed"]["stack_bytes"]
    changed["tinyfed"]["arena_bytes"] = ram - stack
    read_changed(tmp_path, changed)
    changed["tinyfed"]["arena_bytes"] += 1
    with pytest.raises(UsageError, match=f"with stack_bytes {ram + 1:,} bytes, the RAM has {ram:,}"):
        read_changed(tmp_path, changed)


@pytest.mark.parametrize(("record", "good"), [(2048, True), (2064, True), (2056, False), ("arena", False)])
def test_room_for_records_is_aligned_and_leaves_some_for_models(record: int | str, good: bool, tmp_path: Path) -> None:
    changed = manifest()
    changed["tinyfed"]["record_bytes"] = changed["tinyfed"]["arena_bytes"] if record == "arena" else record
    if good:
        read_changed(tmp_path, changed)
        assert read_board("strange", tmp_path).record_bytes == record
    else:
        with pytest.raises(
            UsageError, match=r"record_bytes = .*: must be a multiple of 16 and leave some of arena_bytes"
        ):
            read_changed(tmp_path, changed)


def test_what_a_board_may_leave_out_has_its_value(tmp_path: Path) -> None:
    """The board on this computer has no memory of its own, no stack to reserve, nothing to flash and no budget."""
    board = read_board("native")
    assert (board.stack_bytes, dict(board.memory), dict(board.flash), board.budget) == (0, {}, {}, None)
    changed = manifest()
    for name in ("record_bytes", "budget", "emulator"):
        changed["tinyfed"].pop(name, None)
    read_changed(tmp_path, changed)
    board = read_board("strange", tmp_path)
    assert (board.record_bytes, board.budget, board.emulator) == (0, None, None)


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
    *("tinyfed.memory.data_flash", "tinyfed.memory.identity", "tinyfed.memory.store", "tinyfed.memory.line"),
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
        assert f"{missing}: is missing" in str(caught.value), field
        told += 1
    assert told > 20


def test_a_file_that_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UsageError, match=r"broken\.json: cannot be read as JSON"):
        read_board("broken", tmp_path)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UsageError, match=r"the manifest = \[\]: must be an object"):
        read_board("list", tmp_path)


def test_an_unknown_board_gets_a_hint() -> None:
    with pytest.raises(UsageError, match=r'there is no board "mps2_an368" .*; did you mean "mps2_an386"\?$'):
        read_board("mps2_an368")


@pytest.mark.parametrize("name", board_names())
def test_each_board_has_a_page_that_says_what_was_seen(name: str) -> None:
    page = (ROOT / "docs" / "boards" / f"{name}.md").read_text()
    assert page.startswith(f"# {name}: ")
    for part in ("Wiring", "First flash", "What to expect", "When it does not answer"):
        assert re.search(rf"^(\*\*|## ){part}", page, re.MULTILINE), f"{name}: {part}"
    # a board that nobody had in their hands says so
    read = read_board(name)
    there_is_none = name in ("native", "mps2_an386")
    assert there_is_none or read.verified == "hardware" or re.search("not yet been|not yet seen|not seen on", page)


def schema() -> set[str]:
    """Every field that the reader takes of a manifest; a region of memory is called NAME."""
    objects = {
        "": boards.MANIFEST,
        "build.": boards.BUILD,
        "tinyfed.": boards.TINYFED,
        "tinyfed.memory.NAME.": boards.REGION,
        "tinyfed.serial.": boards.SERIAL,
        "tinyfed.verified.": boards.VERIFIED,
        "tinyfed.compiler.": boards.COMPILER,
        "tinyfed.emulator.": fields_of(boards.Emulator),
        "tinyfed.budget.": fields_of(boards.Budget),
        "tinyfed.window.": boards.WINDOW,
    }
    listed = {f"{where}{name}" for where, fields in objects.items() for name in fields}
    return listed | {f"tinyfed.{name}" for name in boards.OF_THE_BUILD} | {"tinyfed.flash"}


def documented() -> dict[str, str]:
    """Field: what docs/howto-board.md's table says of it; `.x` behind a field is its neighbour."""
    text = (ROOT / "docs" / "howto-board.md").read_text()
    table = text[text.index("| field |") :].split("\n\n")[0]
    found = {}
    for row in table.splitlines()[2:]:
        names, says = row.strip("| ").split(" | ", 1)
        parent = ""
        for name in re.findall(r"`([^`]+)`", names):
            full = parent + name if name.startswith(".") else name
            parent = full.rpartition(".")[0]
            found[full] = says
    return found


def test_the_howto_has_every_field_of_a_manifest_and_no_other() -> None:
    table, fields = documented(), schema()
    assert len(fields) > 25
    for field in fields:
        parent, _, name = field.rpartition(".")
        told = field in table or f"`{name}`" in table.get(parent, "") or field == "tinyfed.flash"
        told = told or (parent == "tinyfed.memory.NAME" and f"`{name}`" in table["tinyfed.memory.flash"])
        assert told, f"docs/howto-board.md does not have {field}"
    known = {part for field in fields for part in (field, field.rpartition(".")[0])} | {"url", "tinyfed.flash.TOOL"}
    for field in table:
        of_memory = field.startswith("tinyfed.memory.")
        assert field in known or of_memory, f"docs/howto-board.md has {field}, which no manifest has"
    for tool in TOOLS.values():
        assert f"`{tool.name}`" in table["tinyfed.flash.TOOL"]
        for field in tool.fields:
            assert f"`{field}`" in table["tinyfed.flash.TOOL"]
    words = set(re.findall(r"`\{(\w+)\}`", table["tinyfed.emulator"]))
    assert words == set(PLACEHOLDERS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"channels": 17}, "window.channels = 17: must be a whole number, 1..16"),
        ({"mean": [0.0, 1.0]}, "window.mean = .*: must be a list of 3 numbers, one a channel"),
        ({"deviation": [1, 0, 1]}, "window.deviation = .*: each must be a number"),
        ({"steps": 65_535}, "window.steps = 65535: with channels 196,605 values a sample"),
        ({"hz": 3}, "window.hz: no such key"),
    ],
)
def test_the_window_of_a_sensor(change: dict[str, object], said: str, tmp_path: Path) -> None:
    changed = manifest()
    changed["tinyfed"]["window"] = {"channels": 3, "rate_hz": 100, "steps": 50}
    assert read_changed(tmp_path, changed).window == boards.Window(3, 100, 1, 50, 50, (0.0,) * 3, (1.0,) * 3)
    changed["tinyfed"]["window"] |= change
    with pytest.raises(UsageError, match=said):
        read_changed(tmp_path, changed)
