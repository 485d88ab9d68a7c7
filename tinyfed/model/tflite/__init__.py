""".tflite files, read without an interpreter.

- `file`: tensors and operators of a file, checked
- `to_float`, `to_int8`: what the engine runs of them
"""

__all__ = ["file", "to_float", "to_int8"]
