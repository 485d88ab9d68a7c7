"""`tinyfed evaluate`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tinyfed.errors import UsageError
from tinyfed.fields import quote, whole
from tinyfed.text import names_in
from tinyfed_host.cli.options import complete_board, complete_run, number_option
from tinyfed_host.cli.working import working
from tinyfed_host.experiment.schema import EXPERIMENT

app = typer.Typer(add_completion=False)

DRAWS = whole(1, 10_000)
AT_ONCE = 8  # emulated boards
SHOWN = 12  # classes: a wider matrix is in the report


@app.command(
    epilog="Examples: tinyfed evaluate kitchen · tinyfed evaluate sine --shots 0,5,10 · tinyfed evaluate gestures "
    "--clients person2-wrist0 --fleet emulated · tinyfed evaluate net.tfm --task watch"
)
def evaluate(
    target: Annotated[
        str,
        typer.Argument(metavar="RUN|MODEL", autocompletion=complete_run, help="A run, or a model file with --task."),
    ],
    clients: Annotated[str, typer.Option("--clients", help="Held-out clients, a,b (all).")] = "",
    shots: Annotated[
        str, typer.Option("--shots", help="Judge after so many samples of each class, 0,1,5,10 (as the task says).")
    ] = "",
    seeds: Annotated[int, number_option(DRAWS, "--seeds", help="Draws of each client's samples.")] = 20,
    seed: Annotated[int, number_option(EXPERIMENT["seed"], "--seed", help="Decides those draws.")] = 0,
    beside: Annotated[
        str, typer.Option("--beside", help="What it is held against: some of random,global,transfer, or none.")
    ] = "random,global,transfer",
    fleet: Annotated[
        str, typer.Option("--fleet", "-f", help="emulated: each client's first draw on emulated boards too.")
    ] = "simulated",
    board: Annotated[
        str,
        typer.Option("--board", "-b", autocompletion=complete_board, help="Which emulated board (the experiment's)."),
    ] = "",
    port: Annotated[
        list[str] | None,
        typer.Option(
            "--port", "-p", help="A connected device, once for each: of one of --clients, or with its own data."
        ),
    ] = None,
    task: Annotated[
        str, typer.Option("--task", help="Of a model file: a task's name or an experiment, which say whose data.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Judge what was learned on clients that took no part: each learns from a few samples of its own, answers others.

    Beside it stand random weights, one global model and transfer learning, with 95 % intervals over the clients. A run
    keeps the result of all its held-out clients, and its report shows it.

    Answers of emulated and connected devices must be the simulated ones', to the bit.

    Exit codes: 2 for a wrong option or no client to judge, 3 a missing tool, 4 no device answers, 7 no
    such run, or it is in use.
    """
    from tinyfed.boards import read_board
    from tinyfed_host.cli.output import print_json, print_line, print_note
    from tinyfed_host.device.port_choice import choose
    from tinyfed_host.emulation import needs
    from tinyfed_host.evaluation.evaluate import chosen_clients, order_with, starts_of
    from tinyfed_host.evaluation.evaluate import evaluate as judge
    from tinyfed_host.evaluation.kept import EVALUATION, to_json
    from tinyfed_host.evaluation.on_devices import confirm, emulated_places, judge_devices, port_places
    from tinyfed_host.evaluation.subjects import image_weights
    from tinyfed_host.run.names import shown_name
    from tinyfed_host.run.store import RunStore, StoreError

    folder, subject = _subject(target, task)
    if shots:
        subject = replace(subject, order=order_with(subject.order, _numbers(shots)))
    people = chosen_clients(subject.task, names_in(clients))
    boards = _boards(folder, fleet, board, port)
    if fleet == "emulated":
        needs.check([read_board(name) for name in dict.fromkeys(boards)], folder or Path())
    ports = choose(port or (), needed=False)
    places = port_places(people, ports) if ports and clients else emulated_places(subject, people, boards)
    starts, missing = starts_of(subject, _kinds(beside), working)
    if ports and not clients:
        with working("judging devices on the samples they have"):
            found = judge_devices(subject, starts, missing, ports, draws=seeds, seed=seed)
    else:
        found = judge(subject, people, starts, missing, draws=seeds, seed=seed, working=working)
    kept = to_json(found, image_weights(subject))
    if places:
        with working(f"the same on {', '.join(dict.fromkeys(place.name for place in places))}"):
            visits = confirm(found, people, starts, places)
        kept["confirmed"] = {"visits": visits, "on": list(dict.fromkeys(place.name for place in places))}
    of_all = not clients and not ports
    if folder is not None and of_all:
        try:
            with RunStore.resume(folder) as store:
                store.put_result(EVALUATION, kept)
        except StoreError as error:
            print_note(f"shown, but not kept: {error}")
    if as_json:
        print_json(kept)
        return
    show(kept)
    if folder is not None and of_all:
        print_line(f"kept; `tinyfed report {shown_name(folder)}` shows it with the rest")


def _subject(target: str, task: str) -> tuple[Path | None, Any]:
    """The run's folder, None for a model file, and what is judged."""
    from tinyfed_host.cli.options import find_run, model_path
    from tinyfed_host.evaluation import subjects

    folder = None if task else find_run(target)
    if folder is not None:
        return folder, subjects.of_run(folder)
    path = model_path(target)
    with working(f"reading {path}"):
        return None, subjects.of_model(path, task)


def _boards(folder: Path | None, fleet: str, board: str, port: list[str] | None) -> tuple[str, ...]:
    """Emulated boards to make visits on; none where nothing is emulated."""
    from tinyfed_host.experiment.schema import DEFAULT_BOARD
    from tinyfed_host.run.parts import stored_experiment
    from tinyfed_host.run.store import RunStore

    if fleet not in ("simulated", "emulated"):
        raise UsageError("must be simulated or emulated", key="--fleet", value=fleet)
    if board and fleet != "emulated":
        raise UsageError("says which board is emulated", key="--board", value=board, remedy="add --fleet emulated")
    if port and fleet == "emulated":
        raise UsageError("--port is a connected device, --fleet emulated starts others: give one of them")
    if fleet == "simulated":
        return ()
    if folder is None:
        return (board or DEFAULT_BOARD,) * AT_ONCE
    with RunStore.read(folder) as store:
        kept = stored_experiment(folder, store.header()).fleet.boards
    return ((board,) * len(kept) if board else kept)[:AT_ONCE]


def _numbers(text: str) -> list[int]:
    from tinyfed.data.tables import read_whole

    found = [read_whole(word.strip()) for word in text.split(",")]
    if any(number is None for number in found):
        raise UsageError("must be whole numbers with commas between", key="--shots", value=quote(text))
    return [number for number in found if number is not None]


def _kinds(text: str) -> tuple[str, ...]:
    from tinyfed.meta.references import REFERENCES

    kinds = names_in(text)
    if kinds == ("none",):
        return ()
    for kind in kinds:
        if kind not in REFERENCES:
            allowed = ", ".join(REFERENCES)
            raise UsageError(
                f"must be some of {allowed} with commas between, or none", key="--beside", value=quote(text)
            )
    return kinds


def show(kept: Any, *, brief: bool = False) -> None:
    """Print an evaluation's tables; `brief`: the first."""
    from tinyfed_host.cli.output import print_line, print_table
    from tinyfed_host.evaluation import kept as forms

    of = " of each class" if kept["ways"] > 1 else ""
    by = f"{forms.in_words(kept)} on held-out clients, by samples{of} they learned from"
    print_table(*forms.curve_table(kept), title=by)
    print_line(f"{forms.how_sure(kept)}; {kept['draws']} draws of each")
    if kept.get("confirmed"):
        on = ", ".join(kept["confirmed"]["on"])
        print_line(f"{kept['confirmed']['visits']} visits on {on} gave the same answers, bit for bit")
    for remark in forms.remarks(kept):
        print_line(remark)
    if brief:
        return
    print_line("")
    print_table(*forms.client_table(kept))
    if kept.get("by_target"):
        print_line("")
        print_table(*forms.target_table(kept), title="root mean squared error of each target, in its own unit")
    if kept["confusion"]:
        print_line("")
        print_table(*forms.class_table(kept))
        if len(kept["classes"]) <= SHOWN:
            print_line("")
            when = "after the last samples" if int(list(kept["confusion"])[-1]) else "before they learn"
            print_table(*forms.confusion_table(kept), title=f"answers for each class, {when}")
