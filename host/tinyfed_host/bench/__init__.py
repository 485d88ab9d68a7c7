"""Benchmarks of the engine: the nets, the emulated board, the cycle estimate."""
