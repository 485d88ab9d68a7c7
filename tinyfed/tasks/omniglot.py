"""Handwritten characters (Lake, Salakhutdinov, Tenenbaum 2015), 28x28, a few ways out of a client's own character set.

1,623 characters of 20 drawers each. "random" splits them as Reptile does, 1,200 to train with and 423 to judge on,
here by a seeded draw of our own; "official" takes the 964 of the background and the 659 of the evaluation set. A client
holds `set_size` characters; with `rotations` 1 the training characters turned by 90, 180 and 270 degrees are characters
of their own. 105x105 pixels become 28x28 by the share of ink, exactly: every value is a multiple of 1/225.
"""

import struct
import zlib
from functools import cache, partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from tinyfed.data import datasets
from tinyfed.data.shard import write_shard
from tinyfed.errors import UsageError
from tinyfed.fields import checked, whole, word
from tinyfed.random import SplitMix64
from tinyfed.tasks.task import Client, Task, classification

SIZE = 28
PIXELS = 105
DRAWERS = 20
TRAIN_CHARACTERS = 1200


@checked("task omniglot")
def make(
    ways: Annotated[int, whole(2, 20)] = 5,
    shots: Annotated[int, whole(1, 19)] = 10,
    set_size: Annotated[int, whole(1, 400)] = 24,
    rotations: Annotated[int, whole(0, 1)] = 0,
    split: Annotated[str, word("random", "official")] = "random",
) -> Task:
    """The task: `ways` characters, `shots` drawings of each in a visit, 1 and 5 to adapt. Raises UsageError."""
    if set_size < ways:
        raise UsageError(
            f"must be {ways} or more, as `ways` is", where="task omniglot", key="set_size", value=f"{set_size}"
        )
    names = tuple(characters())
    background = [k for k, name in enumerate(names) if name.startswith("images_background")]
    if split == "official":
        train, held_out = background, [k for k in range(len(names)) if k not in set(background)]
    else:
        drawn = SplitMix64(0).sequence(TRAIN_CHARACTERS, len(names))
        train, held_out = drawn, [k for k in range(len(names)) if k not in set(drawn)]
    parts = _clients("train", train, set_size, rotations), _clients("new", held_out, set_size, 0)
    shape, points = (SIZE, SIZE, 1), (0, 1, 5)
    return classification(
        "omniglot", shape, *parts, ways=ways, shots=shots, points=points, newcomer_shots=min(5, shots)
    )


def _clients(part: str, chosen: list[int], set_size: int, rotations: int) -> tuple[Client, ...]:
    sets = [chosen[k : k + set_size] for k in range(0, len(chosen) - set_size + 1, set_size)]
    return tuple(Client(f"{part}-{n:02d}", partial(_shard, tuple(s), rotations)) for n, s in enumerate(sets))


def _shard(chosen: tuple[int, ...], rotations: int) -> bytes:
    images = drawings()
    turned = [np.rot90(images[k], turn, axes=(1, 2)) for k in chosen for turn in range(4 if rotations else 1)]
    return write_shard([image.reshape(DRAWERS, SIZE * SIZE) for image in turned])


@cache
def characters() -> dict[str, list[str]]:
    """The drawings' names by character, both in order."""
    found: dict[str, list[str]] = {}
    for name in sorted(datasets.read("omniglot")):
        found.setdefault(name.rsplit("/", 1)[0], []).append(name)
    return found


@cache
def drawings() -> NDArray[np.float32]:
    """(characters, drawers, 28, 28), the share of ink in each pixel, 0..1."""
    members = datasets.read("omniglot")
    # quarter pixels: 105 * 4 = 420 = 28 * 15, so row i of the small image covers quarter rows 15 i .. 15 i + 14
    cover = np.zeros((SIZE, PIXELS), np.float32)
    for quarter in range(4 * PIXELS):
        cover[quarter // 15, quarter // 4] += 1
    small = []
    for names in characters().values():
        ink = np.stack([read_png(members[name]) for name in names]).astype(np.float32)
        # whole numbers below 2**24: exact in float32 in whatever order they are added
        small.append(np.matmul(np.matmul(cover, ink), cover.T))
    return (np.stack(small) / np.float32(225)).astype(np.float32)


def read_png(data: bytes) -> NDArray[np.uint8]:
    """The ink (1) and paper (0) of a black-and-white PNG, (height, width). Raises UsageError for another kind."""
    at, packed, head = 8, b"", b""
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            head = content
        elif kind == b"IDAT":
            packed += content
        at += 12 + length
    width, height = struct.unpack_from(">II", head) if len(head) == 13 else (0, 0)
    stride = (width + 7) // 8 + 1
    rows = np.frombuffer(zlib.decompress(packed), np.uint8) if packed else np.empty(0, np.uint8)
    if head[8:] != b"\1\0\0\0\0" or rows.size != height * stride or rows[::stride].any():
        raise UsageError("task omniglot: a drawing is not a black-and-white PNG of the kind published")
    bits = np.unpackbits(rows.reshape(height, stride)[:, 1:], axis=1)[:, :width]
    return np.uint8(1) - bits
