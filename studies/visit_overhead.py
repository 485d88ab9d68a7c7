"""What a visit takes beyond training and the wire, on the emulated Cortex-M4 board, from the order to the result.

Usage: python studies/visit_overhead.py [VISITS] (default 100). Taken off are the device's own training time, which
its clock tells, and the order's bytes at the speed at which QEMU's line took a model before; the one evaluation sample
and the result's bytes are not. Run it on an otherwise idle machine.
"""

import json
import statistics
import sys
import time

from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import Emulators

from tinyfed.model.image import encode
from tinyfed.model.initialize import initialize
from tinyfed.model.spec import mlp
from tinyfed.wire.order import Order


def main() -> None:
    """Print the median and the slowest, in milliseconds, as JSON."""
    visits = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    spec = mlp(1, (32, 32), 1)
    image = encode(spec, initialize(spec, 1))
    over_ms = []
    with Emulators() as emulators:
        device = RemoteDevice(emulators.start("mps2_an386", f"{1:024x}").connect())
        begin = time.perf_counter()
        device.load(image)
        ms_per_byte = 1e3 * (time.perf_counter() - begin) / len(image)
        for seed in range(visits):
            outcome = device.visit(None, Order("sine", 1, 32, 1, seed, 0.02), want_weights=False)
            beyond_training = 1e3 * outcome.train_s - 1e-3 * outcome.result.train_us
            over_ms.append(beyond_training - ms_per_byte * outcome.bytes_down)
        device.close()
    found = {"median_ms": statistics.median(over_ms), "slowest_ms": max(over_ms), "line_bytes_per_s": 1e3 / ms_per_byte}
    print(json.dumps({"visits": visits, **{name: round(value, 2) for name, value in found.items()}}))


if __name__ == "__main__":
    main()
