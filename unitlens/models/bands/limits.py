"""How many bands an image may have."""

MOST_BANDS = 32
"""More than so many bands are taken for something else: pages of a volume, frames of a clip."""
