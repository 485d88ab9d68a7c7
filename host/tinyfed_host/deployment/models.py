"""What of a run goes onto a board: float32 or int8, with the held-out samples that it is checked with."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinyfed.codegen.c_text import float_text
from tinyfed.data.shard import read_shard
from tinyfed.errors import DoesNotFitError, UsageError
from tinyfed.files import TemporaryFolder
from tinyfed.model import decode, plan
from tinyfed.model.convert import FloatModel, Int8Model, Model, read_tflite
from tinyfed.model.export import export
from tinyfed.model.quantize import quantize_file
from tinyfed.model.run import board_image, run
from tinyfed.model.tflite.file import parse
from tinyfed.tasks.raw import standardizing, why_none_in_front
from tinyfed.tasks.standardization import Standardization
from tinyfed.tasks.task import Client
from tinyfed_host.evaluation.evaluate import Subject

CALIBRATION_MOST = 512  # samples that int8 ranges are taken from
CHECKED_MOST = 100  # held-out samples that a board answers


@dataclass(frozen=True)
class Labelled:
    """Samples as the model on the board takes them, float32 (count, values), and their classes (count,)."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]

    def share_right(self, outputs: NDArray[np.float32]) -> float:
        """Of answers (count, classes)."""
        return float((outputs.reshape(len(self.y), -1).argmax(axis=1) == self.y).mean())

    def some(self, most: int) -> "Labelled":
        """At most so many, evenly spread."""
        step = max(1, -(-len(self.y) // most))
        return Labelled(self.x[::step], self.y[::step])


def answers_at_once(subject: Subject) -> bool:
    """Whether the model can classify a stranger's sample as it is: labels are fixed. Else learning begins with it."""
    return subject.order.source == "shard" and subject.fixed_labels


def takes_raw(subject: Subject, *, int8: bool) -> bool:
    """Whether what goes onto the board takes samples as they are measured. Where a device learns it takes them as its
    shard holds them. So it does in int8: one step for all values of a sample leaves nothing of those with a small
    range."""
    if int8 or not answers_at_once(subject) or why_none_in_front(subject.spec):
        return False
    return subject.task.standardization is not None


def float_model(subject: Subject, name: str, *, raw: bool) -> FloatModel:
    """The learned model, in float32."""
    made = subject.task.standardization
    image = standardizing(subject.image, made) if raw and made is not None else subject.image
    spec, weights = decode(image)
    return FloatModel(name, spec, weights, image)


def labelled(subject: Subject, clients: Sequence[Client], *, raw: bool) -> Labelled:
    """All samples of clients whose labels are fixed; `raw`: as they were measured."""
    x, y = [], []
    for client in clients:
        for number, samples in enumerate(read_shard(client.shard or b"").classes):
            x.append(samples)
            y.append(np.full(len(samples), number))
    values, made = np.concatenate(x), subject.task.standardization
    if raw and made is not None:
        values = (values.astype(np.float64) * made.deviation + made.mean).astype(np.float32)
    return Labelled(values, np.concatenate(y))


def quantized(model: FloatModel, subject: Subject) -> Int8Model:
    """The model in int8, its ranges from the training clients' samples. Raises `MissingToolError`, `UsageError`."""
    samples = labelled(subject, subject.task.train, raw=False).some(CALIBRATION_MOST)
    with TemporaryFolder() as folder:
        file, ranges = folder / "model.keras", folder / "samples.npz"
        export(model, file)
        with ranges.open("wb") as out:
            np.savez(out, x=samples.x.reshape(-1, *model.spec.sample_shape), y=samples.y)
        made = quantize_file(file, ranges)
    found = read_tflite(parse(made.content, model.source))
    if not isinstance(found, Int8Model):
        raise UsageError(f"it cannot be int8 on a board: {made.why_not}", where=model.source)
    return found


def standardization_header(name: str, made: Standardization) -> str:
    """What a program does to a sample before it gives it to the model, as C: `(x - mean) * scale`."""
    scale = np.divide(1.0, made.deviation, out=np.zeros_like(made.deviation), where=made.deviation > 0)
    guard = f"{name.upper()}_STANDARDIZATION_H"
    lines = [f"/* {name}: x[i] = (x[i] - {name}_mean[i]) * {name}_scale[i], before the model sees it. */"]
    lines += [f"#ifndef {guard}", f"#define {guard}", ""]
    for what, values in (("mean", made.mean), ("scale", scale)):
        lines += [f"static const float {name}_{what}[{len(values)}] = {{"]
        lines += [f"    {float_text(float(np.float32(value)))}," for value in values]
        lines += ["};", ""]
    return "\n".join([*lines, f"#endif /* {guard} */", ""])


def why_no_int8(subject: Subject) -> str:
    """Why int8 is no choice; "" where it is one."""
    if subject.spec.frozen:
        return "its frozen part is int8 already, and the head is float32 so that it can learn"
    if not answers_at_once(subject):
        return "a device must learn from its own samples first, and int8 does not learn"
    if importlib.util.find_spec("tensorflow") is None:
        return "int8 needs TensorFlow: pip install 'tinyfed[quantize]'"
    return ""


def needed_bytes(model: Model, *, learns: bool) -> int:
    """Of a board's arena, with the model in its flash: float weights are copied to where they are trained."""
    spec = decode(board_image(model))[0]
    values = 0 if learns else int(np.prod(spec.sample_shape)) + int(np.prod(spec.output_shape))
    return plan(spec, "online" if learns else "infer").arena_bytes - len(spec.frozen) + 4 * values


def host_outputs(model: Model, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the in-process engine makes of samples (count, values)."""
    return run(model, (shaped(model, x),)).real[0]


def shaped(model: Model, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """As the model's input is shaped."""
    shape = model.spec.sample_shape if isinstance(model, FloatModel) else model.ports[0][0].shape
    return x.reshape(len(x), *shape)


def too_large(model: Model, arena_bytes: int, board: str, *, learns: bool) -> DoesNotFitError | None:
    """What does not fit, if it does not."""
    needed = needed_bytes(model, learns=learns)
    if needed <= arena_bytes:
        return None
    doing = "learn" if learns else "answer"
    return DoesNotFitError(
        f"the model takes {needed:,} bytes to {doing}, the arena of {board} has {arena_bytes:,}: "
        f"{needed - arena_bytes:,} too few"
    )
