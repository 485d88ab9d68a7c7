"""What was measured, as JSON: a file a task, with the conditions beside the rows. docs/reproduction.md is rendered from
these files alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tinyfed.errors import UsageError

CLOCK_HZ = 64_000_000
BITS_PER_S = 115_200
ACCURACY, SQUARED_ERROR = "accuracy", "mean squared error"


@dataclass(frozen=True)
class Value:
    """A mean over seeds."""

    mean: float
    half_width: float | None = None  # of the 95 % interval; None: a single seed, or not kept
    seeds: tuple[float, ...] = ()  # what the mean is of; empty: not kept


@dataclass(frozen=True)
class ToTarget:
    """Visits to the performance asked for; None: never."""

    mean: int | None  # of the mean over seeds
    quickest: int | None = None  # seed
    slowest: int | None = None


@dataclass(frozen=True)
class Settings:
    """A row's strategy with its options, and what it changes in the task's orders."""

    strategy: str
    options: Mapping[str, Any]
    order: Mapping[str, Any]
    adapt: Mapping[str, Any]  # in the newcomers'
    visits: int


@dataclass(frozen=True)
class Price:
    """What a visit costs a device, measured on the emulated Cortex-M4."""

    instructions: int
    arena_bytes: int  # in use, as the board says: weights and all but the stored samples
    stack_bytes: int
    bytes_down: int
    bytes_up: int
    ram_bytes: int  # beside the model's own weights, stack and stored samples included
    stored_bytes: int  # of it samples that must be kept when they come from a sensor and are gone through again

    @property
    def compute_s(self) -> float:
        """At 64 MHz and one instruction a cycle."""
        return self.instructions / CLOCK_HZ

    @property
    def wire_s(self) -> float:
        """At 115,200 baud, ten bits a byte."""
        return 10 * (self.bytes_down + self.bytes_up) / BITS_PER_S

    @property
    def visit_s(self) -> float:
        """Both."""
        return self.visit_s_at(BITS_PER_S)

    def visit_s_at(self, bits_per_s: int) -> float:
        """Both, on another line."""
        return self.compute_s + 10 * (self.bytes_down + self.bytes_up) / bits_per_s


@dataclass(frozen=True)
class OnBoards:
    """What ran on emulated boards too and gave the simulated devices' bits."""

    visits: int
    newcomers: int
    boards: int | None = None  # None: not kept


@dataclass(frozen=True)
class Row:
    """What a strategy, or a reference, reached."""

    label: str
    values: Mapping[int, Value]  # by samples a class that newcomers have learned from
    settings: Settings | None = None  # None: a reference
    curve: tuple[tuple[int, float], ...] = ()  # visits, and the mean over seeds after the target's samples
    to_target: ToTarget | None = None
    price: Price | None = None
    on_boards: OnBoards | None = None

    @property
    def shots(self) -> tuple[int, ...]:
        """Where newcomers were judged."""
        return tuple(self.values)

    def mean(self, shots: int) -> float:
        """Over seeds."""
        return self.values[shots].mean

    def value_at(self, visits: int) -> float | None:
        """Of the last point of the curve up to so many visits; None before the first and after the run's end."""
        known = [value for point, value in self.curve if point <= visits]
        return known[-1] if known and visits <= self.curve[-1][0] else None


@dataclass(frozen=True)
class PairRow:
    """Two speakers held out; none: the mean over all pairs."""

    held_out: tuple[str, ...]
    values: Mapping[str, Mapping[int, Value]]  # by kind of initialization and samples a class
    ahead: Mapping[int, Value]  # TinyReptile's lead on transfer learning


@dataclass(frozen=True)
class Measured:
    """How, and what it took."""

    command: str = ""
    board: str = ""  # what rows ran on too; empty: on simulated devices alone
    cpu_s: float = 0.0  # of the whole command
    minutes: float = 0.0
    complete: bool = True  # False: the command had not ended

    @property
    def cost(self) -> str:
        """In words."""
        minutes = f"{self.minutes:,.0f}"
        unit = "minute" if minutes == "1" else "minutes"
        return f"{self.cpu_s:,.0f} s of CPU time and {minutes} {unit}{'' if self.complete else ' so far'}"


@dataclass(frozen=True)
class Results:
    """A task's table."""

    task: str
    model: str
    metric: str  # `ACCURACY` or `SQUARED_ERROR`
    visits: int
    seeds: tuple[int, ...]
    target: tuple[int, float]  # samples a class, and the performance whose price is compared
    rows: tuple[Row, ...]
    references: tuple[Row, ...] = ()
    pairs: tuple[PairRow, ...] = ()  # of the spoken words alone; the mean is the last
    points_a_step: int = 0  # newcomers that go through a stored set: so many samples looked at are a step
    measured: Measured = field(default_factory=Measured)

    @property
    def smaller_is_better(self) -> bool:
        """Squared errors are, accuracies are not."""
        return self.metric == SQUARED_ERROR

    @property
    def bound(self) -> str:
        """The performance whose price is compared, in words."""
        shots, value = self.target
        return f"{'at most' if self.smaller_is_better else 'at least'} {value:g} after {self.amount(shots)}"

    def amount(self, count: int) -> str:
        """How much newcomers have learned from, in words: samples a class, or steps."""
        number, unit = (count // self.points_a_step, "step") if self.points_a_step else (count, "sample")
        return f"{number} {unit}{'s' if number != 1 else ''}"


def to_text(results: Results) -> str:
    """JSON, a row a line, so that a difference shows the rows that differ."""
    entries = []
    for name, value in asdict(results).items():
        text = json.dumps(value)
        if isinstance(value, tuple) and value and isinstance(value[0], dict):
            text = "[\n  " + ",\n  ".join(json.dumps(item) for item in value) + "\n ]"
        entries.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def from_text(text: str) -> Results:
    """What `to_text` wrote. Raises ValueError (json.JSONDecodeError too), TypeError, KeyError or AttributeError."""
    raw = json.loads(text)
    for name in ("rows", "references"):
        raw[name] = tuple(_row(each) for each in raw[name])
    raw["pairs"] = tuple(
        PairRow(
            tuple(pair["held_out"]), {kind: _values(each) for kind, each in pair["values"].items()},
            _values(pair["ahead"]),
        )
        for pair in raw["pairs"]
    )  # fmt: skip
    raw |= {"seeds": tuple(raw["seeds"]), "target": tuple(raw["target"]), "measured": Measured(**raw["measured"])}
    return Results(**raw)


def _row(raw: Mapping[str, Any]) -> Row:
    def part(kind: type, name: str) -> Any:
        return None if raw[name] is None else kind(**raw[name])

    return Row(
        raw["label"],
        _values(raw["values"]),
        part(Settings, "settings"),
        tuple((visits, value) for visits, value in raw["curve"]),
        part(ToTarget, "to_target"),
        part(Price, "price"),
        part(OnBoards, "on_boards"),
    )


def _values(raw: Mapping[str, Mapping[str, Any]]) -> dict[int, Value]:
    return {int(shots): Value(**{**value, "seeds": tuple(value["seeds"])}) for shots, value in raw.items()}


def read(folder: Path, tasks: Sequence[str]) -> dict[str, Results]:
    """What the folder holds of these tasks, in their order. Raises UsageError: a file that is no result."""
    found = {}
    for task in tasks:
        path = folder / f"{task}.json"
        try:
            found[task] = from_text(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(f"no result of tinyfed reproduce: {error}", where=str(path)) from None
    return found


def files(folder: Path, results: Sequence[Results]) -> dict[Path, bytes]:
    """A file each."""
    return {folder / f"{each.task}.json": to_text(each).encode() for each in results}
