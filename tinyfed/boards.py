"""The boards tinyfed knows: `boards/NAME.json`, PlatformIO board manifests with a `tinyfed` object.

docs/howto-board.md describes every field. A field that is wrong or missing is a `UsageError` of one line that
names the file and the field.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tinyfed.errors import UsageError
from tinyfed.fields import Field, Source, Table, fields_of, near, number, quote, show, text, texts, whole, word
from tinyfed.paths import config, share
from tinyfed.reading import read_text
from tinyfed.text import shown

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


# What a board, and a device that is one, may be called: it is printed, written into runs, and sent in a HELLO.
BOARD_NAME = re.compile(r"[A-Za-z0-9_.-]{1,32}")
SAID = text(empty=False)
SIZE = whole(1, 2**30, from_text=True)


@dataclass(frozen=True)
class Region:
    """A range of a board's addresses."""

    address: int
    size_bytes: int

    @property
    def end(self) -> int:
        """The address behind its last byte."""
        return self.address + self.size_bytes

    def __str__(self) -> str:
        return f"{self.address:#010x}..{self.end - 1:#010x}"


@dataclass(frozen=True)
class Compiler:
    """The GCC that builds for a board; `package` names the apt packages that bring it."""

    prefix: str
    package: Annotated[str, SAID]
    flags: Annotated[tuple[str, ...], texts()]
    link_flags: Annotated[tuple[str, ...], texts()]


@dataclass(frozen=True)
class Emulator:
    """How to run a board's image on this computer. `command` follows `program`; `shard` is appended when the
    device has one, `counting` when instructions are to be counted, `store` where saved models are kept in a file,
    `sensor` when its sensor plays a recording."""

    program: str  # empty: the image itself is the program
    package: str
    command: Annotated[tuple[str, ...], texts()]
    shard: Annotated[tuple[str, ...], texts()]
    counting: Annotated[tuple[str, ...], texts()] = ()
    store: Annotated[tuple[str, ...], texts()] = ()
    sensor: Annotated[tuple[str, ...], texts()] = ()


@dataclass(frozen=True)
class Window:
    """How a sensor's readings become a sample of (steps, channels): each step is the mean of `group` readings, less the
    channel's mean, by its deviation; a window begins every `stride` steps."""

    channels: int
    rate_hz: int
    group: int
    steps: int
    stride: int
    mean: tuple[float, ...]  # by channel, in the sensor's unit
    deviation: tuple[float, ...]

    @property
    def feature_count(self) -> int:
        """Numbers in a sample."""
        return self.steps * self.channels


@dataclass(frozen=True)
class Budget:
    """What the firmware may take: `flash_bytes` with every layer, `dense_flash_bytes` built for dense nets alone,
    `ram_bytes` with the stack and without the arena."""

    flash_bytes: Annotated[int, SIZE]
    dense_flash_bytes: Annotated[int, SIZE]
    ram_bytes: Annotated[int, SIZE]


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
    window: Window | None = None  # of its sensor; None: that of firmware/visit/motion.c
    flash: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    path: Path = Path()


def boards_folder() -> Path:
    """Where the manifests are."""
    return share() / "boards"


def board_names(folder: Path | None = None) -> list[str]:
    """The names of all boards, sorted: those that come with tinyfed, the user's own in `~/.config/tinyfed/boards`."""
    return sorted(_files(folder))


def _files(folder: Path | None) -> dict[str, Path]:
    """Where each board's manifest is. A bundled board keeps its name."""
    own = config()
    folders = [folder] if folder else [*([own / "boards"] if own else []), boards_folder()]
    try:
        return {path.stem: path for place in folders for path in place.glob("*.json")}
    except OSError as error:  # what tinyfed brings can be read
        raise UsageError(f"cannot be read: {error.strerror}", where=shown(str(folders[0]))) from error


def read_board(name: str, folder: Path | None = None) -> Board:
    """The board called `name`.

    Raises:
        UsageError: there is no such board, or its manifest is wrong; the message names file and field.
    """
    files = _files(folder)
    known = sorted(files)
    if name not in known:  # a name, never a path: what a manifest names is carried out
        said = shown(name, 64)
        raise UsageError(f'there is no board "{said}" (boards: {", ".join(known)})', remedy=near(name, known))
    path = files[name]
    if not BOARD_NAME.fullmatch(name):
        problem = 'is no board\'s name: a file is called 1 to 32 letters, digits, ".", "_" or "-" and .json'
        raise UsageError(problem, where=shown(str(path)), remedy="rename it")
    try:
        manifest = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"cannot be read as JSON: {error}", where=str(path)) from error
    if not isinstance(manifest, dict):
        raise UsageError("must be an object", where=str(path), key="the manifest", value=quote(manifest))
    return _board(Table(manifest, Source(str(path), remedy="docs/howto-board.md lists the fields")), name)


def read_board_file(path: Path) -> Board:
    """The board of a manifest that the user names as a file. Raises `UsageError` as `read_board` does."""
    if path.suffix == ".json" and not path.exists():
        raise UsageError("there is no such file", where=shown(str(path)))
    if path.suffix != ".json" or not path.is_file():
        raise UsageError("is no board's manifest: a file called NAME.json", where=shown(str(path)))
    return read_board(path.stem, path.absolute().parent)


def read_boards(folder: Path | None = None, wrong: list[UsageError] | None = None) -> list[Board]:
    """All boards, by name, but those of the user's own that are wrong: why goes into `wrong`, and the others are of use
    all the same. Raises `UsageError` as `read_board` does."""
    found = []
    for name, path in sorted(_files(folder).items()):
        try:
            found.append(read_board(name, folder))
        except UsageError as error:
            if path.parent == (folder or boards_folder()):
                raise
            if wrong is not None:
                wrong.append(error)
    return found


# What each object of a manifest holds. Those below `tinyfed` hold nothing else; PlatformIO has keys of its own above.
MANIFEST: Mapping[str, Field] = {"name": SAID, "vendor": SAID}
BUILD: Mapping[str, Field] = {"mcu": SAID, "f_cpu": whole(1, from_text=True)}
TINYFED: Mapping[str, Field] = {
    "port": SAID,
    "linker_script": text(empty=False, default=""),
    "arena_bytes": whole(1024, 2**30, from_text=True),
    "stack_bytes": whole(512, 2**20, from_text=True, default=0),
    "record_bytes": whole(2048, 2**30, from_text=True, default=0),
}
WINDOW: Mapping[str, Field] = {
    "channels": whole(1, 16),
    "rate_hz": whole(1, 65_535),
    "group": whole(1, 65_535, default=1),
    "steps": whole(1, 65_535),
    "stride": whole(0, 65_535, default=0),
    "mean": number(-1e30, 1e30, default=0.0),
    "deviation": number(1e-30, 1e30, default=1.0),
}
WINDOW_VALUES_MAX = 65_536
SERIAL: Mapping[str, Field] = {"baud": whole(1200, 4_000_000, from_text=True)}
VERIFIED: Mapping[str, Field] = {"level": word(*LEVELS), "where": SAID}
REGION: Mapping[str, Field] = {
    "address": whole(0, 2**32 - 1, from_text=True),
    "bytes": whole(1, 2**32, from_text=True),
}
COMPILER: Mapping[str, Field] = {**fields_of(Compiler), "libraries": texts(default=())}
OBJECTS = ("memory", "serial", "compiler", "verified", "emulator", "budget", "window", "flash")
OF_THE_BUILD = ("shared", "defines", "int8")  # read by the build of the firmware


def _board(root: Table, name: str) -> Board:
    top = {key: root.take(key, field) for key, field in MANIFEST.items()}
    table = root.table("build")
    build = {key: table.take(key, field) for key, field in BUILD.items()}
    tinyfed = root.table("tinyfed")
    read = tinyfed.read(TINYFED, beside=(*OBJECTS, *OF_THE_BUILD))
    memory = _memory(tinyfed.table("memory", {}))
    _check_port(tinyfed, read["port"], read.pop("linker_script"), memory)
    verified = tinyfed.table("verified").read(VERIFIED)
    board = Board(
        name=name,
        title=top["name"],
        vendor=top["vendor"],
        mcu=build["mcu"],
        clock_hz=build["f_cpu"],
        baud=tinyfed.table("serial").read(SERIAL)["baud"],
        memory=memory,
        compiler=_compiler(tinyfed.table("compiler")),
        verified=verified["level"],
        verified_where=verified["where"],
        emulator=_emulator(tinyfed.table("emulator")) if "emulator" in tinyfed.values else None,
        budget=Budget(**tinyfed.table("budget").read(fields_of(Budget))) if "budget" in tinyfed.values else None,
        window=_window(tinyfed.table("window")) if "window" in tinyfed.values else None,
        flash=tinyfed.table("flash", {}).values,
        manifest=root.values,
        path=Path(root.source.name),
        **read,
    )
    if board.record_bytes % 16 or board.record_bytes >= board.arena_bytes:
        raise tinyfed.wrong("record_bytes", "must be a multiple of 16 and leave some of arena_bytes for models")
    if "ram" in memory:
        if not board.stack_bytes:
            raise tinyfed.error("stack_bytes", f"is missing, must be {TINYFED['stack_bytes'].allowed}")
        needed = board.arena_bytes + board.stack_bytes
        if needed > memory["ram"].size_bytes:
            problem = f"with stack_bytes {needed:,} bytes, the RAM has {memory['ram'].size_bytes:,}"
            raise tinyfed.wrong("arena_bytes", problem)
    return board


def _window(table: Table) -> Window:
    whole_numbers = {key: field for key, field in WINDOW.items() if field.kind is int}
    read = {key: table.take(key, field) for key, field in whole_numbers.items()}
    table.only(tuple(WINDOW))
    for key in WINDOW.keys() - whole_numbers.keys():
        values = table.values.get(key, [WINDOW[key].default] * read["channels"])
        if not isinstance(values, list) or len(values) != read["channels"]:
            raise table.wrong(key, f"must be a list of {read['channels']} numbers, one a channel")
        try:
            read[key] = tuple(WINDOW[key].check(value) for value in values)
        except UsageError as error:
            raise table.wrong(key, f"each {error.problem}") from None
    window = Window(**{**read, "stride": read["stride"] or read["steps"]})
    if window.feature_count > WINDOW_VALUES_MAX:
        problem = f"with channels {window.feature_count:,} values a sample, at most {WINDOW_VALUES_MAX:,}"
        raise table.wrong("steps", problem)
    return window


def _memory(regions: Table) -> dict[str, Region]:
    read = {name: regions.table(name).read(REGION) for name in regions.values}
    memory = {name: Region(region["address"], region["bytes"]) for name, region in read.items()}
    before = None  # what ends last of all that begin before
    for name, region in sorted(memory.items(), key=lambda item: item[1].address):
        if region.end > 2**32:
            raise regions.error(name, f"{region} ends behind the last address, 0xffffffff")
        if before is not None and memory[before].end > region.address:
            raise regions.error(name, f"{region} overlaps {show((*regions.path, before))}, {memory[before]}")
        before = name
    return memory


def _check_port(tinyfed: Table, port: str, script: str, memory: Mapping[str, Region]) -> None:
    """The folder and the linker script of firmware/port are there, here or beside the manifest."""
    ports = share() / "firmware" / "port"
    if script:
        beside = Path(tinyfed.source.name).parent.parent / "firmware" / "port"
        if not any((folder / script).is_file() for folder in (beside, ports)):
            raise tinyfed.wrong("linker_script", "is not in firmware/port")
        for region in ("flash", "ram"):
            if region not in memory:
                problem = "is missing, must be an object with address and bytes"
                raise tinyfed.error_at((*tinyfed.path, "memory", region), problem)
    if not (ports / port).is_dir():
        raise tinyfed.wrong("port", "is no folder of firmware/port")


def is_exact(flag: str) -> bool:
    """Whether what is compiled with this flag still gives the bits that IEEE 754 and the engine's order say."""
    name, _, value = flag.partition("=")
    if name == "-mfpu":  # 32-bit NEON takes subnormal numbers for zero
        return not value.startswith(("neon", "crypto-neon"))
    return name not in INEXACT_FLAGS and value in EXACT_VALUES.get(name, (value,))


def _compiler(table: Table) -> Compiler:
    read = table.read(COMPILER)
    del read["libraries"]  # read by the build of the firmware
    for key in ("flags", "link_flags"):
        for flag in read[key]:
            if not is_exact(flag):
                problem = f"must not hold {flag}: a device's results would differ from every other's"
                raise table.error(key, problem)
    return Compiler(**read)


def _emulator(table: Table) -> Emulator:
    read = table.read(fields_of(Emulator))
    for key, words in read.items():
        for template in words if isinstance(words, tuple) else ():
            try:
                template.format(**dict.fromkeys(PLACEHOLDERS, ""))
            except (KeyError, IndexError, ValueError) as error:
                problem = f"has {quote(template)}; the words in braces are {', '.join(PLACEHOLDERS)}"
                raise table.error(key, problem) from error
    return Emulator(**read)
