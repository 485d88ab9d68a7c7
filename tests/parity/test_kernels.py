"""Every fast body gives the bits of the plain one: x86-64 (SSE2, AVX2, what is picked), aarch64 and a Cortex-M4."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from conftest import FIRMWARE, RECIPE, ROOT, require, require_tools

HERE = Path(__file__).parent
FLAGS = ["-std=gnu99", "-Wall", "-Wextra", "-Werror", *RECIPE.ARITHMETIC, f"-I{HERE}"]
CORTEX_M4 = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
CORTEX_M4_LINK = ["-nostartfiles", "-T", str(HERE / "cortex_m4.ld"), str(HERE / "cortex_m4.c")]
HOST = str(HERE / "host.c")
CASES = 900
SEED = 41

TARGETS = {
    "x86-64 SSE2": ("gcc", ["-O2", "-DBODY=sse2", HOST]),
    "x86-64 AVX2": ("gcc", ["-O3", "-DBODY=avx2", HOST]),
    "x86-64 AVX2 clang": ("clang", ["-O2", "-DBODY=avx2", HOST]),
    "x86-64 as picked, sanitized": ("gcc", ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", HOST]),
    "aarch64": ("aarch64-linux-gnu-gcc", ["-O2", "-static", HOST]),
    "cortex-m4 -O2": ("arm-none-eabi-gcc", [*CORTEX_M4, "-O2", *CORTEX_M4_LINK]),
    "cortex-m4 dense only": ("arm-none-eabi-gcc", [*CORTEX_M4, "-O2", "-DTINYFED_DENSE_ONLY", *CORTEX_M4_LINK]),
    "cortex-m4 -Os": ("arm-none-eabi-gcc", [*CORTEX_M4, "-Os", *CORTEX_M4_LINK]),
}


def build(target: str, out: Path, firmware: Path = FIRMWARE) -> Path:
    compiler, flags = TARGETS[target]
    require_tools(compiler)
    code = [*RECIPE.include_flags(firmware, "core"), *RECIPE.sources(firmware, "base", "core")]
    test = ROOT / "tests" / "c" / "kernels" / "test_kernels.c"
    command = [compiler, *FLAGS, *flags, str(test), *map(str, code), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return out


def run(target: str, program: Path, blob: Path) -> subprocess.CompletedProcess[str]:
    blob.write_bytes(struct.pack("<II", SEED, CASES))
    command = [str(program), str(blob)]
    if target == "aarch64":
        require_tools("qemu-aarch64")
        command = ["qemu-aarch64", *command]
    if target.startswith("cortex-m4"):
        require_tools("qemu-system-arm")
        command = [
            *("qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none"),
            *("-semihosting-config", "enable=on,target=native", "-kernel", str(program)),
            *("-device", f"loader,file={blob},addr=0x21000000,force-raw=on"),
        ]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_fast_bodies_have_the_bits_of_the_plain_ones(target: str, tmp_path: Path) -> None:
    if "AVX2" in target:
        require("avx2" in Path("/proc/cpuinfo").read_text(), "this processor has no AVX2")
    done = run(target, build(target, tmp_path / "kernels"), tmp_path / "blob")
    assert (done.stdout + done.stderr).splitlines() == ["compared"], f"seed {SEED}"
    assert done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "file", "right", "wrong"),
    [
        ("x86-64 AVX2", "kernels/vector/dense.inc", "vec_add(w2, vec_mul(s2, g))", "vec_sub(w2, vec_mul(s2, g))"),
        (
            "cortex-m4 -O2",
            "kernels/cortexm4/lanes.h",
            "0, 2, 1, 3, 4, 6, 5, 7",
            "0, 2, 1, 3, 4, 6, 7, 5",
        ),  # order of the sum
    ],
)
def test_a_wrong_body_is_found(target: str, file: str, right: str, wrong: str, tmp_path: Path) -> None:
    for part in ("base", "core"):
        shutil.copytree(FIRMWARE / part, tmp_path / part)
    damaged = tmp_path / "core" / file
    text = damaged.read_text()
    assert right in text
    damaged.write_text(text.replace(right, wrong))
    done = run(target, build(target, tmp_path / "kernels", tmp_path), tmp_path / "blob")
    assert "differs" in done.stdout + done.stderr
    assert done.returncode != 0
