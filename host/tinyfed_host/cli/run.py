"""`tinyfed run`."""

import math
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tinyfed.errors import UsageError
from tinyfed.text import shown
from tinyfed_host.cli.options import complete_board, complete_experiment, complete_run, number_option
from tinyfed_host.cli.working import working
from tinyfed_host.experiment.schema import EXPERIMENT

app = typer.Typer(add_completion=False)


@app.command(
    epilog="Examples: tinyfed run sine · tinyfed run watch --fleet emulated --rounds 50 · "
    "tinyfed run my.toml --port /dev/ttyACM0 --port /dev/ttyACM1 --name kitchen · tinyfed run --resume kitchen · "
    "tinyfed run --resume kitchen --rounds 500"
)
def run(
    experiment: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT.toml",
            autocompletion=complete_experiment,
            help="The experiment: a file, or an example of --list; with --resume the run.",
        ),
    ] = "",
    name: Annotated[str, typer.Option("--name", "-n", help="Write runs/NAME (the file's name, then NAME-2).")] = "",
    fleet: Annotated[
        str,
        typer.Option(
            "--fleet",
            "-f",
            autocompletion=lambda: ["simulated", "emulated", "ports"],
            help="simulated or emulated, whatever the file says.",
        ),
    ] = "",
    board: Annotated[
        str,
        typer.Option(
            "--board", "-b", autocompletion=complete_board, help="Make every simulated or emulated device this board."
        ),
    ] = "",
    port: Annotated[
        list[str] | None,
        typer.Option("--port", "-p", help="A device's port or unique id, once for each; any: all USB ports."),
    ] = None,
    rounds: Annotated[int | None, number_option(EXPERIMENT["rounds"], "--rounds", "-r", help="Rounds in all.")] = None,
    seed: Annotated[int | None, number_option(EXPERIMENT["seed"], "--seed", "-s", help="Seed of the run.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A value in place of the file's: task.learning_rate=0.01."),
    ] = None,
    runs: Annotated[Path, typer.Option("--runs", help="The folder that runs are in.")] = Path("runs"),
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a run that was stopped or killed; to --rounds with one that ended."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a run of this name.")] = False,
    wait: Annotated[
        str, typer.Option("--wait", help="When no device answers, wait so long for one: 30s, 10m, 2h, or forever.")
    ] = "60s",
    start_from: Annotated[
        str, typer.Option("--from", autocompletion=complete_run, help="Start from the model of this run.")
    ] = "",
    no_evaluate: Annotated[
        bool, typer.Option("--no-evaluate", help="Do not judge held-out clients when the rounds are done.")
    ] = False,
    list_examples: Annotated[bool, typer.Option("--list", help="List the examples that run by their names.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Events as JSON lines, the last one the result.")] = False,
) -> None:
    """Run an experiment, round after round, and store each round in runs/NAME.

    A run can be stopped (Ctrl-C, a power cut) and goes on with --resume to the same final bits, with --rounds too to
    those of a run of so many.

    The learned model is runs/NAME/model.tfm, the metrics are in metrics.jsonl.

    Exit codes: 2 a wrong option or experiment file, 3 a missing tool, 4 no device answers, 5 the model does not fit a
    board, 7 the run is in use or its disk is full, 130 after Ctrl-C.
    """
    from tinyfed_host.cli.output import print_json, print_line, print_note
    from tinyfed_host.device.port_choice import at_terminal, choose
    from tinyfed_host.experiment.bundled import examples, find_experiment
    from tinyfed_host.experiment.schema import FleetSection, override
    from tinyfed_host.run.names import free_name, name_of, new_folder, run_folder
    from tinyfed_host.run.parts import read_experiment
    from tinyfed_host.run.run import Run
    from tinyfed_host.run.store import check_free

    if list_examples:
        for example, what in examples().items():
            if as_json:
                print_json({"example": example, "what": what})
            else:
                print_line(f"{example:<10} {what}")
        return
    if not experiment:
        raise UsageError(f"name an EXPERIMENT.toml, or an example: {', '.join(examples())}; see `tinyfed run --help`")
    wait_s = _seconds(wait)
    ask = None if as_json else at_terminal()
    if resume:
        if force:
            raise UsageError("--force begins a run anew, --resume goes on with it: give one of them")
        given = {"--seed": seed is not None, "--board": board, "--from": start_from, "--name": name, "--set": set_}
        wrong = [option for option, value in given.items() if value]
        if wrong:
            raise UsageError(
                f"{wrong[0]} cannot be changed while a run goes on; start a new one with --from {experiment}"
            )
        folder = run_folder(experiment, runs)
        opened = Run.resume(folder)
        try:
            kept = opened.parts.experiment
            _check_ports_typed(kept, fleet, port or (), folder)
            changed = override(kept, kind=fleet or None, ports=choose(port or (), needed=fleet == "ports", ask=ask))
            fleet_section: FleetSection = changed.fleet
            _check_needs(fleet_section, folder)
            if rounds is not None:
                opened = _extended(opened, rounds)
        except BaseException:
            opened.store.close()
            raise
        folder = opened.store.folder
    else:
        wanted = name_of(experiment)
        folder = new_folder(name or (wanted if force else free_name(wanted, runs)), runs)
        read = read_experiment(find_experiment(experiment), _settings(set_ or ()))
        check_free(folder, replace=force)
        if board:
            from tinyfed.boards import read_board

            read_board(board)
        ports = choose(port or (), needed=_needs_ports(read, fleet), ask=ask)
        changed = override(read, kind=fleet or None, board=board or None, ports=ports, rounds=rounds, seed=seed)
        command = "tinyfed " + shlex.join(sys.argv[1:])
        _check_needs(changed.fleet, folder)
        start_weights = _weights_of(start_from) if start_from else None
        if not name and folder.name != wanted:
            print_note(f"{runs / wanted} is there already: this run is {folder}")
        with working(f"reading the {changed.task.name} task"):
            opened = Run.begin(folder, changed, command, start_weights, replace=force)
        fleet_section = changed.fleet
    with opened:
        result = _go(opened, fleet_section, wait_s, as_json=as_json)
        judged, why_not = (None, "") if no_evaluate else _judged(opened)
    if judged is not None:
        result["held_out"] = {key: judged[key] for key in ("measure", "shots", "clients", "kinds")}
    _tell(folder, result, judged, why_not, as_json=as_json)


def _judged(opened: Any) -> tuple[dict[str, Any] | None, str]:
    from tinyfed_host.evaluation.brief import judge_briefly

    with working("judging held-out clients"):
        return judge_briefly(opened)


def _settings(texts: Sequence[str]) -> list[Any]:
    from tinyfed_host.experiment.settings import read_settings

    found = [read_settings(text) for text in texts]
    for text, values in zip(texts, found, strict=True):
        if len(values) != 1:
            problem = "has several values, a run has one"
            raise UsageError(problem, key="--set", value=text, remedy="`tinyfed sweep` learns with each")
    return [values[0] for values in found]


def _extended(opened: Any, rounds: int) -> Any:
    """The run, made longer where it is; where its strategy's rounds depend on how many there will be, a new run."""
    from tinyfed.model import read_weights
    from tinyfed_host.cli.output import print_note
    from tinyfed_host.experiment.schema import override
    from tinyfed_host.run.names import free_name, new_folder, shown_name
    from tinyfed_host.run.run import Run

    if opened.extend(rounds):
        return opened
    header, folder = opened.store.header(), opened.store.folder
    experiment = override(opened.parts.experiment, rounds=rounds)
    opened.store.close()
    place = folder if folder.name else folder.resolve()
    longer = new_folder(free_name(place.name, place.parent), place.parent)
    print_note(
        f"a round of {experiment.strategy.name} depends on how many there will be, so those of {folder} are not "
        f"the first of {rounds:,}: {longer} begins anew (from what was learned instead: --from {shown_name(folder)})"
    )
    first = read_weights(header.image).tobytes()
    return Run.begin(longer, experiment, f"{header.command} --rounds {rounds}", first, image=header.image)


def _check_needs(fleet: Any, folder: Path) -> None:
    from tinyfed.boards import read_board
    from tinyfed_host.emulation import needs

    if fleet.kind == "emulated":
        needs.check([read_board(name) for name in dict.fromkeys(fleet.boards)], folder)


def _needs_ports(experiment: Any, kind: str) -> bool:
    return (kind or experiment.fleet.kind) == "ports" and not experiment.fleet.ports


def _check_ports_typed(experiment: Any, kind: str, ports: Sequence[str], folder: Path) -> None:
    """A run's folder may be a stranger's: no port or socket is opened because it is named there."""
    if ports or (kind or experiment.fleet.kind) != "ports" or kind == "ports":
        return
    kept = experiment.fleet.ports
    raise UsageError(
        f"{folder}: the ports of a run are not opened unless they are named again, each with --port; it had "
        f"{shown(' '.join(f'--port {shlex.quote(port)}' for port in kept)) or 'none'}"
    )


def _weights_of(text: str) -> bytes:
    from tinyfed_host.run.names import run_folder
    from tinyfed_host.run.store import RunStore, StoreError

    folder = run_folder(text)
    with RunStore.read(folder) as store:
        snapshot = store.snapshot()
    if snapshot is None:
        raise StoreError(f"{folder}: the run has no round yet: there is no model to start from")
    return bytes(snapshot.arrays["weights"])


def _seconds(text: str) -> float:
    """What `--wait` says."""
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(s|m|h|)", text)
    if text != "forever" and not found:
        raise UsageError("must be a time such as 30s, 10m or 2h, or forever", key="--wait", value=text)
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else math.inf


def _go(opened: Any, fleet_section: Any, wait_s: float, *, as_json: bool) -> dict[str, Any]:
    import dataclasses

    from tinyfed_host.run.parts import make_fleet
    from tinyfed_host.run.store import LOG
    from tinyfed_host.view.lines import LogView
    from tinyfed_host.view.views import Views, choose_view

    experiment = dataclasses.replace(opened.parts.experiment, fleet=fleet_section)
    opened.parts = dataclasses.replace(opened.parts, experiment=experiment)
    with make_fleet(opened.parts) as devices:
        with working(
            "building firmware and starting boards" if fleet_section.kind == "emulated" else "greeting devices"
        ):
            boards = opened.meet(devices, simulated=fleet_section.kind == "simulated")
        title = f"{opened.store.folder}: {experiment.strategy.name}, {experiment.task.name} task, {fleet_section.kind}"
        view = choose_view(as_json=as_json, title=title, names=boards, stays=True)
        with Views(LogView(opened.store.folder / LOG), view) as views:
            end = opened.go(devices, views, wait_s=wait_s)
    metrics = end.metrics
    if not metrics:  # nothing was left to do
        last = opened.store.last_round() or {}
        metrics = {key: value for key, value in last.items() if key not in ("round", "weights_sha256")}
    run = str(opened.store.folder)
    return {"run": run, "weights_sha256": end.weights_sha256, "rounds": end.rounds, "metrics": dict(metrics)}


def _tell(folder: Path, result: dict[str, Any], judged: Any, why_not: str, *, as_json: bool) -> None:
    from tinyfed_host.cli.output import print_json, print_line, print_note
    from tinyfed_host.cli.results.evaluate import show
    from tinyfed_host.run.names import shown_name
    from tinyfed_host.run.store import damage_told
    from tinyfed_host.view.progress import summary

    if why_not:
        print_note(why_not)
    if as_json:
        print_json(result)
        return
    if judged is not None:
        with damage_told(folder):  # it may be a stranger's
            show(judged, brief=True)
        print_line(f"by client, by class and beside more: `tinyfed evaluate {shown_name(folder)}`")
    print_line(f"{result['rounds']:,} rounds done, {summary(result['metrics'])}")
    print_line(f"weights {result['weights_sha256']}")
    print_line(f"model   {folder / 'model.tfm'}   (`tinyfed report {folder.name}` shows the rest)")
