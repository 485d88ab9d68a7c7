"""Building firmware, and getting it onto a board or a computer with whatever tool is installed."""

__all__ = ["build", "flash", "flashers", "remote"]
