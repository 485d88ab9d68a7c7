"""Before a first run: what to begin with, and what is missing."""
