"""`report.html` of a run: its figures, its pictures, its page."""
