"""Both ends of the wire against the same golden bytes; frames for any content."""

import re
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FIRMWARE, RECIPE, ROOT, require_tools
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_pair import DIALOGUE_SEED, dialogue_operations

from tinyfed.status import Status
from tinyfed.wire import messages
from tinyfed.wire.frames import (
    CHUNK_BYTES_MAX,
    VERSION,
    Frame,
    FrameDecoder,
    cobs_decode,
    cobs_encode,
    decode,
    encode,
)
from tinyfed.wire.messages import Kind, MessageType, hash64
from tinyfed.wire.record import LabelOperation
from tinyfed.wire.session import HelloOperation, HostSession
from tinyfed.wire.transfer import TransferOperation, UploadOperation
from tinyfed.wire.visit import VisitOperation

GOLDEN = ROOT / "tests/golden/wire.txt"
WIRE = ROOT / "firmware/wire"
BUILD = RECIPE.include_flags(FIRMWARE, "wire")
SOURCES = [
    *RECIPE.sources(FIRMWARE, "base", "wire"),
    *(ROOT / "tests/c/wire" / name for name in ("pair_device.c", "test_wire.c")),
]
LINES = [line.split() for line in GOLDEN.read_text().splitlines() if line and not line.startswith("#")]


def lines(word: str) -> list[list[str]]:
    found = [line[1:] for line in LINES if line[0] == word]
    assert found, f"no line `{word}` in {GOLDEN}"
    return found


def unhex(text: str) -> bytes:
    return b"" if text == "-" else bytes.fromhex(text)


@pytest.mark.parametrize("optimize", ["-O1"])
def test_the_c_end_holds_to_the_golden_file(optimize: str, tmp_path: Path) -> None:
    require_tools("gcc")
    program = tmp_path / "test_wire"
    flags = ["-std=c99", "-g", optimize, "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run(["gcc", *flags, *sanitize, *BUILD, *SOURCES, "-o", str(program)], check=True, timeout=120)
    done = subprocess.run([program, GOLDEN], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(LINES)} lines\n"


def test_a_spoiled_golden_line_is_noticed_by_the_c_end(tmp_path: Path) -> None:
    """The C program reads what it is given: one digit less right, and it says so."""
    require_tools("gcc")
    program = tmp_path / "test_wire"
    subprocess.run(["gcc", "-std=c99", *BUILD, *SOURCES, "-o", str(program)], check=True, timeout=120)
    text = GOLDEN.read_text().splitlines()
    for word in ("crc", "hash", "frame", "up"):
        index = max(number for number, line in enumerate(text) if line.startswith(f"{word} "))
        line = text[index]
        spoiled = line[:-4] + ("0" if line[-4] != "0" else "1") + line[-3:]
        file = tmp_path / "wire.txt"
        file.write_text("\n".join([*text[:index], spoiled, *text[index + 1 :]]) + "\n")
        done = subprocess.run([program, file], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, word
        assert f"line {index + 1}:" in done.stderr


@pytest.mark.parametrize("words", lines("crc"))
def test_crc(words: list[str]) -> None:
    assert zlib.crc32(unhex(words[0])) == int(words[1], 16)


@pytest.mark.parametrize("words", lines("hash"))
def test_hash(words: list[str]) -> None:
    assert hash64(unhex(words[0])) == int(words[1], 16)


@pytest.mark.parametrize("words", lines("frame"))
def test_frames(words: list[str]) -> None:
    version, kind, session, sequence = (int(word, 16) for word in words[:4])
    frame = Frame(kind, session, sequence, unhex(words[4]), version)
    assert encode(frame) == unhex(words[5])
    assert FrameDecoder().feed(unhex(words[5])) == [frame]


@pytest.mark.parametrize("words", lines("damaged"))
def test_damaged_frames_are_dropped_and_the_next_is_found(words: list[str]) -> None:
    decoder = FrameDecoder()
    assert decoder.feed(unhex(words[0])) == []
    assert decoder.damaged >= 1
    frame = Frame(MessageType.CANCEL, 1, 2)
    assert decoder.feed(encode(frame)) == [frame]


def test_the_host_says_what_the_golden_dialogue_has() -> None:
    session = HostSession(DIALOGUE_SEED)
    operations = dialogue_operations()
    waiting = iter(operations)
    running = next(waiting)
    session.start(running, 0.0)
    for word, text in ((line[0], line[1]) for line in LINES if line[0] in ("down", "up")):
        if word == "up":
            session.feed(unhex(text), 0.0)
            continue
        said = session.poll(0.0)
        while running.done and len(said) < len(unhex(text)):
            running = next(waiting)
            session.start(running, 0.0)
            said += session.poll(0.0)
        assert said.hex() == text
    assert all(operation.done and operation.failure is None for operation in operations)
    transfer, visit, upload = operations[2:5]
    assert isinstance(transfer, TransferOperation)
    assert isinstance(visit, VisitOperation)
    assert isinstance(upload, UploadOperation)
    assert visit.result == b"\x03" * 40
    labels = [operation.status for operation in operations if isinstance(operation, LabelOperation)]
    first, second, stopped, forgotten = (status for status in labels if status is not None)
    assert (first.label, first.running, first.windows, first.capacity, first.counts) == (2, False, 2, 300, (0, 0, 2))
    assert (second.label, second.windows, second.counts) == (0, 3, (3, 0, 2))
    assert stopped == second and forgotten.counts == ()
    assert hash64(bytes((byte - 9) & 255 for byte in upload.content)) == transfer.content_hash
    outputs = operations[6]
    assert isinstance(outputs, UploadOperation)
    # the pair device adds the weights' first bytes
    assert outputs.content == bytes((a + b) & 255 for a, b in zip(b"an input", upload.content, strict=False))


def test_the_page_has_the_numbers_that_are_sent() -> None:
    page = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
    told = {word: int(number) for number, word in re.findall(r"(?<=\| )(-\d+) ([a-z]+)(?= \|)", page)}
    assert told == {status.name.lower(): int(status) for status in Status if status < 0}
    full = bytes(range(1, 255))
    assert (cobs_encode(full), cobs_encode(full + b"\0")) == (b"\xff" + full, b"\xff" + full + b"\1\1")
    assert "FF and these bytes, with a zero behind them FF, these bytes, 01 and 01" in " ".join(page.split())


def test_the_numbers_are_those_of_the_headers() -> None:
    header = (WIRE / "tinyfed_wire.h").read_text()
    statuses = (FIRMWARE / "base/tinyfed_status.h").read_text()
    for name, bit in messages.CAPABILITIES.items():
        assert f"TINYFED_CAPABILITY_{name.upper()} (1u << {bit})" in header
    assert dict(re.findall(r"TINYFED_E_(\w+) = (-\d+)", statuses)) == {
        status.name: str(status.value) for status in Status if status < 0
    }
    assert f"TINYFED_WIRE_VERSION {VERSION}u" in header
    assert f"TINYFED_WIRE_CHUNK_BYTES_MAX {CHUNK_BYTES_MAX}u" in header
    link = (WIRE / "wire_link.h").read_text()
    for message in MessageType:
        name = {"CHUNK_DOWN": "CHUNK_DOWN", "ACK": "ACK_DOWN"}.get(message.name, message.name)
        assert f" {name} = 0x{message.value:02X}" in link


@settings(deadline=None)
@given(st.binary(max_size=1500))
def test_cobs_takes_the_zeros_out_and_puts_them_back(data: bytes) -> None:
    stuffed = cobs_encode(data)
    assert 0 not in stuffed
    assert len(stuffed) <= len(data) + 1 + len(data) // 254
    assert cobs_decode(stuffed) == data


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"\0", b"\1", b"\xff" * 253, b"\xff" * 254, b"\xff" * 255]), max_size=6))
def test_cobs_at_the_edges_of_a_block(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert cobs_decode(cobs_encode(data)) == data


frames = st.builds(
    Frame,
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.integers(0, 65535),
    st.binary(max_size=CHUNK_BYTES_MAX + 4),
    st.sampled_from([0, 1, VERSION, VERSION, 255]),
).map(lambda frame: frame if frame.version == VERSION and not frame.is_greeting else replace(frame, sequence=0))


@settings(deadline=None)
@given(st.lists(frames, max_size=4), st.integers(1, 50), st.binary(max_size=60))
def test_frames_are_found_in_pieces_and_behind_noise(sent: list[Frame], piece: int, noise: bytes) -> None:
    data = noise + b"".join(encode(frame) for frame in sent)
    decoder = FrameDecoder()
    found = [frame for at in range(0, len(data), piece) for frame in decoder.feed(data[at : at + piece])]
    assert found == sent


@settings(deadline=None)
@given(frames, st.data())
def test_a_changed_frame_is_never_taken_for_another(frame: Frame, data: st.DataObject) -> None:
    good = encode(frame)
    at = data.draw(st.integers(1, len(good) - 2))
    changed = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    assert FrameDecoder().feed(changed + b"\0") == []


@settings(deadline=None)
@given(st.binary(max_size=3000))
def test_noise_is_no_frame_and_keeps_nothing(noise: bytes) -> None:
    decoder = FrameDecoder()
    assert decoder.feed(noise) == []
    assert decode(b"") is None
    frame = Frame(MessageType.CANCEL, 1, 2)
    assert decoder.feed(encode(frame)) == [frame]


@settings(deadline=None)
@given(st.binary(max_size=70), st.sampled_from(list(MessageType)))
def test_a_payload_cut_short_is_told_and_nothing_else_happens(payload: bytes, kind: MessageType) -> None:
    session = HostSession(0x7777)
    session.session_id = 0x7777
    for operation in (HelloOperation(), TransferOperation(Kind.IMAGE, b"x"), UploadOperation(4), VisitOperation(b"")):
        session.start(operation, 0.0)
        said = FrameDecoder().feed(session.poll(0.0))
        session.feed(encode(Frame(kind, said[0].session, said[0].sequence, payload)), 0.0)
        session.poll(0.1)


@pytest.mark.parametrize("piece", [1, 700, 10_000])
@pytest.mark.parametrize("length", [1046, 1047, 5000])
def test_bytes_too_many_for_a_frame_are_one_damaged_frame(length: int, piece: int) -> None:
    """The longest frame has 8 + 4 + 1024 + 4 = 1040 bytes, stuffed at most 1040 + 4 + 1 = 1045. Whatever is longer is
    dropped once its end comes, counted once, and the next frame is found."""
    decoder = FrameDecoder()
    good = Frame(5, 1, 2, bytes(1028))
    line = b"\x01" * length + encode(good)
    found = [frame for at in range(0, len(line), piece) for frame in decoder.feed(line[at : at + piece])]
    assert found == [good]
    assert decoder.damaged == 1
    assert decoder.feed(b"\x01" * 5000 + b"\0\0\0") == []
    assert decoder.damaged == 2
    assert decoder.feed(encode(good)) == [good]
    assert decoder.damaged == 2


def test_the_longest_frame_is_found_a_byte_at_a_time() -> None:
    decoder = FrameDecoder()
    for payload in (bytes([255]) * 1028, bytes(1028)):
        frame = Frame(131, 1, 2, payload)
        assert [found for byte in encode(frame) for found in decoder.feed(bytes([byte]))] == [frame]
    assert decoder.damaged == 0
    with pytest.raises(ValueError, match="1029 bytes is too long"):
        encode(Frame(131, 1, 2, bytes(1029)))


def test_cobs_adds_no_byte_that_it_does_not_need() -> None:
    """One byte, and one for each whole block of 254 without a zero that something follows."""
    for length, more in ((0, 1), (1, 1), (253, 1), (254, 1), (255, 2), (508, 2), (509, 3)):
        assert len(cobs_encode(b"\1" * length)) == length + more, length
        assert len(cobs_encode(b"\1" * length + b"\0")) == length + 1 + 1 + length // 254, length


def test_a_decoder_keeps_one_frame_of_noise_at_most() -> None:
    decoder = FrameDecoder()
    for _ in range(100):
        decoder.feed(b"\1" * 1000)
        assert sum(len(held) for held in vars(decoder).values() if isinstance(held, bytes)) <= 1045
