"""Federated and meta-learning strategies, a file each. `make("tinyreptile", ...)` gives one by its name.

A new strategy is a file with a frozen dataclass and a line in `_STRATEGIES`; its fields beside `order`, `rounds` and
`name` are its options, with their defaults.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from tinyfed.errors import UsageError
from tinyfed.fields import Field, Source, Table, fields_of, near
from tinyfed.meta.strategy import Strategy
from tinyfed.wire.order import Order

__all__ = ["Strategy", "adaptation", "make", "names", "options", "references", "robust", "simulate", "strategy"]

_STRATEGIES = {
    "fedavg": "tinyfed.meta.fedavg:FedAvg",
    "fedprox": "tinyfed.meta.fedavg:FedProx",
    "fedsgd": "tinyfed.meta.fedavg:FedSGD",
    "fomaml": "tinyfed.meta.fomaml:FOMAML",
    "joint": "tinyfed.meta.joint:Joint",
    "reptile": "tinyfed.meta.reptile:Reptile",
    "tinymetafed": "tinyfed.meta.tinymetafed:TinyMetaFed",
    "tinyreptile": "tinyfed.meta.tinyreptile:TinyReptile",
}


def names() -> tuple[str, ...]:
    """The strategies there are."""
    return tuple(sorted(_STRATEGIES))


def options(name: str) -> Mapping[str, Any]:
    """The options of a strategy with their defaults. Raises UsageError for an unknown one."""
    return {option: field.default for option, field in fields(name).items()}


def fields(name: str) -> Mapping[str, Field]:
    """The options of a strategy with what each may be. Raises UsageError for an unknown one."""
    made = _class(name)
    given = {field.name for field in dataclasses.fields(made) if field.init} - {"order", "rounds", "name"}
    return {option: field for option, field in fields_of(made).items() if option in given}


def make(name: str, order: Order, rounds: int, **chosen: Any) -> Strategy:
    """The strategy of that name. Raises UsageError for an unknown one, or an option unknown or out of range."""
    Table(chosen, Source(f"strategy {name}")).read(fields(name))
    strategy: Strategy = _class(name)(order=order, rounds=rounds, **chosen)
    return strategy


def _class(name: str) -> Any:
    if name not in _STRATEGIES:
        raise UsageError(
            f"{name!r} is unknown, allowed are {', '.join(names())}", where="strategy", remedy=near(name, names())
        )
    module, attribute = _STRATEGIES[name].split(":")
    return getattr(importlib.import_module(module), attribute)
