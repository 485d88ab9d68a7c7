"""The keras module, imported once: TensorFlow takes seconds."""

from typing import Any

from conftest import require

from tinyfed.errors import MissingToolError
from tinyfed.model.keras.convert import import_tensorflow


def load_keras_module() -> Any:
    """keras with a fixed seed; skips where TensorFlow is not installed."""
    try:
        tensorflow = import_tensorflow()
    except MissingToolError as error:
        require(False, str(error))
    tensorflow.keras.utils.set_random_seed(1)
    return tensorflow.keras
