"""Passes that take less time: they end behind the deepest layer, or run in a copy that computes faster."""
