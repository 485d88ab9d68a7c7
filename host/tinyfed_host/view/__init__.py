"""What a run looks like while it goes on: a line a round, or a panel."""

__all__ = ["lines", "progress", "units", "views"]
