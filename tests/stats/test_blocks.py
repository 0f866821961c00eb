from hypothesis import given
from hypothesis import strategies as st

from unitlens.stats.blocks import in_blocks


@given(st.integers(0, 50), st.integers(-1, 60))
def test_blocks_cover_everything_once_in_order_and_are_of_one_size_but_the_last(count, size):
    blocks = list(in_blocks(count, size))
    assert [k for block in blocks for k in range(block.start, block.stop)] == list(range(count))
    lengths = [block.stop - block.start for block in blocks]
    assert set(lengths[:-1]) <= {max(1, size)}
    assert all(0 < length <= max(1, size) for length in lengths)
