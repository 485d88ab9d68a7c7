"""The engine's status numbers, which are part of the wire format, and their words."""

from enum import IntEnum


class Status(IntEnum):
    """tinyfed_status_t of firmware/base/tinyfed_status.h."""

    OK = 0
    ARGUMENT = -1
    MEMORY = -2
    TRUNCATED = -3
    MAGIC = -4
    VERSION = -5
    CHECKSUM = -6
    LAYER = -7
    SHAPE = -8
    ALIGNMENT = -9
    NUMERIC = -10
    STATE = -11
    SOURCE = -12
    BUSY = -13
    CANCELLED = -14
    FLASH = -15


_WORDS = {  # what is wrong, and what to do
    Status.OK: ("no error", ""),
    Status.ARGUMENT: ("a value is outside its range", ""),
    Status.MEMORY: ("the arena is too small", "choose a smaller model or a larger board"),
    Status.TRUNCATED: ("the bytes end before what they announce", "transfer or build them again"),
    Status.MAGIC: ("these are bytes of another kind", ""),
    Status.VERSION: (
        "a format version or a reserved field this build does not know",
        "use the same tinyfed on both sides",
    ),
    Status.CHECKSUM: ("a checksum does not match", "the bytes are damaged, make them again"),
    Status.LAYER: (
        "a layer, activation or loss this build does not have",
        "rebuild the firmware or change the model",
    ),
    Status.SHAPE: ("shapes that do not fit together", ""),
    Status.ALIGNMENT: ("an address is not aligned to 16 bytes", ""),
    Status.NUMERIC: ("the loss is no longer a finite number", "lower the learning rate"),
    Status.STATE: ("asked for in the wrong state", "load a model first"),
    Status.SOURCE: ("the samples are missing or too few for the order", ""),
    Status.BUSY: ("another transfer or visit is under way", "wait for its end"),
    Status.CANCELLED: ("given up on request", ""),
    Status.FLASH: (
        "the flash did not take what was written",
        "try again; if it stays, the flash is worn out or locked",
    ),
}


def reason(status: int) -> str:
    """What is wrong, for a status number, also an unknown one."""
    if status not in _WORDS:
        return f"unknown status {status}: is the firmware newer than this tinyfed?"
    return _WORDS[Status(status)][0]


def explain(status: int) -> str:
    """One line for a status number, also an unknown one: what is wrong, and what to do."""
    remedy = _WORDS[Status(status)][1] if status in _WORDS else ""
    return f"{reason(status)}: {remedy}" if remedy else reason(status)
