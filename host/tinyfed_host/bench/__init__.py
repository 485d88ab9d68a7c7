"""Benchmarks of the engine: the nets, the emulated board, the cycle estimate."""

__all__ = ["board", "cycles", "figures", "infer", "layers", "nets"]
