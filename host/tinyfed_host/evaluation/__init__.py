"""How well held-out clients do with what a run has learned, beside other ways to get there."""

__all__ = ["brief", "evaluate", "intervals", "kept", "on_devices", "subjects"]
