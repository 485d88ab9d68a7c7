"""The boards tinyfed knows: `boards/NAME.json`, PlatformIO board manifests with a `tinyfed` object.

docs/howto-board.md describes every field. A field that is wrong or missing is a `UsageError` of one line that
names the file and the field.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyfed.errors import UsageError
from tinyfed.paths import share

# What has been seen working, from least to most.
LEVELS = ("compiled", "emulated", "hardware")
# Flags of GCC and Clang that let results differ in their last bits, or lose subnormal numbers.
INEXACT_FLAGS = (
    *("-Ofast", "-ffast-math", "-funsafe-math-optimizations", "-menable-unsafe-fp-math", "-fassociative-math"),
    *("-freciprocal-math", "-mrecip", "-fapprox-func", "-ffinite-math-only", "-fno-signed-zeros", "-fno-honor-nans"),
    *("-fno-honor-infinities", "-fsingle-precision-constant", "-mdaz-ftz"),
)
# The only values that keep every bit, of options whose other values do not.
EXACT_VALUES = {
    "-ffp-contract": ("off",),
    "-ffp-model": ("strict",),
    "-fexcess-precision": ("standard",),
    "-mfpmath": ("sse",),
    "-fdenormal-fp-math": ("ieee",),
    "-fdenormal-fp-math-f32": ("ieee",),
}
# Words between braces that an emulator's command may hold.
PLACEHOLDERS = ("image", "fd", "id", "identity", "shard", "store", "sensor")


@dataclass(frozen=True)
class Region:
    """A range of a board's addresses."""

    address: int
    size_bytes: int


@dataclass(frozen=True)
class Compiler:
    """The GCC that builds for a board; `package` names the apt packages that bring it."""

    prefix: str
    package: str
    flags: tuple[str, ...]
    link_flags: tuple[str, ...]


@dataclass(frozen=True)
class Emulator:
    """How to run a board's image on this computer. `command` follows `program`; `shard` is appended when the
    device has one, `counting` when instructions are to be counted, `store` where saved models are kept in a file,
    `sensor` when its sensor plays a recording."""

    program: str  # empty: the image itself is the program
    package: str
    command: tuple[str, ...]
    shard: tuple[str, ...]
    counting: tuple[str, ...]
    store: tuple[str, ...]
    sensor: tuple[str, ...] = ()


@dataclass(frozen=True)
class Budget:
    """What the firmware may take: `flash_bytes` with every layer, `dense_flash_bytes` built for dense nets alone,
    `ram_bytes` with the stack and without the arena."""

    flash_bytes: int
    dense_flash_bytes: int
    ram_bytes: int


@dataclass(frozen=True)
class Board:
    """A board's manifest, checked."""

    name: str
    title: str
    vendor: str
    mcu: str
    clock_hz: int
    port: str
    arena_bytes: int
    stack_bytes: int  # 0: the operating system's
    baud: int
    memory: Mapping[str, Region]
    compiler: Compiler
    verified: str  # one of LEVELS
    verified_where: str
    emulator: Emulator | None
    budget: Budget | None
    record_bytes: int = 0  # of the arena, for samples the device records itself; 0: built without
    flash: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    path: Path = Path()


def boards_folder() -> Path:
    """Where the manifests are."""
    return share() / "boards"


def board_names(folder: Path | None = None) -> list[str]:
    """The names of all boards, sorted."""
    return sorted(path.stem for path in (folder or boards_folder()).glob("*.json"))


def read_board(name: str, folder: Path | None = None) -> Board:
    """The board called `name`.

    Raises:
        UsageError: there is no such board, or its manifest is wrong; the message names file and field.
    """
    folder = folder or boards_folder()
    path = folder / f"{name}.json"
    if not path.is_file():
        known = board_names(folder)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise UsageError(f'there is no board "{name}"{hint} (boards: {", ".join(known)})')
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as JSON: {error}") from error
    return _board(_Fields(path, manifest), name)


def read_boards(folder: Path | None = None) -> list[Board]:
    """All boards, by name. Raises `UsageError` as `read_board` does."""
    return [read_board(name, folder) for name in board_names(folder)]


class _Fields:
    """A JSON object on the way through a manifest; knows where it is, for messages."""

    def __init__(self, path: Path, value: object, where: str = "") -> None:
        self._path = path
        self._where = where
        if not isinstance(value, dict):
            raise self.error("", f"must be an object, not {_kind(value)}")
        self.value: dict[str, Any] = value
        self._known: set[str] = set()

    def error(self, name: str, what: str) -> UsageError:
        place = ".".join(part for part in (self._where, name) if part) or "the manifest"
        return UsageError(f"{self._path}: {place} {what}; docs/howto-board.md lists the fields")

    def _get(self, name: str) -> object:
        self._known.add(name)
        if name not in self.value:
            raise self.error(name, "is missing")
        return self.value[name]

    def has(self, name: str) -> bool:
        self._known.add(name)
        return name in self.value

    def text(self, name: str, *, empty: bool = False) -> str:
        value = self._get(name)
        if not isinstance(value, str) or (not value and not empty):
            raise self.error(name, f"must be a text, not {_kind(value)}")
        return value

    def number(self, name: str, low: int, high: int) -> int:
        value = self._get(name)
        try:
            number = int(value, 0) if isinstance(value, str) else value
        except ValueError:
            number = None
        if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
            raise self.error(name, f'must be a whole number (or a text as "0x20000000") from {low} to {high}')
        return number

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(name, "must be a list of texts")
        return tuple(value)

    def object(self, name: str) -> "_Fields":
        return _Fields(self._path, self._get(name), ".".join(part for part in (self._where, name) if part))

    def no_others(self) -> None:
        for name in self.value:
            if name not in self._known:
                near = difflib.get_close_matches(name, self._known, n=1)
                raise self.error(
                    name, "is not a field tinyfed knows" + (f'; did you mean "{near[0]}"?' if near else "")
                )

    @property
    def path(self) -> Path:
        return self._path


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "an empty text" if value == "" else "a text", type(None): "null"}
    return names.get(type(value), json.dumps(value))


def _board(fields: _Fields, name: str) -> Board:
    build = fields.object("build")
    tinyfed = fields.object("tinyfed")
    verified = tinyfed.object("verified")
    level = verified.text("level")
    if level not in LEVELS:
        raise verified.error("level", f"must be one of {', '.join(LEVELS)}")
    memory = {}
    if tinyfed.has("memory"):
        regions = tinyfed.object("memory")
        for region in regions.value:
            place = regions.object(region)
            memory[region] = Region(place.number("address", 0, 2**32 - 1), place.number("bytes", 1, 2**32))
            place.no_others()
    if tinyfed.has("linker_script"):
        script = tinyfed.text("linker_script")
        if (
            not (fields.path.parent.parent / "firmware" / "port" / script).is_file()
            and not (share() / "firmware" / "port" / script).is_file()
        ):
            raise tinyfed.error("linker_script", f"names {script}, which is not in firmware/port")
        for region in ("flash", "ram"):
            if region not in memory:
                raise tinyfed.error(f"memory.{region}", "is missing")
    port = tinyfed.text("port")
    if not (share() / "firmware" / "port" / port).is_dir():
        raise tinyfed.error("port", f'names "{port}", which is no folder of firmware/port')
    board = Board(
        name=name,
        title=fields.text("name"),
        vendor=fields.text("vendor"),
        mcu=build.text("mcu"),
        clock_hz=_hertz(build),
        port=port,
        arena_bytes=tinyfed.number("arena_bytes", 1024, 2**30),
        stack_bytes=tinyfed.number("stack_bytes", 512, 2**20) if tinyfed.has("stack_bytes") else 0,
        baud=tinyfed.object("serial").number("baud", 1200, 4_000_000),
        memory=memory,
        compiler=_compiler(tinyfed.object("compiler")),
        verified=level,
        verified_where=verified.text("where"),
        emulator=_emulator(tinyfed.object("emulator")) if tinyfed.has("emulator") else None,
        budget=_budget(tinyfed.object("budget")) if tinyfed.has("budget") else None,
        record_bytes=tinyfed.number("record_bytes", 2048, 2**30) if tinyfed.has("record_bytes") else 0,
        flash=tinyfed.object("flash").value if tinyfed.has("flash") else {},
        manifest=fields.value,
        path=fields.path,
    )
    for optional in ("shared", "defines", "int8"):
        tinyfed.has(optional)
    tinyfed.no_others()
    if "ram" in memory and board.arena_bytes + board.stack_bytes > memory["ram"].size_bytes:
        raise tinyfed.error(
            "arena_bytes",
            f"and stack_bytes ask for {board.arena_bytes + board.stack_bytes:,} bytes, the RAM has "
            f"{memory['ram'].size_bytes:,}",
        )
    if board.record_bytes % 16 or board.record_bytes >= board.arena_bytes:
        raise tinyfed.error("record_bytes", "must be a multiple of 16 and leave some of arena_bytes for models")
    if "ram" in memory and not board.stack_bytes:
        raise tinyfed.error("stack_bytes", "is missing")
    return board


def _hertz(build: _Fields) -> int:
    text = build.text("f_cpu").rstrip("Ll")
    if not text.isdigit() or not int(text):
        raise build.error("f_cpu", 'must be hertz as PlatformIO writes them, such as "64000000L"')
    return int(text)


def is_exact(flag: str) -> bool:
    """Whether what is compiled with this flag still gives the bits that IEEE 754 and the engine's order say."""
    name, _, value = flag.partition("=")
    if name == "-mfpu":  # 32-bit NEON takes subnormal numbers for zero
        return not value.startswith(("neon", "crypto-neon"))
    return name not in INEXACT_FLAGS and value in EXACT_VALUES.get(name, (value,))


def _compiler(fields: _Fields) -> Compiler:
    compiler = Compiler(
        prefix=fields.text("prefix", empty=True),
        package=fields.text("package"),
        flags=fields.texts("flags"),
        link_flags=fields.texts("link_flags"),
    )
    if fields.has("libraries"):
        fields.texts("libraries")
    for name in ("flags", "link_flags"):
        for flag in getattr(compiler, name):
            if not is_exact(flag):
                raise fields.error(name, f"must not hold {flag}: a device's results would differ from every other's")
    fields.no_others()
    return compiler


def _emulator(fields: _Fields) -> Emulator:
    emulator = Emulator(
        program=fields.text("program", empty=True),
        package=fields.text("package", empty=True),
        command=fields.texts("command"),
        shard=fields.texts("shard"),
        counting=fields.texts("counting") if fields.has("counting") else (),
        store=fields.texts("store") if fields.has("store") else (),
        sensor=fields.texts("sensor") if fields.has("sensor") else (),
    )
    for name in ("command", "shard", "counting", "store", "sensor"):
        for word in getattr(emulator, name):
            try:
                word.format(**dict.fromkeys(PLACEHOLDERS, ""))
            except (KeyError, IndexError, ValueError) as error:
                raise fields.error(name, f'has "{word}"; the words in braces are {", ".join(PLACEHOLDERS)}') from error
    fields.no_others()
    return emulator


def _budget(fields: _Fields) -> Budget:
    names = ("flash_bytes", "dense_flash_bytes", "ram_bytes")
    budget = Budget(*(fields.number(name, 1, 2**30) for name in names))
    fields.no_others()
    return budget
