"""firmware/app by itself, in C."""

import subprocess
from pathlib import Path

from conftest import FIRMWARE, RECIPE, ROOT, require_tools

STRICT = ["-std=c99", "-g", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffp-contract=off"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def test_a_power_cut_at_every_write_leaves_the_old_or_the_new_model(tmp_path: Path) -> None:
    require_tools("gcc")
    program = tmp_path / "test_store"
    includes = RECIPE.include_flags(FIRMWARE, "app")
    sources = [ROOT / "tests/c/app/test_store.c", FIRMWARE / "app/store.c", *RECIPE.sources(FIRMWARE, "base")]
    subprocess.run(["gcc", *STRICT, *SANITIZE, *includes, *sources, "-o", program], check=True, timeout=60)
    done = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
