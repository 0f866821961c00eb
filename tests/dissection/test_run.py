import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import unitlens as ul
from tests import naive
from tests.worlds.planted import COLOURS, ColourWorld, InMemory, colour_net, lookup
from unitlens.dissection.table import COLUMNS

CONCEPTS = (("object", 1, "car"), ("object", 2, "tree"), ("part", 1, "wheel"))
LABELS = {"object": [1, 2], "part": [1]}
GRID = (4, 8)


def random_case(seed, *, images=6, units=3, layer=(2, 2), planes=2):
    """Maps in multiples of 1/16 and label planes on the grid, with gaps of every kind."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(-16, 17, (images, units, *layer)) / 16
    marked = []
    for _ in range(images):
        own = {}
        if rng.random() < 0.8:
            own["object"] = [rng.integers(-1, 3, GRID) for _ in range(rng.integers(1, planes + 1))]
        if rng.random() < 0.6:
            own["part"] = [rng.integers(-1, 2, GRID)]
        marked.append(own)
    return maps, marked


def run(maps, marked, **options):
    data = InMemory([_enlarged(own) for own in marked], CONCEPTS, size=16)
    options = {"grid": GRID, "quantile": 0.1, "exemplars": 0, "evidence": False} | options
    return ul.dissect(lookup(maps), "layer", data, **options)


def _enlarged(own):
    """Label planes at the images' size and aspect, whose nearest samples are the planes themselves."""
    return {category: [plane.repeat(4, 0).repeat(2, 1) for plane in planes] for category, planes in own.items()}


@given(
    seed=st.integers(0, 10**6),
    layer=st.sampled_from([(1, 2), (2, 2), (4, 8), (2, 8), (8, 16), (4, 1)]),
    quantile=st.sampled_from([0.02, 0.1, 0.25]),
    zeros=st.booleans(),
)
@settings(max_examples=40)
@pytest.mark.filterwarnings("ignore:layer is read as")  # grids of any proportions, on purpose
def test_thresholds_and_counts_equal_the_loops_exactly(seed, layer, quantile, zeros):
    maps, marked = random_case(seed, layer=layer)
    result = run(maps, marked, quantile=quantile, upsampling="zeros" if zeros else "edges")
    levels, counts = naive.dissect(maps, marked, LABELS, quantile, GRID, zeros=zeros)
    assert result.table()["threshold"].tolist() == levels
    for column, (category, label, _) in enumerate(CONCEPTS):
        for unit in range(len(levels)):
            found = (result.counts.intersection, result.counts.activated)
            expected = counts[unit, category, label]
            assert tuple(int(array[unit, column]) for array in found) == expected[:2]
            assert result.counts.concept[column] == expected[2]


@given(seed=st.integers(0, 10**6), batch=st.integers(1, 7), kept=st.sampled_from([4, 20, 200]))
@settings(max_examples=10)
def test_neither_batches_nor_blocks_nor_chunks_change_a_bit(seed, batch, kept):
    maps, marked = random_case(seed, units=5)
    whole = run(maps, marked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unitlens.dissection.scanning.CHUNK_VALUES", 9)
        patch.setattr("unitlens.dissection.scanning.KEPT", kept)  # nothing, some blocks, or all of them wait
        patch.setattr("unitlens.dissection.counting.WAITING", kept // 2)
        patch.setattr("unitlens.dissection.counting.BLOCK_UNITS", 2)
        parts = run(maps, marked, batch_size=batch)
    for name, array in whole.counts.arrays().items():
        assert np.array_equal(array, parts.counts.arrays()[name]), name
    assert whole.table().equals(parts.table())


def test_permuting_units_permutes_rows():
    maps, marked = random_case(3, units=6)
    order = np.random.default_rng(0).permutation(6)
    straight, permuted = run(maps, marked), run(maps[:, order], marked)
    same = [name for name in COLUMNS if name not in ("unit", "p_value", "q_value")]
    assert straight.table()[same].iloc[order].reset_index(drop=True).equals(permuted.table()[same])


def test_counts_of_parts_add_to_the_counts_of_all():
    maps, marked = random_case(4, images=8)
    whole = run(maps, marked, quantile=0.1)
    level = np.maximum(
        maps - whole.table()["threshold"].to_numpy()[None, :, None, None], 0
    )  # the same masks, threshold 0
    parts = []
    for some in (slice(0, 3), slice(3, 8)):
        data = InMemory([_enlarged(own) for own in marked[some]], CONCEPTS, offset=some.start)
        parts.append(
            ul.dissect(lookup(level), "layer", data, grid=GRID, quantile=0.9, exemplars=0, evidence=False).counts
        )
    data = InMemory([_enlarged(own) for own in marked], CONCEPTS)
    both = ul.dissect(lookup(level), "layer", data, grid=GRID, quantile=0.9, exemplars=0, evidence=False).counts
    for name, array in (parts[0] + parts[1]).arrays().items():
        assert np.array_equal(array, both.arrays()[name]), name


def test_a_planted_unit_gets_its_concept():
    result = ul.dissect(colour_net(), "pool", ColourWorld(64), quantile=0.05, grid=8)
    table = result.table()
    assert table["concept"][:4].tolist() == list(COLOURS)
    assert (table["iou"][:4] > 0.5).all()
    assert table["verdict"][:4].tolist() == ["detector"] * 4
    for unit, name in enumerate(COLOURS):
        assert result.units_for(name, n=1) == [unit]


def test_several_layers_in_one_pass_are_each_what_they_are_alone():
    net, data = colour_net(), ColourWorld(40)
    passes = []
    handle = net.model.register_forward_hook(lambda module, inputs, output: passes.append(len(output)))
    both = ul.dissect(net, ["conv", "pool"], data, quantile=0.05, batch_size=16)
    handle.remove()
    assert passes == [16, 16, 8]
    for layer in both.layers:
        alone = ul.dissect(net, layer, data, quantile=0.05, batch_size=16)
        assert both[layer].table().equals(alone.table())
    with pytest.raises(ul.UnitlensError, match=r"choose one of conv, pool, as in d\['conv'\]"):
        both.scores()
    with pytest.raises(ul.UnitlensError, match=r"did you mean pool\?"):
        both["pol"]


def test_dead_constant_and_saturated_units_are_silent():
    rng = np.random.default_rng(0)
    maps = rng.random((6, 5, 2, 2)).astype(np.float32)
    maps[:, 0], maps[:, 1], maps[:, 2] = 0, 0.3, -0.7
    maps[:, 3] = np.minimum(maps[:, 3] * 8, 6.0 * 0.1)
    _, marked = random_case(0)
    table = run(maps, marked).table()
    assert table["silent"].tolist() == [True, True, True, True, False]
    assert table["verdict"][:4].tolist() == ["silent"] * 4
    assert table.loc[:3, ["concept", "category", "iou", "second_concept", "activated_pixels"]].isna().all(axis=None)
    assert (table["active_share"][:4] == 0).all()


def test_negative_activations_have_negative_thresholds():
    maps, marked = random_case(1)
    below = run(maps - 10, marked)
    assert (below.table()["threshold"] < 0).all()
    assert np.array_equal(below.counts.intersection, run(maps, marked).counts.intersection)


@pytest.mark.parametrize("flat", [False, True])
def test_a_layer_without_a_grid_counts_images(flat):
    rng = np.random.default_rng(5)
    maps = rng.integers(0, 50, (30, 2, 1, 1)) / 16
    _, marked = random_case(5, images=30)
    result = run(maps[:, :, 0, 0] if flat else maps, marked, quantile=0.2)
    assert result.table()["evaluated_on"].tolist() == ["image", "image"]
    for unit in range(2):
        level = naive.threshold(maps[:, unit].ravel().tolist(), 0.2)
        assert result.table()["threshold"][unit] == level
        for column, (category, label, _) in enumerate(CONCEPTS):
            i = a = g = 0
            for value, own in zip(maps[:, unit, 0, 0], marked, strict=True):
                planes = own.get(category, [np.full(GRID, -1)])
                judged = np.logical_and.reduce([plane != -1 for plane in planes])
                if judged.any():
                    here = any(((plane == label) & judged).any() for plane in planes)
                    i, a, g = i + (value > level and here), a + (value > level), g + here
            assert result.counts.intersection[unit, column] == i
            assert result.counts.activated[unit, column] == a
            assert result.counts.concept[column] == g


def test_activations_that_are_no_numbers_are_marked_and_make_no_detector():
    maps, marked = random_case(2, units=3)
    maps[1, 0, 0, 0], maps[2, 0, 1, 1], maps[0, 2, 0, 1] = np.nan, np.inf, -np.inf
    with pytest.warns(
        ul.UnitlensWarning, match=r"layer has NaN or infinite activations in 2 of 3 units \(0, 2\), 3 values"
    ):
        result = run(maps, marked, evidence=True)
    table = result.table()
    assert table["verdict"][0] == table["verdict"][2] == "nonfinite"
    assert table["nonfinite"].tolist() == [2, 0, 1]
    assert not table["detector"][[0, 2]].any()
    assert table["concept"][[0, 2]].isna().all()
    assert result.info["warnings"]


def test_union_over_all_images_and_unjudged_positions_as_none():
    maps, marked = random_case(6, planes=1)
    everywhere = [
        {category: [np.maximum(plane, 0) for plane in own.get(category, [np.zeros(GRID, int)])] for category in LABELS}
        for own in marked
    ]
    whole = run(maps, marked, union="all", not_judged="none")
    assert np.array_equal(whole.counts.intersection, run(maps, everywhere).counts.intersection)
    assert np.array_equal(whole.counts.activated, run(maps, everywhere).counts.activated)


def test_the_preset_of_2017_ranks_the_raw_maps():
    maps, marked = random_case(7)
    result = run(maps, marked, preset="netdissect2017", quantile=0.1)
    assert result.table()["threshold"].tolist() == [naive.threshold(maps[:, u].ravel().tolist(), 0.1) for u in range(3)]
    assert result.info["settings"]["quantile"] == 0.1
    assert result.info["settings"]["not_judged"] == "none"


def test_what_an_inplace_activation_leaves_can_be_asked_for():
    net, data = colour_net(), ColourWorld(40)
    returned = ul.dissect(net, "conv", data, quantile=0.05, evidence=False, exemplars=0)
    left = ul.dissect(net, "conv", data, quantile=0.05, evidence=False, exemplars=0, tap="after_inplace")
    assert min(min(v) for v in [returned.info["layers"]["conv"]["mean"]]) < 0
    assert min(left.info["layers"]["conv"]["mean"]) >= 0


def test_the_model_is_as_before():
    net, data = colour_net(), ColourWorld(40)
    net.model.train()
    before = {name: value.clone() for name, value in net.model.state_dict().items()}
    ul.dissect(net, "pool", data, quantile=0.05)
    assert net.model.training
    assert all(torch.equal(value, before[name]) for name, value in net.model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.model.modules())


def test_half_precision_networks_are_dissected():
    net = colour_net()
    net.model.to(torch.bfloat16)
    assert ul.dissect(net, "pool", ColourWorld(40), quantile=0.05).table()["concept"][:4].tolist() == list(COLOURS)


def test_exemplars_are_the_images_of_highest_peak_in_order():
    maps, marked = random_case(8, images=6, units=2)
    maps[:, 0, 0, 0] = [3, 9, 9, 1, 4, 9]
    result = run(maps, marked, exemplars=4)
    assert [e.image for e in result.top_images(0)] == ["image 1", "image 2", "image 5", "image 4"]
    assert [e.value for e in result.top_images(0)] == [9, 9, 9, 4]
    assert (result.top_images(0)[0].peak_y, result.top_images(0)[0].peak_x) == (0.25, 0.25)
    with pytest.raises(ul.UnitlensError, match="has units 0 to 1"):
        result.top_images(2)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"quantile": 2}, "must lie between 0 and 1"),
        ({"quantile": 0.001}, r"fewer than the 1 / 0.001 = 1000"),
        ({"preset": "pnas2021"}, r"did you mean pnas2020\?"),
        ({"score": "iuo"}, r"did you mean iou\?"),
        ({"min_iou": 3}, "must lie between 0 and 1"),
        ({"fdr": 0}, "fdr=0"),
        ({"upsampling": "cubic"}, "edges, zeros"),
        ({"batch_size": 0}, "batch_size=0 must"),
        ({"limit": 0}, "limit=0 must"),
        ({"exemplars": -1}, "exemplars=-1 must"),
        ({"store_limit": 10}, r"raise store_limit="),
        ({"grid": (0, 4)}, "at least one row"),
    ],
)
def test_bad_settings_are_one_sentence(options, text):
    maps, marked = random_case(9)
    with pytest.raises(ul.UnitlensError, match=text):
        run(maps, marked, **options)


def test_concepts_and_layers_that_are_not_there():
    maps, marked = random_case(9)
    result = run(maps, marked)
    with pytest.raises(ul.UnitlensError, match=r"no concept 'tre' in the data \(did you mean tree\?\)"):
        result.units_for("tre")
    with pytest.raises(ul.UnitlensError, match="No layer was named"):
        ul.dissect(lookup(maps), None, InMemory(marked, CONCEPTS))
    with pytest.raises(ul.UnitlensError, match="marks no concepts"):
        ul.dissect(lookup(maps), "layer", InMemory(marked, ()))
    with pytest.raises(ul.UnitlensError, match="has 3 bands, and the network takes 4"):
        ul.dissect(nn_that_fails(), "0", ColourWorld(4))


def nn_that_fails():
    return ul.classifier(nn.Sequential(nn.Conv2d(4, 2, 1)), image_size=32, mean=(0,), std=(1,))


def test_a_name_in_two_categories_is_written_with_its_category():
    data = ColourWorld(40)
    data.concepts = (
        *(ul.Concept("color", c.label, "it") if c.label == 1 else c for c in data.concepts[:4]),
        ul.Concept("part", 1, "it"),
    )
    result = ul.dissect(colour_net(), "pool", data, quantile=0.05)
    assert "color/it" in result.concepts
    assert "part/it" in result.concepts
    assert result.table()["concept"][0] == "color/it"
    assert result.units_for("color/it", 1) == [int(result.scores().to_numpy()[:, 0].argmax())]
    with pytest.raises(ul.UnitlensError, match="color/it or part/it"):
        result.units_for("it")
    assert result.units_for("color/blue", 1) == result.units_for("blue", 1)


def test_fast_says_how_far_it_is_off():
    exact = ul.dissect(colour_net(), "pool", ColourWorld(40), quantile=0.05)
    fast = ul.dissect(colour_net(), "pool", ColourWorld(40), quantile=0.05, fast=True)
    assert exact.info["deviation"] == {}
    assert 0 <= fast.info["deviation"]["pool"]["activation"] < 1e-5
    assert fast.table()["concept"].tolist() == exact.table()["concept"].tolist()


def test_one_image_is_too_few_for_any_statement():
    maps, marked = random_case(9)
    with pytest.raises(ul.UnitlensError, match=r"only 1 image.*limit="):
        run(maps, marked, limit=1)


def test_a_layer_that_is_too_coarse_for_the_label_grid_is_warned_of():
    maps, marked = random_case(9, layer=(3, 3))
    data = InMemory([_enlarged(own) for own in marked], CONCEPTS, size=16)
    options = {"quantile": 0.1, "exemplars": 0, "evidence": False}
    with pytest.warns(ul.UnitlensWarning, match=r"layer has only 3 x 3 positions for a label grid of 16 x 16"):
        ul.dissect(lookup(maps), "layer", data, grid=16, **options)


def test_the_random_state_of_torch_is_left_as_it_was():
    data = ColourWorld(24)
    net, before = colour_net(), torch.random.get_rng_state()
    ul.dissect(net, "pool", data, quantile=0.05, exemplars=0, control=["untrained", "rotated"], workers=0)
    assert torch.equal(torch.random.get_rng_state(), before)


@given(seed=st.integers(0, 10**6), quantile=st.sampled_from([0.02, 0.1]))
@settings(max_examples=15)
@pytest.mark.filterwarnings("ignore:layer is read as")
def test_active_images_precision_and_ceiling_equal_the_loops(seed, quantile):
    maps, marked = random_case(seed, layer=(4, 8))
    result = run(maps, marked, quantile=quantile)
    for row in result.table().itertuples():
        above = maps[:, row.unit] > row.threshold
        assert row.active_images == above.any((1, 2)).sum()
        if isinstance(row.concept, str):
            areas = sorted((row.activated_pixels, row.concept_pixels))
            assert row.precision == row.intersection / row.activated_pixels
            assert row.iou_ceiling == areas[0] / areas[1] >= row.iou
