"""What the coordinator asks of a device in a visit, and what the device answers: the bytes of docs/order.md."""

import math
import struct
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from tinyfed.errors import UsageError
from tinyfed.fields import check_fields, check_values, number, quote, whole, word
from tinyfed.wire.encodings import NAMES, WeightsEncoding

ORDER_VERSION = 4  # newest; an order goes as the oldest that can say it
RESULT_VERSION = 1
CHECKPOINTS_MAX = 8
WAYS_MAX = 32
SHOTS_MAX = 1024
SOURCES = {"shard": 1, "sine": 2}
UPDATES = {"online": 0, "sgd": 1, "momentum": 2, "adam": 3, "adam_second": 4}
_FLAGS = {"true_labels": 1, "in_time": 2, "meta_gradient": 4, "keep_local": 8, "zero_local": 16}
_FLAGS_V2 = 7
TOP_ALL = 10_000
SEED = whole(0, 2**64 - 1)
START = whole(0, 2**32 - 1)
SMALLEST = 2.0**-126  # of the positive float32 values that are no subnormal
# What a device can say of a visit at most: a loss, the samples of a shard it judges itself on, the pieces of work that
# choosing what goes back takes, its stack in bytes.
LOSS_MAX = 1e30
JUDGED_MAX = 2**24
CHOICE_STEPS_MAX = 5
STACK_BYTES_MAX = 2**20
COUNTER_END = 2**32 - 1  # of microseconds and instructions: a counter that stands there counts no more

_ORDER = struct.Struct("<BBBBHHQfBBH8H")
_ORDER_BEFORE, _ORDER_BEHIND = struct.Struct("<BBBBHH"), struct.Struct("<fBBH8H")  # of the seed
_MORE = struct.Struct("<BBHfBBHHBB")
_RESULT = struct.Struct("<BBHIffIIII")
_CHECKPOINT = struct.Struct("<IIIf")


@dataclass(frozen=True)
class Order:
    """A visit's order; the device draws everything else from `seed` and its own data.

    There is none that a device could not be sent: raises `UsageError` naming the field that is out of its range, or
    that does not go with another.
    """

    source: Annotated[str, word(*SOURCES)]
    ways: Annotated[int, whole(1, WAYS_MAX)]  # classes drawn; 1 for regression
    shots: Annotated[int, whole(1, SHOTS_MAX)]  # training samples a class
    queries: Annotated[int, whole(0, SHOTS_MAX)]  # evaluation samples a class; 0: all that the stream does not use
    seed: Annotated[int, SEED]
    learning_rate: Annotated[float, number(SMALLEST, 1000)]  # rounded to float32 on the way
    checkpoints: tuple[int, ...] = ()  # evaluate after so many samples a class, all passes counted
    passes: Annotated[int, whole(1, 255)] = 1
    update: Annotated[str, word(*UPDATES)] = "online"  # each sample by itself, or batches with an optimizer
    batch: Annotated[int, whole(0, 65535)] = 0  # samples of an update; 0: all of a pass. Not with "online"
    proximal: Annotated[float, number(SMALLEST, 1000, or_zero=True)] = 0.0  # FedProx's mu; rounded to float32
    true_labels: bool = False  # label k is class k of the shard
    in_time: bool = False  # learn from the first samples of each class, judge on later ones
    meta_gradient: bool = False  # the weights become minus the mean gradient on the queries
    # so many of the first layers with parameters are never sent, but rebuilt on the device
    local_first: Annotated[int, whole(0, 255)] = 0
    local_last: Annotated[int, whole(0, 255)] = 0  # and so many of the last
    reconstruct: Annotated[int, whole(0, 65535)] = 0  # the first samples a class teach the local layers alone
    # hundredths of a percent of the shared values that come back, the largest updates; 0: all
    top: Annotated[int, whole(0, TOP_ALL)] = 0
    answer: Annotated[str, word(*NAMES)] = "float32"  # how the values come back. Not with `top`
    keep_local: bool = False  # once rebuilt, local layers stay; without, they go on learning
    zero_local: bool = False  # local layers begin with zeros, not with random values
    # with `in_time`: the first sample of the stream in each class, modulo its samples
    start: Annotated[int, START] = 0

    def __post_init__(self) -> None:
        check_fields(self, "order")
        steps = min(self.shots * self.passes, 65535)
        if len(self.checkpoints) > CHECKPOINTS_MAX:
            raise self._wrong("checkpoints", f"at most {CHECKPOINTS_MAX} fit")
        lowest = 0
        for shots in self.checkpoints:
            check_values({"checkpoints": whole(lowest, steps)}, {"checkpoints": shots}, "order")
            lowest = shots + 1
        if self.reconstruct > steps:
            raise self._wrong("reconstruct", f"must be a whole number, 0..{steps}")
        if self.proximal == 0 and math.copysign(1.0, self.proximal) < 0:
            raise self._wrong("proximal", "must be 0, not -0")
        if self.batch and self.update == "online":
            raise self._wrong("update", f"has no batches: set batch to 0, not {self.batch}")
        if self.source != "shard" and (self.true_labels or self.in_time):
            raise self._wrong("true_labels" if self.true_labels else "in_time", "is for source 'shard'")
        if self.start and not self.in_time:
            raise self._wrong("start", "is for in_time")
        if self.top and self.answer != "float32":
            raise self._wrong("answer", "is for all values; top gives back some")
        if self.meta_gradient:
            self._check_meta_gradient()
        if self.is_partial:
            self._check_local()
        elif self.reconstruct or self.keep_local or self.zero_local:
            key = "reconstruct" if self.reconstruct else "keep_local" if self.keep_local else "zero_local"
            raise self._wrong(key, "is for local layers: set local_last")

    def _check_meta_gradient(self) -> None:
        if self.update != "sgd":
            raise self._wrong("meta_gradient", f"needs update 'sgd', not {self.update!r}")
        if self.top:
            raise self._wrong("top", "is not for meta_gradient")
        if self.answer.endswith("-delta"):
            raise self._wrong("answer", "a meta_gradient is no difference: choose an answer without -delta")

    def _check_local(self) -> None:
        if self.update not in ("online", "sgd"):
            raise self._wrong("update", "local layers are for update 'online' or 'sgd'")
        if self.proximal:
            raise self._wrong("proximal", "is not for local layers")

    def _wrong(self, key: str, problem: str) -> UsageError:
        return UsageError(problem, where="order", key=key, value=quote(getattr(self, key)))

    def with_seed(self, seed: int) -> "Order":
        """The same order with another seed, which alone is checked: every visit of a run has one.

        Raises `UsageError` as the constructor does.
        """
        if type(seed) is not int or not 0 <= seed < 2**64:
            check_values({"seed": SEED}, {"seed": seed}, "order")
        _ = self._around_seed, self.answers_update  # made once, before they are copied
        other = object.__new__(Order)
        vars(other).update(vars(self), seed=seed)
        return other

    def started_at(self, start: int) -> "Order":
        """The same order in time, whose stream begins at another sample, modulo 2^32."""
        return replace(self, start=start % 2**32)

    @property
    def is_partial(self) -> bool:
        """Some layers stay on the device."""
        return bool(self.local_first or self.local_last)

    @cached_property
    def answers_update(self) -> bool:
        """What comes back is not simply all weights: `tinyfed.wire.update.expand` makes them of it."""
        return self.is_partial or self.top > 0 or self.answer != "float32"

    @property
    def samples(self) -> int:
        """The training steps that it asks for: what a visit that went well has done."""
        return self.ways * self.shots * self.passes

    @property
    def steps_max(self) -> int:
        """The pieces of work that it takes at most: the begin, each sample learned or judged, the end of each judging,
        and the choice of what goes back."""
        judged = self.ways * self.queries or JUDGED_MAX
        return 1 + self.samples + (len(self.checkpoints) + self.meta_gradient) * (judged + 1) + CHOICE_STEPS_MAX

    def encode(self) -> bytes:
        """The 40, 56 or 60 bytes of docs/order.md."""
        before, behind = self._around_seed
        return before + self.seed.to_bytes(8, "little") + behind

    @cached_property
    def _around_seed(self) -> tuple[bytes, bytes]:
        """The bytes of `encode` before and behind the seed, which alone differs between the visits of a run."""
        more = self._more()
        points = (*self.checkpoints, *[0] * (CHECKPOINTS_MAX - len(self.checkpoints)))
        version = 4 if self.start else 3 if any(more[8:]) or more[1] > _FLAGS_V2 else 2 if any(more) else 1
        start = struct.pack("<I", self.start) if self.start else b""
        before = _ORDER_BEFORE.pack(version, SOURCES[self.source], self.ways, self.passes, self.shots, self.queries)
        behind = _ORDER_BEHIND.pack(self.learning_rate, len(self.checkpoints), 0, 0, *points)
        return before, behind + (more if version > 1 else b"") + start

    def _more(self) -> bytes:
        """What versions 2 and 3 add; all zeros when nothing of it is used."""
        flags = sum(bit for name, bit in _FLAGS.items() if getattr(self, name))
        answer = WeightsEncoding.named(self.answer).number
        local = (self.local_first, self.local_last, self.reconstruct, self.top, answer, 0)
        return _MORE.pack(UPDATES[self.update], flags, self.batch, self.proximal, *local)

    @classmethod
    def decode(cls, data: bytes) -> "Order":
        """Read the bytes of `encode`. Raises UsageError when they are not an order."""
        version = data[0] if data else 0
        longer = _ORDER.size + _MORE.size
        size = {1: _ORDER.size, 2: longer, 3: longer, 4: longer + 4}.get(version)
        if len(data) != size:
            raise UsageError(f"{len(data)} bytes are not an order of version 1 to {ORDER_VERSION}", where="order")
        _, source, ways, passes, shots, queries, seed, rate, count, *rest = _ORDER.unpack_from(data)
        more = _MORE.unpack_from(data, _ORDER.size) if version > 1 else (0,) * 10
        update, flags, batch, proximal, local_first, local_last, reconstruct, top, answer, reserved = more
        names = {number: name for name, number in SOURCES.items()}
        updates = {number: name for name, number in UPDATES.items()}
        answers = {WeightsEncoding.named(name).number: name for name in NAMES}
        points = rest[2:]
        if source not in names or count > CHECKPOINTS_MAX or any(rest[:2]) or any(points[count:]):
            raise UsageError("a field is out of its range", where="order", remedy="docs/order.md lists them")
        of_later = version == 2 and (flags > _FLAGS_V2 or any(more[4:]))
        if update not in updates or flags >= 32 or answer not in answers or reserved or of_later:
            raise UsageError(
                f"a field of version {version} is out of its range", where="order", remedy="docs/order.md lists them"
            )
        chosen = {name: bool(flags & bit) for name, bit in _FLAGS.items()}
        return cls(
            names[source], ways, shots, queries, seed, rate, tuple(points[:count]), passes,
            updates[update], batch, proximal, local_first=local_first, local_last=local_last, reconstruct=reconstruct,
            top=top, answer=answers[answer], start=int.from_bytes(data[longer:], "little"), **chosen,
        )  # fmt: skip


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
    arena_bytes: int = field(default_factory=int, compare=False)  # in use: model, work area, what the order needs

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

    def check(self, order: Order, arena_bytes: int) -> None:
        """Raises `UsageError` when this cannot be what comes of `order` on a device with such an arena: a device may
        lie, and its counts weigh the mean of a round."""
        points = self.checkpoints
        counts = {point.count for point in points}
        judged = order.ways * order.queries  # 0: as many as its samples leave
        losses = (self.loss_first, self.loss_last, *(point.loss for point in points))
        if self.samples != order.samples:
            raise UsageError(f"{self.samples} training steps, the order asks for {order.samples}", where="result")
        if tuple(point.shots for point in points) != order.checkpoints:
            raise UsageError("its checkpoints are not those of the order", where="result")
        if len(counts) > 1 or any(count > JUDGED_MAX or judged not in (0, count) for count in counts):
            raise UsageError(
                f"judged on {max(counts)} samples, the order asks for {judged or 'the same ones'}", where="result"
            )
        if order.source == "sine" and any(point.correct for point in points):
            raise UsageError("a regression has no correct answers", where="result")
        if not all(0 <= loss <= LOSS_MAX for loss in losses):  # no NaN is
            raise UsageError(f"a loss is not 0 to {LOSS_MAX:g}", where="result")
        if self.arena_bytes > arena_bytes or self.stack_bytes > STACK_BYTES_MAX:
            raise UsageError("more memory in use than the device has", where="result")
        if COUNTER_END in (self.train_us, self.train_instructions):
            raise UsageError("a counter is at its end", where="result")

    @classmethod
    def decoded_later(cls, data: bytes) -> "Result":
        """Like `decode`, for bytes that are a result: they are read when a field is asked for."""
        result = object.__new__(cls)
        vars(result)["_data"] = data
        return result

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            data = None if name.startswith("_") else vars(self).get("_data")
            if data is None:
                raise AttributeError(name)
            vars(self).update(vars(Result.decode(data)))
            return object.__getattribute__(self, name)

    @classmethod
    def decode(cls, data: bytes) -> "Result":
        """Read a device's answer. Raises UsageError when the bytes are not a result."""
        if len(data) < _RESULT.size or data[0] != RESULT_VERSION:
            raise UsageError(
                f"not a result of version {RESULT_VERSION}: is the firmware another version?", where="result"
            )
        _, count, _, samples, first, last, train_us, instructions, stack, arena = _RESULT.unpack_from(data)
        if count > CHECKPOINTS_MAX or len(data) != _RESULT.size + count * _CHECKPOINT.size:
            raise UsageError(f"{len(data)} bytes do not hold {count} checkpoints", where="result")
        points = tuple(Checkpoint(*values) for values in _CHECKPOINT.iter_unpack(data[_RESULT.size :])) if count else ()
        if any([p.correct > p.count or p.count == 0 for p in points]) or not math.isfinite(last):
            raise UsageError("a value is out of its range", where="result", remedy="docs/order.md lists them")
        result = object.__new__(cls)  # past the constructor of a frozen dataclass, which sets one field at a time
        vars(result).update(
            samples=samples, loss_first=first, loss_last=last, train_us=train_us, train_instructions=instructions,
            stack_bytes=stack, checkpoints=points, arena_bytes=arena,
        )  # fmt: skip
        return result
