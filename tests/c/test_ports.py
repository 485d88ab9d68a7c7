"""What of the ports can be tested on this computer: clock tree, modelled peripherals, the Linux port's options."""

import json
import os
import pty
import select
import socket
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import RECIPE, ROOT, require_tools
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation import memory_line as ml
from tinyfed_host.emulation import qemu
from tinyfed_host.firmware import build
from tinyfed_host.transport.socket import connect

from tinyfed.boards import read_board
from tinyfed.errors import DeviceError
from tinyfed.wire.frames import Frame, encode
from tinyfed.wire.messages import MessageType

PORT = ROOT / "firmware" / "port"
STRICT = ["-std=c99", "-g", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
FLASH_MODELS = [
    "-DTINYFED_NRF52_MODEL",
    "-DTINYFED_BAUD=1000000u",
    "-DTINYFED_RESET_PIN=18u",
]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def run_c_test(source: str, others: list[Path], includes: list[Path], folder: Path, *flags: str) -> None:
    require_tools("gcc")
    program = folder / Path(source).stem
    paths = [str(ROOT / "tests" / "c" / "port" / source), *map(str, others)]
    subprocess.run(
        ["gcc", *STRICT, *SANITIZE, *flags, *(f"-I{path}" for path in includes), *paths, "-o", str(program)],
        check=True,
        timeout=60,
    )
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


STM32_SOURCES = [PORT / "stm32" / "flash.c"]
STM32 = ["-DTINYFED_STM32_MODEL", "-DTINYFED_IDENTITY_ADDRESS=0u", "-Wno-int-to-pointer-cast"]


@pytest.mark.parametrize("crystal_hz", ["8000000u", "12000000u", "25000000u"])
def test_the_stm32_clock_starts_from_whatever_a_boot_loader_left(crystal_hz: str, tmp_path: Path) -> None:
    includes = [PORT, PORT / "stm32f4", PORT.parent / "base"]
    store = ["-DTINYFED_STORE_ADDRESS=0x08040000u", "-DTINYFED_STORE_BYTES=262144u"]
    sources = [*STM32_SOURCES, PORT / "stm32f4" / "clock.c", PORT / "stm32f4" / "flash.c"]
    run_c_test("test_clock.c", sources, includes, tmp_path, *STM32, *store, f"-DTINYFED_HSE_HZ={crystal_hz}")


@pytest.mark.parametrize("address", ["0x08080000u", "0x080D0000u"])
def test_the_stm32l4_clock_and_flash_hold_to_their_controllers(address: str, tmp_path: Path) -> None:
    includes = [PORT, PORT / "stm32l4", PORT.parent / "base"]
    store = [f"-DTINYFED_STORE_ADDRESS={address}", "-DTINYFED_STORE_BYTES=196608u"]
    sources = [*STM32_SOURCES, PORT / "stm32l4" / "clock.c", PORT / "stm32l4" / "flash.c"]
    run_c_test("test_stm32l4.c", sources, includes, tmp_path, *STM32, *store)


@pytest.mark.parametrize("clear", ["0u", "CLEAR"])
def test_the_stm32_line_on_a_modelled_usart(clear: str, tmp_path: Path) -> None:
    sources, includes = [PORT / "stm32" / "usart.c"], [PORT, PORT / "stm32"]
    run_c_test("test_usart.c", sources, includes, tmp_path, *STM32, f"-DTINYFED_TEST_CLEAR={clear}")


@pytest.mark.parametrize("brown_out", ["BROWN_OUT", "0u"])
def test_the_stm32_watchdog_and_the_causes_of_a_reset(brown_out: str, tmp_path: Path) -> None:
    sources, includes = [PORT / "stm32" / "watchdog.c"], [PORT, PORT / "stm32"]
    flag = f"-DTINYFED_TEST_BROWN_OUT={brown_out}"
    run_c_test("test_stm32_watchdog.c", sources, includes, tmp_path, *STM32, flag)


def test_the_model_notices_an_overrun_that_is_not_seen_to(tmp_path: Path) -> None:
    source = (PORT / "stm32" / "usart.c").read_text()
    broken = source.replace("(status & (RXNE | ORE)) == 0u", "(status & RXNE) == 0u")
    assert broken != source
    (tmp_path / "usart.c").write_text(broken)
    with pytest.raises(AssertionError, match="an interrupt that never ends"):
        run_c_test(
            *("test_usart.c", [tmp_path / "usart.c"], [PORT, PORT / "stm32"], tmp_path),
            *(*STM32, "-DTINYFED_TEST_CLEAR=0u"),
        )


@pytest.mark.parametrize(
    ("board", "source", "region", "address", "size", "told"),
    [
        ("stm32f405", "stm32f4/flash.c", "store", 0x08041000, 262144, "whole sectors of 128 KB, from 0x08020000"),
        ("stm32f405", "stm32f4/flash.c", "store", 0x08040000, 131072, "whole sectors of 128 KB"),
        ("stm32f405", "stm32f4/flash.c", "store", 0x080E0000, 262144, "to 0x080fffff"),
        ("stm32f405", "stm32f4/flash.c", "store", 0x08000000, 262144, "from 0x08020000"),
        ("stm32f405", "stm32/port.c", "data_flash", 0x08080000, 524289, "memory.data_flash in the manifest"),
        ("stm32f405", "stm32/port.c", "flash", 0x07FFF000, 4096, "memory.flash and"),
        ("b_l475e_iot01a", "stm32l4/flash.c", "store", 0x08080400, 131072, "whole pages of 2 KB"),
        ("b_l475e_iot01a", "stm32l4/flash.c", "store", 0x08040000, 131072, "in the second bank"),
        ("b_l475e_iot01a", "stm32l4/flash.c", "store", 0x080F0000, 131072, "to 0x080fffff"),
        ("nrf52840dk", "nrf52/port.c", "store", 0x00040800, 131072, "whole pages of 4 KB"),
        ("nrf52840dk", "nrf52/port.c", "store", 0x000F0000, 131072, "below 0x00100000"),
        ("nrf52840dk", "nrf52/port.c", "data_flash", 0x00080000, 524289, "memory.data_flash in the manifest"),
        ("nrf52840dk", "nrf52/port.c", "flash", 0x00000100, 262144, "a multiple of 512"),
        ("nrf52840dk", "nrf52/port.c", "ram", 0x20000000, 262145, "in 0x20000000..0x2003ffff"),
        ("nrf52840dk", "nrf52/port.c", "store", 0, 0, "memory.store is missing"),
        ("nrf52840dk", "cortexm/startup.c", "data_flash", 0, 0, "memory.data_flash is missing"),
        ("stm32f405", "stm32/port.c", "flash", 0x08000100, 131072, "a multiple of 512"),
        ("stm32f405", "stm32/port.c", "ram", 0x1FFF0000, 131072, "in 0x20000000..0x2001ffff"),
        ("stm32f405", "stm32/port.c", "store", 0, 0, "memory.store is missing"),
        ("mps2_an386", "mps2/port.c", "store", 0x21000000, 4096, "whole blocks of 4 KB"),
        ("stm32f405", "stm32f4/clock.c", "", 8_500_000, 0, "TINYFED_HSE_HZ"),
        ("stm32f405", "stm32f4/clock.c", "", 3_000_000, 0, "TINYFED_HSE_HZ"),
        ("stm32f405", "stm32f4/clock.c", "", 27_000_000, 0, "TINYFED_HSE_HZ"),
    ],
)
def test_the_build_refuses_what_the_chip_has_not(
    board: str, source: str, region: str, address: int, size: int, told: str
) -> None:
    manifest = json.loads(read_board(board).path.read_text())

    def compiled() -> subprocess.CompletedProcess[str]:
        flags = [f"-D{name}={value}" for name, value in RECIPE.defines(board, manifest).items()]
        includes = [f"-I{PORT}", f"-I{PORT.parent / 'base'}"]
        command = [compiler, "-Wno-int-to-pointer-cast", *flags, *includes, "-fsyntax-only", PORT / source]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    # The vector table has pointers of 32 bits.
    compiler = "arm-none-eabi-gcc" if source.startswith("cortexm/") else "gcc"
    require_tools(compiler)
    assert compiled().returncode == 0
    if region and size == 0:
        del manifest["tinyfed"]["memory"][region]
    elif region:
        manifest["tinyfed"]["memory"][region] = {"address": address, "bytes": size}
    else:
        manifest["tinyfed"]["defines"]["TINYFED_HSE_HZ"] = f"{address}u"
    done = compiled()
    assert done.returncode != 0
    assert told in build.first_error(done.stderr)


@pytest.mark.parametrize("address", ["0x08040000u", "0x08080000u"])
def test_the_stm32f4_flash_driver_holds_to_its_controller(address: str, tmp_path: Path) -> None:
    includes = [PORT, PORT.parent / "base"]
    store = [f"-DTINYFED_STORE_ADDRESS={address}", "-DTINYFED_STORE_BYTES=262144u"]
    run_c_test(
        "test_stm32f4_flash.c", [*STM32_SOURCES, PORT / "stm32f4" / "flash.c"], includes, tmp_path, *STM32, *store
    )


def test_the_nrf52_flash_driver_holds_to_its_controller(tmp_path: Path) -> None:
    sources = [PORT / "nrf52" / "nvmc.c", PORT / "nrf52" / "uicr.c"]
    includes = [PORT, PORT.parent / "base"]
    run_c_test("test_flash_drivers.c", sources, includes, tmp_path, *FLASH_MODELS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("    tinyfed_nrf52_barrier();", "READY is asked before"),
        ("parts = (uint8_t)(good ? (parts + 1u) % PARTS : 0u);", "an erase without end"),
    ],
)
def test_the_model_notices_a_flash_driver_without(line: str, told: str, tmp_path: Path) -> None:
    source = (PORT / "nrf52" / "nvmc.c").read_text()
    assert source.count(line) == 1
    (tmp_path / "nvmc.c").write_text(source.replace(line, "parts = 1u;" if "parts" in line else ""))
    sources = [tmp_path / "nvmc.c", PORT / "nrf52" / "uicr.c"]
    includes = [PORT, PORT.parent / "base", PORT / "nrf52"]
    with pytest.raises(AssertionError, match=told):
        run_c_test("test_flash_drivers.c", sources, includes, tmp_path, *FLASH_MODELS)


def test_the_host_writes_what_an_emulated_board_reads(tmp_path: Path) -> None:
    """port/cortexm/emulator.h as this computer's compiler lays it out, beside what the host uses."""
    require_tools("gcc")
    identity = ("unique_id", "counted", "in_memory")
    line = ("down_written", "down_taken", "up_written", "up_taken", "down", "up")
    values = [f"offsetof(tinyfed_identity_t, {name})" for name in identity] + ["sizeof(tinyfed_identity_t)"]
    values += [f"offsetof(tinyfed_memory_line_t, {name})" for name in line] + ["sizeof(tinyfed_memory_line_t)"]
    main = "".join(f'printf("%zu\\n", {value});' for value in values)
    source = tmp_path / "layout.c"
    source.write_text(f'#include <stdio.h>\n#include "emulator.h"\nint main(void) {{ {main} return 0; }}\n')
    includes = [f"-I{PORT}", f"-I{PORT / 'cortexm'}", "-DTINYFED_IDENTITY_ADDRESS=0u"]
    subprocess.run(["gcc", *STRICT, *includes, source, "-o", tmp_path / "layout"], check=True, timeout=60)
    told = [int(word) for word in subprocess.check_output([tmp_path / "layout"], text=True, timeout=60).split()]
    blank = qemu._identity("00" * 12, False, False)
    marked = (("01" * 12, False, False), ("00" * 12, True, False), ("00" * 12, False, True))
    places = [qemu._identity(*fields).index(1) for fields in marked]
    counts = [4 * number for number in (ml.DOWN_WRITTEN, ml.DOWN_TAKEN, ml.UP_WRITTEN, ml.UP_TAKEN)]
    assert told == [*places, len(blank), *counts, ml.DOWN, ml.UP, ml.LINE_BYTES]


@pytest.fixture(scope="module")
def program() -> Path:
    require_tools("gcc")
    return build.build("native")


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ([], 2, "missing option '--port': say where the coordinator is"),
        (["--prot", "x"], 2, "unknown option '--prot': see --help"),
        (["--port"], 2, "option without a value '--port': see --help"),
        (["--port", "pty", "--id", "12"], 2, "--id '12': give 24 hexadecimal digits"),
        (["--port", "pty", "--id", "z" * 24], 2, "give 24 hexadecimal digits"),
        (["--port", "pty", "--arena", "12"], 2, "--arena '12': give bytes from 1024 to"),
        (["--port", "pty", "--arena", "-5"], 2, "--arena '-5': give bytes"),
        (["--port", "pty", "--arena", "99999999999999999999"], 2, "give bytes"),
        (["--port", "pty", "--shard", "/none"], 2, "cannot read '/none': No such file"),
        (["--port", "pty", "--shard", "/dev/null"], 2, "cannot use '/dev/null'"),
        (["--port", "/dev/none"], 4, "cannot open the line '/dev/none': No such file"),
        (["--port", "/dev/null"], 4, "cannot open the line '/dev/null': not a serial line"),
        (["--port", "tcp:localhost"], 4, "cannot open the line 'tcp:localhost': give HOST:PORT"),
        (["--port", "tcp:here.invalid:80"], 4, "cannot open the line 'tcp:here.invalid:80': "),
        (["--port", "listen:::1:80"], 4, "write an IPv6 address in brackets: [::1]:PORT"),
        (["--port", "tcp::80"], 4, "give HOST:PORT"),
        (["--port", "tcp:127.0.0.1:99999"], 4, "PORT is a number from 1 to 65535"),
        (["--port", "tcp:127.0.0.1:1"], 4, "Connection refused"),
        (["--port", "unix:/none"], 4, "No such file"),
        (["--port", "unix:/" + "x" * 120], 4, "longer than a unix socket's can be"),
        (["--port", "fd:0"], 4, "cannot open the line 'fd:0': not a listening socket"),
    ],
)
def test_a_wrong_option_is_one_line(program: Path, options: list[str], code: int, told: str) -> None:
    done = subprocess.run([program, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert done.returncode == code
    assert told in done.stderr and done.stderr.startswith("tinyfed: ")
    assert done.stderr.count("\n") == 1


def test_help_names_every_option(program: Path) -> None:
    done = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0
    for option in ("--port", "--shard", "--store", "--id", "--arena", "pty", "tcp:", "listen:", "unix:", "fd:"):
        assert option in done.stdout


HELLO = encode(Frame(MessageType.HELLO_REQUEST, 0x1234, payload=bytes(range(1, 9))))


def answers(descriptor: int) -> bytes:
    data = b""
    while data.count(b"\0") < 2 and select.select([descriptor], [], [], 5)[0]:
        data += os.read(descriptor, 4096)
    return data


def wait_until_raw(descriptor: int) -> None:
    """Until the program has opened the terminal, the terminal itself echoes what is sent."""
    for _ in range(100):
        if not termios.tcgetattr(descriptor)[3] & termios.ECHO:
            return
        select.select([], [], [], 0.05)
    pytest.fail("the terminal was never made raw")


def test_a_tty_carries_every_byte(program: Path) -> None:
    """Frames hold newlines, XON, XOFF and Ctrl-C: a line that is not raw would swallow or change them."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([program, "--port", os.ttyname(theirs), "--id", "0a0d11130304081a7f1b1c00"])
    try:
        wait_until_raw(theirs)
        os.write(ours, HELLO)
        assert bytes.fromhex("0a0d11130304081a7f1b1c") in answers(ours)
        process.terminate()
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def test_an_unplugged_tty_ends_it_with_a_line(program: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([program, "--port", os.ttyname(theirs)], stderr=subprocess.PIPE, text=True)
    try:
        wait_until_raw(theirs)
        os.write(ours, HELLO)
        assert answers(ours)
        os.close(theirs)
        os.close(ours)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 4
        assert "is gone: plug it in again" in errors
    finally:
        process.kill()
        process.wait()


def test_a_pty_of_its_own_outlives_its_visitors(program: Path) -> None:
    process = subprocess.Popen([program, "--port", "pty"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        path = process.stdout.readline().strip()
        for _ in range(2):
            handle = os.open(path, os.O_RDWR | os.O_NOCTTY)
            os.write(handle, HELLO)
            assert answers(handle)
            os.close(handle)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_tcp_both_ways(program: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = subprocess.Popen([program, "--port", f"tcp:127.0.0.1:{server.getsockname()[1]}"])
        try:
            server.settimeout(5)
            line, _ = server.accept()
            line.sendall(HELLO)
            assert answers(line.fileno())
            line.close()
            assert process.wait(5) == 0, "the coordinator hung up"
            port = server.getsockname()[1]
        finally:
            process.kill()
            process.wait()
    process = subprocess.Popen([program, "--port", f"listen:127.0.0.1:{port}"])
    try:
        for _ in range(50):
            try:
                line = socket.create_connection(("127.0.0.1", port), 5)
                break
            except ConnectionRefusedError:
                select.select([], [], [], 0.1)
        for _ in range(2):
            line.sendall(HELLO)
            assert answers(line.fileno())
            line.close()
            line = socket.create_connection(("127.0.0.1", port), 5)
        line.close()
        assert process.poll() is None, "it waits for the next one"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def listening(program: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """The port that the program listens on, at the address of the test's parameter."""
    host = getattr(request, "param", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    process = subprocess.Popen([program, "--port", f"listen:{host}:{port}"])
    try:
        for _ in range(100):
            if any(row[3] == "0A" and row[1].endswith(f":{port:04X}") for row in tcp_table()):
                break
            select.select([], [], [], 0.1)
        yield port
        assert process.poll() is None, "it waits for the next one"
    finally:
        process.kill()
        process.wait()


def tcp_table() -> list[list[str]]:
    """The sockets of this computer, as proc(5) says: local address, remote, state, ..., timer."""
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    return [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]


@pytest.mark.parametrize(
    ("listening", "called"),
    [("localhost", "localhost"), ("[::1]", "[::1]"), ("[::]", "127.0.0.1"), ("[::]", "[::1]")],
    indirect=["listening"],
)
def test_it_listens_on_names_and_both_kinds_of_addresses(listening: int, called: str) -> None:
    if "::" in called and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this computer has no IPv6")
    url = f"socket://{called}:{listening}"
    device = RemoteDevice(connect(url))
    with pytest.raises(DeviceError, match="another program is connected to it, and it talks to one at a time"):
        connect(url)
    device.close()


def test_a_coordinator_that_vanishes_is_probed_for(listening: int) -> None:
    with socket.create_connection(("127.0.0.1", listening), 5) as line:
        line.sendall(HELLO)
        assert answers(line.fileno())
        ends = f":{listening:04X}", f":{line.getsockname()[1]:04X}"
        for _ in range(100):  # until the answer is acknowledged: the timer is that of its repetition until then
            (timer,) = (row[5] for row in tcp_table() if row[1].endswith(ends[0]) and row[2].endswith(ends[1]))
            if timer[:2] != "01":
                break
            select.select([], [], [], 0.05)
        kind, ticks = timer.split(":")
        assert kind == "02", "keepalive"
        assert int(ticks, 16) <= 500, "within 5 s, in hundredths"


@pytest.mark.slow
def test_a_newer_client_takes_the_place_of_a_silent_one_only(listening: int) -> None:
    address = ("127.0.0.1", listening)
    with socket.create_connection(address, 5) as silent, socket.create_connection(address, 5) as newer:
        newer.sendall(HELLO)
        for _ in range(3):
            silent.sendall(HELLO)
            assert answers(silent.fileno())
            assert not select.select([newer], [], [], 1)[0], "one that talks keeps the line"
        assert select.select([newer], [], [], 60)[0]
        assert answers(newer.fileno())
        assert silent.recv(1) == b"", "the silent one is told"


def test_the_nrf52_watchdog_and_the_causes_of_a_reset(tmp_path: Path) -> None:
    includes = [PORT, PORT.parent / "base"]
    run_c_test("test_nrf52_watchdog.c", [PORT / "nrf52" / "watchdog.c"], includes, tmp_path, "-DTINYFED_NRF52_MODEL")


def test_the_nrf52_line_on_a_modelled_uarte(tmp_path: Path) -> None:
    run_c_test("test_uarte.c", [PORT / "nrf52" / "uarte.c"], [PORT / "nrf52"], tmp_path, "-DTINYFED_NRF52_MODEL")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "instead", "told"),
    [
        ("offer_block(++started);", "++started;", "bytes in order"),
        ("if (counted(CC_INTERRUPT) - begun >= TINYFED_NRF52_UARTE_BLOCK_BYTES) slipped = true;", "", "that took long"),
        ("if (slipped || tinyfed_nrf52_read(NRF52_UARTE_ERROR) != 0u) {", "if (slipped) {", "framing error"),
        ("if (started > 0u && ", "if (false && ", "count without a byte"),
        ("tinyfed_nrf52_write(NRF52_UARTE_FLUSHRX, 1u);", "receive();", "bytes in the FIFO"),
        ("now() - stopping_us > STOP_US", "false", "without RXTO"),
        ("settled = seen;", "settled = received;", "not in RAM yet"),
        ("if (room_wanted && ", "if (false && ", "room again: no sleep"),
    ],
)
def test_the_model_notices_a_driver_without(line: str, instead: str, told: str, tmp_path: Path) -> None:
    """Each line of the driver that stands against a fault of the line: the test above fails without it."""
    source = (PORT / "nrf52" / "uarte.c").read_text()
    assert source.count(line) == 1
    (tmp_path / "uarte.c").write_text(source.replace(line, instead))
    with pytest.raises(AssertionError, match=told):
        run_c_test("test_uarte.c", [tmp_path / "uarte.c"], [PORT / "nrf52"], tmp_path, "-DTINYFED_NRF52_MODEL")
