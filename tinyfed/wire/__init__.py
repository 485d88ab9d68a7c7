"""The host's end of the wire, sans-I/O: bytes and the time go in, bytes come out. See docs/wire.md."""
