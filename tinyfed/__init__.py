"""Federated meta-learning on microcontrollers: the library. No ports, no screens.

Public is what `__all__` names here and in the packages below; each names its own. A package is imported when it is
first used, so `import tinyfed` costs next to nothing.

- `boards`: what the manifests in boards/ say
- `codegen`: models as C arrays
- `data`: samples: shards, recordings, CSV tables, public data sets, NumPy files
- `device`: what a device is to whoever asks it to work, and the simulated one
- `engine`: the C engine in-process
- `errors`: the exceptions a user can meet
- `fields`: what a value may be, said once, and the check of it
- `files`: files that are whole or not there
- `meta`: federated and meta-learning strategies
- `model`: what a model is, the bytes a device runs, its memory; models from and to Keras and TFLite
- `paths`: where firmware, boards and the cache are
- `random`: SplitMix64
- `reading`: files from outside, within limits
- `status`: status numbers of the engine and of devices, and their reasons
- `tasks`: task distributions over clients
- `text`: others' text on one line
- `weights`: a model's weights on their way, one immutable object
- `wire`: frames, messages and sessions, sans-I/O
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"
__all__ = [
    "boards",
    "codegen",
    "data",
    "device",
    "engine",
    "errors",
    "fields",
    "files",
    "meta",
    "model",
    "paths",
    "random",
    "reading",
    "status",
    "tasks",
    "text",
    "weights",
    "wire",
]


def __getattr__(name: str) -> ModuleType:
    """A package, imported at its first use (PEP 562)."""
    if name in __all__:
        return importlib.import_module(f"tinyfed.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
