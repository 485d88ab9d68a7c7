"""The commands, a module each, imported when one of them is called."""

__all__ = ["main"]
