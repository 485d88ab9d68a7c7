"""Before PlatformIO builds with the Arduino framework: what builder/main.py does for the other boards."""

import json
import shlex
import sys
from pathlib import Path

Import("env")  # type: ignore[name-defined]  # noqa: F821

env = env  # type: ignore[name-defined]  # noqa: F821
firmware = Path(env.subst("$PROJECT_DIR"))
sys.path.insert(0, str(firmware / "platform"))
import tinyfed_build  # noqa: E402

board = env.BoardConfig()
manifest = json.loads(Path(board.manifest_path).read_text(encoding="utf-8"))
build_id = tinyfed_build.build_id(firmware, board.id, manifest)
defines = [(key, shlex.quote(value)) for key, value in tinyfed_build.defines(board.id, manifest).items()]
if tinyfed_build.with_int8(manifest, None, False):
    env.Append(CPPDEFINES=["TINYFED_INT8"])
env.Replace(SRC_FILTER=[f"+<{part}/>" for part in tinyfed_build.image_parts(manifest)])
env.Append(
    CPPPATH=[str(firmware / part) for part in tinyfed_build.may_include("app")],
    CPPDEFINES=[*defines, ("TINYFED_BUILD_ID", f"0x{build_id}u"), ("TINYFED_MAIN", "tinyfed_main")],
    CCFLAGS=[*tinyfed_build.ARITHMETIC],
)
