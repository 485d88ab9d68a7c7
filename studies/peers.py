"""Visits of 32 online steps a second on one core: tinyfed beside JAX, PyTorch and Keras, in one run.

`make bench-peers` runs it. The peers live in an environment of their own (PEERS_PYTHON); each runs in a process bound
to the same single core, does the same work - 1-32-32-1, mean squared error, one sample a step, SGD 0.01, 32 steps
from the same weights - and is timed by its best second. The table goes into docs/benchmarks.md between its markers.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from studies.markers import replaced

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
STEPS, RATE, VMAPPED = 32, 0.01, 100
PEERS = {
    "tinyfed": f"tinyfed, {VMAPPED} visits one after the other",
    "jax": f"JAX, jit + vmap over {VMAPPED} visits",
    "torch": "PyTorch, eager",
    "keras": "Keras, train_on_batch (compiled)",
}


def weights() -> list[Any]:
    """W and b of each layer, uniform with Keras' limits."""
    rng = np.random.default_rng(0)
    found: list[Any] = []
    for rows, columns in ((1, 32), (32, 32), (32, 1)):
        limit = (6 / (rows + columns)) ** 0.5
        found += [rng.uniform(-limit, limit, (rows, columns)).astype(np.float32), np.zeros(columns, np.float32)]
    return found


def samples(visits: int) -> tuple[Any, Any]:
    """x and sin(x + 1), shapes (visits, STEPS, 1)."""
    x = np.random.default_rng(1).uniform(-5, 5, (visits, STEPS, 1)).astype(np.float32)
    return x, np.sin(x + 1).astype(np.float32)


def rate_of(call: Callable[[], object], visits: int) -> float:
    """Visits a second: the best of repeated calls in three seconds."""
    for _ in range(3):
        call()
    best, until = float("inf"), time.perf_counter() + 3
    while time.perf_counter() < until:
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return visits / best


def run_tinyfed(activation: str) -> float:
    from tinyfed.engine import Engine
    from tinyfed.model import encode, mlp

    engine = Engine(encode(mlp(1, (32, 32), 1, activation), np.concatenate([w.ravel() for w in weights()])))
    start, (x, y) = engine.parameters, samples(VMAPPED)

    def call() -> None:
        engine.parameters = start
        engine.train_visits(x, y, RATE)

    return rate_of(call, VMAPPED)


def run_jax(activation: str) -> float:
    import jax
    import jax.numpy as jnp

    squash = {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation]

    def loss(p: Any, x: Any, y: Any) -> Any:
        hidden = squash(squash(x @ p[0] + p[1]) @ p[2] + p[3])
        return jnp.mean((hidden @ p[4] + p[5] - y) ** 2)

    def step(p: Any, sample: Any) -> Any:
        gradient = jax.grad(loss)(p, *sample)
        return [w - RATE * g for w, g in zip(p, gradient, strict=True)], None

    visit = jax.jit(jax.vmap(lambda p, x, y: jax.lax.scan(step, p, (x, y))[0], in_axes=(None, 0, 0)))
    p, (x, y) = [jnp.asarray(w) for w in weights()], samples(VMAPPED)
    return rate_of(lambda: jax.block_until_ready(visit(p, x, y)), VMAPPED)


def run_torch(activation: str) -> float:
    import torch

    torch.set_num_threads(1)
    squash = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[activation]
    linear = torch.nn.Linear
    net = torch.nn.Sequential(linear(1, 32), squash(), linear(32, 32), squash(), linear(32, 1))
    optimizer, criterion = torch.optim.SGD(net.parameters(), lr=RATE), torch.nn.MSELoss()
    x, y = (torch.from_numpy(values[0]) for values in samples(1))

    def call() -> None:
        with torch.no_grad():
            for parameter, value in zip(net.parameters(), weights_of_start, strict=True):
                parameter.copy_(value)
        for k in range(STEPS):
            optimizer.zero_grad()
            criterion(net(x[k]), y[k]).backward()
            optimizer.step()

    weights_of_start = [torch.from_numpy(w.T.copy()) for w in weights()]
    return rate_of(call, 1)


def run_keras(activation: str) -> float:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    layers = [keras.layers.Dense(32, activation), keras.layers.Dense(32, activation), keras.layers.Dense(1)]
    net = keras.Sequential([keras.Input((1,)), *layers])
    net.compile(keras.optimizers.SGD(RATE), "mse")
    x, y = samples(1)

    def call() -> None:
        net.set_weights(weights())
        for k in range(STEPS):
            net.train_on_batch(x[0, k : k + 1], y[0, k : k + 1])

    return rate_of(call, 1)


def measure(peer: str) -> dict[str, float]:
    """In this process, on one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    run = {"tinyfed": run_tinyfed, "jax": run_jax, "torch": run_torch, "keras": run_keras}[peer]
    return {activation: run(activation) for activation in ("relu", "tanh")}


def table(found: dict[str, dict[str, float]]) -> str:
    """The page's table: visits a second, and how many times fewer than tinyfed's."""
    lines = ["| | ReLU, visits a second | tanh, visits a second |", "|---|---|---|"]
    ours = found["tinyfed"]
    for peer, rates in found.items():
        cells = [f"{rates[a]:,.0f}" + ("" if peer == "tinyfed" else f" (1/{ours[a] / rates[a]:,.1f})") for a in ours]
        lines.append(f"| {PEERS[peer]} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def main() -> int:
    """Measure all, or one peer of this environment for the process that asked."""
    if sys.argv[1:]:
        print(json.dumps(measure(sys.argv[1])))
        return 0
    python = os.environ["PEERS_PYTHON"]
    environment = os.environ | {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    found = {}
    for peer in PEERS:
        program = sys.executable if peer == "tinyfed" else python
        done = subprocess.run(
            [program, "-m", "studies.peers", peer],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            print(f"bench-peers: {peer} failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            return 1
        found[peer] = json.loads(done.stdout.splitlines()[-1])
        print(f"{PEERS[peer]}: " + ", ".join(f"{name} {rate:,.0f}" for name, rate in found[peer].items()), flush=True)
    PAGE.write_text(replaced(PAGE, "peers", table(found)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
