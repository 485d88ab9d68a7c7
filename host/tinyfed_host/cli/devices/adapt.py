"""`tinyfed devices adapt`."""

import contextlib
from typing import Annotated

import typer

from tinyfed.fields import fields_of
from tinyfed.wire.order import Order
from tinyfed_host.cli.options import complete_run, number_option

ORDER = fields_of(Order)

EXAMPLES = (
    "Examples: tinyfed devices adapt /dev/ttyACM0 demo --save · tinyfed devices adapt /dev/ttyACM0 runs/kitchen "
    "--shots 5"
)


def adapt(
    port: Annotated[str, typer.Argument(metavar="PORT", help="Where the device is.")],
    run: Annotated[
        str, typer.Argument(metavar="RUN", autocompletion=complete_run, help="The run whose model it starts from.")
    ],
    shots: Annotated[
        int | None, number_option(ORDER["shots"], "--shots", help="Samples of each class to learn from (as the run).")
    ] = None,
    passes: Annotated[
        int | None, number_option(ORDER["passes"], "--passes", help="Times they are gone through (as the run).")
    ] = None,
    seed: Annotated[int, number_option(ORDER["seed"], "--seed", help="Decides in which order they are learned.")] = 0,
    save: Annotated[bool, typer.Option("--save", help="Then write the model into the device's flash.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Have your own device start from a run's model and learn its own samples: those it has recorded, or its shard's.

    Output k of the model stands for class k then. What is left of the samples judges it on the way. Neither samples
    nor weights leave the device; it holds the model it has learned until it restarts, with --save also then.

    Exit codes: 2 for too few samples or other classes than the model's, 4 when the device does not answer or cannot
    save, 5 when the model does not fit, 7 when there is no such run.
    """
    from tinyfed.errors import DeviceError
    from tinyfed_host.cli.output import print_json, print_line
    from tinyfed_host.cli.working import standing, working
    from tinyfed_host.device.discovery import connect
    from tinyfed_host.run.names import run_folder
    from tinyfed_host.run.personal import learned, personal_order

    parts, image = learned(run_folder(run))
    holds = f"the device on {port} holds what it held before: give the command again"
    with standing(lambda: holds), contextlib.closing(connect(port)) as device:
        if save and "save" not in device.info.capabilities:
            raise DeviceError("this board keeps no model", where=port, remedy="leave --save away")
        parts.check(device)
        info, counts = device.info, device.recorded()
        order = personal_order(parts, port, info.class_count, counts, shots=shots, passes=passes, seed=seed)
        with working(f"the device on {port} learns its own samples"):
            holds = (
                f"the device on {port} holds no whole model, or has half learned; what it has saved is as it was: "
                "give the command again to begin anew"
            )
            device.load(image)
            result = device.visit(None, order, want_weights=False).result
        holds = (
            f"the device on {port} holds what it has learned, until it restarts: `tinyfed devices save {port}` saves it"
        )
        if save:
            with working(f"the device on {port} writes the model into its flash"):
                device.save()
    regression = order.source != "shard"
    for point in result.checkpoints:
        if as_json:
            found = {"samples_a_class": point.shots, "judged_on": point.count, "loss": point.loss}
            print_json(found if regression else {**found, "accuracy": point.accuracy})
        else:
            share = f"loss {point.loss:.4f}" if regression else f"{point.accuracy:.0%} right"
            print_line(f"after {point.shots:>3} of each class: {share} of {point.count} it has not learned from")
    if as_json:
        facts = {"port": port, "board": info.board, "unique_id": info.unique_id, "run": run}
        print_json({**facts, "samples": result.samples, "loss_last": result.loss_last, "saved": save})
        return
    print_line(f"{port}  {info.board}  {info.unique_id}  has learned {result.samples} samples" + ", saved" * save)
