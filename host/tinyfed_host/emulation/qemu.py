"""Emulated boards: the board's real image under QEMU, or its program under qemu-user or as it is.

The host makes a listening unix socket and hands it down, so there is no port to race for, nothing to poll, and a
device keeps its port while it lives. Whatever happens to this process, its emulators end: with the context
manager, at exit, and, by the kernel's parent-death signal, when it is killed.
"""

import atexit
import contextlib
import fcntl
import os
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Self, TypedDict, Unpack

from tinyfed.boards import Board, read_board
from tinyfed.errors import DeviceError, DoesNotFitError, UsageError
from tinyfed.files import TemporaryFolder
from tinyfed.reading import ARRAYS_BYTES_MAX, read_bytes
from tinyfed_host.device.unique_id import UNIQUE_ID_BYTES, is_unique_id
from tinyfed_host.emulation import qmp
from tinyfed_host.emulation.memory_line import MemoryTransport
from tinyfed_host.firmware import build
from tinyfed_host.transport.base import Transport
from tinyfed_host.transport.socket import connect as socket_connect

STOP_TIMEOUT_S = 3.0
ENDING_S = 0.5
PROMISE_TIMEOUT_S = 10.0
PLACE_BYTES_MAX = 80  # of 107 that an address may have
LAUNCHER = "setpriv"  # of util-linux, on every Debian


def _short_place() -> Path | None:
    """Where its socket and files lie: None, the system's place for temporary files, unless that is too long for the
    address of a socket, or has a comma, which ends a word of QEMU's options."""
    place = tempfile.gettempdir()
    return Path("/tmp") if "," in place or len(os.fsencode(place)) > PLACE_BYTES_MAX else None


class EmulatedDevice:
    """A running emulated board. `port` is what a transport opens (`connect`, for one with its line in memory); it stays
    the same over `reload`."""

    def __init__(
        self,
        board: Board,
        unique_id: str,
        shard: bytes | Path | None,
        image: Path,
        *,
        counting: bool = False,
        store: Path | None = None,
        sensor: bytes | Path | None = None,
        in_memory: bool = False,
    ) -> None:
        self.board = board
        self.unique_id = unique_id
        self._image = image
        self._counting = counting
        self._sensor = sensor
        self._identity = _identity(unique_id, counting, in_memory)
        self._in_memory = in_memory
        self._files = TemporaryFolder(_short_place())
        self._folder = self._files.path
        self._socket_path = self._folder / "line"
        self._control_path = self._folder / "control"
        self._process: subprocess.Popen[bytes] | None = None
        self._store = store
        self._locked_store: int | None = None
        self.port = f"unix://{self._socket_path}"
        _running.add(self)
        try:
            self._link_store()
            self._start(shard)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def check(self) -> None:
        """Raises `DeviceError` with the emulator's last words when it has ended by itself."""
        error = self._ended(0.0)
        if error is not None:
            raise error

    def reload(self, shard: bytes | Path | None) -> None:
        """Power it off and on again with another shard in its data flash; same board, same id, same port."""
        self._end()
        self._start(shard)

    def connect(self) -> Transport:
        """A line to it, the way it was started with. Raises DeviceError."""
        line = socket_connect(self.port, ended=self._ended)
        return MemoryTransport(line, self._folder / "store", self._line_offset()) if self._in_memory else line

    def reset(self) -> None:
        """Press its reset button; the line stays open.

        Raises `UsageError` for a board of which only the program is emulated, `DeviceError` when the emulator is gone.
        """
        if not self._has_control():
            raise UsageError(f"{self.board.name} has no reset button when it is emulated: power it off and on (reload)")
        qmp.system_reset(self._control_path)

    def stop(self) -> None:
        """End the process and remove its files; a second call does nothing."""
        self._end()
        if self._locked_store is not None:
            os.close(self._locked_store)
            self._locked_store = None
        self._files.close()
        _running.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self, shard: bytes | Path | None) -> None:
        emulator = self.board.emulator
        assert emulator is not None
        (self._folder / "identity").write_bytes(self._identity)
        words = [*emulator.command]
        shard_path = self._place("shard", "data_flash", shard)
        if shard_path is not None:
            words += emulator.shard
        sensor_path = self._place("sensor", "recording", self._sensor)
        if sensor_path is not None:
            words += emulator.sensor
        if self._counting:
            words += emulator.counting
        if self._has_control():
            words += ["-qmp", "unix:{control},server=on,wait=off"]
        words += emulator.store
        self._socket_path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(self._socket_path))
            listening.listen(4)
            values = {
                "image": str(self._image),
                "fd": str(listening.fileno()),
                "id": self.unique_id,
                "identity": str(self._folder / "identity"),
                "shard": str(shard_path),
                "sensor": str(sensor_path),
                "control": str(self._control_path),
                "store": str(self._folder / "store"),
            }
            command = [word.format(**values) for word in words]
            if emulator.program:
                command.insert(0, _find(emulator.program, emulator.package))
            with (self._folder / "log").open("wb") as log:
                self._process = _spawner().start(_dying_with_us(command), listening.fileno(), log.fileno())

    def _has_control(self) -> bool:
        return self.board.emulator is not None and self.board.emulator.program.startswith("qemu-system-")

    def _link_store(self) -> None:
        """What is saved lies in the caller's file, or with this emulated board's other files while it exists. A link:
        an emulator's option could not hold every name."""
        place = self._folder / "store"
        if self._in_memory:
            with place.open("wb") as file:
                file.truncate(self._line_offset() + self.board.memory["line"].size_bytes)
        elif self._store is not None:
            self._lock_store(self._store)
            place.symlink_to(self._store.resolve())
        else:
            place.touch()

    def _lock_store(self, store: Path) -> None:
        """One board at a time has a flash. A program locks its own, so the lock is let go of; a machine cannot."""
        try:
            self._locked_store = os.open(store, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)
            fcntl.flock(self._locked_store, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._has_control():
                fcntl.flock(self._locked_store, fcntl.LOCK_UN)
        except BlockingIOError as error:
            raise UsageError(
                "is the flash of an emulated board that runs",
                where=str(store),
                remedy="a flash is one board's: name another file, or end that board",
            ) from error
        except OSError as error:
            raise UsageError(f"cannot keep saved models: {error.strerror}", where=str(store)) from error

    def _line_offset(self) -> int:
        """Of the line in the file that holds the memory from the store on."""
        return self.board.memory["line"].address - self.board.memory["store"].address

    def _place(self, name: str, where: str, content: bytes | Path | None) -> Path | None:
        """What the loader puts into a region of the board's memory, as a file of this emulator's own."""
        if content is None:
            return None
        if isinstance(content, Path):
            try:
                data = read_bytes(content, ARRAYS_BYTES_MAX)
            except UsageError as error:
                raise UsageError(f"{content}: the {name} {error.problem}") from error
        else:
            data = content
        region = self.board.memory.get(where)
        if region is not None and len(data) > region.size_bytes:
            raise DoesNotFitError(
                f"a {name} of {len(data):,} bytes does not fit the {where.replace('_', ' ')} of {self.board.name}: "
                f"{len(data) - region.size_bytes:,} bytes too many; use fewer samples"
            )
        path = self._folder / name
        path.write_bytes(data)
        return path

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        except BaseException:  # a second Ctrl-C: leave no process and no zombie behind
            process.kill()
            process.wait()
            raise

    def _ended(self, timeout_s: float = ENDING_S) -> DeviceError | None:
        """What it said when it ended by itself. Its line closes a little earlier, hence the time to wait for that."""
        process = self._process
        if process is None:
            return None
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        words = self._last_words() or f"exit code {process.returncode}"
        return DeviceError(f"the emulated {self.board.name} {self.unique_id} ended: {words}")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self._folder / "log").read_text(errors="replace").strip().splitlines()
            lines = [line for line in lines if "warning:" not in line]
            if any("unsupported machine type" in line for line in lines):
                return f"this QEMU is too old for it (docs/boards/{self.board.name}.md says which has it)"
            return lines[-1] if lines else ""
        return ""


class Options(TypedDict, total=False):
    """What `start` may be told beside the board: its docstring says what each is."""

    image: Path | None
    counting: bool
    store: Path | None
    sensor: bytes | Path | None
    in_memory: bool


class Emulators(contextlib.ExitStack):
    """A group of emulated boards that end together.

    >>> with Emulators() as emulators:
    ...     device = emulators.start("mps2_an386", "0" * 23 + "1")
    ...     print(device.port)
    """

    def __init__(self) -> None:
        super().__init__()
        self.devices: list[EmulatedDevice] = []

    def start(
        self, board: Board | str, unique_id: str, shard: bytes | Path | None = None, **options: Unpack[Options]
    ) -> EmulatedDevice:
        """As `start`; the device ends with the group."""
        self.devices.append(self.enter_context(start(board, unique_id, shard, **options)))
        return self.devices[-1]


def start(
    board: Board | str,
    unique_id: str,
    shard: bytes | Path | None = None,
    *,
    image: Path | None = None,
    counting: bool = False,
    store: Path | None = None,
    sensor: bytes | Path | None = None,
    in_memory: bool = False,
) -> EmulatedDevice:
    """Start an emulated board with the firmware's image (built when it is not in the cache).

    Args:
        board: the board or its name.
        unique_id: 24 hexadecimal digits.
        shard: what lies in its data flash.
        image: another ELF file than the board's firmware.
        counting: make the device's clock count instructions, exactly and repeatably (slower); only on boards
            whose manifest says how.
        store: the file that keeps its saved models, made when it is not there; None: they last as long as the
            emulated board, power cuts (`reload`) included.
        sensor: what its sensor plays (docs/recording.md).
        in_memory: its line's bytes go through memory, many times faster than through the emulated UART; open it with
            `connect`. Only on mps2_an386, and without `store`.

    Raises:
        UsageError: there is no such board, or it has no emulator.
        MissingToolError: the emulator or the compiler is not installed.
        BuildError: the firmware does not compile.
        DoesNotFitError: the shard is larger than the data flash.
    """
    board = read_board(board) if isinstance(board, str) else board
    if board.emulator is None:
        raise UsageError(f"{board.name} cannot be emulated; `tinyfed boards` shows which can")
    if counting and not board.emulator.counting:
        raise UsageError(f"{board.name} cannot count instructions; mps2_an386 can")
    if store is not None and not board.emulator.store:
        raise UsageError(f"{board.name} cannot keep models under emulation; mps2_an386 can")
    if in_memory and not {"line", "store"} <= board.memory.keys():
        raise UsageError(f"{board.name} cannot have its line in memory; mps2_an386 can")
    if in_memory and store is not None:
        raise UsageError("no store for saved models goes with a line in memory", where=str(store))
    if not is_unique_id(unique_id):
        raise UsageError(f'"{unique_id}" is no unique id: give {2 * UNIQUE_ID_BYTES} hexadecimal digits')
    if board.emulator.program:
        _find(board.emulator.program, board.emulator.package)
    if sensor is not None and not board.emulator.sensor:
        raise UsageError(f"the emulated {board.name} has no sensor to play a recording; mps2_an386 has one")
    return EmulatedDevice(
        board,
        unique_id.lower(),
        shard,
        image or build.build(board),
        counting=counting,
        store=store,
        sensor=sensor,
        in_memory=in_memory,
    )


def _identity(unique_id: str, counting: bool, in_memory: bool) -> bytes:
    """What firmware/port/mps2 reads: 12 bytes of id, 1 when instructions are counted, 1 when the line lies in memory, 2
    zeros."""
    return bytes.fromhex(unique_id) + bytes([counting, in_memory, 0, 0])


def _find(program: str, package: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise build.not_installed(program, package)
    return path


def _dying_with_us(command: Sequence[str]) -> list[str]:
    """The command with the kernel's promise that it is killed when its parent dies."""
    setpriv = shutil.which(LAUNCHER)
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else list(command)


def _await_promise(process: subprocess.Popen[bytes], launcher: str) -> None:
    """Wait until the launcher has become the emulator: only then would the kernel end it with us."""
    link = Path(f"/proc/{process.pid}/exe")
    end = time.monotonic() + PROMISE_TIMEOUT_S
    with contextlib.suppress(OSError):
        launcher = str(Path(launcher).resolve())
        while process.poll() is None and str(link.readlink()) == launcher and time.monotonic() < end:
            time.sleep(0.001)


class _Spawner:
    """Starts processes from one thread that lives as long as this process: the kernel sends the parent-death
    signal when the *thread* ends that started the child."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._orders: queue.Queue[tuple[list[str], int, int, queue.Queue[subprocess.Popen[bytes] | OSError]]] = (
            queue.Queue()
        )
        threading.Thread(target=self._work, name="tinyfed-spawner", daemon=True).start()

    def start(self, command: list[str], line: int, log: int) -> subprocess.Popen[bytes]:
        answer: queue.Queue[subprocess.Popen[bytes] | OSError] = queue.Queue(1)
        self._orders.put((command, line, log, answer))
        result = answer.get()
        if isinstance(result, OSError):
            raise DeviceError(f"cannot be started: {result.strerror}", where=command[0]) from result
        return result

    def _work(self) -> None:
        while True:
            command, line, log, answer = self._orders.get()
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[line],
                    start_new_session=True,  # Ctrl-C reaches us first, and we end them in order
                )
                if Path(command[0]).name == LAUNCHER:
                    _await_promise(process, command[0])
                answer.put(process)
            except OSError as error:
                answer.put(error)


_running: "weakref.WeakSet[EmulatedDevice]" = weakref.WeakSet()
_the_spawner: _Spawner | None = None
_spawner_lock = threading.Lock()


def _spawner() -> _Spawner:
    global _the_spawner
    with _spawner_lock:
        if _the_spawner is None or _the_spawner.pid != os.getpid():
            _the_spawner = _Spawner()
        return _the_spawner


@atexit.register
def _stop_all() -> None:
    for device in list(_running):
        device.stop()
