"""The host's end of the wire, sans-I/O: bytes and the time go in, bytes come out. See docs/wire.md.

- `encodings`: weights written shorter than float32
- `frames`: the frame decoder and encoder
- `messages`: what is inside frames
- `order`: what a device is asked to do in a visit, and its result (docs/order.md)
- `record`, `save`, `transfer`, `visit`: operations of a session
- `session`: sequence numbers, retries, hello
- `update`: what comes back of a visit that shares a part of its weights
"""

__all__ = ["encodings", "frames", "messages", "order", "record", "save", "session", "transfer", "update", "visit"]
