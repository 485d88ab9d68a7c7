"""Federated and meta-learning strategies, a file each. `make("tinyreptile", ...)` gives one by its name.

A new strategy is a file with a frozen dataclass and a line in `_STRATEGIES`; its fields beside `order`, `rounds` and
`name` are its options, with their defaults.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from tinyfed.errors import UsageError
from tinyfed.meta.strategy import Strategy
from tinyfed.options import check_options
from tinyfed.wire.order import Order

__all__ = ["Strategy", "adaptation", "make", "names", "options", "references", "simulate", "strategy"]

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
    fields = dataclasses.fields(_class(name))
    return {
        field.name: field.default for field in fields if field.init and field.name not in ("order", "rounds", "name")
    }


def make(name: str, order: Order, rounds: int, **chosen: Any) -> Strategy:
    """The strategy of that name. Raises UsageError for an unknown one, or an option unknown or out of range."""
    check_options(f"strategy {name}", options(name), chosen)
    strategy: Strategy = _class(name)(order=order, rounds=rounds, **chosen)
    return strategy


def _class(name: str) -> Any:
    if name not in _STRATEGIES:
        raise UsageError(f"strategy: {name!r} is unknown, allowed are {', '.join(names())}")
    module, attribute = _STRATEGIES[name].split(":")
    return getattr(importlib.import_module(module), attribute)
