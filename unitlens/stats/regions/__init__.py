"""Regions in which units are active, as runs of positions, and what is marked in them."""
