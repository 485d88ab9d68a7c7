"""What goes into an image, and the hash of it. Read by PlatformIO's builder and by tinyfed_host.firmware.build.

Standard library only: PlatformIO runs it with its own interpreter."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# The parts of the firmware in their order, each with the parts below it whose headers it may include: the layer rule of
# docs/architecture.md.
PARTS: dict[str, tuple[str, ...]] = {
    "base": (),
    "core": ("base",),
    "wire": ("base",),
    "visit": ("core", "base"),
    "app": ("core", "wire", "visit", "base", "port"),
}
# Promise 2 of docs/architecture.md: contraction off, no fast-math.
ARITHMETIC = ("-ffp-contract=off",)
WARNINGS = ("-Wall", "-Wextra", "-Wconversion")
# Sections, so that the linker drops what is not used.
C_FLAGS = ["-std=gnu99", "-g", *ARITHMETIC, "-ffunction-sections", "-fdata-sections", *WARNINGS, "-Werror"]


def may_include(part: str) -> tuple[str, ...]:
    """The folders a part's includes may come from, its own first."""
    return (part, *PARTS.get(part, ("port", "base")))


def sources(firmware: Path, *parts: str) -> list[Path]:
    """The C files of parts, or of folders inside one. One that is not for the build's machine is empty there."""
    return [path for part in parts for path in sorted((firmware / part).rglob("*.c"))]


def include_flags(firmware: Path, *parts: str) -> list[str]:
    """-I for everything that parts may include."""
    return [f"-I{firmware / name}" for name in dict.fromkeys(name for part in parts for name in may_include(part))]


# Where a microcontroller's engine spends its time, by the beginning of the path. The rest runs once in a while: there
# its size counts. In a build for dense nets alone what calls the kernels is small too.
FAST = ("core/kernels/", "core/int8/", "core/training/backward.c", "core/training/forward.c")
SMALL = (
    "core/int8/open.c",
    "core/int8/conv_general.c",
    "core/int8/bilinear.c",
    "core/kernels/plain/activation.c",
)
SMALL_IF_DENSE_ONLY = ("core/kernels/cortexm4/dense.c", "core/training/backward.c", "core/training/forward.c")


def optimization(manifest: dict[str, Any], source: str, dense_only: bool = False) -> str:
    """The compiler's flag for a source, named relative to firmware/: speed where the arithmetic is, else size."""
    bare = "linker_script" in manifest["tinyfed"] or manifest.get("frameworks")
    if not bare:  # an operating system's memory is large
        return "-O2" if source.startswith("core/") else "-Os"
    small = SMALL + (SMALL_IF_DENSE_ONLY if dense_only else ())
    return "-O2" if source.startswith(FAST) and source not in small else "-Os"


def port_folders(manifest: dict[str, Any]) -> list[str]:
    """The folders under port/ that the board compiles: what ports share, then its own."""
    board = manifest["tinyfed"]
    return [f"port/{name}" for name in (*board.get("shared", []), board["port"])]


def image_parts(manifest: dict[str, Any]) -> list[str]:
    """What the board's image is made of."""
    return [*PARTS, *port_folders(manifest)]


def number(value: int | str) -> int:
    """JSON has no hexadecimal numbers: addresses may be strings such as "0x20000000"."""
    return value if isinstance(value, int) else int(value, 0)


def arm_fp(flags: list[str]) -> int | None:
    """The bits of __ARM_FP that a board's flags say: 4 single precision, 8 double; None where they do not."""
    said = dict(flag.split("=", 1) for flag in flags if "=" in flag)
    fpu = said.get("-mfpu", "auto")
    if said.get("-mfloat-abi") == "soft":
        return 0
    if "-mfloat-abi" not in said or fpu == "auto":
        return None
    return 4 if "-sp-" in fpu else 12


def defines(name: str, manifest: dict[str, Any]) -> dict[str, str]:
    """Preprocessor names the board's manifest gives to its port and to app/main.c."""
    board = manifest["tinyfed"]
    result = {
        "TINYFED_BOARD": f'"{name}"',
        "TINYFED_ARENA_BYTES": f"{number(board['arena_bytes'])}u",
        "TINYFED_BAUD": f"{number(board['serial']['baud'])}u",
        "TINYFED_RECORD_STORE_BYTES": f"{number(board.get('record_bytes', 0))}u",
    }
    if "window" in board:
        window = {"group": 1, **board["window"]}
        for key in ("channels", "rate_hz", "group", "steps", "stride"):
            result[f"TINYFED_WINDOW_{key.upper()}"] = (
                f"{window.get(key, window['steps'])}u"  # windows follow each other
            )
        for key, usual in (("mean", 0.0), ("deviation", 1.0)):
            values = window.get(key, [usual] * window["channels"])
            result[f"TINYFED_WINDOW_{key.upper()}"] = ",".join(float(value).hex() for value in values)
    if (widths := arm_fp(board["compiler"]["flags"])) is not None:
        result["TINYFED_ARM_FP"] = str(widths)
    for region, place in board.get("memory", {}).items():
        result[f"TINYFED_{region.upper()}_ADDRESS"] = f"{number(place['address']):#x}u"
        result[f"TINYFED_{region.upper()}_BYTES"] = f"{number(place['bytes'])}u"
    return result | board.get("defines", {})


def link_flags(firmware: Path, manifest: dict[str, Any]) -> list[str]:
    """Linker options: for a bare board the memory map goes in as symbols of port/NAME/NAME.ld."""
    board = manifest["tinyfed"]
    flags = list(board["compiler"].get("link_flags", []))
    if script := board.get("linker_script"):
        flags += ["-nostartfiles", "-T", str(firmware / "port" / script)]
        for region in ("flash", "ram"):
            place = board["memory"][region]
            flags.append(f"-Wl,--defsym=tinyfed_{region}_address={number(place['address']):#x}")
            flags.append(f"-Wl,--defsym=tinyfed_{region}_bytes={number(place['bytes'])}")
        flags.append(f"-Wl,--defsym=tinyfed_stack_bytes={number(board['stack_bytes'])}")
    return ["-Wl,--gc-sections", "-Wl,--build-id=none", *flags]


def compiler_version(manifest: dict[str, Any], path: str | None = None) -> str:
    """Full version of the board's compiler, the first along `path` (None: PATH). Raises FileNotFoundError when it is
    not installed."""
    command = [manifest["tinyfed"]["compiler"]["prefix"] + "gcc", "-dumpmachine", "-dumpfullversion"]
    environment = os.environ if path is None else {**os.environ, "PATH": path}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def build_id(
    firmware: Path,
    name: str,
    manifest: dict[str, Any],
    compiler: str,
    model: bytes | None = None,
    dense_only: bool = False,
) -> str:
    """16 hexadecimal digits of a SHA-256 over the sources, the manifest, the flags, the compiler and the model.
    `compiler` is the version of the one that compiles, with a framework the packages that the flags come from too.
    `dense_only` leaves the layers beside dense ones away."""
    digest = hashlib.sha256()

    def add(label: str, content: bytes) -> None:
        digest.update(f"{label}\0{len(content)}\0".encode())
        digest.update(content)

    found = {path for part in image_parts(manifest) for path in (firmware / part).rglob("*")}
    for path in sorted({*found, *(firmware / "port").iterdir()}):
        if path.suffix in (".c", ".h", ".inc", ".ld", ".cpp"):
            add(path.relative_to(firmware).as_posix(), path.read_bytes())
    own = ("platform/arduino.py", "platformio.ini") if manifest.get("frameworks") else ("platform/builder/main.py",)
    for recipe in ("platform/tinyfed_build.py", *own):
        add(recipe, (firmware / recipe).read_bytes())
    add("board", name.encode())
    add("manifest", json.dumps(manifest, sort_keys=True).encode())
    add("compiler", compiler.encode())
    add("model", model or b"")
    add("layers", b"dense" if dense_only else b"all")
    return digest.hexdigest()[:16]


def model_hash(image: bytes) -> int:
    """FNV-1a, 64 bit, as tinyfed_hash64: written again for PlatformIO's Python, which has no engine to ask."""
    value = 0xCBF29CE484222325
    for byte in image:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def frozen_bytes(image: bytes) -> int:
    """Of the int8 network in a model image; 0: the firmware needs no int8 kernels."""
    return int.from_bytes(image[48:52], "little") if image[:4] == b"TFM1" else 0


def with_int8(manifest: dict[str, Any], model: bytes | None, dense_only: bool) -> bool:
    """Do the int8 kernels go in? Where the model in it needs them, or the board has room for them."""
    if model is not None and frozen_bytes(model):
        return True
    return bool(manifest["tinyfed"].get("int8")) and not dense_only


# Kinds of operators from here to there are float32 ones (docs/int8.md).
FLOAT_KINDS = range(40, 80)
KIND_BITS = 128


def with_float(manifest: dict[str, Any], model: bytes | None, dense_only: bool) -> bool:
    """Do float32 operators of programs go in? Where the model in it has some; without a model where int8 ones do."""
    if model is None:
        return with_int8(manifest, model, dense_only)
    return frozen_bytes(model) > 0 and not operator_kinds(model).isdisjoint(FLOAT_KINDS)


def operator_kinds(image: bytes | None) -> frozenset[int]:
    """What an image with this model links of the operators of programs: the kinds of its frozen network; without one,
    which may come later, all."""
    if image is None or not frozen_bytes(image):
        return frozenset(range(KIND_BITS))
    return program_kinds(image[64 + 32 * int.from_bytes(image[32:34], "little") :])


def program_kinds(program: bytes) -> frozenset[int]:
    """The kinds of operators in a program (docs/int8.md); 0 where one is in the general form."""
    records = [program[64 * index :][:2] for index in range(1, 1 + int.from_bytes(program[16:18], "little"))]
    general = {0} if any(kind < 4 and flags & 1 for kind, flags in records) else set()
    return frozenset(kind for kind, _ in records) | general


def kinds_define(kinds: frozenset[int]) -> str:
    """The value of TINYFED_KINDS."""
    words = [sum(1 << kind % 64 for kind in kinds if kind // 64 == word) for word in range(KIND_BITS // 64)]
    return ",".join(f"0x{word:x}ULL" for word in words)


def model_source(image: bytes) -> str:
    """C source of an embedded model image: byte for byte the .tfm file."""
    lines = [", ".join(f"0x{byte:02x}" for byte in image[at : at + 16]) for at in range(0, len(image), 16)]
    return (
        "#include <stdint.h>\n"
        "extern const uint8_t tinyfed_embedded_model[];\n"
        "const uint8_t tinyfed_embedded_model[] __attribute__((aligned(16))) = {\n    "
        + ",\n    ".join(lines)
        + "\n};\n"
    )


def extension_lists(firmware: Path) -> dict[str, list[str]]:
    """What CMakeLists.txt builds the Python extensions from: the engine, and the whole device without a port."""
    device = [path for path in sources(firmware, "wire", "visit", "app", "port/played") if path.name != "main.c"]
    return {
        "ENGINE_SOURCES": [str(path) for path in sources(firmware, "base", "core")],
        "ENGINE_FLAGS": [*ARITHMETIC, "-Wall", "-Wextra"],
        "DEVICE_SOURCES": [str(path) for path in device],
        "DEVICE_INCLUDES": [str(firmware / name) for name in (*may_include("app"), "port/played")],
    }


if __name__ == "__main__":
    print(";".join(extension_lists(Path(__file__).resolve().parent.parent)[sys.argv[1]]))
