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


@st.composite
def grouped(draw, most=60):
    """Hashes, groups and an order in time of some images."""
    count = draw(st.integers(2, most))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    groups = rng.integers(0, draw(st.integers(2, count)), count)
    return rng.permutation(10**6)[:count].tolist(), groups


@given(drawn=grouped(), kinds=st.integers(1, 3), strata=st.integers(1, 3), seed=st.integers(0, 9))
def test_no_image_gets_labels_of_its_own_group(drawn, kinds, strata, seed):
    hashes, groups = drawn
    rng = np.random.default_rng(seed)
    annotated, strata = rng.integers(1, kinds + 1, len(hashes)).tolist(), rng.integers(0, strata, len(hashes))
    found = partners(hashes, annotated, draws=4, seed=seed, groups=groups, strata=strata)
    assert len({tuple(draw) for draw in found}) == len(found)
    for draw in found:
        exchanged = np.flatnonzero(draw >= 0)
        assert sorted(draw[exchanged]) == exchanged.tolist()
        assert (groups[draw[exchanged]] != groups[exchanged]).all()
        assert (strata[draw[exchanged]] == strata[exchanged]).all()
        assert ((found >= 0).all(0) == (draw >= 0)).all()


@given(drawn=grouped(), seed=st.integers(0, 9))
def test_partners_of_groups_do_not_depend_on_the_order_of_the_images(drawn, seed):
    hashes, groups = drawn
    turned = np.random.default_rng(seed).permutation(len(hashes))
    straight = partners(hashes, [1] * len(hashes), draws=4, seed=seed, groups=groups)
    other = partners([hashes[image] for image in turned], [1] * len(hashes), draws=4, seed=seed, groups=groups[turned])
    assert straight.shape == other.shape
    for draw, again in zip(straight, other, strict=True):
        assert [draw[image] for image in turned] == [turned[partner] if partner >= 0 else -1 for partner in again]


def test_labels_of_groups_of_one_size_move_as_wholes():
    groups = np.repeat(np.arange(30), [1] * 10 + [2] * 10 + [5] * 10)
    hashes = np.random.default_rng(0).permutation(len(groups)).tolist()
    for draw in partners(hashes, [1] * len(groups), draws=20, groups=groups):
        for group in range(30):
            assert len(set(groups[draw[groups == group]])) == 1
            assert (groups[draw[groups == group]] // 10 == group // 10).all()


def test_images_take_no_part_where_one_group_holds_most():
    groups, strata = np.array([0] * 6 + list(range(1, 6)) + list(range(6, 26))), np.array([0] * 11 + [1] * 20)
    found = partners(list(range(31)), [1] * 31, draws=8, groups=groups, strata=strata)
    assert (found[:, :11] == -1).all()
    assert (found[:, 11:] >= 11).all()
    assert partners(list(range(11)), [1] * 11, draws=8, groups=groups[:11]).shape == (0, 11)


@pytest.mark.parametrize(("count", "draws"), [(1, 0), (2, 1), (3, 2), (4, 9), (5, 20)])
def test_few_groups_allow_few_draws(count, draws):
    groups = np.repeat(np.arange(count), 3)
    assert len(partners(list(range(3 * count)), [1] * 3 * count, draws=20, groups=groups)) == draws


@given(count=st.integers(2, 60), size=st.integers(1, 8), seed=st.integers(0, 9))
def test_in_time_order_labels_move_by_at_least_the_size_of_a_group(count, size, seed):
    rng = np.random.default_rng(seed)
    time = rng.permutation(count)
    hashes = rng.permutation(10**6)[:count].tolist()
    found = partners(hashes, [1] * count, draws=5, seed=seed, groups=time // size, order=time)
    apart = min(size, count)
    assert len(found) == max(0, min(5, count - 2 * apart + 1))
    for draw in found:
        moved = (time[draw] - time) % count
        assert (moved == moved[0]).all()
        assert apart <= moved[0] <= count - apart


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
