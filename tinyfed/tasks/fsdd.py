"""Keyword audio: the Free Spoken Digit Dataset, a client a speaker, `ways` of ten words in the speaker's own order.

The features are those of firmware/visit/logmel.c, computed by that code: 16 frames of 20 log-mel energies over a word.
"""

import io
import wave
from functools import cache, partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from tinyfed.data import datasets
from tinyfed.data.shard import write_shard
from tinyfed.engine import _device
from tinyfed.errors import UsageError
from tinyfed.fields import checked, quote, whole
from tinyfed.tasks.task import Client, Task, classification
from tinyfed.text import names_in

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
WORDS = tuple("0123456789")
FRAMES, BANDS = 16, 20
RATE_HZ = 8000


@checked("task fsdd")
def make(
    ways: Annotated[int, whole(2, 10)] = 5, shots: Annotated[int, whole(1, 40)] = 10, held_out: str = "nicolas,theo"
) -> Task:
    """The task; `held_out` names the speakers to judge on, the others train. Raises UsageError."""
    chosen = names_in(held_out)
    unknown = [name for name in chosen if name not in SPEAKERS]
    if unknown or len(set(chosen)) in (0, len(SPEAKERS)):
        problem = f"must be some of {','.join(SPEAKERS)}"
        raise UsageError(problem, where="task fsdd", key="held_out", value=quote(held_out))
    clients = {name: Client(name, partial(_shard, name)) for name in SPEAKERS}
    datasets.read("fsdd")
    parts = [tuple(c for name, c in clients.items() if (name in chosen) == judged) for judged in (False, True)]
    return classification("fsdd", (FRAMES * BANDS,), *parts, ways=ways, shots=shots, classes=WORDS)


def read_wav(data: bytes, name: str) -> NDArray[np.int16]:
    """The samples of a recording, 8 kHz, one channel, 16 bits. Raises UsageError for another kind."""
    try:
        with wave.open(io.BytesIO(data)) as sound:
            kind = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
            content = sound.readframes(sound.getnframes())
    except (wave.Error, EOFError) as error:
        raise UsageError(f"task fsdd: {name} is no WAV file: {error}") from None
    if kind != (1, 2, RATE_HZ):
        raise UsageError(f"task fsdd: {name} has (channels, bytes, Hz) {kind}, needed is (1, 2, {RATE_HZ})")
    return np.frombuffer(content, "<i2").astype(np.int16)


def log_mel(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Features of a word, (16 frames, 20 bands), by the device's own code."""
    return np.frombuffer(_device.log_mel(samples.astype("<i2").tobytes()), "<f4").reshape(FRAMES, BANDS)


@cache
def _shard(speaker: str) -> bytes:
    members = datasets.read("fsdd")
    words: list[list[NDArray[np.float32]]] = [[] for _ in WORDS]
    for name in sorted(members):
        word, person, _ = name.split("_")
        if person == speaker:
            words[int(word)].append(log_mel(read_wav(members[name], name)).reshape(-1))
    return write_shard([np.stack(word) for word in words])
