"""What the coordinator asks of a device in a visit, and what the device answers: the bytes of docs/order.md."""

import math
import struct
from dataclasses import dataclass, field

from tinyfed.errors import UsageError
from tinyfed.wire.encodings import NAMES, WeightsEncoding

ORDER_VERSION = 3  # newest; an order goes as the oldest that can say it
RESULT_VERSION = 1
CHECKPOINTS_MAX = 8
WAYS_MAX = 32
SHOTS_MAX = 1024
SOURCES = {"shard": 1, "sine": 2}
UPDATES = {"online": 0, "sgd": 1, "momentum": 2, "adam": 3, "adam_second": 4}
_FLAGS = {"true_labels": 1, "in_time": 2, "meta_gradient": 4, "keep_local": 8, "zero_local": 16}
_FLAGS_V2 = 7
TOP_ALL = 10_000

_ORDER = struct.Struct("<BBBBHHQfBBH8H")
_MORE = struct.Struct("<BBHfBBHHBB")
_RESULT = struct.Struct("<BBHIffIIII")
_CHECKPOINT = struct.Struct("<IIIf")


def _check(name: str, value: int, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UsageError(f"order: {name} is {value!r}, allowed is a whole number from {low} to {high}")


@dataclass(frozen=True)
class Order:
    """A visit's order; the device draws everything else from `seed` and its own data."""

    source: str  # "shard" or "sine"
    ways: int  # classes drawn; 1 for regression
    shots: int  # training samples a class
    queries: int  # evaluation samples a class; 0: all that the stream does not use
    seed: int
    learning_rate: float  # rounded to float32 on the way
    checkpoints: tuple[int, ...] = ()  # evaluate after so many samples a class, all passes counted
    passes: int = 1
    update: str = "online"  # one of UPDATES: each sample by itself, or batches with an optimizer
    batch: int = 0  # samples of an update; 0: all of a pass. Not with "online"
    proximal: float = 0.0  # FedProx's mu; rounded to float32
    true_labels: bool = False  # label k is class k of the shard
    in_time: bool = False  # learn from the first samples of each class, judge on later ones
    meta_gradient: bool = False  # the weights become minus the mean gradient on the queries
    local_first: int = 0  # so many of the first layers with parameters are never sent, but rebuilt on the device
    local_last: int = 0  # and so many of the last
    reconstruct: int = 0  # the first samples a class teach the local layers alone
    top: int = 0  # hundredths of a percent of the shared values that come back, the largest updates; 0: all
    answer: str = "float32"  # how the values come back: a name of `wire.encodings.NAMES`. Not with `top`
    keep_local: bool = False  # once rebuilt, local layers stay; without, they go on learning
    zero_local: bool = False  # local layers begin with zeros, not with random values

    @property
    def is_partial(self) -> bool:
        """Some layers stay on the device."""
        return bool(self.local_first or self.local_last)

    @property
    def answers_update(self) -> bool:
        """What comes back is not simply all weights: `tinyfed.wire.update.expand` makes them of it."""
        return self.is_partial or self.top > 0 or self.answer != "float32"

    def encode(self) -> bytes:
        """The 40 or 56 bytes of docs/order.md. Raises UsageError naming the field that is out of range."""
        if self.source not in SOURCES:
            raise UsageError(f"order: source is {self.source!r}, allowed are {', '.join(SOURCES)}")
        _check("ways", self.ways, 1, WAYS_MAX)
        _check("shots", self.shots, 1, SHOTS_MAX)
        _check("queries", self.queries, 0, SHOTS_MAX)
        _check("passes", self.passes, 1, 255)
        _check("seed", self.seed, 0, 2**64 - 1)
        rate = self.learning_rate
        if not 2.0**-126 <= rate <= 1000.0:
            raise UsageError(f"order: learning_rate is {rate!r}, allowed is 1.2e-38 to 1000")
        if len(self.checkpoints) > CHECKPOINTS_MAX:
            raise UsageError(f"order: {len(self.checkpoints)} checkpoints, at most {CHECKPOINTS_MAX} fit")
        lowest = 0
        for shots in self.checkpoints:
            _check("checkpoint", shots, lowest, min(self.shots * self.passes, 65535))
            lowest = shots + 1
        more = self._encode_more()
        points = (*self.checkpoints, *[0] * (CHECKPOINTS_MAX - len(self.checkpoints)))
        version = 3 if any(more[8:]) or more[1] > _FLAGS_V2 else 2 if any(more) else 1
        return _ORDER.pack(
            version,
            SOURCES[self.source],
            self.ways,
            self.passes,
            self.shots,
            self.queries,
            self.seed,
            rate,
            len(self.checkpoints),
            0,
            0,
            *points,
        ) + (more if any(more) else b"")

    def _encode_more(self) -> bytes:
        """What version 2 adds; all zeros when nothing of it is used."""
        if self.update not in UPDATES:
            raise UsageError(f"order: update is {self.update!r}, allowed are {', '.join(UPDATES)}")
        _check("batch", self.batch, 0, 65535)
        if self.update == "online" and self.batch:
            raise UsageError("order: batch is for another update than 'online'")
        zero = self.proximal == 0.0 and math.copysign(1.0, self.proximal) > 0
        if not zero and not 2.0**-126 <= self.proximal <= 1000.0:
            raise UsageError(f"order: proximal is {self.proximal!r}, allowed is 0, or 1.2e-38 to 1000")
        if self.meta_gradient and self.update != "sgd":
            raise UsageError(f"order: meta_gradient needs update 'sgd', not {self.update!r}")
        if self.source != "shard" and (self.true_labels or self.in_time):
            raise UsageError("order: true_labels and in_time are for source 'shard'")
        self._check_local()
        flags = sum(bit for name, bit in _FLAGS.items() if getattr(self, name))
        answer = WeightsEncoding.named(self.answer).number
        local = (self.local_first, self.local_last, self.reconstruct, self.top, answer, 0)
        return _MORE.pack(UPDATES[self.update], flags, self.batch, self.proximal, *local)

    def _check_local(self) -> None:
        """What version 3 adds."""
        _check("local_first", self.local_first, 0, 255)
        _check("local_last", self.local_last, 0, 255)
        _check("reconstruct", self.reconstruct, 0, min(self.shots * self.passes, 65535))
        _check("top", self.top, 0, TOP_ALL)
        if not self.is_partial and (self.reconstruct or self.keep_local or self.zero_local):
            raise UsageError("order: reconstruct, keep_local and zero_local are for local layers: set local_last")
        if self.is_partial and (self.update not in ("online", "sgd") or self.proximal):
            raise UsageError("order: local layers are for update 'online' or 'sgd' without proximal")
        if self.top and self.meta_gradient:
            raise UsageError("order: top is not for meta_gradient")
        if self.answer not in NAMES:
            raise UsageError(f"order: answer is {self.answer!r}, allowed are {', '.join(NAMES)}")
        if self.answer != "float32" and self.top:
            raise UsageError("order: answer is for all values; top gives back some")
        if self.answer.endswith("-delta") and self.meta_gradient:
            raise UsageError("order: a meta_gradient is no difference: choose an answer without -delta")

    @classmethod
    def decode(cls, data: bytes) -> "Order":
        """Read the bytes of `encode`. Raises UsageError when they are not an order."""
        version = data[0] if data else 0
        size = {1: _ORDER.size, 2: _ORDER.size + _MORE.size, 3: _ORDER.size + _MORE.size}.get(version)
        if len(data) != size:
            raise UsageError(f"order: {len(data)} bytes are not an order of version 1 to {ORDER_VERSION}")
        _, source, ways, passes, shots, queries, seed, rate, count, *rest = _ORDER.unpack_from(data)
        more = _MORE.unpack_from(data, _ORDER.size) if version > 1 else (0,) * 10
        update, flags, batch, proximal, local_first, local_last, reconstruct, top, answer, reserved = more
        names = {number: name for name, number in SOURCES.items()}
        updates = {number: name for name, number in UPDATES.items()}
        answers = {WeightsEncoding.named(name).number: name for name in NAMES}
        points = rest[2:]
        if source not in names or count > CHECKPOINTS_MAX or any(rest[:2]) or any(points[count:]):
            raise UsageError("order: a field is out of its range; docs/order.md lists them")
        of_later = version == 2 and (flags > _FLAGS_V2 or any(more[4:]))
        if update not in updates or flags >= 32 or answer not in answers or reserved or of_later:
            raise UsageError(f"order: a field of version {version} is out of its range; docs/order.md lists them")
        chosen = {name: bool(flags & bit) for name, bit in _FLAGS.items()}
        order = cls(
            names[source], ways, shots, queries, seed, rate, tuple(points[:count]), passes,
            updates[update], batch, proximal, local_first=local_first, local_last=local_last, reconstruct=reconstruct,
            top=top, answer=answers[answer], **chosen,
        )  # fmt: skip
        order.encode()
        return order


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
    """What a device reports of a visit. Clock, instructions and memory differ between devices; the rest does not."""

    samples: int
    loss_first: float
    loss_last: float
    train_us: int
    train_instructions: int
    stack_bytes: int
    checkpoints: tuple[Checkpoint, ...]
    arena_bytes: int = field(default=0, compare=False)  # in use: model, work area, what the order needs

    def encode(self) -> bytes:
        """The bytes of docs/order.md: 32, and 16 for each checkpoint."""
        head = _RESULT.pack(
            RESULT_VERSION,
            len(self.checkpoints),
            0,
            self.samples,
            self.loss_first,
            self.loss_last,
            self.train_us,
            self.train_instructions,
            self.stack_bytes,
            self.arena_bytes,
        )
        return head + b"".join(_CHECKPOINT.pack(c.shots, c.count, c.correct, c.loss) for c in self.checkpoints)

    @classmethod
    def decode(cls, data: bytes) -> "Result":
        """Read a device's answer. Raises UsageError when the bytes are not a result."""
        if len(data) < _RESULT.size or data[0] != RESULT_VERSION:
            raise UsageError(f"result: not a result of version {RESULT_VERSION}: is the firmware another version?")
        _, count, _, samples, first, last, train_us, instructions, stack, arena = _RESULT.unpack_from(data)
        if count > CHECKPOINTS_MAX or len(data) != _RESULT.size + count * _CHECKPOINT.size:
            raise UsageError(f"result: {len(data)} bytes do not hold {count} checkpoints")
        points = tuple(
            Checkpoint(*_CHECKPOINT.unpack_from(data, _RESULT.size + k * _CHECKPOINT.size)) for k in range(count)
        )
        if any(p.correct > p.count or p.count == 0 for p in points) or not math.isfinite(last):
            raise UsageError("result: a value is out of its range; docs/order.md lists them")
        return cls(samples, first, last, train_us, instructions, stack, points, arena)
