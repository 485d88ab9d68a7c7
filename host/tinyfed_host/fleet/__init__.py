"""The devices of a run: which there are, in which slot, and which client each works for."""

__all__ = ["fleet", "rotation", "slots", "watcher"]
