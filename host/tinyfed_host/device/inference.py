"""A batch through the model that a device holds."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.device import InferenceDevice
from tinyfed.errors import DeviceError
from tinyfed.model.convert import Model
from tinyfed.model.image import decode, read_weights, structure_hash, weights_hash
from tinyfed.model.run import Outputs, board_image, run_remotely
from tinyfed.weights import Weights


def run_on(model: Model, arrays: Sequence[NDArray[Any]], device: InferenceDevice, *, stream: bool = False) -> Outputs:
    """Outputs for one checked array an input; `stream` as in `tinyfed.model.run.run`. The device holds the model
    afterwards; one that holds it already, or carries it in its flash, is not sent it again. Raises DeviceError for
    outputs that are none of this model."""
    image = board_image(model)
    info = device.info
    if (info.structure_hash, info.weights_hash) != (structure_hash(image), weights_hash(read_weights(image))):
        device.load(image)

    count = math.prod(decode(image)[0].output_shape)

    def infer(sample: NDArray[np.float32], step: int | None) -> NDArray[np.float32]:
        content = device.infer(Weights.of(sample), step)
        outputs = np.frombuffer(content, "<f4") if len(content) == 4 * count else np.zeros(0, np.float32)
        if not outputs.size or not np.isfinite(outputs).all():
            raise DeviceError(
                f"device {info.unique_id} ({info.board}): {len(content)} bytes came back, the model gives {count} "
                "finite numbers"
            )
        return outputs

    return run_remotely(model, arrays, infer, stream=stream)
