"""The runs of a sweep: which there are to be, where each lies, and which are done."""

import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tinyfed.errors import UsageError
from tinyfed_host.evaluation.kept import EVALUATION
from tinyfed_host.experiment.schema import EXPERIMENT, Experiment
from tinyfed_host.experiment.settings import Setting
from tinyfed_host.run.names import DATABASE, NAME_MAX, new_folder
from tinyfed_host.run.parts import Parts, read_experiment
from tinyfed_host.run.store import RunStore, StoreError, check_free

RUNS_MAX = 10_000


@dataclass(frozen=True)
class Trial:
    """A run of a sweep."""

    settings: tuple[Setting, ...]
    experiment: Experiment  # with them, and its seed
    folder: Path

    def is_judged(self) -> bool:
        """Whether held-out clients were."""
        with RunStore.read(self.folder) as store:
            return EVALUATION in store.results()

    def rounds(self) -> int:
        """How many it has done. Raises `StoreError` when another experiment's run lies there, or what is no run."""
        try:
            check_free(self.folder)
        except StoreError:
            if not (self.folder / DATABASE).exists():
                raise
            with RunStore.read(self.folder) as store:
                header, last = store.header(), store.last_round()
            wanted = json.loads(json.dumps(self.experiment.to_json()))
            other = sorted(key for key in wanted if wanted[key] != header.experiment.get(key))
            if other:
                raise StoreError(
                    f"there is a run of another experiment (its {' and '.join(other)})",
                    where=str(self.folder),
                    remedy="choose another --name for this sweep",
                ) from None
            return 0 if last is None else int(last["round"])
        return 0

    def command(self, file: Path) -> list[str]:
        """The words after `tinyfed` that begin it."""
        sets = [word for setting in self.settings for word in ("--set", str(setting))]
        words = ["--seed", str(self.experiment.seed), "--rounds", str(self.experiment.rounds)]
        return ["run", str(file), *sets, *words, "--runs", str(self.folder.parent), "--name", self.folder.name]


def make_trials(
    file: Path, choices: Sequence[Sequence[Setting]], seeds: int, rounds: int | None, folder: Path
) -> list[Trial]:
    """Each combination of the choices with each seed, counted from the experiment's, all checked. Raises `UsageError`.

    Seed by seed, so that a sweep that is stopped has all combinations with the first.
    """
    count = seeds
    for each in choices:
        count *= len(each)
    if count > RUNS_MAX:
        raise UsageError(f"these are {count:,} runs, at most {RUNS_MAX:,} are", remedy="give fewer values")
    keys = [each[0].path for each in choices]
    twice = [each[0] for each in choices if keys.count(each[0].path) > 1 or each[0].path == ("seed",)]
    twice += [setting for each in choices for at, setting in enumerate(each) if setting in each[:at]]
    if twice:
        raise UsageError(
            "is given twice: give each key once, with all its values, and seeds by --seeds",
            key="--set",
            value=str(twice[0]),
        )
    found = []
    for settings in itertools.product(*choices):
        experiment = read_experiment(file, settings)
        if rounds is not None:
            experiment = replace(experiment, rounds=rounds)
        if experiment.fleet.kind == "ports":
            raise UsageError(
                "the runs of a sweep learn side by side, and devices on ports cannot",
                key="fleet.kind", remedy='add --set fleet.kind=simulated',
            )  # fmt: skip
        Parts.make(experiment)
        EXPERIMENT["seed"].check(experiment.seed + seeds - 1)
        found.append((settings, experiment))
    trials = [
        Trial(settings, replace(experiment, seed=experiment.seed + number), Path())
        for number in range(seeds)
        for settings, experiment in found
    ]
    return [replace(trial, folder=new_folder(_name(trial), folder)) for trial in trials]


def left_of(trials: Sequence[Trial]) -> list[Trial]:
    """Those that are not done; where some were judged, those too that ended between their last round and that. Raises
    `StoreError`."""
    done = [trial for trial in trials if trial.rounds() >= trial.experiment.rounds]
    judged = [trial for trial in done if trial.is_judged()]
    ready = judged or done
    return [trial for trial in trials if trial not in ready]


def _name(trial: Trial) -> str:
    """`learning_rate-0.01_seed-3`, the same whenever the same is asked for."""
    told = [f"{setting.path[-1]}-{str(setting).partition('=')[2]}" for setting in trial.settings]
    last = f"seed-{trial.experiment.seed}"
    plain = [re.sub(r"[^A-Za-z0-9._]+", "-", text).strip(".-") for text in told]
    name = "_".join([*plain, last])
    if len(name) <= NAME_MAX and plain == told:
        return name
    # Shortened, names may be alike.
    digest = hashlib.sha256("\n".join(map(str, trial.settings)).encode()).hexdigest()[:8]
    return f"{'_'.join(plain)[: NAME_MAX - len(last) - 10].rstrip('_-.')}-{digest}_{last}"
