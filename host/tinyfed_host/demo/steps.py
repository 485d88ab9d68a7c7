"""`tinyfed demo`, personal gestures: a fleet learns an initialization from which a stranger's device learns its own
four gestures from one example each."""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyfed.boards import read_board
from tinyfed.errors import MissingToolError, TinyfedError, UsageError
from tinyfed.files import TemporaryFolder
from tinyfed.meta.references import learn
from tinyfed.model import replace_weights
from tinyfed.paths import share
from tinyfed_host.demo.screen import Screen
from tinyfed_host.emulation import needs
from tinyfed_host.evaluation.evaluate import evaluate, starts_of
from tinyfed_host.evaluation.kept import EVALUATION, Kept, to_json
from tinyfed_host.evaluation.on_devices import confirm, emulated_places
from tinyfed_host.evaluation.subjects import image_weights, of_parts
from tinyfed_host.experiment.schema import Experiment, FleetSection
from tinyfed_host.firmware import build
from tinyfed_host.report.document import NOTES, SIMULATED_FROM, write_report
from tinyfed_host.run.events import nobody
from tinyfed_host.run.parts import Parts, make_fleet, read_experiment
from tinyfed_host.run.run import Run
from tinyfed_host.run.store import LOG, RunStore, check_free
from tinyfed_host.view.lines import LogView
from tinyfed_host.view.views import Views

BUDGET_S = 70.0
SEEDS = 3
DRAWS = 20  # of each held-out client, seed and initialization


@dataclass(frozen=True)
class DemoOptions:
    """What can be chosen."""

    folder: Path
    command: str
    budget_s: float = BUDGET_S  # for rounds on emulated devices
    rounds: int | None = None  # in all; None: what the experiment says
    draws: int = DRAWS
    seeds: int = SEEDS
    experiment: Path | None = None  # None: examples/watch.toml


def run_demo(options: DemoOptions, screen: Screen) -> dict[str, Any]:
    """All five steps. Returns what `tinyfed demo --json` ends with. Raises a `TinyfedError` when one fails."""
    begun = time.monotonic()
    read = read_experiment(options.experiment or share() / "examples" / "watch.toml")
    if options.rounds is not None:
        read = dataclasses.replace(read, rounds=options.rounds)
    emulated = _with_fleet(read, "emulated")
    check_free(options.folder)
    _check_needs(emulated, options.folder)

    screen.step(1, "Firmware for the emulated boards")
    _build(emulated, screen)
    with Run.begin(options.folder, emulated, options.command, demo=True) as run:
        screen.step(2, "A fleet of emulated devices, each with one person's wrist data")
        rounds = _learn_emulated(run, options, screen)
        screen.step(3, "The same rounds on simulated devices, then on to the end")
        compared = check_same(run, rounds, screen)
        _learn_simulated(run, screen)
        run.store.put_result(SIMULATED_FROM, rounds)
        screen.step(4, "Newcomers: held-out people's devices learn their own four gestures")
        kept = _evaluate(run, screen, options)
        run.store.put_result(EVALUATION, kept)
        run.store.put_result(
            NOTES,
            [
                f"The first {compared} rounds ran on emulated boards over their serial lines; simulated devices gave "
                "the same weights, bit for bit, after each of them."
            ],
        )
        screen.step(5, "Results")
        sha256 = screen.finish_table(kept, run.store)
    report = write_report(options.folder)
    screen.done(options.folder, report, time.monotonic() - begun)
    with RunStore.read(options.folder) as store:
        fleet = _fleet(store)
    return {
        "adaptation": {
            kind: {str(k): round(mean, 4) for k, (mean, _) in zip(kept["shots"], each["curve"], strict=True)}
            for kind, each in kept["kinds"].items()
        },
        "weights_sha256": sha256,
        "fleet": fleet,
    }


def _with_fleet(experiment: Experiment, kind: str) -> Experiment:
    fleet: FleetSection = dataclasses.replace(experiment.fleet, kind=kind)
    return dataclasses.replace(experiment, fleet=fleet)


def _check_needs(experiment: Experiment, folder: Path) -> None:
    """Raises one `MissingToolError` for all that is missing: compilers, emulators, data, a place to write."""
    more = []
    try:
        Parts.make(experiment)
    except (MissingToolError, UsageError) as error:
        more.append(str(error))
    needs.check([read_board(name) for name in experiment.fleet.boards], folder, more)


def _build(experiment: Experiment, screen: Screen) -> None:
    for name in dict.fromkeys(experiment.fleet.boards):
        board = read_board(name)
        begun = time.monotonic()
        with screen.working(f"{name}: building"):
            elf = build.build(board)
            size = build.size(board, elf)
        screen.say(
            f"{name:<12} {size.flash:,} B of flash, {size.ram:,} B of RAM beside the arena of {board.arena_bytes:,} B "
            f"({time.monotonic() - begun:.1f} s)"
        )


def _learn_emulated(run: Run, options: DemoOptions, screen: Screen) -> int:
    """Rounds over the serial lines for as long as there is time. Returns how many."""
    section = run.parts.experiment.fleet
    with make_fleet(run.parts) as fleet:
        with screen.working("starting the boards"):
            boards = run.meet(fleet, simulated=False)
        for unique_id, board in boards.items():
            screen.say(f"{board:<12} {unique_id}")
        clients = len(run.parts.task.train)
        screen.say(
            f"{len(boards)} devices stand for {clients} people's wrists: they are given other data as rounds go on"
        )
        until = time.monotonic() + options.budget_s
        view = screen.view(f"TinyReptile over {len(section.boards)} serial lines", boards, until)
        with Views(LogView(run.store.folder / LOG), view) as views:
            end = run.go(fleet, views, until=lambda: time.monotonic() >= until)
    down = sum(entry["bytes_down"] for entry in run.store.rounds())
    up = sum(entry["bytes_up"] for entry in run.store.rounds())
    screen.say(f"{end.rounds} rounds, {down:,} bytes down, {up:,} bytes up, weights {end.weights_sha256[:16]}…")
    return end.rounds


def check_same(run: Run, rounds: int, screen: Screen) -> int:
    """The same rounds simulated, into a store of their own. Returns how many could be compared.

    A board that did not answer in time, on a busy computer, makes another run of the rest.
    Raises `TinyfedError` when one bit differs.
    """
    experiment = _with_fleet(run.parts.experiment, "simulated")
    begun = time.monotonic()
    with (
        TemporaryFolder() as folder,
        Run.begin(folder / "check", experiment, "") as again,
        make_fleet(again.parts) as fleet,
        screen.working("the same rounds on simulated devices"),
    ):
        again.is_passing = True
        again.go(fleet, nobody, rounds=rounds)
        seconds = time.monotonic() - begun
        expected = again.store.rounds()
    found = run.store.rounds()
    compared = 0
    for one, other in zip(found, expected, strict=True):
        if _answering(one) != _answering(other):
            screen.say(f"! round {compared + 1} went on without a device that did not answer in time")
            break
        if one["weights_sha256"] != other["weights_sha256"]:
            raise TinyfedError(
                f"round {compared + 1}: the emulated devices' weights are {one['weights_sha256'][:16]}…, the simulated "
                f"ones' {other['weights_sha256'][:16]}…: they must be the same bits; please report this"
            )
        compared += 1
    last = f" ({found[compared - 1]['weights_sha256'][:16]}…)" if compared else ""
    screen.good(f"simulated in {seconds:.1f} s: the same bits after each of {compared} rounds{last}")
    return compared


def _answering(entry: Mapping[str, Any]) -> set[str]:
    """The devices whose answers a round used: whose rounds a simulation can repeat."""
    return {visit["device"] for visit in entry["visits"] if visit["failure"] is None}


def _learn_simulated(run: Run, screen: Screen) -> None:
    """On to the experiment's last round."""
    parts = run.parts
    run.parts = dataclasses.replace(parts, experiment=_with_fleet(parts.experiment, "simulated"))
    begun = time.monotonic()
    with make_fleet(run.parts) as fleet, screen.view("On from there, simulated", {}, None) as view:
        end = run.go(fleet, view)
    run.parts = parts
    screen.say(f"{end.rounds:,} rounds after {time.monotonic() - begun:.1f} s more, weights {end.weights_sha256[:16]}…")


def _evaluate(run: Run, screen: Screen, options: DemoOptions) -> Kept:
    """Every held-out client, `draws` draws, `seeds` seeds (each with weights of its own), each kind of initialization,
    simulated; the first draw of each also on emulated boards."""
    found = None
    for number in range(options.seeds):
        parts, image = run.parts, run.learned_image()
        seed = parts.experiment.seed + number
        with screen.working(f"simulated newcomers, seed {seed}"):
            if number:
                parts = Parts.make(dataclasses.replace(parts.experiment, seed=seed))
                image = replace_weights(image, learn(parts.strategy, parts.spec, parts.task, seed=seed))
            subject = of_parts(parts, image, parts.experiment.rounds)
            clients = subject.task.held_out
            starts, missing = starts_of(subject)
            here = evaluate(subject, clients, starts, missing, draws=options.draws, seed=seed)
        if found is None:
            places = emulated_places(subject, clients, parts.experiment.fleet.boards)
            with screen.working("emulated boards with the held-out people's data"):
                count = confirm(here, clients, starts, places)
            screen.good(f"{count} draws on emulated boards gave exactly the simulated devices' answers")
            first, found = image_weights(subject), here
        else:
            found = found.joined(here)
    assert found is not None
    screen.say(
        f"{len(clients)} held-out clients x {options.draws} draws x {options.seeds} seeds simulated for each of "
        f"{len(found.adapted)} initializations"
    )
    on = sorted(dict.fromkeys(place.name for place in places))
    return {**to_json(found, first), "seeds": options.seeds, "confirmed": {"visits": count, "on": on}}


def _fleet(store: RunStore) -> list[dict[str, Any]]:
    totals: dict[str, dict[str, int]] = {}
    for entry in store.rounds():
        for visit in entry["visits"]:
            total = totals.setdefault(visit["device"], {"visits": 0, "bytes_down": 0, "bytes_up": 0, "stack_bytes": 0})
            total["visits"] += 1
            for key in ("bytes_down", "bytes_up"):
                total[key] += visit.get(key, 0)
            total["stack_bytes"] = max(total["stack_bytes"], visit.get("stack_bytes", 0))
    return [
        {
            "unique_id": unique_id,
            "board": facts["board"],
            "ram_bytes": facts["ram_bytes"],
            "arena_bytes": facts["arena_bytes"],
            **totals.get(unique_id, {}),
        }
        for unique_id, facts in store.devices().items()
    ]
