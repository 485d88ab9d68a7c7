"""The exceptions a user can meet. Each is data first (where, key, problem, remedy) and one line last."""

import copy
from typing import Self


class TinyfedError(Exception):
    """The root. `exit_code` is what the CLI ends with; docs/cli.md lists them.

    An error is made of parts, and code that asks what went wrong reads these, never the sentence:

    - `problem`: what is wrong. Alone it is the whole message, so `UsageError("no rounds")` works.
    - `where`: the file (with its line where it has lines), the port, the board or the device.
    - `key`: what in there: a key of a TOML file such as "model.layers[1].kind", an option, a layer or operator.
    - `value`: what stands at the key, as the user wrote it; "" where it says nothing.
    - `remedy`: what to do.

    `str(error)` is `where: key = value: problem; remedy`, without the parts that are empty. What a caller branches on
    beyond that is a subclass, or a field of one. All of it survives pickle and copy.
    """

    exit_code = 1

    def __init__(self, problem: str, *, where: str = "", key: str = "", value: str = "", remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.where = where
        self.key = key
        self.value = value
        self.remedy = remedy

    @property
    def detail(self) -> str:
        """The sentence without `where`, for a place that shows it already."""
        named = f"{self.key} = {self.value}" if self.value else self.key
        said = f"{named}: {self.problem}" if named else self.problem
        return f"{said}; {self.remedy}" if self.remedy else said

    def __str__(self) -> str:
        return f"{self.where}: {self.detail}" if self.where else self.detail

    def located(self, where: str = "", key: str = "") -> Self:
        """A copy that says where it happened and at which key, each unless the error knows it better."""
        error = copy.copy(self)
        error.where, error.key = self.where or where, self.key or key
        return error


class UsageError(TinyfedError):
    """Something the user wrote is wrong: an option, an experiment file, a model, a data file."""

    exit_code = 2


class ImageError(UsageError):
    """Bytes that are no model image. `offset` is the first byte that is wrong."""

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(f"model image: {reason} at byte {offset}")
        self.reason = reason
        self.offset = offset


class ConvertError(UsageError):
    """A model that tinyfed cannot run; the message names the file, the layer or tensor, and what would work."""


class LayerError(UsageError):
    """A layer that does not fit where it stands in a model: number `layer`, counted from 0."""

    def __init__(self, problem: str, *, key: str = "", layer: int = 0) -> None:
        super().__init__(problem, key=key)
        self.layer = layer


class MissingToolError(TinyfedError):
    """A program or a Python package that the command needs is not installed."""

    exit_code = 3


class DeviceError(TinyfedError):
    """A device does not answer, answers wrongly, or refuses."""

    exit_code = 4


class DivergedError(DeviceError):
    """What a device computed left the finite numbers, or became too large. From the same weights, samples and order
    it does so again."""


class DoesNotFitError(TinyfedError):
    """A model or a shard is larger than the board's memory."""

    exit_code = 5


class BuildError(TinyfedError):
    """Firmware does not compile or cannot be flashed."""

    exit_code = 6
