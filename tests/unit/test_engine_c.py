"""The C tests of firmware/core, built here under AddressSanitizer and UndefinedBehaviorSanitizer."""

import subprocess
from pathlib import Path

import pytest
from conftest import FIRMWARE, RECIPE, ROOT, require_tools

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffp-contract=off"]
SOURCES = RECIPE.sources(FIRMWARE, "base", "core")
INCLUDES = RECIPE.include_flags(FIRMWARE, "core")
CORTEX_M4 = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]


def run(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_golden_images_and_damaged_ones_under_sanitizers(tmp_path):
    require_tools("gcc")
    program = tmp_path / "test_core"
    sanitizers = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = [ROOT / "tests/c/core/test_core.c", *SOURCES]
    every_layer = "-DTINYFED_INT8"
    run("gcc", "-std=c11", *STRICT[1:5], *sanitizers, every_layer, *INCLUDES, *sources, "-o", program)
    assert "golden images" in run(program, ROOT / "tests/golden/model-image.txt")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", ["-O2"]),
        ("gcc", ["-Os"]),
        ("clang", ["-O2"]),
        ("arm-none-eabi-gcc", [*CORTEX_M4, "-O2"]),
        ("arm-none-eabi-gcc", [*CORTEX_M4, "-Os"]),
        ("aarch64-linux-gnu-gcc", ["-O2"]),
    ],
)
def test_core_compiles_alone_without_a_warning(compiler, flags, tmp_path):
    require_tools(compiler)
    for source in SOURCES:
        run(compiler, *STRICT, *flags, *INCLUDES, "-c", source, "-o", tmp_path / "core.o")


@pytest.mark.slow
def test_core_needs_only_string_h(tmp_path):
    require_tools("arm-none-eabi-gcc", "arm-none-eabi-nm")
    objects = []
    for source in SOURCES:
        objects.append(tmp_path / ("_".join(source.relative_to(FIRMWARE).parts) + ".o"))
        run("arm-none-eabi-gcc", *STRICT, *CORTEX_M4, *INCLUDES, "-O2", "-c", source, "-o", objects[-1])
    run("arm-none-eabi-ld", "-r", *objects, "-o", tmp_path / "all.o")
    undefined = {line.split()[-1] for line in run("arm-none-eabi-nm", "-u", tmp_path / "all.o").splitlines()}
    allowed = {"memcpy", "memset", "memmove", "memcmp", "__aeabi_uldivmod", "__aeabi_lmul"}
    assert undefined <= allowed, f"core calls {sorted(undefined - allowed)}"
