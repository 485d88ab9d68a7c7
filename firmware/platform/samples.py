"""After PlatformIO knows how to link with the Arduino framework: samples go behind the program into the same upload.
The boot loader may erase all that is not in it."""

import json
import os
import shlex
from pathlib import Path

Import("env")  # type: ignore[name-defined]  # noqa: F821

env = env  # type: ignore[name-defined]  # noqa: F821
shard = os.environ.get("TINYFED_SHARD", "")
program = "$BUILD_DIR/${PROGNAME}.elf"
env.Depends(program, env.Value(Path(shard).read_bytes() if shard else b""))
if shard:
    boards = Path(env.GetProjectConfig().get("platformio", "boards_dir"))
    manifest = json.loads((boards / f"{env['PIOENV']}.json").read_text(encoding="utf-8"))
    address = manifest["tinyfed"]["memory"]["data_flash"]["address"]
    section = f"--add-section .samples={shlex.quote(shard)} --change-section-address .samples={address}"
    flags = "--set-section-flags .samples=alloc,load,contents,readonly,data"
    env.AddPostAction(program, f"$OBJCOPY {section} {flags} $TARGET")
