"""The `tinyfed` command: finds the subcommand, and turns every error into one line and an exit code.

Subcommands are modules of this package with a typer application `app`, imported only when they are called, so that
`tinyfed --help` stays quick. docs/cli.md lists the exit codes.
"""

import contextlib
import difflib
import importlib
import importlib.util
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Protocol, runtime_checkable

import typer

from tinyfed import __version__
from tinyfed.errors import TinyfedError, UsageError
from tinyfed.paths import cache
from tinyfed.text import printable
from tinyfed_host.cli import output

EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

HELP_OPTIONS = ["-h", "--help"]
COMPLETION = "_TINYFED_COMPLETE"  # set by a shell that asks what may follow


@dataclass(frozen=True)
class Command:
    """A command of `tinyfed`: its module has a typer application `app`."""

    module: str
    help: str  # what `tinyfed --help` says
    is_group: bool = False  # of commands of its own; without one of them it shows its help
    default: str = ""  # the one of its own that is meant where none is named


COMMANDS = {
    "demo": Command("demo", "Personal gestures: a fleet learns, a stranger's device adapts."),
    "run": Command("run", "Run an experiment, or go on with one."),
    "init": Command("setup.init", "Write an experiment to start from."),
    "runs": Command("runs", "List runs; write their metrics as files.", default="list"),
    "evaluate": Command("results.evaluate", "Judge what was learned on held-out clients."),
    "deploy": Command("results.deploy", "Put what was learned onto a board, and check it there."),
    "report": Command("results.report", "Write a run's report.html."),
    "compare": Command("results.compare", "Hold runs against each other."),
    "sweep": Command("results.sweep", "An experiment with other values and seeds, on all cores."),
    "devices": Command("devices", "Ask each port who is there.", default="ask"),
    "emulate": Command("emulate", "Start emulated boards and print their ports."),
    "boards": Command("boards", "List the boards tinyfed knows, or show one."),
    "firmware": Command("firmware", "Build and flash firmware.", is_group=True),
    "model": Command("model", "Look at a model: layers, bytes, memory plan.", is_group=True),
    "doctor": Command("setup.doctor", "Say what is installed and what is missing."),
    "reproduce": Command("reproduce", "The comparison of the papers, measured."),
    "data": Command("data", "Data sets: list, fetch, check; write shards.", is_group=True),
    "bench": Command("bench", "Measure the engine.", is_group=True),
}

EPILOG = """Examples: "tinyfed demo" shows everything in under four minutes. "tinyfed run sine" learns on
simulated devices, with "--fleet emulated" on emulated boards. "tinyfed devices" finds the boards on this computer."""


class Terminated(BaseException):
    """SIGTERM or SIGHUP: end in order, as on Ctrl-C."""


class Interrupted(BaseException):
    """Ctrl-C. Not KeyboardInterrupt, which typer takes for itself with all that it says."""


@runtime_checkable
class CommandLineError(Protocol):
    """What typer raises for a wrong command line; `typer.BadParameter` is one. Their root has no public name."""

    def format_message(self) -> str:
        """One sentence."""


def commands() -> dict[str, Command]:
    """The commands whose module is there."""
    return {
        name: command
        for name, command in COMMANDS.items()
        if importlib.util.find_spec(f"tinyfed_host.cli.{command.module}") is not None
    }


def call(words: list[str]) -> object:
    """Carry out a command line. Returns what the command returned, or its exit code."""
    if os.environ.get(COMPLETION):
        return _enter(_overview(_typed()), "tinyfed", [], is_group=False)
    while words and words[0] == "--":
        words = words[1:]
    if not words or words[0].startswith("-"):
        return _enter(_overview(), "tinyfed", words, is_group=True)
    name, rest = words[0], words[1:]
    known = commands()
    if name not in known:
        match = difflib.get_close_matches(name, known, n=1)
        hint = f'; did you mean "{match[0]}"?' if match else ""
        raise UsageError(f'"{name}" is no command{hint} (commands: {", ".join(known)}); see `tinyfed --help`')
    command = known[name]
    app: typer.Typer = importlib.import_module(f"tinyfed_host.cli.{command.module}").app
    if command.default:
        named = {info.name for info in app.registered_commands}
        if not rest or rest[0] not in (*named, *HELP_OPTIONS):
            rest = [command.default, *rest]
    return _enter(app, f"tinyfed {name}", rest, is_group=command.is_group)


def _enter(app: typer.Typer, name: str, words: list[str], *, is_group: bool) -> object:
    app.pretty_exceptions_enable = False
    if is_group and not words:
        with contextlib.redirect_stdout(sys.stderr):
            app(["--help"], prog_name=name, standalone_mode=False, help_option_names=HELP_OPTIONS)
        return 2
    return app(words, prog_name=name, standalone_mode=False, help_option_names=HELP_OPTIONS)


def _typed() -> list[str]:
    """The words after the program's name on the line that a shell wants completed."""
    return os.environ.get("COMP_WORDS", os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]


def _overview(typed: Sequence[str] = ()) -> typer.Typer:
    """What `tinyfed --help` shows: the names of the commands, without their modules but that of the one `typed`."""
    app = typer.Typer(epilog=EPILOG, rich_markup_mode="rich")
    app.callback()(root)
    for name, command in commands().items():
        if name not in typed[:1]:
            app.command(name, help=command.help)(lambda: None)
            continue
        found: typer.Typer = importlib.import_module(f"tinyfed_host.cli.{command.module}").app
        wants_option = typed[1:] and typed[1].startswith("-")
        if command.is_group or (command.default and not wants_option):
            app.add_typer(found, name=name)
        else:
            (info,) = (info for info in found.registered_commands if (info.name or "") == command.default)
            info.name = name
            app.registered_commands.append(info)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tinyfed {__version__}")
        raise typer.Exit


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
        raise Interrupted

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
    line = printable(" ".join(message.split()))
    with contextlib.suppress(OSError):
        print(f"tinyfed: {line}", file=sys.stderr, flush=True)


def run_command(arguments: list[str] | None = None) -> int:
    """Carry out a command line (without the program's name; None: this process's). Returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    want_traceback = os.environ.get("TINYFED_TRACEBACK") == "1"
    try:
        with _orderly_signals():
            output.begin(as_json="--json" in words)
            code = call(words)
            sys.stdout.flush()
        if code == EXIT_INTERRUPTED:  # typer has caught a KeyboardInterrupt
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except (Interrupted, KeyboardInterrupt, typer.Abort) as error:
        if want_traceback:
            raise
        return _fail(words, output.where_it_stopped("interrupted", _notes(error)), EXIT_INTERRUPTED)
    except Terminated as error:
        return _fail(words, output.where_it_stopped("terminated", _notes(error)), EXIT_TERMINATED)
    except BrokenPipeError:
        # whoever read our output has gone: nothing to tell, and nobody to tell it to
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TinyfedError as error:
        if want_traceback:
            raise
        parts = {name: getattr(error, name) for name in ("where", "key", "value", "problem", "remedy")}
        return _fail(words, str(error), error.exit_code, {name: text for name, text in parts.items() if text})
    except Exception as error:
        if isinstance(error, CommandLineError):
            return _fail(words, error.format_message() + _help_hint(error), 2)
        if want_traceback:
            raise
        told = _told_by_the_system(error)
        if told:
            return _fail(words, told, UsageError.exit_code)
        return _fail(
            words,
            f"a fault inside tinyfed: {type(error).__name__}: {error}; "
            "please report it with what TINYFED_TRACEBACK=1 shows",
            EXIT_INTERNAL,
        )


def _told_by_the_system(error: Exception) -> str:
    """What is wrong with a file, with the variable that says where it lies; nothing for any other error."""
    if not isinstance(error, OSError):
        return ""
    try:
        temporary = tempfile.gettempdir()
    except OSError as without:
        return f"{without.strerror}; set TMPDIR to a folder that can be written"
    if not isinstance(error.filename, str | bytes):
        return ""
    path = os.fsdecode(error.filename)
    places = (("XDG_CACHE_HOME", str(cache())), ("TMPDIR", temporary))
    hints = [f"; set {name} to a folder that can be written" for name, place in places if path.startswith(place)]
    return f"{printable(path)}: {error.strerror}{hints[0] if hints else ''}"


def _notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))


def _fail(words: list[str], message: str, code: int, parts: Mapping[str, str] | None = None) -> int:
    """Say it in a line on standard error, with --json also as the last object on standard output. Returns the code."""
    _tell(message)
    if "--json" in words:
        try:
            output.print_json({"error": " ".join(message.split()), "exit_code": code, **(parts or {})})
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError:
            return code  # nobody can be told
    return code


def _help_hint(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return f"; see `{context.command_path} --help`" if context is not None else "; see `tinyfed --help`"


def main() -> None:
    """The console script."""
    if not sys.warnoptions:  # what NumPy and others warn of is told in words where it matters
        warnings.simplefilter("ignore")
    code = run_command()
    if code in (EXIT_INTERRUPTED, EXIT_TERMINATED):  # all is closed: one more signal must not change the code
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
