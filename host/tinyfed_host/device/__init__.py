"""A device on a line, and how devices are found on ports."""

__all__ = ["discovery", "inference", "line", "port_choice", "side_by_side", "unique_id"]
