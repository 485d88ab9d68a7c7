"""Lines that carry bytes: a serial port, a socket."""

__all__ = ["base", "others", "serial", "socket"]
