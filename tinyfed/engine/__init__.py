"""The C engine in-process: `Engine`, and the functions the boards use."""

from tinyfed.engine.core import HASH_START, Engine, Optimizer, crc32, exp, hash64, log, model_open, plan, sin, tanh

__all__ = ["HASH_START", "Engine", "Optimizer", "crc32", "exp", "hash64", "log", "model_open", "plan", "sin", "tanh"]
