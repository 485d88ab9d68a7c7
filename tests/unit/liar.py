"""Devices that lie: the real firmware in-process, whose frames are changed on their way up by whoever owns the line."""

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from test_visit_line import InProcess
from tinyfed_host.device.line import RemoteDevice

from tinyfed.data.recording import write_recording
from tinyfed.device import Device
from tinyfed.engine._device import LineDevice
from tinyfed.wire.frames import Frame, FrameDecoder, encode
from tinyfed.wire.messages import MessageType

RESULT_HEAD = struct.Struct("<BBHIffIIII")
CHECKPOINT = struct.Struct("<IIIf")
FIELDS = ("samples", "loss_first", "loss_last", "train_us", "instructions", "stack_bytes", "arena_bytes")
NOISE = 0xFFFFFFFF

Change = Callable[[Frame], Frame]


class LyingLine(InProcess):
    """A line to an honest device whose frames `change` rewrites."""

    def __init__(self, device: LineDevice, change: Change) -> None:
        super().__init__(device)
        self._change = change
        self._decoder = FrameDecoder()

    def read(self, timeout_s: float) -> bytes:
        frames = self._decoder.feed(super().read(timeout_s))
        return b"".join(encode(self._change(frame)) for frame in frames)


class LyingSlot:
    """A device of a fleet that lies."""

    def __init__(self, unique_id: str, shard: bytes, change: Change, arena_bytes: int = 65536) -> None:
        self.unique_id = unique_id
        self.change = change
        self._shard = shard
        self._arena_bytes = arena_bytes

    def connect(self, data: bytes | None) -> Device:
        unique_id = bytes.fromhex(self.unique_id)
        line = LyingLine(LineDevice(self._arena_bytes, unique_id, "some-board", self._shard), self.change)
        return RemoteDevice(line, clock=line.clock)

    def close(self) -> None:
        return


def honest(frame: Frame) -> Frame:
    return frame


def result_with(**lies: float) -> Change:
    """Says these values in its results; `count`, `correct`, `loss` and `shots` are of the last checkpoint."""

    def change(frame: Frame) -> Frame:
        if frame.type != MessageType.RESULT:
            return frame
        return Frame(frame.type, frame.session, frame.sequence, _lied(frame.payload, lies), frame.version)

    return change


def _lied(payload: bytes, lies: dict[str, float]) -> bytes:
    """The result stands at the end, behind what names the visit."""
    for points in range(8, -1, -1):
        start = len(payload) - RESULT_HEAD.size - points * CHECKPOINT.size
        if start >= 4 and payload[start : start + 2] == bytes([1, points]):
            break
    else:
        raise AssertionError("no result in the frame")
    version, count, reserved, *values = RESULT_HEAD.unpack_from(payload, start)
    said = dict(zip(FIELDS, values, strict=True))
    said.update({key: value for key, value in lies.items() if key in FIELDS})
    end = payload[start + RESULT_HEAD.size :]
    if points:
        last = dict(zip(("shots", "count", "correct", "loss"), CHECKPOINT.unpack(end[-CHECKPOINT.size :]), strict=True))
        last.update({key: value for key, value in lies.items() if key in last})
        end = end[: -CHECKPOINT.size] + CHECKPOINT.pack(*last.values())
    return payload[:start] + RESULT_HEAD.pack(version, count, reserved, *said.values()) + end


def hello_as(name: bytes) -> Change:
    """Calls itself so; the honest device is "some-board"."""

    def change(frame: Frame) -> Frame:
        if frame.type != MessageType.HELLO:
            return frame
        payload = frame.payload.replace(b"\x0asome-board", bytes([len(name)]) + name)
        return Frame(frame.type, frame.session, frame.sequence, payload, frame.version)

    return change


class Chatter:
    """A device on a unix socket that is the real firmware until a message of type `after` comes (None: never is), and
    from then on says one thing for ever, as if it were the answer. Serves every connection until it is closed."""

    def __init__(self, path: Path, says: MessageType, payload: bytes, after: MessageType | None) -> None:
        self.url = f"unix://{path}"
        self.said = 0
        self._over = threading.Event()
        self._what = (says, payload, after)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(path))
        self._server.listen(8)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            worker = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(worker)
            worker.start()

    def _serve(self, connection: socket.socket) -> None:
        says, payload, after = self._what
        store = np.full(65536 + 16, 0xFF, np.uint8)
        start = -store.ctypes.data % 16
        sensor = write_recording([np.zeros((3000, 6))], 50)
        device = LineDevice(
            65536, bytes(range(12)), "some-board", None, None, 0, store=memoryview(store[start : start + 65536]),
            sensor=sensor, record_bytes=4704,
        )  # fmt: skip
        decoder, flooding, last = FrameDecoder(), after is None, Frame(0, 0, 0)
        began = time.monotonic()
        with contextlib.suppress(OSError), connection:
            while not self._over.is_set():
                ready = select.select([connection], [], [], 0.001)[0]
                data = connection.recv(65536) if ready else b""
                if ready and not data:
                    return
                for frame in decoder.feed(data):
                    flooding, last = flooding or frame.type == after, frame
                if flooding:
                    connection.sendall(encode(Frame(says, last.session, last.sequence, payload)) * 10)
                    self.said += 10
                else:
                    now_us = round((time.monotonic() - began) * 1e6) % 2**32
                    connection.sendall(device.feed(data, now_us, 16))

    def close(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> "Chatter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
