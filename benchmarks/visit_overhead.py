"""What a visit takes beyond training: from the order's first byte to the result, on the emulated Cortex-M4 board.

Usage: python benchmarks/visit_overhead.py [VISITS] (default 100). The device's own training time, which its clock
tells, is taken off; its one evaluation sample is not. Run it on an otherwise idle machine.
"""

import json
import statistics
import sys

from tinyfed_host.devices import greet
from tinyfed_host.transport.emulator import Emulators

from tinyfed.model.image import encode
from tinyfed.model.initialize import initialize
from tinyfed.model.spec import mlp
from tinyfed.tasks.order import Order


def main() -> None:
    """Print the median and the slowest, in milliseconds, as JSON."""
    visits = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    spec = mlp(1, (32, 32), 1)
    over_ms = []
    with Emulators() as emulators:
        device = greet(emulators.start("mps2_an386", f"{1:024x}").port)
        device.load(encode(spec, initialize(spec, 1)))
        for seed in range(visits):
            outcome = device.visit(None, Order("sine", 1, 32, 1, seed, 0.02), want_weights=False)
            over_ms.append(1e3 * outcome.train_s - 1e-3 * outcome.result.train_us)
        device.close()
    print(json.dumps({"visits": visits, "median_ms": statistics.median(over_ms), "slowest_ms": max(over_ms)}))


if __name__ == "__main__":
    main()
