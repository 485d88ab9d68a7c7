"""`tinyfed demo`: the fleet learns gestures, and a stranger's device adapts."""

__all__ = ["screen", "steps"]
