"""The same bits from the Python extension, gcc and clang on x86-64, aarch64 and a Cortex-M4.

Random nets, every kind of layer with subnormals, infinities and NaN, and sound.
"""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import FIRMWARE, RECIPE, ROOT, require_tools

sys.path.insert(0, str(ROOT / "tests" / "unit"))
import model_zoo
from tinyfed_host.bench.nets import NETS, bench_net

from tinyfed.engine import Engine, Optimizer, _device, hash64
from tinyfed.model import (
    MODES,
    Activation,
    Add,
    AveragePool,
    Conv1D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    ModelSpec,
    Reshape,
    ScaleShift,
    Standardize,
    encode,
)

HERE = Path(__file__).parent
FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", *RECIPE.ARITHMETIC, "-DTINYFED_INT8"]
FLAGS += RECIPE.include_flags(FIRMWARE, "visit")
CORTEX_M4 = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
SAMPLES = 4
RATE = 0.0625


PICTURE = (6, 5, 3)
KINDS = {
    **{name: (PICTURE, (Activation(name),)) for name in ("relu", "relu6", "leaky_relu", "tanh", "sigmoid")},
    "dense": ((17,), (Dense(9, "relu"),)),
    "conv2d": (PICTURE, (Conv2D(5, 3, padding="same"),)),
    "conv2d-stride": (PICTURE, (Conv2D(9, (3, 2), (2, 1), activation="relu"),)),
    "conv1d": ((9, 3), (Conv1D(4, 3, 2, "same"),)),
    "depthwise": (PICTURE, (DepthwiseConv2D(3, 2, "same"),)),
    "max-pool": (PICTURE, (ScaleShift(), MaxPool(2),)),
    "average-pool": (PICTURE, (ScaleShift(), AveragePool(3, 2, "same"),)),
    "global-average": (PICTURE, (ScaleShift(), GlobalAveragePool(),)),
    "add": (PICTURE, (ScaleShift(), Add(0))),
    "scale-shift": (PICTURE, (ScaleShift("leaky_relu"),)),
    "reshape": ((12,), (Dense(12), Reshape((2, 3, 2)))),
    "flatten": (PICTURE, (Flatten(),)),
    "standardize": ((17,), (Standardize(4),)),
}  # fmt: skip
SPECIALS = (1e-45, 1e-39, -3.4e38, np.inf, -np.inf, np.nan)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 16)


class Net:
    """One case: an image and samples, with special values in some."""

    def __init__(self, rng: np.random.Generator, kind: str) -> None:
        case = getattr(model_zoo, f"random_{kind}")(rng)
        share = rng.choice([0.0, 0.0, 0.02, 0.2])
        self.mode = rng.choice(["online", "online", *list(MODES)[2:]])
        self.image = encode(case.spec, model_zoo.poison(rng, case.weights(), share / 4))
        x, y = case.samples(SAMPLES)
        self.x = model_zoo.poison(rng, x.reshape(SAMPLES, -1), share)
        self.y = y.astype("<i4") if y.dtype.kind == "i" else y.astype("<f4")

    @classmethod
    def benchmark(cls, name: str) -> "Net":
        """A benchmark net: the sizes that the fast bodies are made for."""
        loaded, net = bench_net(name), cls.__new__(cls)
        net.mode, net.image, net.x = "online", loaded.image, loaded.inputs[:SAMPLES].reshape(SAMPLES, -1)
        net.y = loaded.targets[:SAMPLES]
        return net

    @classmethod
    def special(cls, rng: np.random.Generator, layer: str, value: float) -> "Net":
        """One kind of layer, with a special value in an input and a weight: too few to drown the rest."""
        shape, layers = KINDS[layer]
        net, spec = cls.__new__(cls), ModelSpec(shape, (*layers, Dense(3)), "mse")
        weights = rng.normal(size=spec.parameter_count).astype(np.float32)
        net.x = rng.normal(size=(SAMPLES, *shape)).astype("<f4").reshape(SAMPLES, -1)
        net.y = rng.normal(size=(SAMPLES, 3)).astype("<f4")
        if abs(value) < 1e-37:  # whole sums of subnormals
            net.x[1] = rng.choice([value, -value, 3 * value, 0.0], net.x.shape[1])
            weights[rng.random(len(weights)) < 0.5] = value
        net.x[2, rng.integers(net.x.shape[1])] = value
        weights[rng.integers(len(weights))] = value
        net.mode, net.image = "online", encode(spec, weights)
        return net

    def packed(self) -> bytes:
        head = struct.pack("<IIfI", len(self.image), SAMPLES, RATE, list(MODES).index(self.mode))
        return head + padded(self.image) + padded(self.x.tobytes()) + padded(self.y.tobytes())

    def expected(self) -> str:
        engine = Engine(self.image, self.mode)
        optimizer = Optimizer(RATE, 0.75, 0.875, 0.96875, 2.0**-10, 2.0**-7, 0.5)
        hash_ = 0xCBF29CE484222325
        for k in range(SAMPLES):
            x, y = self.x[k : k + 1], self.y[k : k + 1]
            hash_ = hash64(canonical(engine.infer(x)), hash_)
            losses, correct = engine.evaluate(x, y)
            if self.mode == "online":
                losses = engine.train_online(x, y, RATE)
            elif k % 2:
                engine.train_batch(self.x[k - 1 : k + 1], self.y[k - 1 : k + 1], optimizer)
            hash_ = hash64(canonical(losses), hash_)
            hash_ = hash64(bytes([correct]), hash_)
        return f"{hash64(canonical(engine.parameters), hash_):016x}."


def canonical(values: np.ndarray) -> bytes:
    values = np.ascontiguousarray(values, "<f4").copy()
    values[np.isnan(values)] = np.nan
    bits = values.view("<u4")
    bits[np.isnan(values)] = 0x7FC00000
    return bits.tobytes()


NETS_SOURCES = (HERE / "parity.c",)
LOGMEL_SOURCES = (HERE / "logmel.c", FIRMWARE / "visit" / "logmel.c")


def build(compiler: str, flags: list[str], out: Path, run: tuple[Path, ...]) -> None:
    require_tools(compiler)
    sources = [*run, *RECIPE.sources(FIRMWARE, "base", "core")]
    command = [compiler, *FLAGS, *flags, *map(str, sources), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def on_host(compiler, flags, runner, tmp_path, blob, run):
    build(compiler, [*flags, str(HERE / "host.c")], tmp_path / "parity", run)
    return [*runner, str(tmp_path / "parity"), str(blob)]


def on_cortex_m4(flags, tmp_path, blob, run):
    require_tools("qemu-system-arm")
    link = ["-nostartfiles", "-T", str(HERE / "cortex_m4.ld"), str(HERE / "cortex_m4.c")]
    build("arm-none-eabi-gcc", [*CORTEX_M4, *flags, *link], tmp_path / "parity.elf", run)
    return [
        "qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none",
        "-semihosting-config", "enable=on,target=native", "-kernel", str(tmp_path / "parity.elf"),
        "-device", f"loader,file={blob},addr=0x21000000,force-raw=on",
    ]  # fmt: skip


TARGETS = {
    "x86-64 gcc -O2": lambda *a: on_host("gcc", ["-O2"], [], *a),
    "x86-64 clang -O3 -mavx2": lambda *a: on_host("clang", ["-O3", "-mavx2"], [], *a),
    "x86-64 without AVX2": lambda *a: on_host("gcc", ["-O2", "-DTINYFED_NO_AVX2"], [], *a),
    "x86-64 plain": lambda *a: on_host("gcc", ["-O2", "-DTINYFED_PLAIN_ONLY"], [], *a),
    "aarch64 plain": lambda *a: on_host(
        "aarch64-linux-gnu-gcc", ["-O2", "-static", "-DTINYFED_PLAIN_ONLY"], ["qemu-aarch64"], *a
    ),
    "aarch64 -O3": lambda *a: on_host("aarch64-linux-gnu-gcc", ["-O3", "-static"], ["qemu-aarch64"], *a),
    "cortex-m4 -O2": lambda *a: on_cortex_m4(["-O2"], *a),
    "cortex-m4 -Os": lambda *a: on_cortex_m4(["-Os"], *a),
}


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    rng = np.random.default_rng(20)
    made = [Net(rng, kind) for kind in ("dense", "conv", "standardized") for _ in range(150)]
    made += [Net.benchmark(name) for name in NETS]
    made += [Net.special(rng, kind, value) for kind in KINDS for value in SPECIALS for _ in range(2)]
    blob = tmp_path_factory.mktemp("parity") / "blob"
    blob.write_bytes(padded(struct.pack("<I", len(made))) + b"".join(net.packed() for net in made))
    return blob, [net.expected() for net in made]


@pytest.mark.parametrize("target", TARGETS)
def test_random_nets_train_to_the_same_bits(target, nets, tmp_path):
    blob, expected = nets
    compare(TARGETS[target](tmp_path, blob, NETS_SOURCES), expected)


@pytest.mark.parametrize("target", [name for name in TARGETS if name.startswith(("aarch64 -O3", "cortex-m4"))])
def test_sound_gives_the_features_to_the_same_bits(target, tmp_path):
    """Noise, silence, the loudest there is, and words from one sample to two seconds."""
    rng = np.random.default_rng(8)
    recordings = [rng.integers(-(2**15), 2**15, count) for count in (1, 2, 255, 256, 257, 3001, 16000)]
    recordings += [np.zeros(700), np.full(700, -(2**15)), *(2000 * rng.standard_normal(900) for _ in range(5))]
    clips = [clip.astype("<i2").tobytes() for clip in recordings]
    packed = [padded(struct.pack("<I", len(clip) // 2)) + padded(clip) for clip in clips]
    blob = tmp_path / "blob"
    blob.write_bytes(padded(struct.pack("<I", len(clips))) + b"".join(packed))
    expected = [f"{hash64(_device.log_mel(clip)):016x}." for clip in clips]
    compare(TARGETS[target](tmp_path, blob, LOGMEL_SOURCES), expected)


def compare(command, expected):
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    lines = (done.stdout + done.stderr).split()
    wrong = [k for k, (a, b) in enumerate(zip(lines, expected, strict=False)) if a != b]
    assert lines == expected, f"{len(lines)} of {len(expected)} cases, different: {wrong[:10]}, {lines[-1:]}"
    assert done.returncode == 0
