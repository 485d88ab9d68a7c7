"""The `tinyfed` command: finds the subcommand, and turns every error into one line and an exit code.

Subcommands are modules of this package with a typer application `app`, imported only when they are called, so
that `tinyfed --help` stays quick. docs/cli.md lists the exit codes.
"""

import contextlib
import difflib
import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

import click
import typer
from typer.core import TyperGroup

from tinyfed import __version__
from tinyfed.errors import TinyfedError

EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

# name: (module, what `tinyfed --help` says)
COMMANDS = {
    "demo": ("demo", "Personal gestures: a fleet learns, a stranger's device adapts."),
    "run": ("run", "Run an experiment, or go on with one."),
    "runs": ("runs", "List runs."),
    "report": ("report", "Write a run's report.html."),
    "devices": ("devices", "Ask each port who is there."),
    "emulate": ("emulate", "Start emulated boards and print their ports."),
    "boards": ("boards", "List the boards tinyfed knows, or show one."),
    "firmware": ("firmware", "Build and flash firmware."),
    "model": ("model", "Look at a model: layers, bytes, memory plan."),
    "reproduce": ("reproduce", "The comparison of the papers, measured."),
    "data": ("data", "Data sets: list, fetch, check; write shards."),
    "bench": ("bench", "Measure the engine."),
}

EPILOG = """Examples: "tinyfed demo" shows everything in under four minutes. "tinyfed run examples/sine.toml" learns on
simulated devices, with "--fleet emulated" on emulated boards. "tinyfed devices" finds the boards on this computer."""


class Terminated(BaseException):
    """SIGTERM or SIGHUP: end in order, as on Ctrl-C."""


class LazyGroup(TyperGroup):
    """Imports a subcommand's module when it is called, not when it is listed."""

    _listing = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands whose module is there."""
        return [name for name, (module, _) in COMMANDS.items() if _is_there(module)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself, or only its name and help while help is written."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module, text = COMMANDS[cmd_name]
        if self._listing:
            return click.Command(cmd_name, help=text)
        command = typer.main.get_command(importlib.import_module(f"tinyfed_host.cli.{module}").app)
        command.name = cmd_name
        return command

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help without importing the subcommands."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say what is near when a command is unknown."""
        name = args[0] if args else ""
        known = self.list_commands(ctx)
        if name and not name.startswith("-") and name not in known:
            match = difflib.get_close_matches(name, known, n=1)
            hint = f'; did you mean "{match[0]}"?' if match else ""
            raise click.UsageError(f'"{name}" is no command{hint} (commands: {", ".join(known)})')
        return super().resolve_command(ctx, args)


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(f"tinyfed_host.cli.{module}") is not None


app = typer.Typer(
    cls=LazyGroup,
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tinyfed {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    """Federated meta-learning on devices with kilobytes: learn together, keep the data."""


@contextlib.contextmanager
def _orderly_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end in order; a second signal of any kind ends at once."""

    struck = False

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal struck
        struck = True
        _end_at_once_next_time()
        raise Terminated

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal struck
        struck = True
        _end_at_once_next_time()
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, handler)
        for number, handler in ((signal.SIGTERM, terminate), (signal.SIGHUP, terminate), (signal.SIGINT, interrupt))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            if not struck:  # else a second signal still ends at once, until the process has ended
                signal.signal(number, handler)


def _end_at_once_next_time() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(EXIT_INTERRUPTED))


def _tell(message: str) -> None:
    line = " ".join(message.split())
    with contextlib.suppress(OSError):
        print(f"tinyfed: {line}", file=sys.stderr, flush=True)


def run_command(arguments: list[str] | None = None) -> int:
    """Carry out a command line (without the program's name; None: this process's). Returns the exit code."""
    want_traceback = os.environ.get("TINYFED_TRACEBACK") == "1"
    try:
        with _orderly_signals():
            code = app(arguments, prog_name="tinyfed", standalone_mode=False)
            sys.stdout.flush()
        if code == EXIT_INTERRUPTED:  # typer has caught the KeyboardInterrupt
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as end:
        return int(end.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show(sys.stderr)
        return 2
    except click.ClickException as error:
        _tell(error.format_message() + _help_hint(error))
        return 2
    except (KeyboardInterrupt, click.Abort):
        if want_traceback:
            raise
        _tell("interrupted")
        return EXIT_INTERRUPTED
    except Terminated:
        _tell("terminated")
        return EXIT_TERMINATED
    except BrokenPipeError:
        # whoever read our output has gone: nothing to tell, and nobody to tell it to
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TinyfedError as error:
        if want_traceback:
            raise
        _tell(str(error))
        return error.exit_code
    except Exception as error:
        if want_traceback:
            raise
        _tell(
            f"a fault inside tinyfed: {type(error).__name__}: {error}; "
            "please report it with what TINYFED_TRACEBACK=1 shows"
        )
        return EXIT_INTERNAL


def _help_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"; see `{context.command_path} --help`" if context is not None else "; see `tinyfed --help`"


def main() -> None:
    """The console script."""
    code = run_command()
    if code in (EXIT_INTERRUPTED, EXIT_TERMINATED):  # all is closed: one more signal must not change the code
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
