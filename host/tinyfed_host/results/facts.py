"""What runs came to, and in what their experiments differ; runs that differ in nothing but the seed are a group."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyfed.errors import UsageError
from tinyfed.model.layers import BLANK
from tinyfed.text import shown
from tinyfed_host.evaluation.intervals import Interval, interval
from tinyfed_host.evaluation.kept import EVALUATION, headline, is_of
from tinyfed_host.run.names import DATABASE, run_folder
from tinyfed_host.run.store import RunStore, StoreError, damage_told

LOSS = "loss"
SEED = "seed"
DEFAULT = "default"


@dataclass(frozen=True)
class RunFacts:
    """A run, read."""

    folder: Path
    experiment: Mapping[str, str]  # by key, as `task.learning_rate`; what is not written is not there
    rounds: int  # done
    of: int
    curve: Sequence[tuple[int, float]]  # the run's loss after each round
    seed: int
    figures: Mapping[str, float]  # at the end: "loss", and "held-out accuracy after 5"
    weights_sha256: str


@dataclass(frozen=True)
class Group:
    """Runs of one experiment that differ in the seed."""

    label: str  # what sets it apart from the other groups; "": there is no other
    values: Mapping[str, str]  # of the keys in which groups differ
    runs: Sequence[RunFacts]

    def figure(self, name: str) -> Interval:
        """The mean over the seeds: a run done again tells nothing new."""
        return interval(list(self.by_seed(name).values()))

    def by_seed(self, name: str) -> dict[int, float]:
        """A figure by seed; of two runs with the same seed the last."""
        return {run.seed: run.figures[name] for run in self.runs}


def find_runs(texts: Sequence[str]) -> list[Path]:
    """The runs that are named; a folder that holds runs, as a sweep's, stands for all of them. Raises `StoreError`."""
    found: list[Path] = []
    for text in texts:
        folder = run_folder(text)
        places = [] if (folder / DATABASE).exists() else [folder, Path(text)]
        below = [sorted(path.parent for path in place.glob(f"*/{DATABASE}")) for place in places]
        found += next(filter(None, below), [folder])
    return list(dict.fromkeys(found))


def read_facts(folder: Path) -> RunFacts:
    """Raises `StoreError` when there is no run, or it has no round."""
    with RunStore.read(folder) as store:
        header, rounds, results = store.header(), store.round_metrics(), store.results()
    if not rounds:
        raise StoreError("the run has no round yet", where=str(folder))
    with damage_told(folder):
        experiment = dict(_flat(header.experiment))
        curve = [(int(entry["round"]), _finite(entry["loss"])) for entry in rounds if entry.get("loss") is not None]
        figures = {LOSS: curve[-1][1]} if curve else {}
        if is_of(results.get(EVALUATION), int(rounds[-1]["round"])):
            measure, shots, mean = headline(results[EVALUATION])
            figures[f"held-out {measure} after {shots}"] = _finite(mean)
        return RunFacts(
            folder, experiment, int(rounds[-1]["round"]), int(header.experiment["rounds"]), curve,
            int(experiment[SEED]), figures,
            shown(rounds[-1]["weights_sha256"], 64),
        )  # fmt: skip


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no figure")
    return number


def _flat(experiment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The experiment by the keys of its file."""
    for name, section in experiment.items():
        if not isinstance(section, Mapping):
            yield name, _said(section)
            continue
        for key, value in section.items():
            if key in ("options", "order") and isinstance(value, Mapping):
                yield from ((f"{name}.{option}", _said(each)) for option, each in value.items())
            elif key == "boards":
                yield f"{name}.{key}", ", ".join(f"{n} {board}" for board, n in Counter(map(str, value)).items())
            elif key == "layers" and isinstance(value, list):
                yield f"{name}.{key}", ", ".join(map(_layer, value))
            elif value is not None:
                yield f"{name}.{key}", _said(value)


def _layer(values: Mapping[str, Any]) -> str:
    """`dense 32 tanh`: what is not as in every layer that says nothing."""
    told = {key: value for key, value in values.items() if value != BLANK.get(key) or key in ("kind", "activation")}
    words = [str(told.pop(key)) for key in ("kind", "outputs", "activation") if key in told]
    return " ".join([*words, *(f"{key} {value}" for key, value in told.items())])


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def differing(runs: Sequence[RunFacts]) -> list[str]:
    """The keys in which these experiments differ, in the order of the first; the seed is none of them."""
    keys = dict.fromkeys(key for run in runs for key in run.experiment)
    return [key for key in keys if key != SEED and len({run.experiment.get(key) for run in runs}) > 1]


def grouped(runs: Sequence[RunFacts]) -> list[Group]:
    """In the order in which they come."""
    keys = differing(runs)
    parts: dict[tuple[str, ...], list[RunFacts]] = {}
    for run in runs:
        parts.setdefault(tuple(run.experiment.get(key, DEFAULT) for key in keys), []).append(run)
    lasts = Counter(key.rpartition(".")[2] for key in keys)
    short = [key.rpartition(".")[2] if lasts[key.rpartition(".")[2]] == 1 else key for key in keys]
    groups = []
    for values, each in parts.items():
        label = ", ".join(f"{key} {value}" for key, value in zip(short, values, strict=True))
        groups.append(Group(label, dict(zip(keys, values, strict=True)), each))
    return groups


def shared_figures(runs: Sequence[RunFacts]) -> list[str]:
    """The figures that all of them have, the most telling one first: of held-out clients, where it is there. Raises
    `UsageError` where there is none."""
    names = [name for name in runs[0].figures if all(name in run.figures for run in runs)]
    if not names:
        raise UsageError("the runs have no figure in common: no visit of one of them went well")
    return sorted(names, key=lambda name: name == LOSS)


def is_better_low(figure: str) -> bool:
    """All but accuracies are errors."""
    return "accuracy" not in figure
