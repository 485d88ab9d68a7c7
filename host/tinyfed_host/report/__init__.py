"""`report.html` of a run: its figures, its pictures, its page."""

__all__ = ["document", "figures", "markup", "page", "svg"]
