"""The devices of a run: which there are, in which slot, and which client each works for."""
