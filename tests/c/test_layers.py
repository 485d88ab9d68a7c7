"""The layer rule of docs/architecture.md, by the graph of includes and by the compiler.

Each part of firmware/ compiles with only the includes it may see, without a warning, and what it leaves undefined is on
a list.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from conftest import FIRMWARE, RECIPE, ROOT, require_tools

M4 = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
COMPILERS = {"gcc": ("gcc", []), "m4": ("arm-none-eabi-gcc", M4), "aarch64": ("aarch64-linux-gnu-gcc", [])}
FLAGS = ["-std=c99", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fno-stack-protector"]

MEMORY = {"memcpy", "memset", "memcmp", "memmove"}
# What GCC itself calls for 64-bit arithmetic and float conversions on a Cortex-M4 (run-time ABI for Arm), and
# what it reads to know an x86-64 processor (__builtin_cpu_supports).
RUN_TIME = re.compile(r"__aeabi_\w+|_GLOBAL_OFFSET_TABLE_|__cpu_model")
MAIN = ['-DTINYFED_BOARD="test"', "-DTINYFED_BUILD_ID=0x1u", "-DTINYFED_RECORD_STORE_BYTES=16384u"]


def compile_part(part: str, compiler: str, output: Path, *extra: str) -> list[Path]:
    program, flags = COMPILERS[compiler]
    require_tools(program)
    objects = []
    for source in RECIPE.sources(FIRMWARE, part):
        target = output / ("_".join(source.relative_to(FIRMWARE).parts) + ".o")
        # -nostdinc would take stdint.h away too; what matters is that no other folder is found.
        command = [program, *flags, *FLAGS, *extra, "-c", str(source), "-o", str(target)]
        command += RECIPE.include_flags(FIRMWARE, part)
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{source.relative_to(ROOT)} with {compiler}:\n{done.stderr}"
        objects.append(target)
    assert objects, f"firmware/{part} has no sources"
    return objects


def symbols(objects: list[Path], compiler: str, *options: str) -> set[str]:
    nm = COMPILERS[compiler][0].removesuffix("gcc") + "nm"
    done = subprocess.run([nm, *options, *map(str, objects)], capture_output=True, text=True, check=True)
    return {line.split()[-1] for line in done.stdout.splitlines() if line.strip() and not line.endswith(":")}


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], list[Path]]:
    """The objects of a part, compiled once with only the includes it may see."""

    @cache
    def compile_once(part: str, compiler: str) -> list[Path]:
        output = tmp_path_factory.mktemp(f"{part}-{compiler}")
        return compile_part(part, compiler, output, *(MAIN if part == "app" else []))

    return compile_once


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("part", RECIPE.PARTS)
def test_a_part_sees_only_its_own_headers_and_those_below(
    part: str, compiler: str, layer: Callable[[str, str], list[Path]]
) -> None:
    objects = layer(part, compiler)
    defined = symbols(objects, compiler, "--defined-only", "--extern-only")
    for other in RECIPE.PARTS[part]:
        if other == "port":
            header = (FIRMWARE / "port" / "tinyfed_port.h").read_text()
            defined |= set(re.findall(r"\b(tinyfed_port_\w+)\(", header))
            continue
        defined |= symbols(layer(other, compiler), compiler, "--defined-only", "--extern-only")
    wanted = symbols(objects, compiler, "--undefined-only")
    surplus = {name for name in wanted - defined - MEMORY if not RUN_TIME.fullmatch(name)}
    assert not surplus, f"firmware/{part} calls {sorted(surplus)}"
    heap = wanted & {"malloc", "calloc", "realloc", "free"}
    assert not heap, f"firmware/{part} uses the heap: {sorted(heap)}"


def test_the_rule_would_notice_a_foreign_include(tmp_path: Path) -> None:
    """The check above can fail: core does not see wire."""
    require_tools("gcc")
    source = tmp_path / "stray.c"
    source.write_text('#include "tinyfed_wire.h"\n')
    command = ["gcc", *FLAGS, "-c", str(source), "-o", str(tmp_path / "stray.o")]
    command += RECIPE.include_flags(FIRMWARE, "core")
    assert subprocess.run(command, capture_output=True).returncode != 0


INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)
SHARED_BY_PORTS = ("port/cortexm", "port/played", "port/stm32")


def folders_of(source: Path, firmware: Path) -> tuple[str, ...]:
    """Where the includes of a file may come from, relative to firmware/. The bench's images stand beside app."""
    part = part_of(source, firmware)
    if part == "bench":
        return ("core", "base", "port/cortexm", part)
    return (*RECIPE.may_include(part), *(SHARED_BY_PORTS if part.startswith("port/") else ()))


def part_of(file: Path, firmware: Path) -> str:
    """The part of the firmware a file belongs to; each port's folder is one."""
    parts = file.relative_to(firmware).parts
    return "/".join(parts[:2]) if parts[0] == "port" and len(parts) > 2 else parts[0]


def include_graph(firmware: Path) -> dict[Path, set[Path]]:
    """A file with its header, named without the suffix -> those it includes. An include that no rule allows fails."""
    graph: dict[Path, set[Path]] = {}
    for source in sorted(path for path in firmware.rglob("*") if path.suffix in (".c", ".h", ".inc", ".cpp")):
        for name in INCLUDE.findall(source.read_text()):
            allowed = [firmware / folder for folder in folders_of(source, firmware)]
            found = next(
                (path for top in (source.parent, *allowed) if (path := (top / name).resolve()).is_file()), None
            )
            assert found is not None, f"{source.relative_to(firmware)} includes {name}, which is not below it"
            assert part_of(found, firmware) in folders_of(source, firmware), f"{source.relative_to(firmware)}: {name}"
            if found.with_suffix("") != source.with_suffix(""):
                graph.setdefault(source.with_suffix(""), set()).add(found.with_suffix(""))
    return graph


def test_no_file_includes_one_that_includes_it() -> None:
    graph = include_graph(FIRMWARE.resolve())
    assert len(graph) > 80
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize(
    ("file", "line", "error"),
    [
        ("core/model/image.h", "model/open.h", CycleError),  # open.c includes image.h
        ("base/tinyfed_bytes.h", "tinyfed_core.h", AssertionError),
        ("visit/order.c", "tinyfed_wire.h", AssertionError),
        ("port/mps2/port.c", "../nrf52/uarte.h", AssertionError),
        ("port/tinyfed_port.h", "../app/store.h", AssertionError),
    ],
)
def test_the_graph_finds_what_is_wrong(file: str, line: str, error: type[Exception], tmp_path: Path) -> None:
    firmware = tmp_path / "firmware"
    shutil.copytree(FIRMWARE, firmware, ignore=shutil.ignore_patterns(".pio"))
    (firmware / "core/model/open.h").touch()
    (firmware / file).write_text(f'#include "{line}"\n' + (firmware / file).read_text())
    with pytest.raises(error):
        TopologicalSorter(include_graph(firmware)).prepare()


def test_no_file_sets_its_own_optimization() -> None:
    """The recipe says it: a pragma in a header would reach whoever includes it."""
    for source in FIRMWARE.rglob("*.[chi]*"):
        if source.suffix in (".c", ".h", ".inc"):
            assert "GCC optimize" not in source.read_text(), source


def test_the_template_compiles_and_defines_the_whole_port(tmp_path: Path) -> None:
    header = (FIRMWARE / "port" / "tinyfed_port.h").read_text()
    promised = set(re.findall(r"\b(tinyfed_port_\w+)\(", header))
    assert len(promised) >= 10
    for compiler in COMPILERS:
        (tmp_path / compiler).mkdir()
        objects = compile_part("port/template", compiler, tmp_path / compiler, "-DTINYFED_ARENA_BYTES=65536u")
        assert symbols(objects, compiler, "--defined-only", "--extern-only") == promised
