"""`tinyfed sweep`."""

import math
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tinyfed.errors import TinyfedError
from tinyfed.fields import whole
from tinyfed_host.cli.options import complete_experiment, number_option
from tinyfed_host.experiment.schema import EXPERIMENT

app = typer.Typer(add_completion=False)


class SweepError(TinyfedError):
    """Some of its runs failed."""


@app.command(
    epilog="Examples: tinyfed sweep sine --set task.learning_rate=0.01,0.03 --seeds 5 · "
    "tinyfed sweep my.toml --set strategy.name=reptile,tinyreptile --set task.shots=5,10 --seeds 3 --jobs 2"
)
def sweep(
    experiment: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT.toml", autocompletion=complete_experiment, help="A file, or an example's name."
        ),
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE,...", help="Values for a key of the file; several: all combinations."),
    ] = None,
    seeds: Annotated[
        int, number_option(whole(1, 1000), "--seeds", help="Runs of each combination, from the file's seed on.")
    ] = 1,
    jobs: Annotated[
        int | None, number_option(whole(1, 256), "--jobs", "-j", help="Runs at a time (one a core).")
    ] = None,
    rounds: Annotated[int | None, number_option(EXPERIMENT["rounds"], "--rounds", "-r", help="Rounds of each.")] = None,
    name: Annotated[str, typer.Option("--name", "-n", help="Write runs/NAME/... (the file's name, then -sweep).")] = "",
    html: Annotated[Path | None, typer.Option("--html", "-o", help="Write a page with the tables and curves.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a run, then one a combination.")] = False,
) -> None:
    """Run an experiment with other values and seeds, on all cores, and compare what they came to.

    Each is an ordinary run in runs/NAME/. A sweep that was stopped goes on when it is started again: runs that are done
    are not done again, and those that were begun go on.

    Exit codes: 1 some runs failed (the others are compared), 2 a wrong option or experiment, 7 another run lies in the
    way, 130 after Ctrl-C.
    """
    from tinyfed_host.cli.output import print_json, print_line, write_file
    from tinyfed_host.cli.results.compare import tell
    from tinyfed_host.cli.working import working
    from tinyfed_host.experiment.bundled import find_experiment
    from tinyfed_host.experiment.settings import read_settings
    from tinyfed_host.results.comparison import compared, to_json
    from tinyfed_host.results.facts import read_facts
    from tinyfed_host.run.names import check_folder, name_of, new_folder
    from tinyfed_host.sweep.grid import left_of, make_trials

    folder = new_folder(name or f"{name_of(experiment)[:58]}-sweep")
    check_folder(folder, "choose another --name")
    choices = [read_settings(text) for text in set_ or ()]
    file = find_experiment(experiment)
    with working("reading the experiment"):
        trials = make_trials(file, choices, seeds, rounds, folder)
        left = left_of(trials)
    failed = _carry_out(file, left, len(trials), jobs or len(os.sched_getaffinity(0)), as_json=as_json)
    there = [trial.folder for trial in trials if trial.folder not in failed]
    if there:
        with working("reading the runs"):
            made = compared([read_facts(each) for each in there])
        if html is not None:
            from tinyfed_host.results.page import comparison_page

            write_file(html, comparison_page(made).encode("utf-8"))
        if as_json:
            *groups, last = to_json(made)
            for group in groups:
                print_json(group)
            print_json({"sweep": str(folder), "runs": len(there), "failed": len(failed), **last})
        else:
            tell(made)
            print_line(f"{len(there)} runs in {folder}/ (`tinyfed runs {folder}` lists them)")
    if failed:
        first, said = next(iter(failed.items()))
        problem = f"{len(failed)} of {len(trials)} runs failed; the first, {first.name}: {said}"
        raise SweepError(problem, remedy="the same command tries them again")


def _carry_out(file: Path, left: list[Any], count: int, jobs: int, *, as_json: bool) -> dict[Path, str]:
    """Those that are left. Returns what the failed ones said, by their folders."""
    import sys

    from tinyfed_host.cli.output import print_json, print_note, print_over
    from tinyfed_host.sweep.workers import Told, Workers
    from tinyfed_host.view.units import show_time

    failed: dict[Path, str] = {}
    shares: dict[Path, float] = {}  # of each run that was begun, what is done
    done, begun, drawn = count - len(left), time.monotonic(), -math.inf
    if left and not as_json:
        already = f", {done} are done already" if done else ""
        print_note(f"{count} runs, {min(jobs, len(left))} at a time, in {left[0].folder.parent}/{already}")
    terminal = sys.stderr.isatty() and not as_json

    def hear(told: Told) -> None:
        nonlocal done, drawn
        event, folder = told.event, told.trial.folder
        if not told.ended:
            if event.get("event") == "round-ended":
                shares[folder] = event["round"] / event["rounds"]
        else:
            shares[folder] = 1.0
            done += 1
            if told.exit_code:
                failed[folder] = str(event.get("error", f"ended with {told.exit_code}"))
            if terminal:
                print_over("")
            _tell_run(told, done, count, as_json=as_json)
        if terminal and time.monotonic() - drawn > 0.2:
            drawn = time.monotonic()
            share = sum(shares.values()) / max(1, len(left))
            rest = f", {show_time((drawn - begun) * (1 - share) / share)} left" if share > 0.01 else ""
            now = min(jobs, count - done)
            print_over(f"{done} of {count} runs done, {now} going on, {share:.0%} of the rounds{rest}")

    def _tell_run(told: Told, done: int, count: int, *, as_json: bool) -> None:
        event = told.event
        if as_json:
            told_of = {"run": str(told.trial.folder), "exit_code": told.exit_code}
            print_json({**told_of, **{key: event[key] for key in ("rounds", "metrics", "error") if key in event}})
            return
        loss = (event.get("metrics") or {}).get("loss")
        what = event.get("error") or ("" if loss is None else f"loss {loss:.4f}")
        print_note(f"{done} of {count}  {told.trial.folder.name}  {what}")

    try:
        with Workers(file, left, jobs) as workers:
            workers.go(hear)
    except BaseException as error:
        error.add_note(f"{done - len(failed)} of {count} runs are done and kept: the same command goes on")
        raise
    if terminal:
        print_over("")
    return failed
