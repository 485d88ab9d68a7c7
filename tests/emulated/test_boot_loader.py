"""A boot loader's jump is no reset: the image starts from whatever it left in the processor."""

import json
import subprocess
from pathlib import Path

import pytest
from conftest import require_tools
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import start
from tinyfed_host.transport.socket import connect

from tinyfed.boards import read_board
from tinyfed.model import mlp
from tinyfed.model.image import encode
from tinyfed.model.initialize import initialize
from tinyfed.wire.order import Order

ID = "a1b2c3d4e5f60718293a4b5c"
# It runs on the process stack, in the middle of the program's RAM. USART1 (37) and a timer (30) are enabled, the timer
# and PendSV pending, SysTick runs; USART1 and SysTick have a priority that BASEPRI holds back, as PRIMASK does all.
LOADER = """
    .syntax unified
    .thumb
    .global loader
    .thumb_func
loader:
    cpsid i
    ldr r0, =0xE000E100
    ldr r1, =0x40000000
    str r1, [r0]
    str r1, [r0, #0x100]
    movs r1, #0x20
    str r1, [r0, #4]
    ldr r2, =0xE000E425
    strb r1, [r2]
    ldr r2, =0xE000ED23
    strb r1, [r2]
    ldr r2, =0xE000E010
    movs r3, #100
    str r3, [r2, #4]
    movs r3, #7
    str r3, [r2]
    ldr r2, =0xE000ED04
    ldr r3, =0x10000000
    str r3, [r2]
    ldr r2, =0xE000ED08
    ldr r3, =0x1FFF0000
    str r3, [r2]
    movs r1, #0x10
    msr basepri, r1
    ldr r0, =0x20002000
    msr psp, r0
    movs r0, #2
    msr control, r0
    isb
    ldr r0, =0x08000000
    ldr r0, [r0, #4]
    bx r0
"""


@pytest.mark.slow
def test_it_starts_from_what_a_boot_loader_left(tmp_path: Path) -> None:
    require_tools("arm-none-eabi-gcc", "qemu-system-arm")
    (tmp_path / "loader.s").write_text(LOADER)
    link = ["-nostdlib", "-Wl,-Ttext=0x08080000", "-Wl,-e,loader"]
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", *link, "loader.s", "-o", "loader.elf"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    manifest = json.loads(read_board("netduinoplus2").path.read_text())
    manifest["tinyfed"]["emulator"]["command"] += ["-device", f"loader,file={tmp_path / 'loader.elf'},cpu-num=0"]
    (tmp_path / "loaded.json").write_text(json.dumps(manifest))
    with start(read_board("loaded", tmp_path), ID) as emulated:
        device = RemoteDevice(connect(emulated.port))
        spec = mlp(1, (32, 32), 1, "tanh")
        device.load(encode(spec, initialize(spec, 1)))
        order = Order("sine", ways=1, shots=8, queries=4, seed=1, learning_rate=0.02, checkpoints=(0, 8))
        result = device.visit(None, order, want_weights=False).result
        device.close()
    assert result.samples == 8
    assert 0 < result.stack_bytes < 4096, "it runs on the stack that is painted"
