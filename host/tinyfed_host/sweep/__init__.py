"""`tinyfed sweep`: the same experiment with other values and seeds, on all cores."""

__all__ = ["grid", "workers"]
