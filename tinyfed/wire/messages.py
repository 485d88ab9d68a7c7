"""The messages inside frames, one dataclass each. See docs/wire.md."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Self

from tinyfed.engine import HASH_START as HASH_START
from tinyfed.engine import hash64 as hash64

ORDER_BYTES_MAX = 64
RESET_MAGIC = 0x54455352
FLAG_GAP = 1
# a chunk's offset has 24 bits
TRANSFER_BYTES_MAX = 0xFFFFFF


class MessageType(IntEnum):
    """Below 0x80 from the host, from 0x80 up from the device."""

    HELLO_REQUEST = 0x01
    TRANSFER_BEGIN = 0x02
    CHUNK_DOWN = 0x03
    ACK = 0x04
    UPLOAD_REQUEST = 0x05
    ORDER = 0x06
    RESULT_RECEIVED = 0x07
    CANCEL = 0x08
    RESET = 0x09
    SAVE = 0x0A
    LABEL = 0x0B
    HELLO = 0x81
    CHUNK_UP = 0x83
    TRANSFER_STATUS = 0x84
    UPLOAD_STATUS = 0x85
    VISIT_STATUS = 0x86
    RESULT = 0x87
    CANCELLED = 0x88
    SAVE_STATUS = 0x89
    RECORD_STATUS = 0x8A
    ERROR = 0x8F


class Kind(IntEnum):
    """What a transfer carries."""

    IMAGE = 1
    WEIGHTS = 2
    INPUT = 3


class Encoding(IntEnum):
    """How weights are written in a transfer; DELTA is a flag."""

    PLAIN = 0
    FLOAT16 = 1
    INT8 = 2
    DELTA = 0x80


# `status` of a message: 0 under way, this when all is done, or a negative `tinyfed.status.Status`.
COMPLETE = 1

# HELLO's reset cause by number: tinyfed_reset_cause_t of firmware/port/tinyfed_port.h.
RESET_CAUSES = ("unknown", "power", "pin", "software", "watchdog", "brown-out", "fault")

# Bit numbers of HELLO's capabilities.
CAPABILITIES = {
    "train": 0,
    "float16": 1,
    "int8": 2,
    "delta": 3,
    "shard": 4,
    "sine": 5,
    "reset": 6,
    "stream": 7,
    "save": 8,
    "sensor": 9,
    "frozen": 10,
    "sparse": 11,
    "partial": 12,
    "answers": 13,
    "infer": 14,
    "steps": 15,
}


class MalformedError(ValueError):
    """A payload too short for its type: treated like a damaged frame."""


def _unpack(layout: struct.Struct, payload: bytes) -> tuple[int, ...]:
    if len(payload) < layout.size:
        raise MalformedError(f"{len(payload)} bytes where {layout.size} are needed")
    return layout.unpack_from(payload)


_TRANSFER_BEGIN = struct.Struct("<BBBxIQQQ")
_TRANSFER_PART = struct.Struct("<II")
_OFFSET = struct.Struct("<I")
_ACK = struct.Struct("<IHBB")
_UPLOAD_REQUEST = struct.Struct("<IHBBIQ")
_ORDER = struct.Struct("<IQ")
_TRANSFER_STATUS = struct.Struct("<IIbBBx")
_UPLOAD_STATUS = struct.Struct("<IQIb3x")
_VISIT_STATUS = struct.Struct("<IIIIIb3x")
_RESULT = struct.Struct("<IQ")
_SAVE = struct.Struct("<QB3x")
_SAVE_STATUS = struct.Struct("<IIIbxH")
_ERROR = struct.Struct("<IbB2x")
_HELLO = struct.Struct("<IQI12xQIIIHHQQBB")


class _Message:
    """A payload whose values are the fields, in order."""

    LAYOUT: ClassVar[struct.Struct]

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """Raises `MalformedError` when the payload is too short."""
        return cls(*_unpack(cls.LAYOUT, payload))


@dataclass(frozen=True)
class TransferBegin:
    """What is about to be sent down."""

    kind: int
    encoding: int
    total_bytes: int
    content_hash: int
    structure_hash: int
    base_hash: int
    first_value: int  # weights: only `value_count` of the values, from this one on; input: step of a stream
    value_count: int  # weights, 0: all; input, 1: of a stream

    def pack(self, round_: int) -> bytes:
        """The payload; `round_` of the chunks that follow."""
        part = _TRANSFER_PART.pack(self.first_value, self.value_count) if self.value_count else b""
        head = _TRANSFER_BEGIN.pack(
            self.kind,
            self.encoding,
            round_,
            self.total_bytes,
            self.content_hash,
            self.structure_hash,
            self.base_hash,
        )
        return head + part


def pack_chunk(offset: int, round_: int, data: bytes) -> bytes:
    """CHUNK's payload."""
    return _OFFSET.pack(offset | round_ << 24) + data


def unpack_chunk(payload: bytes) -> tuple[int, int, bytes]:
    """Offset, round and bytes of a CHUNK."""
    (head,) = _unpack(_OFFSET, payload)
    return head & TRANSFER_BYTES_MAX, head >> 24, payload[_OFFSET.size :]


def pack_ack(next_offset: int, chunk_bytes: int, round_: int, *, gap: bool) -> bytes:
    """ACK's payload: all up to `next_offset` is here; send chunks of `chunk_bytes`; `gap`: go back, if you have not
    since `round_`."""
    return _ACK.pack(next_offset, chunk_bytes, FLAG_GAP if gap else 0, round_)


def pack_upload_request(
    offset: int, chunk_bytes: int, window_chunks: int, round_: int, visit: int = 0, *, input_hash: int = 0
) -> bytes:
    """UPLOAD_REQUEST's payload; `round_` of the chunks that follow; instead of the weights held `visit`: what it gives
    back, `input_hash`: what the model made of the last input, this one."""
    return _UPLOAD_REQUEST.pack(offset, chunk_bytes, window_chunks, round_, visit, input_hash)


def pack_order(visit: int, weights_hash: int, order: bytes) -> bytes:
    """ORDER's payload. Raises ValueError when `order` is longer than 64 bytes."""
    if len(order) > ORDER_BYTES_MAX:
        raise ValueError(f"an order of {len(order)} bytes; at most {ORDER_BYTES_MAX} fit")
    return _ORDER.pack(visit, weights_hash) + order


def pack_save(weights_hash: int, *, forget: bool) -> bytes:
    """SAVE's payload: keep these weights (0: whatever it holds) through a power cut, or forget what is kept."""
    return _SAVE.pack(weights_hash, int(forget))


def pack_number(number: int) -> bytes:
    """The payload of RESULT_RECEIVED (visit) and RESET (magic)."""
    return _OFFSET.pack(number)


@dataclass(frozen=True)
class Hello:
    """What a device says of itself."""

    boot: int
    nonce: int  # of the host it answers
    session: int  # what that host's frames carry from now on
    unique_id: bytes
    firmware_build: int
    arena_bytes: int
    capabilities: int
    feature_count: int
    class_count: int
    chunk_bytes: int
    structure_hash: int
    weights_hash: int
    state: int  # 0 idle, 1 a transfer is not complete, 2 a visit runs, 3 a result waits, 4 a model is being saved
    board: str
    reset_cause: str = "unknown"  # why it started, of RESET_CAUSES

    @classmethod
    def unpack(cls, payload: bytes) -> "Hello":
        """Raises `MalformedError` when the payload is too short."""
        boot, nonce, session, *numbers, length = _unpack(_HELLO, payload)
        name = payload[_HELLO.size : _HELLO.size + length]
        if len(name) < length:
            raise MalformedError("the board's name is cut off")
        cause = int.from_bytes(payload[_HELLO.size + length :][:1], "little")  # an older device says none
        said: tuple[Any, ...] = (
            *(boot, nonce, session, payload[16:28], *numbers, name.decode("ascii", "replace")),
            RESET_CAUSES[cause if cause < len(RESET_CAUSES) else 0],
        )
        return cls(*said)

    def capability_names(self) -> frozenset[str]:
        """The names of the bits that are set and known."""
        return frozenset(name for name, bit in CAPABILITIES.items() if self.capabilities >> bit & 1)


@dataclass(frozen=True)
class TransferStatus:
    """How far a transfer down has come."""

    next_offset: int
    detail: int
    status: int
    gap: bool
    round: int

    @classmethod
    def unpack(cls, payload: bytes) -> "TransferStatus":
        """Raises `MalformedError` when the payload is too short."""
        next_offset, detail, status, flags, round_ = _unpack(_TRANSFER_STATUS, payload)
        return cls(next_offset, detail, status, bool(flags & FLAG_GAP), round_)


@dataclass(frozen=True)
class UploadStatus(_Message):
    """Begin, end or refusal of an upload."""

    LAYOUT = _UPLOAD_STATUS

    total_bytes: int
    content_hash: int
    detail: int
    status: int


@dataclass(frozen=True)
class VisitStatus(_Message):
    """A visit was accepted, runs, was refused or failed."""

    LAYOUT = _VISIT_STATUS

    visit: int
    done: int  # training samples
    total: int
    detail: int
    steps: int  # pieces of work done, evaluation too
    status: int


@dataclass(frozen=True)
class VisitResult:
    """A visit ended well."""

    visit: int
    answer_hash: int  # of what an upload of this visit brings
    result: bytes

    @classmethod
    def unpack(cls, payload: bytes) -> "VisitResult":
        """Raises `MalformedError` when the payload is too short."""
        visit, answer_hash = _unpack(_RESULT, payload)
        return cls(visit, answer_hash, payload[_RESULT.size :])


@dataclass(frozen=True)
class SaveStatus(_Message):
    """How far the device is with writing its model into flash."""

    LAYOUT = _SAVE_STATUS

    done: int
    total: int
    detail: int
    status: int
    quiet_ms: int  # it may say and hear nothing for so long


@dataclass(frozen=True)
class ErrorMessage(_Message):
    """The device cannot take the frame with this sequence number."""

    LAYOUT = _ERROR

    detail: int
    code: int
    answered_type: int
