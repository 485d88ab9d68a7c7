"""A frozen int8 keyword network with a head that learns, on speakers it has never heard (docs/head.md).

The base is MLPerf Tiny's keyword spotting network, int8; its words are English commands, none of them digits. The head
learns the ten digits of four speakers of FSDD, then adapts online to each of the other two.

    TINYFED_DATA=FOLDER python benchmarks/head_fsdd.py kws_ref_model.tflite
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tinyfed_host.infer_bench import measure

from tinyfed.boards import read_board
from tinyfed.engine import Engine
from tinyfed.engine.int8 import Int8Engine
from tinyfed.model import encode, plan, spec
from tinyfed.model.convert_int8 import convert_int8
from tinyfed.model.head import attach, normalized
from tinyfed.model.image_int8 import read_plan
from tinyfed.model.tflite import load
from tinyfed.tasks import datasets
from tinyfed.tasks.fsdd import read_wav

HELD_OUT = ("nicolas", "theo")
RATE_HZ, FRAME, STEP, FFT, BANDS, COEFFICIENTS, FRAMES = 16000, 480, 320, 512, 40, 10, 49
LEARNING_RATE, ADAPT_RATE, SHOTS = 0.02, 0.02, 10


def mel_matrix() -> NDArray[np.float64]:
    """(FFT bins, bands): triangles that are even in mel between 20 and 4000 Hz (HTK's scale)."""

    def mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127 * np.log1p(hz / 700)

    edges = np.linspace(*mel(np.array([20.0, 4000.0])), BANDS + 2)
    bins = mel(np.linspace(0, RATE_HZ / 2, FFT // 2 + 1))[:, None]
    up = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0, np.minimum(up, down))
    triangles[0] = 0
    return triangles


def mfcc(sound: NDArray[np.int16]) -> NDArray[np.float32]:
    """(49, 10, 1): the network's input of a recording of 8 kHz, in the middle of a second of 16 kHz."""
    at = np.arange(2 * len(sound)) / 2
    wave = np.interp(at, np.arange(len(sound)), sound.astype(np.float64)) / 32768
    wave = wave[:RATE_HZ]
    before = (RATE_HZ - len(wave)) // 2
    wave = np.pad(wave, (before, RATE_HZ - len(wave) - before))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    frames = np.stack([wave[STEP * k : STEP * k + FRAME] * window for k in range(FRAMES)])
    energies = np.log(np.abs(np.fft.rfft(frames, FFT)) @ mel_matrix() + 1e-6)
    angles = np.pi / BANDS * (np.arange(BANDS)[:, None] + 0.5) * np.arange(COEFFICIENTS)
    return (energies @ np.cos(angles) * np.sqrt(2 / BANDS)).astype(np.float32)[..., None]


def main() -> None:
    model = attach(convert_int8(load(Path(sys.argv[1]))), sys.argv[1], classes=10)
    base = Int8Engine(model.spec.frozen)
    sounds: dict[str, list[tuple[NDArray[np.float32], int, int]]] = {}
    for name, content in sorted(datasets.read("fsdd").items()):
        word, person, number = name.removesuffix(".wav").split("_")
        sounds.setdefault(person, []).append((mfcc(read_wav(content, name)), int(word), int(number)))
    train = [sample for person, own in sounds.items() if person not in HELD_OUT for sample in own]
    model = normalized(model, np.stack([x for x, _, _ in train[::10]]))

    # The head on stored features: the same bits as the whole image on the sounds, and each sound is run once.
    head = spec.ModelSpec(model.spec.input_shape, model.spec.layers, model.spec.loss)

    def features(samples: list[tuple[NDArray[np.float32], int, int]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rows = [base.dequantize(base.run(base.quantize(x))[0]).reshape(-1) for x, _, _ in samples]
        return np.stack(rows), np.array([word for _, word, _ in samples])

    x, y = features(train)
    order = np.random.default_rng(0).permutation(len(x))
    engine = Engine(encode(head, model.weights), "online")
    for _ in range(3):
        engine.train_online(x[order], y[order], LEARNING_RATE)
    learned = engine.parameters
    print(f"{len(x)} sounds of {len(sounds) - len(HELD_OUT)} speakers: {engine.evaluate(x, y)[1] / len(x):.1%}")
    for person in HELD_OUT:
        own = sounds[person]
        test_x, test_y = features([sample for sample in own if sample[2] >= 25])
        adapt_x, adapt_y = features([sample for sample in own if sample[2] < SHOTS])
        mix = np.random.default_rng(1).permutation(len(adapt_x))
        engine.parameters = learned
        before = engine.evaluate(test_x, test_y)[1] / len(test_x)
        engine.train_online(adapt_x[mix], adapt_y[mix], ADAPT_RATE)
        after = engine.evaluate(test_x, test_y)[1] / len(test_x)
        print(f"{person}: {before:.1%} before, {after:.1%} after {SHOTS} sounds of each word ({len(test_x)} others)")
    whole, alone = plan(model.spec, "online").work_bytes, plan(head, "online").work_bytes
    print(f"RAM: {4 * model.spec.parameter_count:,} bytes of parameters, {alone:,} of the head's work area,")
    print(f"{whole:,} with the frozen network's; flash: {read_plan(model.spec.frozen).program_bytes:,} bytes")
    cost = measure(read_board("mps2_an386"), model.spec.frozen, [base.quantize(train[0][0])])
    print(f"features on {cost.macs:,} multiply-adds: {cost.instructions:,} instructions of an emulated Cortex-M4")


if __name__ == "__main__":
    main()
