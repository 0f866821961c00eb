"""The cost model: what grows with images, units, concepts and layers, and what processes share."""

from dataclasses import replace

import numpy as np
import pytest

import unitlens as ul
from tests.worlds.planted import ColourWorld, InMemory, colour_net
from unitlens.dissection.scaling.rates import Rates, disk_rate
from unitlens.dissection.scaling.scale import LayerLoad, Workload, at_scale
from unitlens.dissection.scaling.widened import widened

LAYER = LayerLoad(
    units=64,
    blocks=16,
    row_bytes=64 * 1024,
    scans=1,
    together=6,
    fixed=0.5,
    image=0.001,
    exemplars=1.0,
    counts=10**6,
)
WORK = Workload(
    images=10_000,
    passes=2,
    calibrations=0,
    calibrated=2048,
    counted=1,
    by_layer=0,
    kept=1,
    image_seconds=0.01,
    layers=[LAYER, LAYER],
    store_bytes=200_000,
    label_bytes=1000,
    readings=21,
    in_memory=10**9,
    held=10**8,
    block=10**7,
    record=500,
    machine=None,
)
RATES = Rates(disk=1e9, network=1e8)


def test_one_process_does_everything():
    plan = at_scale(WORK, RATES, 1)
    assert plan.looking == pytest.approx(2 * 10_000 * 0.01)
    assert plan.counting == pytest.approx(2 * 16 * (0.5 + 10_000 * 0.001))
    assert plan.read == 2 * 16 * 10_000 * 4096
    assert plan.reading == pytest.approx(plan.read / 1e9)
    assert (plan.sent, plan.gathering) == (0, pytest.approx(2.0 + 2 * 64 * 10_000 * 4 / 1e9))  # and peaks are ranked
    assert plan.disk == plan.written == 10_000 * 200_000
    assert plan.memory == 10**8 + 10**7 + 2 * 10**6 + 10_000 * 500
    assert plan.seconds == pytest.approx(plan.looking + plan.counting + plan.reading + plan.gathering)


def test_processes_share_images_and_blocks_and_send_their_counts():
    alone, four, many = (at_scale(WORK, RATES, processes) for processes in (1, 4, 100))
    assert four.looking == pytest.approx(alone.looking / 4)
    assert four.counting == pytest.approx(alone.counting / 4)
    assert (four.sent, four.disk) == (2 * 10**6 * 3 // 4, alone.disk)
    assert four.read == alone.read + 4 * 2 * 64 * 10_000 * 16  # each sums up peaks, lows and sums
    assert many.counting == pytest.approx(0.5 + 10)  # no block is shared
    assert four.gathering == pytest.approx(alone.gathering + four.sent / 1e8)


def test_blocks_of_all_layers_are_dealt_together_and_those_of_rotations_layer_by_layer():
    slow, quick = replace(LAYER, blocks=3, image=0.01), replace(LAYER, blocks=5, image=0.001)
    work = replace(WORK, layers=[slow, quick], images=1000)
    of_slow, of_quick = 0.5 + 10, 0.5 + 1
    for processes, expected in (
        (1, 3 * of_slow + 5 * of_quick),
        (2, 2 * of_slow + 2 * of_quick),
        (4, of_slow + of_quick),
    ):
        assert at_scale(work, RATES, processes).counting == pytest.approx(expected)
    assert at_scale(work, RATES, 100).counting == pytest.approx(of_slow)
    rotated = at_scale(replace(work, by_layer=2), RATES, 4).counting
    assert rotated == pytest.approx(3 * of_slow + 5 * of_quick)  # twice one of the slow and two of the quick ones more


def test_copies_that_are_calibrated_are_dealt_over_processes():
    for processes, rounds in ((1, 5), (2, 3), (8, 1)):
        more = at_scale(replace(WORK, calibrations=5), RATES, processes).looking
        assert more - at_scale(WORK, RATES, processes).looking == pytest.approx(rounds * 2048 * 0.01)


@pytest.mark.parametrize(("processes", "readings"), [(1, 6), (2, 6), (4, 8), (16, 16), (100, 32)])
def test_labels_that_are_not_kept_are_read_for_every_draw_by_blocks_that_are_counted_together(processes, readings):
    kept, not_kept = (at_scale(work, RATES, processes).read for work in (WORK, replace(WORK, in_memory=0)))
    totals = min(processes, 32)  # what concepts have in the draws is summed up by each
    assert not_kept - kept == (readings * 21 + totals) * 10_000 * 1000


def test_what_fits_in_memory_is_not_read_from_disk_again():
    roomy = replace(WORK, machine=10**11, in_memory=0)
    assert at_scale(roomy, RATES, 1).reading == 0
    assert at_scale(roomy, RATES, 2).read == 10_000 * (2 * 1000 + 2 * LAYER.row_bytes + 2 * 2 * 64 * 16)


def test_a_slow_disk_bounds_the_pass():
    assert at_scale(WORK, replace(RATES, disk=1e6), 1).looking == pytest.approx(2000)


def test_rates_are_known_and_positive():
    assert Rates.of({"forward": 5, "disk": 1e9}) == Rates(forward=5.0, disk=1e9)
    with pytest.raises(ul.UnitlensError, match=r"no rate 'foward' \(did you mean forward\?\); rates= takes forward"):
        Rates.of({"foward": 5})
    with pytest.raises(ul.UnitlensError, match=r"forward is 0; .*images a second"):
        Rates.of({"forward": 0})
    assert disk_rate() > 0


def test_further_concepts_take_turns_and_leave_what_is_marked():
    plane = np.array([[1, 2, 0], [255, 1, 1]], np.uint8)
    concepts = [ul.Concept("object", 1, "tree"), ul.Concept("object", 2, "dog")]
    data = InMemory([{"object": [plane]}] * 6, concepts)
    wide = widened(data, 5)
    assert [concept.name for concept in wide.concepts] == ["tree", "tree 2", "tree 3", "dog", "dog 2"]
    assert len(wide) == 6
    of_tree = set()
    for image in range(6):
        new = np.asarray(wide[image].planes["object"][0])
        assert ((new == 0) == (plane == 0)).all()
        assert new[1, 0] == -1
        assert len(set(new[plane == 1])) == len(set(new[plane == 2])) == 1
        of_tree |= set(new[plane == 1].tolist())
    assert of_tree == {concept.label for concept in wide.concepts if concept.name.startswith("tree")}
    assert widened(data, 2) is data
    with pytest.raises(ul.UnitlensError, match=r"has 2 concepts: concepts=1 must be as many or more"):
        widened(data, 1)


def test_a_plan_takes_other_numbers_of_images_concepts_and_processes():
    asked = {
        "images": 10**6,
        "concepts": 40,
        "processes": [1, 8],
        "rates": {"forward": 100, "decode": 50, "count": 1e6},
    }
    planned = ul.plan(colour_net(), "pool", ColourWorld(40), quantile=0.05, exemplars=2, **asked)
    assert (planned.images, planned.concepts, planned.sample) == (10**6, 40, 32)
    alone, eight = planned.scales
    assert alone.looking == pytest.approx(10**6 / 50)
    assert eight.looking == pytest.approx(10**6 / 50 / 8)
    assert (planned.seconds, planned.disk, planned.memory) == (alone.seconds, alone.disk, alone.memory)
    assert alone.disk == 10**6 * (8 * (4 * 8 * 8 + 16) + 2 * 2 * 64 + 1 + 40 + 2 + 3 * 32 * 32)
    assert planned.rates.count == 1e6
    with pytest.raises(ul.UnitlensError, match="processes=0 must be 1 or more"):
        ul.plan(colour_net(), "pool", ColourWorld(40), processes=0)


def test_the_command_at_scale(shell, world, net_file):
    network = (f"{net_file}:build", "--layer", "0", "--data", world, "--image-size", 32, "--mean", 0, "--std", 1)
    scale = ("--images", 10**6, "--concepts", 30, "--processes", "1,64", "--rate", "forward=2500", "--rate", "disk=2GB")
    said = shell("plan", *network, *scale, "--quantile", 0.1, "--workers", 0, "--no-evidence", "--exemplars", 0)
    assert said.code == 0, said.err
    assert "30 in 1 category" in said.out
    assert "1000000, each shown" in said.out
    header, one, many = said.out.splitlines()[-4:-1]
    assert header.split()[:2] == ["processes", "time"]
    assert (one.split()[0], many.split()[0]) == ("1", "64")
    assert "2,500 images through the network" in said.out
    assert "2 GB of disk" in said.out
    for wrong in (("--processes", "0"), ("--rate", "forward"), ("--rate", "speed=3"), ("--concepts", "2")):
        refused = shell("plan", *network, *wrong)
        assert (refused.code, refused.out) == (2, "")
        assert wrong[1].split("=")[0] in refused.err
