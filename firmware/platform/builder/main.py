"""How PlatformIO builds a tinyfed image: each part compiled with only the includes it may see."""

import json
import os
import shlex
import sys
from pathlib import Path

from SCons.Script import AlwaysBuild, Default, DefaultEnvironment

env = DefaultEnvironment()
firmware = Path(env.subst("$PROJECT_DIR"))
sys.path.insert(0, str(firmware / "platform"))
import tinyfed_build  # noqa: E402

board = env.BoardConfig()
manifest = json.loads(Path(board.manifest_path).read_text(encoding="utf-8"))  # as it is: PlatformIO adds to its own
name = board.id
compiler = manifest["tinyfed"]["compiler"]
prefix = compiler["prefix"]
model_path = os.environ.get("TINYFED_MODEL")
model = Path(model_path).read_bytes() if model_path else None
dense_only = os.environ.get("TINYFED_DENSE_ONLY") == "1"
build_id = tinyfed_build.build_id(firmware, name, manifest, tinyfed_build.compiler_version(manifest), model, dense_only)
output = Path(env.subst("$BUILD_DIR"))
# The compiler is called through a shell.
names = tinyfed_build.defines(name, manifest)
if dense_only:  # the smallest image: no sensor either
    names["TINYFED_RECORD_STORE_BYTES"] = "0u"
defines = [(key, shlex.quote(value)) for key, value in names.items()]

env.Replace(
    CC=prefix + "gcc",
    AR=prefix + "gcc-ar",
    RANLIB=prefix + "gcc-ranlib",
    LINK=prefix + "gcc",
    OBJCOPY=prefix + "objcopy",
    SIZETOOL=prefix + "size",
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES",
    SIZEPROGREGEXP=r"^(?:\.text|\.data|\.rodata|\.ARM\.exidx)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.bss|\.stack|\.arena)\s+(\d+).*",
    CPPPATH=[],
    CPPDEFINES=[*defines, ("TINYFED_BUILD_ID", f"0x{build_id}u")],
    CCFLAGS=[
        *compiler["flags"],
        *tinyfed_build.C_FLAGS,
        f"-ffile-prefix-map={firmware}=firmware",
        f"-ffile-prefix-map={output}=build",
        f"-fdebug-prefix-map={Path.cwd()}=.",
    ],
    LINKFLAGS=[*compiler["flags"], *tinyfed_build.link_flags(firmware, manifest)],
    LIBS=compiler.get("libraries", []),
)
if tinyfed_build.with_int8(manifest, model, dense_only):
    env.Append(CPPDEFINES=["TINYFED_INT8"])
    env.Append(CPPDEFINES=[("TINYFED_KINDS", tinyfed_build.kinds_define(tinyfed_build.operator_kinds(model)))])
if tinyfed_build.with_float(manifest, model, dense_only):
    env.Append(CPPDEFINES=["TINYFED_FLOAT"])
if dense_only:
    env.Append(CPPDEFINES=["TINYFED_DENSE_ONLY"])
if model is not None:
    env.Append(CPPDEFINES=[("TINYFED_MODEL_BYTES", f"{len(model)}u")])
    env.Append(CPPDEFINES=[("TINYFED_MODEL_HASH", f"0x{tinyfed_build.model_hash(model):016x}u")])

objects = []
for part in tinyfed_build.image_parts(manifest):
    layer = env.Clone()
    layer.Append(CPPPATH=[str(firmware / include) for include in tinyfed_build.may_include(part)])
    for source in tinyfed_build.sources(firmware, part):
        target = (output / "objects" / source.relative_to(firmware)).with_suffix(".o")
        own = tinyfed_build.optimization(manifest, source.relative_to(firmware).as_posix(), dense_only)
        objects.append(layer.Object(str(target), str(source), CCFLAGS=[*layer["CCFLAGS"], own]))
if model is not None:
    embedded = output / "embedded_model.c"
    embedded.write_text(tinyfed_build.model_source(model))
    objects.append(env.Object(str(output / "objects" / "embedded_model.o"), str(embedded)))

program = env.Program(env.subst("$PROGPATH"), objects)
env.Replace(PIOMAINPROG=program)
# A change of flags that SCons does not see in the objects (linker script, memory map) still links anew.
env.Depends(program, env.Value(build_id))
if script := manifest["tinyfed"].get("linker_script"):
    env.Depends(program, str(firmware / "port" / script))
    binary = env.Command(
        str(output / "firmware.bin"),
        program,
        env.VerboseAction("$OBJCOPY -O binary $SOURCE $TARGET", "Writing $TARGET"),
    )
    Default(binary)
AlwaysBuild(env.Alias("checkprogsize", program, env.VerboseAction(env.CheckUploadSize, "Checking size $PIOMAINPROG")))
upload = env.Alias("upload", program, env.VerboseAction("tinyfed firmware flash --board " + name, "Flashing"))
AlwaysBuild(upload)
Default(program)
