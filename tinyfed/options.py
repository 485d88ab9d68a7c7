"""Options of strategies and tasks: whether they are known, and of the kind of their defaults."""

import math
from collections.abc import Mapping
from typing import Any

from tinyfed.errors import UsageError

_KINDS = {bool: "true or false", float: "a number", str: "text"}


def check_options(where: str, defaults: Mapping[str, Any], chosen: Mapping[str, Any]) -> None:
    """Raises UsageError naming the option unless each is one of `defaults` and a finite value of the same kind.

    Whole numbers are left to whoever knows their range.
    """
    for name, value in sorted(chosen.items()):
        if name not in defaults:
            raise UsageError(f"{where}: option {name!r} is unknown, allowed: {', '.join(defaults) or 'none'}")
        kind = type(defaults[name])
        if kind is float and type(value) in (int, float) and math.isfinite(value):
            continue
        if kind is float or (kind in _KINDS and type(value) is not kind):
            raise UsageError(f"{where}: {name} is {value!r}, allowed is {_KINDS[kind]}")
