"""Painting by hand: edits act where they are made, units are set to what they are elsewhere, recipes draw again."""

import json

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.worlds.generators import CELLS, Measured, concept_of, painted, painter
from unitlens.ablation.interventions import intervening
from unitlens.ablation.replay.edits import UnitEdit
from unitlens.data.drawn import DrawnConcepts
from unitlens.data.reading import Reading
from unitlens.editing.painting.palette import Palette
from unitlens.editing.painting.scenes import Painter, latent_of, scene_latents
from unitlens.editing.painting.typical import FEWEST, typical_activations

IMAGES = 48


@pytest.fixture(scope="module")
def net():
    return painter(8)


@pytest.fixture(scope="module")
def latents():
    return painted(IMAGES, source=Measured())


@pytest.fixture(scope="module")
def brush(net):
    return Painter.of(net, ["layer"])


@pytest.fixture(scope="module")
def run(net, latents):
    return ul.dissect(net, "layer", latents, exemplars=0, evidence=False)


@pytest.fixture(scope="module")
def typical(brush, latents):
    return typical_activations(brush, DrawnConcepts.of([Measured()]), latents, Reading(batch_size=7))


def tile(unit):
    """The positions of the layer at which a unit of the painter draws."""
    mask = np.zeros((CELLS, CELLS), bool)
    mask[4 * (unit // 4) : 4 * (unit // 4) + 4, 4 * (unit % 4) : 4 * (unit % 4) + 4] = True
    return mask


def test_what_is_painted_is_what_hooks_in_full_passes_give(net, brush, latents):
    edits = [
        UnitEdit.at("layer", [0, 4], [1.0, 0.5], tile(2)),
        UnitEdit.at("layer", [0, 1, 2], [0.0] * 3, tile(2) | tile(1), strength=0.5),
        UnitEdit.at("layer", [3], [0.0]),
    ]
    for number in range(4):
        latent = latent_of(latents, number)
        scene = brush.scene(latent)
        inputs = net.prepare(torch.from_numpy(latent)[None])
        for done, image in ((edits, scene.edited(edits)), ([], scene.image)):
            with ul.evaluating(net.model), intervening(net, *[edit.intervention() for edit in done]):
                expected = net.images(inputs, net.model(inputs))[0].permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(image, expected)


def test_a_stroke_changes_pixels_where_it_is_and_none_elsewhere(brush, latents):
    scene = brush.scene(latent_of(latents, 0))
    after = scene.edited([UnitEdit.at("layer", [1], [1.0], tile(6))])
    moved = (after != scene.image).any(-1).reshape(CELLS, 2, CELLS, 2).any((1, 3))
    assert moved[tile(6)].all()
    assert not moved[~tile(6)].any()


def test_the_same_edits_give_the_same_bytes_whatever_was_drawn_before(brush, latents):
    edit, other = UnitEdit.at("layer", [1], [1.0], tile(6)), UnitEdit.at("layer", [2], [0.7], tile(9))
    scene = brush.scene(latent_of(latents, 1))
    first = scene.edited([edit])
    scene.edited([edit, other])
    np.testing.assert_array_equal(scene.edited([edit]), first)
    np.testing.assert_array_equal(scene.edited([]), scene.image)


def test_typical_activations_are_means_of_loops_over_positions(net, brush, latents, typical):
    values = {unit: [[] for _ in Measured.concepts] for unit in range(8)}
    everywhere = []
    for number in range(IMAGES):
        scene = brush.scene(latent_of(latents, number))
        maps = scene.state.activation[0].double().numpy()
        everywhere.append(maps.reshape(8, -1))
        marked = Measured().planes(scene.image, "")["color"][0]
        for label in range(1, len(Measured.concepts) + 1):
            cells = (marked == label).reshape(CELLS, 2, CELLS, 2).mean((1, 3)) > 0.5
            for unit in range(8):
                values[unit][label - 1] += maps[unit][cells].tolist()
    for unit, of_concepts in values.items():
        for concept, found in enumerate(of_concepts):
            expected = np.mean(found) if len(found) >= FEWEST else np.nan
            np.testing.assert_allclose(typical.means["layer"][concept, unit], expected, rtol=1e-9, atol=1e-12)
    joined = np.concatenate(everywhere, 1)
    np.testing.assert_allclose(typical.overall["layer"], joined.mean(1), rtol=1e-9)
    np.testing.assert_allclose(typical.spread["layer"], joined.std(1), rtol=1e-6)
    assert typical.images == IMAGES


def test_a_concept_that_is_added_appears_and_one_that_is_removed_goes(brush, latents, run, typical):
    drawn = DrawnConcepts.of([Measured()])
    palette = Palette.of([run["layer"]], typical=typical)
    for concept in palette.concepts:
        column = drawn.index_of(concept.name)
        units = [unit.unit for unit in concept.units if concept_of(unit.unit) == concept.name]
        everywhere = np.ones((CELLS, CELLS), bool)
        images = []
        for number in range(8):
            scene = brush.scene(latent_of(latents, number))
            added = UnitEdit.at("layer", units, concept.values(units, "add", 1.0), tile(9))
            removed = UnitEdit.at("layer", units, concept.values(units, "remove", 1.0), everywhere)
            images += [scene.image, scene.edited([added]), scene.edited([removed])]
        areas = drawn.areas(drawn.maps(np.stack(images).transpose(0, 3, 1, 2)))[:, column].reshape(8, 3)
        assert (areas[:, 1] >= areas[:, 0]).all()
        assert (areas[:, 1] > areas[:, 0]).any()
        assert (areas[:, 2] == 0).all()


def test_the_palette_knows_each_concepts_units_and_how_far_they_go(run, typical):
    palette = Palette.of([run["layer"]], typical=typical, ious={("color", "red"): 0.9})
    red = palette["layer", "red"]
    assert red.segmenter_iou == 0.9
    assert np.isnan(palette["layer", "green"].segmenter_iou)
    assert {unit.unit for unit in red.units[:2]} == {0, 4}
    assert red.units[0].iou == max(unit.iou for unit in red.units)
    column = typical.columns["color", "red"]
    mean, overall = typical.means["layer"][column], typical.overall["layer"]
    assert red.values([4, 0], "add", 1.0) == [mean[4], mean[0]]
    assert red.values([0], "add", 0.3) == [mean[0]]
    assert red.values([0], "add", 2.0) == [overall[0] + 2 * (mean[0] - overall[0])]
    assert red.values([4, 0], "remove", 2.0) == [0.0, 0.0]
    thresholds = run["layer"].table()["threshold"].to_numpy()
    assert Palette.of([run["layer"]])["layer", "red"].values([4], "add", 2.0) == [thresholds[4]]
    with pytest.raises(ul.UnitlensError, match=r"8 units.*unit 8"):
        red.values([8], "add", 1.0)
    with pytest.raises(ul.UnitlensError, match=r"rad.*did you mean red"):
        palette["layer", "rad"]


def test_a_recipe_draws_the_same_image_again(net, brush, latents, tmp_path):
    edits = [UnitEdit.at("layer", [0, 4], [1.0, 0.5], tile(2)), UnitEdit.at("layer", [3], [0.0], strength=0.3)]
    scene = brush.scene(latent_of(latents, 5))
    file = ul.EditRecipe.of(net, latent_of(latents, 5), edits).save(tmp_path / "recipe.json")
    edited = ul.open_recipe(file).draw(net)
    np.testing.assert_array_equal(edited.after[0], scene.edited(edits))
    np.testing.assert_array_equal(edited.before[0], scene.image)
    assert (edited.removed, edited.inserted) == ({"layer": (3,)}, {"layer": (0, 4)})
    untouched = ul.EditRecipe.of(net, latent_of(latents, 5), []).draw(net)
    np.testing.assert_array_equal(untouched.after, untouched.before)


@pytest.mark.parametrize(
    ("changed", "facts"),
    [
        ({"schema": 2}, ["schema 2", "reads 1"]),
        ({"latent": "all"}, ["latent"]),
        ({"edits": [{}]}, ["lacks layer"]),
        ({"more": 1}, ["more"]),
    ],
)
def test_a_changed_recipe_is_a_sentence(net, latents, tmp_path, changed, facts):
    file = ul.EditRecipe.of(net, latent_of(latents, 0), []).save(tmp_path / "recipe.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    with pytest.raises(ul.UnitlensError) as error:
        ul.open_recipe(file)
    assert all(fact in str(error.value) for fact in ("recipe.json", *facts))


def test_a_recipe_of_another_network_or_layer_is_a_sentence(net, latents):
    recipe = ul.EditRecipe.of(net, latent_of(latents, 0), [UnitEdit.at("layers", [0], [0.0])])
    with pytest.raises(ul.UnitlensError, match=r"layers.*did you mean layer"):
        recipe.draw(net)
    with pytest.raises(ul.UnitlensError, match="SHA-256"):
        recipe.draw(painter(9))


def test_there_are_more_scenes_than_a_run_looked_at_where_latents_are_drawn(latents):
    many = scene_latents(latents, "latents:20,seed=0")
    np.testing.assert_array_equal(latent_of(many, 7), latent_of(latents, 7))
    assert len(many) == 1_000_000
    assert scene_latents(latents, "latents:FILE.npy") is latents
    with pytest.raises(ul.UnitlensError, match="48"):
        latent_of(latents, 48)


def test_causal_effects_stand_beside_the_units_of_their_concept(net, latents, run):
    sweep = ul.causal_effects(net, "layer", latents, limit=16, insert=1.0)
    red = Palette.of([run["layer"]], effects=[sweep])["layer", "red"]
    column = next(c for c, concept in enumerate(sweep.concepts) if concept.name == "red")
    assert {unit.unit: unit.effect for unit in red.units} == {
        unit.unit: sweep.effect()[unit.unit, column] for unit in red.units
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Of the 109 concepts")  # 128 scenes do not show them all
def test_trees_that_are_painted_into_the_bundled_scenes_are_where_they_were_painted():
    net, latents = ul.load("bundled:scenes-generator"), ul.latents(96, 128)
    drawn = DrawnConcepts.of([ul.segmenter("bundled:scenes-segmenter")])
    brush = Painter.of(net, ["block16"])
    seen = typical_activations(brush, drawn, latents, Reading())
    run = ul.dissect(
        net, "block16", ul.with_concepts(latents, *drawn.sources), exemplars=0, evidence=False, batch_size=64
    )
    tree = Palette.of([run["block16"]], typical=seen)["block16", "tree"]
    units = [unit.unit for unit in sorted(tree.units, key=lambda unit: -abs(unit.difference))[:57]]
    place = np.zeros((16, 16), bool)
    place[5:11, 5:11] = True
    edit = UnitEdit.at("block16", units, tree.values(units, "add", 2.0), place)
    inside = np.kron(place, np.ones((4, 4), bool)).astype(bool)
    moved, shares = [], []
    for number in range(40):
        scene = brush.scene(latent_of(latents, number))
        images = np.stack([scene.image, scene.edited([edit])])
        change = np.abs(images[1].astype(int) - images[0]).mean(-1)
        moved.append([change[inside].mean(), change[~inside].mean()])
        maps = drawn.maps(images.transpose(0, 3, 1, 2), of="object")[0].maps[:, 0]
        shares.append((maps == drawn.index_of("tree") + 1)[:, inside].mean(1))
    within, elsewhere = np.mean(moved, axis=0)
    assert within > 5 * elsewhere
    before, after = np.mean(shares, axis=0)
    assert after > 1.8 * before
