"""Boards in QEMU: the command line, the process, and the memory that a line goes through."""

__all__ = ["inference", "needs", "qemu"]
