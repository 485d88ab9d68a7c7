"""What the coordinator asks of a device in a visit, and what the device answers: the bytes of docs/order.md."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """A visit's order; the device draws everything else from `seed` and its own data."""

    source: str  # "shard" or "sine"
    ways: int
    shots: int
    queries: int  # evaluation samples a class; 0: all that the stream does not use
    seed: int
    learning_rate: float
    checkpoints: tuple[int, ...] = ()
    passes: int = 1


@dataclass(frozen=True)
class Checkpoint:
    """An evaluation after `shots` samples a class."""

    shots: int
    count: int
    correct: int
    loss: float

    @property
    def accuracy(self) -> float:
        """Share of correct answers, 0..1."""
        return self.correct / self.count


@dataclass(frozen=True)
class Result:
    """What a device reports of a visit. Clock, instructions and stack differ between devices; the rest does not."""

    samples: int
    loss_first: float
    loss_last: float
    train_us: int
    train_instructions: int
    stack_bytes: int
    checkpoints: tuple[Checkpoint, ...]
