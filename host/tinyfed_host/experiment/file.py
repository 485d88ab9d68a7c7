"""EXPERIMENT.toml as a whole: what to learn, from whom, how."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tinyfed.fields import Table
from tinyfed_host.experiment import toml
from tinyfed_host.experiment.checks import check_experiment
from tinyfed_host.experiment.schema import Experiment, read_experiment
from tinyfed_host.experiment.settings import Setting, with_settings


def load(path: Path, boards: Sequence[str], settings: Sequence[Setting] = ()) -> Experiment:
    """Read an experiment file; `boards` are those there are, `settings` stand in place of what it says. Raises
    `UsageError` with file and line at the first thing that is wrong."""
    return _experiment(with_settings(toml.read(path), settings), boards)


def parse(text: str, name: str, boards: Sequence[str]) -> Experiment:
    """`load` from a string; `name` stands for the file in errors."""
    return _experiment(toml.parse(text, name), boards)


def _experiment(root: Table, boards: Sequence[str]) -> Experiment:
    experiment = read_experiment(root, boards)
    task = check_experiment(root, experiment)
    return dataclasses.replace(experiment, fleet=experiment.fleet.filled(task))
