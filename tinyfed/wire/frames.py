"""Frames: COBS between zero bytes, with a CRC-32. See docs/wire.md."""

import struct
import zlib
from dataclasses import dataclass

VERSION = 2
# version, type and session (of a greeting: its tag), the same in every version; then a request's sequence number
GREETING = struct.Struct("<BBI")
HEADER = struct.Struct("<BBIH")
CRC = struct.Struct("<I")
CHUNK_BYTES_MAX = 1024
# header, offset, the largest chunk, CRC
BODY_BYTES_MAX = HEADER.size + 4 + CHUNK_BYTES_MAX + CRC.size
HELLO_REQUEST = 0x01
HELLO = 0x81
# and COBS' code bytes: more than this between two delimiters is no frame
_STUFFED_BYTES_MAX = BODY_BYTES_MAX + BODY_BYTES_MAX // 254 + 1


@dataclass(frozen=True)
class Frame:
    """One frame. `type` is a `MessageType` value, or one this version does not know. A greeting, and a frame of another
    version, has no sequence number; a greeting's `session` is its tag."""

    type: int
    session: int
    sequence: int = 0
    payload: bytes = b""
    version: int = VERSION

    @property
    def is_greeting(self) -> bool:
        """HELLO_REQUEST or HELLO: what every version understands."""
        return self.type in (HELLO_REQUEST, HELLO)


def cobs_encode(data: bytes) -> bytes:
    """`data` without zeros: one byte more, and one for each 254 bytes that hold no zero."""
    out = bytearray()
    parts = data.split(b"\0")
    last = len(parts) - 1
    for index, part in enumerate(parts):
        # a block of 254 stands for no zero after it; at the very end none is needed
        while len(part) > 254 or (len(part) == 254 and index < last):
            out.append(255)
            out += part[:254]
            part = part[254:]
        out.append(len(part) + 1)
        out += part
    return bytes(out)


def cobs_decode(data: bytes) -> bytes | None:
    """Undo `cobs_encode`; None when `data` is no such encoding. `data` holds no zero."""
    out = bytearray()
    position = 0
    while position < len(data):
        code = data[position]
        end = position + code
        if end > len(data):
            return None
        out += data[position + 1 : end]
        position = end
        if code != 255 and position < len(data):
            out.append(0)
    return bytes(out)


def encode(frame: Frame) -> bytes:
    """The frame's bytes on the line, delimiters included."""
    body = GREETING.pack(frame.version, frame.type, frame.session)
    if frame.version == VERSION and not frame.is_greeting:
        body = HEADER.pack(frame.version, frame.type, frame.session, frame.sequence)
    body += frame.payload
    body += CRC.pack(zlib.crc32(body))
    if len(body) > BODY_BYTES_MAX:
        raise ValueError(f"a payload of {len(frame.payload)} bytes is too long for a frame")
    return b"\0" + cobs_encode(body) + b"\0"


def decode(stuffed: bytes) -> Frame | None:
    """The frame between two delimiters, or None when it is damaged."""
    body = cobs_decode(stuffed)
    if body is None or not GREETING.size + CRC.size <= len(body) <= BODY_BYTES_MAX:
        return None
    content = body[: -CRC.size]
    if CRC.pack(zlib.crc32(content)) != body[-CRC.size :]:
        return None
    version, kind, session = GREETING.unpack_from(content)
    if version != VERSION or kind in (HELLO_REQUEST, HELLO):
        return Frame(kind, session, 0, content[GREETING.size :], version)
    if len(content) < HEADER.size:
        return None
    sequence = int.from_bytes(content[GREETING.size : HEADER.size], "little")
    return Frame(kind, session, sequence, content[HEADER.size :], version)


class FrameDecoder:
    """Finds frames in a stream of bytes, whatever else is in it; keeps at most one frame's bytes."""

    def __init__(self) -> None:
        self.damaged = 0  # frames dropped so far
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[Frame]:
        """The good frames that end in `data`."""
        parts = (self._rest + data).split(b"\0")
        self._rest = parts.pop()
        frames = []
        for part in parts:
            if self._skipping:
                self._skipping = False
                self.damaged += 1
            elif part:
                frame = decode(part) if len(part) <= _STUFFED_BYTES_MAX else None
                if frame is None:
                    self.damaged += 1
                else:
                    frames.append(frame)
        if len(self._rest) > _STUFFED_BYTES_MAX:
            self._rest = b""
            self._skipping = True
        return frames
