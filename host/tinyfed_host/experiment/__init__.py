"""The experiment file: TOML with the lines of its keys, what each key may be, and checks of sections together."""

__all__ = ["bundled", "checks", "file", "model", "schema", "settings", "stored"]
