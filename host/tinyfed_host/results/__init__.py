"""What finished runs say together: figures over seeds, differences, significance; as a page, as files."""

__all__ = ["comparison", "export", "facts", "page"]
