"""The exceptions a user can meet. Every message is one line: what is wrong, where, and what to do."""


class TinyfedError(Exception):
    """The root. `exit_code` is what the CLI ends with; docs/cli.md lists them."""

    exit_code = 1


class UsageError(TinyfedError):
    """Something the user wrote is wrong: an option, an experiment file, a model, a data file."""

    exit_code = 2


class MissingToolError(TinyfedError):
    """A program or a Python package that the command needs is not installed."""

    exit_code = 3


class DeviceError(TinyfedError):
    """A device does not answer, answers wrongly, or refuses."""

    exit_code = 4


class DoesNotFitError(TinyfedError):
    """A model or a shard is larger than the board's memory."""

    exit_code = 5


class BuildError(TinyfedError):
    """Firmware does not compile or cannot be flashed."""

    exit_code = 6
