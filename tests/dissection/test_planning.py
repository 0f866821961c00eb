import re

import pytest

import unitlens as ul
from tests.planted import ColourWorld, colour_net
from unitlens.dissection.planning import _extrapolated, _Timed, plan


@pytest.fixture(scope="module")
def planned():
    return plan(colour_net(), ["pool", "head"], ColourWorld(100), quantile=0.02, batch_size=8)


def test_what_is_looked_at_is_counted_before_it_is_run(planned):
    assert [tuple(layer) for layer in planned.layers] == [("pool", 8, (8, 8)), ("head", 4, None)]
    assert (planned.images, planned.batches, planned.sample) == (100, 13, 24)
    assert (planned.concepts, planned.categories, planned.grid) == (5, 2, (8, 8))


def test_the_disk_is_that_of_the_run_itself(planned):
    from unitlens.dissection.forward import THUMBNAIL

    maps = 8 * (4 * 8 * 8 + 4 + 4 + 8) + 4 * (4 + 4)  # with peak, smallest value and sum where there is a grid
    planes = 2 * 2 * 8 * 8 + 1 + 5 + 2
    assert THUMBNAIL > 32
    assert planned.disk == 100 * (maps + planes + 3 * 32 * 32)
    assert planned.free > 0


def test_the_disk_that_is_planned_is_what_a_run_asks_for(planned):
    with pytest.raises(ul.UnitlensError, match="The store needs") as refused:
        ul.dissect(colour_net(), ["pool", "head"], ColourWorld(100), quantile=0.02, store_limit=1)
    said = re.search(r"needs ([\d.e+]+) kB", str(refused.value)).group(1)
    assert float(said) == pytest.approx(planned.disk / 1000, rel=0.01)


def test_time_and_memory_are_positive(planned):
    assert 0 < planned.seconds < 600
    assert planned.memory is None or planned.memory > 1 << 24


@pytest.mark.parametrize(
    ("timed", "total", "seconds"),
    [
        ([(10, 3.0), (30, 5.0)], 130, 15.0),  # 2 fixed, 0.1 an image
        ([(10, 5.0), (30, 4.0)], 130, 4.0),  # a noise that would make time run backwards
        ([(1, 2.0), (1, 3.0)], 1, 3.0),
    ],
)
def test_time_has_a_part_that_is_fixed_and_one_that_grows(timed, total, seconds):
    assert _extrapolated([_Timed(*pair, None) for pair in timed], total) == pytest.approx(seconds)


def test_a_few_images_of_a_layer_without_a_grid_are_enough_for_a_plan():
    planned = plan(colour_net(), "head", ColourWorld(200), batch_size=4)
    assert (planned.sample, planned.images) == (12, 200)


def test_a_plan_says_what_a_dissection_would_say():
    with pytest.raises(ul.UnitlensError, match=r"There is no layer 'pol' in this ColourNet \(did you mean pool\?\)"):
        plan(colour_net(), "pol", ColourWorld(100))


def test_the_command(shell, world, net_file):
    said = shell(
        "plan", f"{net_file}:build", "--layer", "0", "--data", world, "--image-size", 32, "--mean", 0, "--std", 1
    )
    assert said.code == 0, said.err
    for pattern in (
        r"^layer 0 +4 units, 32x32$",
        r"^concepts +3 in 1 category$",
        r"^label grid +8x8$",
        r"^forward passes +\d+, of \d+ images at most$",
        r"^time +about \d+ s on this machine, from \d+ images$",
        r"^disk +.* while it runs, of .* that are free$",
    ):
        assert re.search(pattern, said.out, re.M), (pattern, said.out)
