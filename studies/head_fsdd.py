"""A frozen int8 keyword network with a head that learns, on speakers it has never heard (docs/head.md).

The base is MLPerf Tiny's keyword spotting network, int8; its words are English commands, none of them digits. For each
speaker of FSDD in turn the head learns the ten digits of the five others, then adapts online to that one: on the
in-process engine, and on an emulated Cortex-M4 board that must come to the same bits.

    TINYFED_DATA=FOLDER python studies/head_fsdd.py kws_ref_model.tflite [--seeds N] [--speakers NAME...]

With `--write FOLDER` it writes the sounds as the network's inputs instead, for examples/head.toml.
"""

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import start
from tinyfed_host.firmware import build
from tinyfed_host.transport.socket import connect

from tinyfed import model as spec
from tinyfed.data import datasets
from tinyfed.data.shard import write_shard
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.engine import Engine
from tinyfed.model import encode, plan, replace_weights
from tinyfed.model.convert import FloatModel
from tinyfed.model.head import attach
from tinyfed.model.int8.engine import Int8Engine
from tinyfed.model.int8.image import read_plan
from tinyfed.model.tflite.file import load
from tinyfed.model.tflite.to_int8 import convert_int8
from tinyfed.tasks.fsdd import read_wav
from tinyfed.weights import Weights
from tinyfed.wire.order import Order, Result

BOARD, ID = "mps2_an386", "0f0e0d0c0b0a090807060505"
WORDS, SHOTS, QUERIES, LEARNING_RATE, PASSES = 10, 10, 25, 0.02, 3
RATE_HZ, FRAME, STEP, FFT, BANDS, COEFFICIENTS, FRAMES = 16000, 480, 320, 512, 40, 10, 49
ORDER = Order(
    "shard", WORDS, SHOTS, QUERIES, seed=1, learning_rate=LEARNING_RATE, checkpoints=(0, SHOTS), true_labels=True
)
Sounds = dict[str, list[NDArray[np.float32]]]  # of a speaker: for each word (sounds, values of the network's input)


def mel_matrix() -> NDArray[np.float64]:
    """(FFT bins, bands): triangles that are even in mel between 20 and 4000 Hz (HTK's scale)."""

    def mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = 1127 * np.log1p(hz / 700)
        return scaled

    low, high = mel(np.array([20.0, 4000.0])).tolist()
    edges = np.linspace(low, high, BANDS + 2)
    bins = mel(np.linspace(0, RATE_HZ / 2, FFT // 2 + 1))[:, None]
    up = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles: NDArray[np.float64] = np.maximum(0, np.minimum(up, down))
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
    coefficients: NDArray[np.float64] = energies @ np.cos(angles) * np.sqrt(2 / BANDS)
    return coefficients.astype(np.float32)[..., None]


def read_sounds() -> Sounds:
    """The inputs of all recordings of the Free Spoken Digit Dataset."""
    found: dict[str, list[list[NDArray[np.float32]]]] = {}
    for name, content in sorted(datasets.read("fsdd").items()):
        word, person, _ = name.removesuffix(".wav").split("_")
        own = found.setdefault(person, [[] for _ in range(WORDS)])
        own[int(word)].append(mfcc(read_wav(content, name)).reshape(-1))
    return {person: [np.stack(words) for words in own] for person, own in found.items()}


def write_task(folder: Path, sounds: Sounds, held_out: tuple[str, ...] = ("nicolas", "theo")) -> None:
    """A file for each speaker, as the task `folder` reads them (docs/howto-own-data.md)."""
    for person, words in sounds.items():
        path = folder / ("held_out" if person in held_out else "train") / f"{person}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, x=np.concatenate(words), y=np.repeat(np.arange(WORDS), [len(own) for own in words]))


@dataclass(frozen=True)
class Heads:
    """The network with its head, the head by itself, and the features of every sound: each is run once."""

    model: FloatModel
    alone: spec.ModelSpec
    features: Sounds

    @classmethod
    def of(cls, base: Path, sounds: Sounds) -> "Heads":
        model = attach(convert_int8(load(base)), str(base), classes=WORDS)
        alone = spec.ModelSpec(model.spec.input_shape, model.spec.layers, model.spec.loss)
        program = Int8Engine(model.spec.frozen)
        shape = model.spec.sample_shape

        def features(words: NDArray[np.float32]) -> NDArray[np.float32]:
            runs = [program.dequantize(program.run(program.quantize(x.reshape(shape)))[0]) for x in words]
            return np.stack(runs).reshape(len(words), -1)

        return cls(model, alone, {person: [features(words) for words in own] for person, own in sounds.items()})

    def learned_from_others(self, person: str) -> NDArray[np.float32]:
        """The head's weights and statistics after all sounds of the others, from nothing, online."""
        rows = [(x, y) for other, own in self.features.items() if other != person for y, w in enumerate(own) for x in w]
        rows = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
        engine = Engine(encode(self.alone, self.model.weights), "online")
        x, y = np.stack([row for row, _ in rows]), np.array([label for _, label in rows])
        for _ in range(PASSES):
            engine.train_online(x, y, LEARNING_RATE)
        return engine.parameters

    def adapt(self, person: str, weights: NDArray[np.float32], seed: int) -> tuple[Result, bytes]:
        """A visit to the in-process device that has the person's features."""
        device = SimulatedDevice("head", shard=write_shard(self.features[person]))
        device.load(encode(self.alone, weights))
        outcome = device.visit(None, replace(ORDER, seed=seed), want_weights=True)
        return outcome.result, outcome.weights or b""


def share(result: Result, checkpoint: int) -> float:
    """Of the sounds told apart right."""
    return result.checkpoints[checkpoint].correct / result.checkpoints[checkpoint].count


class OnBoard:
    """Firmware that carries the frozen network in its flash, on an emulated board with a person's sounds."""

    def __init__(self, model: FloatModel, folder: Path) -> None:
        path = folder / "head.tfm"
        path.write_bytes(model.content)
        self.image = build.build(BOARD, model=path)

    def visit(
        self,
        samples: list[NDArray[np.float32]],
        weights: bytes,
        order: Order,
        *,
        counting: bool = False,
        model: bytes | None = None,
    ) -> tuple[Result, bytes]:
        """One visit: only the head goes over the line. `model`: a whole image to send instead of the one in flash."""
        with start(BOARD, ID, write_shard(samples), image=self.image, counting=counting) as emulated:
            device = RemoteDevice(connect(emulated.port), patience_s=60.0)
            try:
                if model is not None:
                    device.load(model)
                outcome = device.visit(Weights.of(weights), order, want_weights=True)
            finally:
                device.close()
        return outcome.result, outcome.weights or b""


def check_on_board(board: OnBoard, heads: Heads, sounds: Sounds, person: str, weights: NDArray[np.float32]) -> Result:
    """The visit of seed 1 on the board. Ends the program unless its weights and scores are the in-process ones."""
    expected, trained = heads.adapt(person, weights, 1)
    found, came = board.visit(sounds[person], weights.tobytes(), ORDER)
    if came != trained or found.checkpoints != expected.checkpoints:
        raise SystemExit(f"{person}: the board's weights or scores differ from the in-process engine's")
    return found


def step_instructions(board: OnBoard, heads: Heads, sounds: Sounds, person: str) -> tuple[int, int]:
    """Instructions of a step on the board: of the whole, and of the head alone on ready features."""
    order = replace(ORDER, shots=1, checkpoints=())
    weights = heads.model.weights.tobytes()
    whole, _ = board.visit(sounds[person], weights, order, counting=True)
    image = replace_weights(encode(heads.alone, heads.model.weights), heads.model.weights)
    head, _ = board.visit(heads.features[person], weights, order, counting=True, model=image)
    return whole.train_instructions // whole.samples, head.train_instructions // head.samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, nargs="?", help="kws_ref_model.tflite")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write the sounds of each speaker, and end")
    parser.add_argument("--seeds", type=int, default=5, help="draws of the sounds to adapt to")
    parser.add_argument("--speakers", nargs="*", help="all, if left out")
    arguments = parser.parse_args()
    sounds = read_sounds()
    if arguments.write is not None:
        write_task(arguments.write, sounds)
        return
    if arguments.base is None:
        parser.error("give the network, kws_ref_model.tflite")
    heads = Heads.of(arguments.base, sounds)
    people = arguments.speakers or list(sounds)
    print("| speaker | before | after | before, seed 1, on the board | after |\n|---|---|---|---|---|")
    means = []
    with tempfile.TemporaryDirectory(prefix="tinyfed-") as folder:
        board = OnBoard(heads.model, Path(folder))
        for person in people:
            weights = heads.learned_from_others(person)
            results = [heads.adapt(person, weights, seed)[0] for seed in range(1, arguments.seeds + 1)]
            found = check_on_board(board, heads, sounds, person, weights)
            means.append([float(np.mean([share(result, k) for result in results])) for k in (0, 1)])
            row = [*means[-1], share(found, 0), share(found, 1)]
            print(f"| {person} | " + " | ".join(f"{100 * value:.1f} %" for value in row) + " |", flush=True)
        whole, head = step_instructions(board, heads, sounds, people[0])
    before, after = np.mean(means, axis=0)
    print(f"| mean | {100 * before:.1f} % | {100 * after:.1f} % | | |\n")
    full, alone = plan(heads.model.spec, "online"), plan(heads.alone, "online")
    print(f"parameters of the head {alone.parameter_bytes:,} bytes, its work area {alone.work_bytes:,};")
    arena = alone.parameter_bytes + full.work_bytes
    print(f"arena with the frozen network in flash {arena:,}, stack {found.stack_bytes:,}")
    print(f"frozen network in flash {read_plan(heads.model.spec.frozen).program_bytes:,} bytes")
    print(f"a step {whole:,} instructions, of these the head {head:,}: {whole / 64e3:.1f} ms and {head / 64e3:.2f} ms")
    print("at 64 MHz and one instruction a cycle")


if __name__ == "__main__":
    main()
