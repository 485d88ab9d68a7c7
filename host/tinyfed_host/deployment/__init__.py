"""What a run has learned, on a board: planned, built, flashed or sent, and checked there."""

__all__ = ["deploy", "models"]
