"""Write tests/golden/wire.txt anew: `python tests/golden/make_wire.py`. Only when docs/wire.md changes.

The dialogue is what the Python session and the pair device say to each other on a good line; both test suites
replay it byte by byte.
"""

import sys
import zlib
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "unit")]

from wire_pair import DIALOGUE_SEED, CDevice, Channel, Pair, dialogue_operations  # noqa: E402

from tinyfed.wire.frames import Frame, encode  # noqa: E402
from tinyfed.wire.messages import MessageType, hash64  # noqa: E402
from tinyfed.wire.session import HostSession  # noqa: E402

HEAD = """\
# Golden vectors of docs/wire.md; bytes are hexadecimal, "-" is none.
# crc BYTES VALUE / hash BYTES VALUE: values hexadecimal
# frame VERSION TYPE SESSION SEQUENCE PAYLOAD BYTES: numbers hexadecimal; BYTES on the line, delimiters included; of
#   HELLO_REQUEST, HELLO and other versions SESSION is the tag, and there is no SEQUENCE (0)
# damaged BYTES: no frame comes out of it, and the frame after it does
# down BYTES / up BYTES: a dialogue of host and tests/c/wire/pair_device.c (1,024-byte chunks, 3 steps, 65,536 bytes
#   of arena) on a good line while the clock stands; seed of the session 0x0000000110004321
"""


def dialogue() -> list[str]:
    """`down` and `up` lines, alternating."""
    lines: list[str] = []

    def note(side: str) -> Channel:
        def keep(data: bytes, offset: int) -> bytes:
            if lines and lines[-1].startswith(side):
                lines[-1] += data.hex()
            else:
                lines.append(f"{side} {data.hex()}")
            return data

        return Channel(keep)

    pair = Pair(CDevice(arena_bytes=65536), HostSession(DIALOGUE_SEED), down=note("down"), up=note("up"))
    for operation in dialogue_operations():
        assert pair.run(operation) < 0.1
        assert operation.failure is None
    return lines


def main() -> None:
    """Write the file."""
    out = [HEAD.rstrip()]
    for data in (b"", b"123456789", bytes(300)):
        out.append(f"crc {data.hex() or '-'} {zlib.crc32(data):x}")
        out.append(f"hash {data.hex() or '-'} {hash64(data):x}")
    frames = [
        Frame(MessageType.HELLO_REQUEST, 0x10014321, payload=b"a nonce."),
        Frame(MessageType.CANCEL, 1, 0),
        Frame(MessageType.RESET, 0xFFFFFFFF, 0xFFFF, bytes.fromhex("54455352")[::-1]),
        Frame(MessageType.HELLO_REQUEST, 0x10014321, payload=b"what a later version says", version=3),
        Frame(MessageType.HELLO_REQUEST, 0x10014321, version=1),
        Frame(MessageType.CANCEL, 0x10014321, payload=b"of version 1", version=1),
        Frame(0x7E, 0x01000000, 0x0001, b"unknown"),
    ]
    for size in (1, 241, 242, 243, 495, 496, 497, 1024):
        frames.append(Frame(MessageType.CHUNK_DOWN, 0x22222222, 0x3333, b"\4\3\2\1" + b"\xaa" * size))
        frames.append(Frame(MessageType.CHUNK_DOWN, 0x22222222, 0x3333, bytes(4) + bytes(size)))
    for f in frames:
        out.append(
            f"frame {f.version:x} {f.type:x} {f.session:x} {f.sequence:x} {f.payload.hex() or '-'} {encode(f).hex()}"
        )
    good = encode(frames[0])
    out += [
        f"damaged {(good[:3] + bytes([good[3] ^ 1]) + good[4:]).hex()}",
        f"damaged {(good[:4] + good[5:]).hex()}",
        f"damaged {(good[:4] + good[4:5] + good[4:]).hex()}",
        f"damaged {(good[:-1] + bytes([0x55, 0])).hex()}",
        "damaged 00ff010200",
        "damaged 000100",
        "damaged 000203020202020200",
        f"damaged {'00' + '55' * 3000 + '00'}",
    ]
    out += dialogue()
    (HERE / "wire.txt").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
