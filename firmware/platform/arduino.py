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

name = env["PIOENV"]  # not PlatformIO's name of the board: two of ours may be one there
boards = Path(env.GetProjectConfig().get("platformio", "boards_dir"))
manifest = json.loads((boards / f"{name}.json").read_text(encoding="utf-8"))
compiler = tinyfed_build.compiler_version(manifest, env["ENV"]["PATH"])  # PlatformIO's own comes first there
packages = [f"{item.metadata.name} {item.metadata.version}" for item in env.PioPlatform().get_installed_packages()]
build_id = tinyfed_build.build_id(firmware, name, manifest, "\n".join([compiler, *sorted(packages)]))
defines = [(key, shlex.quote(value)) for key, value in tinyfed_build.defines(name, manifest).items()]
if tinyfed_build.with_int8(manifest, None, False):
    env.Append(CPPDEFINES=["TINYFED_INT8"])
if tinyfed_build.with_float(manifest, None, False):
    env.Append(CPPDEFINES=["TINYFED_FLOAT"])
env.Replace(SRC_FILTER=[f"+<{part}/>" for part in tinyfed_build.image_parts(manifest)])
env.Append(
    CPPPATH=[str(firmware / part) for part in tinyfed_build.may_include("app")],
    CPPDEFINES=[*defines, ("TINYFED_BUILD_ID", f"0x{build_id}u"), ("TINYFED_MAIN", "tinyfed_main")],
    CCFLAGS=[*tinyfed_build.ARITHMETIC],
)


def compile_source(env, node):  # type: ignore[no-untyped-def]
    """Each source of ours with its own optimization, behind the framework's -Os: the last one counts."""
    path = Path(node.srcnode().get_abspath())
    if firmware not in path.parents:
        return node
    own = tinyfed_build.optimization(manifest, path.relative_to(firmware).as_posix())
    return env.Object(node, CCFLAGS=[*env["CCFLAGS"], own])


env.AddBuildMiddleware(compile_source)
