"""`tinyfed model ...`: a command a file, imported when one of them is called."""

import typer

from tinyfed_host.cli.model import attach_head as model_attach_head
from tinyfed_host.cli.model import codegen as model_codegen
from tinyfed_host.cli.model import convert as model_convert
from tinyfed_host.cli.model import export as model_export
from tinyfed_host.cli.model import inspect as model_inspect
from tinyfed_host.cli.model import plan as model_plan
from tinyfed_host.cli.model import quantize as model_quantize
from tinyfed_host.cli.model import run as model_run

app = typer.Typer(add_completion=False)


@app.callback()
def model() -> None:
    """Look at models, convert, quantize and run them, make C arrays of them."""


app.command("inspect", epilog=model_inspect.EXAMPLES)(model_inspect.inspect_model)
app.command("convert", epilog=model_convert.EXAMPLES)(model_convert.convert)
app.command("quantize", epilog=model_quantize.EXAMPLES)(model_quantize.quantize_model)
app.command("codegen", epilog=model_codegen.EXAMPLES)(model_codegen.codegen)
app.command("run", epilog=model_run.EXAMPLES)(model_run.run_model)
app.command("attach-head", epilog=model_attach_head.EXAMPLES)(model_attach_head.attach_head_model)
app.command("export", epilog=model_export.EXAMPLES)(model_export.export_model)
app.command("plan", epilog=model_plan.EXAMPLES)(model_plan.plan)
