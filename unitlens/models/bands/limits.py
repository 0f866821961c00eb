"""How many bands an image may have, and how they are counted in sentences."""

MOST_BANDS = 32
"""More than so many bands are taken for something else: pages of a volume, frames of a clip."""


def counted(count: int) -> str:
    """So many bands, in words."""
    return "1 band" if count == 1 else f"{count} bands"
