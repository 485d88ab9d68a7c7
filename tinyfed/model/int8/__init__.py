"""Full-integer networks: what they are, and the program that the engine runs (docs/int8.md).

- `spec`: tensors and layers, as a .tflite file describes them
- `image`: the program's bytes
- `engine`: runs programs in-process
"""

__all__ = ["engine", "image", "spec"]
