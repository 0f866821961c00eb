"""Positions at which units are active, and what is marked there."""
