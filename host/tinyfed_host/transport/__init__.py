"""Lines that carry bytes: a serial port, a socket."""

__all__ = ["base", "serial", "socket"]
