"""Building firmware, and flashing it with whatever tool is installed."""

__all__ = ["build", "flash", "flashers"]
