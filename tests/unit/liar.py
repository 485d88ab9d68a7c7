"""Devices that lie: the real firmware in-process, whose frames are changed on their way up by whoever owns the line."""

import struct
from collections.abc import Callable

from test_visit_line import InProcess
from tinyfed_host.device.line import RemoteDevice

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
