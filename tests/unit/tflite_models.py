"""The published .tflite models, where TINYFED_DATA has them."""

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from conftest import require

from tinyfed.model.tflite import file as tflite

MODELS = sorted((Path(os.environ.get("TINYFED_DATA", "nowhere")) / "tflite").rglob("*.tflite"))
# For parametrize: None is the one case that says why there are none.
MODELS_OR_NONE: list[Path | None] = [*MODELS] or [None]


def litert(module: str) -> Any:
    """A module of ai-edge-litert; skips where that is not installed, fails in CI."""
    try:
        return importlib.import_module(f"ai_edge_litert.{module}")
    except ImportError as error:
        require(False, f"ai-edge-litert is not installed: {error}")


def model_id(path: Path | None) -> str:
    return path.stem if path else "none"


def models() -> list[Path]:
    require(MODELS, "TINYFED_DATA names no folder with tflite/ models in it")
    return MODELS


def path_of(name: str) -> Path:
    return next(path for path in models() if path.name == f"{name}.tflite")


def bytes_of(name: str) -> bytes:
    return path_of(name).read_bytes()


def structure_positions(model: tflite.TfliteModel) -> np.ndarray:
    """Positions of the bytes that are not weights: where damage matters most."""
    whole = np.frombuffer(model.content, np.uint8)
    keep = np.ones(len(whole), bool)
    for tensor in model.tensors:
        if tensor.data is not None:
            start = tensor.data.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
            keep[start : start + tensor.constant_bytes] = False
    return np.flatnonzero(keep)
