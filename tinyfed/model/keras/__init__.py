"""Keras files, read without Keras; and what needs Keras itself.

- `convert`: networks for the engine, and .tflite, of Keras models
- `file`: layers and weights of a file, checked
"""

__all__ = ["convert", "file"]
