"""Long runs on emulated boards: many boards, boards that lose power, lines that lose and spoil bytes.

    python tests/emulated/soak.py fleet --boards 64 --minutes 30
    python tests/emulated/soak.py line --rounds 2000
    python tests/emulated/soak.py middle --runs 2000 --minutes 180
    python tests/emulated/soak.py power --strikes 100
    python tests/emulated/soak.py power --how reset --strikes 100

Each prints what it measured as JSON and ends with 1 when a promise was not kept. `make soak` runs them all;
`make test` a short form of each.
"""

import argparse
import json
import os
import random
import resource
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from man_in_the_middle import run_through, total
from tinyfed_host.device import discovery as devices
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.device.unique_id import device_id
from tinyfed_host.emulation.qemu import EmulatedDevice, Emulators
from tinyfed_host.experiment.file import parse
from tinyfed_host.experiment.schema import Experiment
from tinyfed_host.fleet.fleet import Fleet
from tinyfed_host.fleet.slots import EmulatedSlot
from tinyfed_host.run.events import Event
from tinyfed_host.run.parts import make_fleet
from tinyfed_host.run.run import Run
from tinyfed_host.run.store import RunStore
from tinyfed_host.transport.base import Transport

from tinyfed.boards import read_board

TEXT = """rounds = {rounds}
seed = 9
[model]
inputs = 1
loss = "mse"
layers = [{{ outputs = 16, activation = "tanh" }}, {{ outputs = 1 }}]
[task]
name = "sine"
shots = 16
[strategy]
name = "{strategy}"
{options}
[fleet]
devices = {devices}
[round]
retries = 12
"""
LEAK = 0.05  # growth of resident memory between a fifth of the time and its end
BUSY = 0.3  # of one core
OVERHEAD_S = 0.005  # of a visit beyond wire and training, median
BIT_ERROR_RATE = 1e-4
FRAME_LOSS = 0.01
PEACE_ROUNDS = 40  # one of three boards is drawn each round: one is never drawn in 3 * (2/3)^40 = 3e-7 of the runs


def experiment(rounds: int, boards: int, strategy: str = "tinyreptile", options: str = "") -> Experiment:
    text = TEXT.format(rounds=rounds, devices=boards, strategy=strategy, options=options)
    return parse(text, "soak.toml", ("mps2_an386",))


def simulated(folder: Path, wanted: Experiment) -> list[str]:
    """The weights after each round on simulated devices."""
    with Run.begin(folder, wanted, "") as run, make_fleet(run.parts) as fleet:
        run.go(fleet)
        return [entry["weights_sha256"] for entry in run.store.rounds()]


def reach(emulated: EmulatedDevice) -> RemoteDevice:
    return RemoteDevice(emulated.connect())


def slots(board: str, count: int, greet: Callable[[EmulatedDevice], RemoteDevice] = reach) -> list[EmulatedSlot]:
    return [EmulatedSlot(device_id(number), read_board(board), greet) for number in range(count)]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# ---- many boards


def soak_fleet(folder: Path, board: str, boards: int, seconds: float) -> dict[str, Any]:
    """All boards at once, half of them each round, for some time."""
    wanted = experiment(1_000_000, boards, "fedavg", f"devices = {max(1, boards // 2)}")
    samples: list[tuple[float, int]] = []
    with Run.begin(folder / "fleet", wanted, "") as run, Fleet(slots(board, boards), check=run.parts.check) as fleet:
        run.meet(fleet, simulated=False)
        begun, busy = time.monotonic(), cpu_s()

        def until() -> bool:
            now = time.monotonic() - begun
            if not samples or now - samples[-1][0] > seconds / 50:
                samples.append((now, resident_bytes()))
            return now >= seconds

        end = run.go(fleet, until=until)
        lasted, busy = time.monotonic() - begun, cpu_s() - busy
        rounds = run.store.rounds()
    visits = [visit for entry in rounds for visit in entry["visits"]]
    good = [visit for visit in visits if visit["failure"] is None]
    counts = [sum(visit["device"] == device_id(number) for visit in good) for number in range(boards)]
    early = [memory for at, memory in samples if at >= seconds / 5]
    growth = statistics.mean(early[-5:]) / statistics.mean(early[:5]) - 1
    return {
        "boards": boards,
        "seconds": round(lasted, 1),
        "rounds": end.rounds,
        "visits": len(good),
        "failed": len(visits) - len(good),
        "fewest_visits": min(counts),
        "most_visits": max(counts),
        "memory_growth": round(growth, 4),
        "coordinator_cpu": round(busy / lasted, 3),
        "kept": {
            "every device has its turns": min(counts) >= max(1, 0.5 * statistics.mean(counts)),
            "memory is flat": growth <= LEAK,
            "the coordinator is idle most of the time": busy / lasted < BUSY,
            "no visit failed": len(good) == len(visits),
        },
    }


# ---- lines that spoil bytes


class SpoiltLine:
    """A transport whose bytes are flipped and whose frames are lost, both ways."""

    def __init__(self, line: Transport, rng: random.Random) -> None:
        self.name = line.name
        self.bytes_per_s = line.bytes_per_s
        self._line = line
        self._rng = rng
        self._drop = False  # the frame that is coming in is lost
        self.spoilt = 0

    def read(self, timeout_s: float) -> bytes:
        return self._spoil(self._line.read(timeout_s))

    def write(self, data: bytes) -> None:
        self._line.write(self._spoil(data))

    def close(self) -> None:
        self._line.close()

    def _spoil(self, data: bytes) -> bytes:
        kept = bytearray()
        for byte in data:
            if byte == 0:
                self._drop = self._rng.random() < FRAME_LOSS
                self.spoilt += self._drop
            if self._drop:
                continue
            if self._rng.random() < 8 * BIT_ERROR_RATE:
                byte ^= 1 << self._rng.randrange(8)
                self.spoilt += 1
            kept.append(byte)
        return bytes(kept)


def soak_line(folder: Path, board: str, rounds: int, seed: int) -> dict[str, Any]:
    """A run over spoilt lines ends with the weights of one over good ones."""
    wanted = experiment(rounds, 2)
    expected = simulated(folder / "expected", wanted)
    lines: list[SpoiltLine] = []
    rng = random.Random(seed)

    def greet(emulated: EmulatedDevice) -> RemoteDevice:
        lines.append(SpoiltLine(emulated.connect(), random.Random(rng.random())))
        return RemoteDevice(lines[-1])

    retries = []

    def observe(event: Event) -> None:
        if event.kind in ("retry", "device-failed"):
            retries.append(event.text)

    with Run.begin(folder / "line", wanted, "") as run, Fleet(slots(board, 2, greet), check=run.parts.check) as fleet:
        begun = time.monotonic()
        end = run.go(fleet, observe)
        lasted = time.monotonic() - begun
        found = [entry["weights_sha256"] for entry in run.store.rounds()]
    spoilt = sum(line.spoilt for line in lines)
    return {
        "rounds": end.rounds,
        "seconds": round(lasted, 1),
        "spoilt": spoilt,
        "visits_repeated": len(retries),
        "last_reason": retries[-1] if retries else "",
        "kept": {
            "every round ended": end.rounds == rounds,
            "no wrong weight was accepted": found == expected,
            "the line was spoilt": spoilt >= rounds / 4,
        },
    }


# ---- boards that lose power, or whose reset button is pressed


def soak_power(folder: Path, board: str, strikes: int, seed: int, how: str = "kill") -> dict[str, Any]:
    """At random moments emulators are killed, and come back as a board does when it is plugged in again; or the
    machine is reset (`how = "reset"`), and its line stays."""
    wanted = experiment(1_000_000, 3)
    rng = random.Random(seed)
    struck: list[str] = []
    over = threading.Event()
    retries = []

    def observe(event: Event) -> None:
        if event.kind in ("retry", "device-failed"):
            retries.append(event.kind)

    boards = slots(board, 3)

    def strike() -> None:
        while len(struck) < strikes and not over.wait(rng.random() * pause):
            slot = rng.choice(boards)
            pid = slot.pid
            if pid is None:
                continue
            if how == "reset":
                slot.reset()
            else:
                os.kill(pid, signal.SIGKILL)
            struck.append(slot.unique_id)

    with Run.begin(folder / "power", wanted, "") as run, Fleet(boards, check=run.parts.check) as fleet:
        begun = time.monotonic()
        run.meet(fleet, simulated=False)
        # A visit begins anew twelve times: where boards take longer to be back, they are left in peace for longer.
        pause = max(0.25, 3 * (time.monotonic() - begun))
        striker = threading.Thread(target=strike)
        striker.start()
        try:
            end = run.go(fleet, observe, until=lambda: not striker.is_alive())
        finally:
            over.set()
            striker.join()
        found = [entry["weights_sha256"] for entry in run.store.rounds()]
        end = run.go(fleet, rounds=end.rounds + PEACE_ROUNDS)
        rounds = run.store.rounds()
    last = [visit for entry in rounds[-PEACE_ROUNDS:] for visit in entry["visits"]]
    back = {visit["device"] for visit in last if visit["failure"] is None}
    failed = [visit for entry in rounds for visit in entry["visits"] if visit["failure"]]
    with Run.begin(folder / "expected", wanted, "") as run, make_fleet(run.parts) as fleet:
        run.go(fleet, rounds=len(found))
        expected = [entry["weights_sha256"] for entry in run.store.rounds()]
    return {
        "board": board,
        "how": how,
        "strikes": len(struck),
        "rounds": end.rounds,
        "visits_repeated": len(retries),
        "visits_failed": len(failed),
        "kept": {
            "all strikes happened": len(struck) == strikes,
            "every board is back": back == {slot.unique_id for slot in boards},
            "the weights are the faultless run's": failed != [] or found == expected,
            "no visit failed for good": failed == [],
        },
    }


# ---- somebody on the line


def soak_middle(board: str, runs: int, seed: int, seconds: float) -> dict[str, Any]:
    """A man in the middle of an emulated board's line, who also says again what was said in earlier runs."""
    outcomes = []
    begun = time.monotonic()
    with Emulators() as emulators:
        port = emulators.start(board, device_id(0)).port
        for number in range(runs):
            outcomes.append(run_through(seed + number, lambda: devices.open_transport(port), time.monotonic))
            if time.monotonic() - begun > seconds:
                break
    figures = total(outcomes)
    return {
        "board": board,
        "runs": len(outcomes),
        "seconds": round(time.monotonic() - begun, 1),
        **figures,
        "kept": {
            "nothing is silently other": figures["wrong"] == 0,
            "most visits end": figures["visits"] >= 2 * len(outcomes),
            "the line was spoilt": figures["faults"] >= 2 * len(outcomes),
        },
    }


def overhead_s(folder: Path) -> float:
    """Median seconds of a visit beyond its wire and training time, in a run's store."""
    with RunStore.read(folder) as store:
        rounds = store.rounds()
    spent = [e["seconds"] - v["wire_s"] - v["train_s"] for e in rounds for v in e["visits"] if not v["failure"]]
    return statistics.median(spent)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("fleet", "line", "power", "middle"))
    parser.add_argument("--board", default="mps2_an386")
    parser.add_argument("--boards", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--strikes", type=int, default=100)
    parser.add_argument("--how", choices=("kill", "reset"), default="kill")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tinyfed-soak-") as name:
        folder = Path(name)
        if chosen.kind == "fleet":
            found = soak_fleet(folder, chosen.board, chosen.boards, chosen.minutes * 60)
        elif chosen.kind == "middle":
            found = soak_middle(chosen.board, chosen.runs, chosen.seed, chosen.minutes * 60)
        elif chosen.kind == "line":
            found = soak_line(folder, chosen.board, chosen.rounds, chosen.seed)
            found["overhead_ms"] = round(1000 * overhead_s(folder / "line"), 2)
            found["kept"]["a visit's overhead is at most 5 ms"] = found["overhead_ms"] <= 1000 * OVERHEAD_S
        else:
            found = soak_power(folder, chosen.board, chosen.strikes, chosen.seed, chosen.how)
    print(json.dumps(found))
    return int(not all(found["kept"].values()))


if __name__ == "__main__":
    sys.exit(main())
