import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitlens.stats.chance import association, draws_for, partners


@given(count=st.integers(1, 60), kinds=st.integers(1, 6), seed=st.integers(0, 99))
def test_partners_are_other_images_and_each_is_used_once_a_draw(count, kinds, seed):
    rng = np.random.default_rng(seed)
    annotated = rng.integers(0, kinds, count).tolist()
    hashes = rng.permutation(10**6)[:count].tolist()
    drawn = partners(hashes, annotated, draws=4, seed=seed)
    assert drawn.shape == (min(4, count - 1), count)
    for draw in drawn:
        assert sorted(draw) == list(range(count))
    for image, others in enumerate(drawn.T):
        assert image not in others
        assert len(set(others)) == len(others)
        if annotated.count(annotated[image]) > 4 and min(map(annotated.count, annotated)) > 4:
            assert {annotated[partner] for partner in others} <= {annotated[image]}


def test_a_group_that_is_too_small_merges_with_the_most_similar():
    parts, objects, textures = 0b011, 0b001, 0b100
    annotated = [parts] + [objects] * 9 + [textures] * 9
    drawn = partners(list(range(19)), annotated, draws=6, seed=0)
    assert {annotated[partner] for partner in drawn[:, 0]} == {objects}
    assert {annotated[partner] for draw in drawn[:, 1:10] for partner in draw} == {objects, parts}
    assert {annotated[partner] for draw in drawn[:, 10:] for partner in draw} == {textures}


def test_no_image_gets_the_same_labels_twice_where_all_groups_are_small():
    annotated = [group for group in range(1, 31) for _ in range(2)]  # in pairs, every draw would be the same swap
    drawn = partners(list(range(60)), annotated, draws=20, seed=0)
    assert len({tuple(draw) for draw in drawn}) == 20
    assert all(len(set(others)) == 20 for others in drawn.T)


def test_a_single_image_has_no_partner_and_a_p_value_of_1():
    drawn = partners([7], [1], draws=20)
    assert drawn.shape == (0, 1)
    found = association(np.array([0.9]), np.zeros((1, 0)), np.array([False]))
    assert np.isnan(found.chance[0])
    assert found.p_value[0] == found.q_value[0] == 1


def test_partners_do_not_depend_on_the_order_of_the_images():
    hashes, order = [50, 20, 90, 10, 70], [3, 0, 4, 1, 2]
    straight = partners(hashes, [0] * 5, draws=4, seed=1)
    turned = partners([hashes[place] for place in order], [0] * 5, draws=4, seed=1)
    as_hashes = [[hashes[partner] for partner in draw] for draw in straight]
    for draw, other in zip(as_hashes, turned, strict=True):
        assert [draw[place] for place in order] == [hashes[order[partner]] for partner in other]


def test_p_values_are_ranks_among_ratios_of_units_and_draws():
    best = np.array([0.4, 0.1, 0.0])
    shifted = np.array([[0.1, 0.1, 0.1], [0.1, 0.2, 0.3], [0.0, 0.0, 0.0]])
    found = association(best, shifted, np.array([False, False, True]))
    null = [1, 1, 1, 0.1 / 0.25, 0.2 / 0.2, 0.3 / 0.15]
    assert found.chance.tolist() == pytest.approx([0.1, 0.2, 0.0])
    assert found.p_value[0] == pytest.approx((1 + sum(r >= 4.0 for r in null)) / 7)
    assert found.p_value[1] == pytest.approx((1 + sum(r >= 0.5 for r in null)) / 7)
    assert np.isnan(found.p_value[2])
    assert np.isnan(found.q_value[2])


@pytest.mark.parametrize("fdr", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("units", [1, 2, 512])
def test_a_single_outstanding_unit_can_be_significant(fdr, units):
    draws = draws_for(fdr)
    shifted = np.random.default_rng(0).uniform(0.01, 0.03, (units, draws))
    best = np.array([0.9] + [0.02] * (units - 1))
    found = association(best, shifted, np.zeros(units, bool))
    assert found.q_value[0] <= fdr
    assert (found.q_value[1:] > fdr).all()


def test_there_are_8_to_100_draws():
    assert [draws_for(fdr) for fdr in (0.5, 0.05, 0.04, 0.0001)] == [8, 20, 25, 100]
