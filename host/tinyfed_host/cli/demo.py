"""`tinyfed demo`."""

import shlex
import sys
from typing import Annotated

import typer

from tinyfed.fields import number
from tinyfed_host.cli.options import number_option
from tinyfed_host.experiment.schema import EXPERIMENT

app = typer.Typer(add_completion=False)


@app.command(epilog="Examples: tinyfed demo · tinyfed demo --budget 20 --name short · tinyfed demo --json")
def demo(
    name: Annotated[
        str,
        typer.Option("--name", "-n", help="The run's name (demo, or demo-2 … when that is there): writes runs/NAME."),
    ] = "",
    budget_s: Annotated[
        float, number_option(number(1), "--budget", help="Seconds for rounds on emulated devices.")
    ] = 70.0,
    rounds: Annotated[
        int | None, number_option(EXPERIMENT["rounds"], "--rounds", help="Rounds in all (2,000).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Events as JSON lines, the last one the result.")] = False,
) -> None:
    """Personal gestures: a fleet learns an initialization from which a stranger's device learns its four gestures.

    Builds the firmware, starts four emulated Cortex-M4 boards and an emulated Raspberry Pi, learns over their serial
    lines, shows that simulated devices give the same bits, and lets held-out people's devices adapt.

    Writes runs/demo with report.html, and replaces nothing: a second demo is demo-2.

    Exit codes: 3 a missing tool or package, 4 a device failed, 6 the firmware does not compile, 130 after Ctrl-C.
    """
    from tinyfed_host.cli.output import print_json
    from tinyfed_host.cli.working import working
    from tinyfed_host.demo.screen import Screen
    from tinyfed_host.demo.steps import DemoOptions, run_demo
    from tinyfed_host.run.names import free_name, new_folder

    options = DemoOptions(
        folder=new_folder(name or free_name("demo")),
        command="tinyfed " + shlex.join(sys.argv[1:]),
        budget_s=budget_s,
        rounds=rounds,
    )
    result = run_demo(options, Screen(working, as_json=as_json))
    if as_json:
        print_json(result)
