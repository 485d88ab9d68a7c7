"""What goes into an image, and the hash of it. Read by PlatformIO's builder and by tinyfed_host.firmware.build.

Standard library only: PlatformIO runs it with its own interpreter."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

# Each folder sees its own headers and these: the layer rule of docs/architecture.md.
INCLUDES = {
    "core": ("core",),
    "core/int8": ("core",),
    # Fast bodies: each file is empty but for its own machine.
    "core/cortexm4": (),
    "core/neon": (),
    "core/x86": (),
    "wire": ("wire",),
    "visit": ("visit", "core"),
    "app": ("app", "core", "wire", "visit", "port"),
}
# Promise 2: contraction off, no fast-math. -O2 where the arithmetic is; what waits for it is built for size (see
# `optimization`). Sections, so that the linker drops what is not used. Relative names in debug information and
# messages: an image does not depend on where its sources lie.
C_FLAGS = [
    *("-std=gnu99", "-O2", "-g", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections"),
    *("-Wall", "-Wextra", "-Wconversion", "-Werror"),
]


def optimization(folder: str) -> str:
    """Speed for the engine, size for everything that waits for it."""
    return "-O2" if folder.startswith("core") else "-Os"


def port_folders(manifest: dict[str, Any]) -> list[str]:
    """The folders under port/ that the board compiles: what ports share, then its own."""
    board = manifest["tinyfed"]
    return [f"port/{name}" for name in (*board.get("shared", []), board["port"])]


def folders(manifest: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Folder with sources -> folders its includes may come from, relative to firmware/."""
    return INCLUDES | {name: (name, "port") for name in port_folders(manifest)}


def number(value: int | str) -> int:
    """JSON has no hexadecimal numbers: addresses may be strings such as "0x20000000"."""
    return value if isinstance(value, int) else int(value, 0)


def defines(name: str, manifest: dict[str, Any]) -> dict[str, str]:
    """Preprocessor names the board's manifest gives to its port and to app/main.c."""
    board = manifest["tinyfed"]
    result = {
        "TINYFED_BOARD": f'"{name}"',
        "TINYFED_ARENA_BYTES": f"{number(board['arena_bytes'])}u",
        "TINYFED_BAUD": f"{number(board['serial']['baud'])}u",
    }
    if "record_bytes" in board:
        result["TINYFED_SENSOR"] = "1"
        result["TINYFED_RECORD_STORE_BYTES"] = f"{number(board['record_bytes'])}u"
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


def compiler_version(manifest: dict[str, Any]) -> str:
    """Full version of the board's compiler. Raises FileNotFoundError when it is not installed."""
    command = [manifest["tinyfed"]["compiler"]["prefix"] + "gcc", "-dumpmachine", "-dumpfullversion"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def build_id(
    firmware: Path, name: str, manifest: dict[str, Any], model: bytes | None = None, dense_only: bool = False
) -> str:
    """16 hexadecimal digits of a SHA-256 over the sources, the manifest, the flags, the compiler and the model.
    `dense_only` leaves the layers beside dense ones away."""
    digest = hashlib.sha256()

    def add(label: str, content: bytes) -> None:
        digest.update(f"{label}\0{len(content)}\0".encode())
        digest.update(content)

    for folder in sorted({*folders(manifest), "port"}):
        for path in sorted((firmware / folder).iterdir()):
            if path.suffix in (".c", ".h", ".ld", ".cpp"):
                add(f"{folder}/{path.name}", path.read_bytes())
    for recipe in ("tinyfed_build.py", "builder/main.py"):
        add(recipe, (firmware / "platform" / recipe).read_bytes())
    add("board", name.encode())
    add("manifest", json.dumps(manifest, sort_keys=True).encode())
    add("compiler", compiler_version(manifest).encode())
    add("model", model or b"")
    add("layers", b"dense" if dense_only else b"all")
    return digest.hexdigest()[:16]


def model_hash(image: bytes) -> int:
    """FNV-1a, 64 bit, as tinyfed_hash64 in firmware/core."""
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
