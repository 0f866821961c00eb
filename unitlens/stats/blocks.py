"""Walk through a long axis block by block, so that what is computed from it fits in memory."""

from collections.abc import Iterator


def in_blocks(count: int, size: int) -> Iterator[slice]:
    """Cut ``range(count)`` into slices of one size, the last of which may be shorter.

    Parameters
    ----------
    count : int
        Length of the axis.
    size : int
        Of a block; where memory would allow none, it is 1.

    Examples
    --------
    >>> list(in_blocks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = max(1, size)
    return (slice(first, min(first + size, count)) for first in range(0, count, size))
