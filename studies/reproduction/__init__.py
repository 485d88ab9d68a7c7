"""`tinyfed reproduce`: the comparison of the papers, measured."""
