"""A batch through the model that a device holds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.device import InferenceDevice
from tinyfed.model.convert import Model
from tinyfed.model.image import read_weights, structure_hash, weights_hash
from tinyfed.model.run import Outputs, board_image, run_remotely
from tinyfed.weights import Weights


def run_on(model: Model, arrays: Sequence[NDArray[Any]], device: InferenceDevice) -> Outputs:
    """Outputs for one checked array an input. The device holds the model afterwards; one that holds it already, or
    carries it in its flash, is not sent it again."""
    image = board_image(model)
    info = device.info
    if (info.structure_hash, info.weights_hash) != (structure_hash(image), weights_hash(read_weights(image))):
        device.load(image)

    def infer(sample: NDArray[np.float32]) -> NDArray[np.float32]:
        return Weights.of(device.infer(Weights.of(sample))).array

    return run_remotely(model, arrays, infer)
