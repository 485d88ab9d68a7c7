"""Building firmware, and flashing it with whatever tool is installed."""
