"""Lines that carry bytes: a serial port, a socket."""
