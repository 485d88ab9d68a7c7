"""A device on a line, and how devices are found on ports."""
