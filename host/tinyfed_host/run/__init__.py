"""A run: who is there, what is in flight, how weights are exchanged, and the store that it goes on from."""

__all__ = ["events", "names", "parts", "personal", "run", "store"]
