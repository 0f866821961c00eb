"""Dissections of generators: units are compared with what is drawn, and all that dissects works on them unchanged."""

import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import unitlens as ul
from tests.worlds.generators import BACKDROP, Measured, Painter, Squares, concept_of, painted, painter
from unitlens.dissection.reopening import Reopening


@pytest.fixture(scope="module")
def d():
    """A dissection of eight units that paint, and two that do not; not to be changed."""
    return ul.dissect(painter(extra=2), "layer", painted(extra=2), control=("untrained:2", "rotated"))


def table(dissection):
    return dissection.table().set_index("unit")


def test_every_painted_unit_is_named_by_what_it_draws(d):
    rows = table(d)
    for unit in range(8):
        assert rows.loc[unit, "concept"] == concept_of(unit)
        assert rows.loc[unit, "verdict"] == "detector"
        assert rows.loc[unit, "iou"] > 0.3
    assert not rows.loc[8:, "detector"].any()
    assert d.info["network"]["image"] == "output"
    assert d.settings.grid == (8, 8)


def test_how_good_the_source_is_stands_beside_each_units_concept(tmp_path):
    made = ul.dissect(painter(), "layer", painted(60, source=Measured()), exemplars=0, control="untrained")
    for rows in (made.table(), made.controls()):
        for concept, iou in zip(rows["concept"], rows["segmenter_iou"], strict=True):
            known = Measured.ious.get(("color", concept))
            assert np.isnan(iou) if known is None else iou == known
    page = ul.report(tmp_path / "run", made).read_text()
    assert "a segmenter whose own IoU with it is 0.9 where the truth is known" in page
    assert ul.open_run(tmp_path / "run").table()["segmenter_iou"].equals(made.table()["segmenter_iou"])
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    info["data"]["concepts"][0]["segmenter_iou"] = 0.99
    (tmp_path / "run" / "run.json").write_text(json.dumps(info))
    with pytest.raises(ul.UnitlensError, match="segmenter_iou of unit 0"):
        ul.open_run(tmp_path / "run")


def test_controls_of_a_generator_are_dissected_with_what_they_draw(d):
    kinds = d.comparison().set_index("network")["detectors"]
    assert kinds["as it is"] == 8
    assert kinds.filter(like="untrained").tolist() == [0, 0]
    assert d.comparison().set_index("network")["units"]["rotated"] == 10


def test_permuting_units_permutes_rows_of_a_generator(d):
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    model = Painter(extra=2).eval()
    with torch.no_grad():
        model.shapes.weight.copy_(model.shapes.weight[order])
        model.paint.weight.copy_(model.paint.weight[:, order])
    forward = model.forward
    model.forward = lambda z: forward(torch.cat([z[:, :-BACKDROP][:, order], z[:, -BACKDROP:]], 1))
    net = ul.generator(model, latents=10 + BACKDROP, rescale=(-1, 1))
    permuted = ul.dissect(net, "layer", painted(extra=2), exemplars=0, evidence=False)
    np.testing.assert_array_equal(permuted.scores("iou"), d.scores("iou").to_numpy()[order])


def test_several_layers_of_a_generator_in_one_pass_are_as_each_alone():
    layers = ["layer", "larger"]
    both = ul.dissect(painter(), layers, painted(60), exemplars=0)
    for layer in layers:
        alone = ul.dissect(painter(), layer, painted(60), exemplars=0)
        pd.testing.assert_frame_equal(both[layer].table(), alone.table(), check_exact=True)


def test_runs_of_generators_are_compared():
    runs = [ul.dissect(painter(), layer, painted(60), exemplars=0) for layer in ("layer", "larger")]
    assert set(ul.compare(*runs).table()["layer"]) == {"layer", "larger"}


def test_batches_and_workers_change_nothing_of_a_generator():
    runs = [
        ul.dissect(painter(), "layer", painted(30), exemplars=3, batch_size=size, workers=workers)
        for size, workers in ((32, 0), (7, 2))
    ]
    pd.testing.assert_frame_equal(runs[0].table(), runs[1].table(), check_exact=True)
    assert runs[0].info["data"]["sha256"] == runs[1].info["data"]["sha256"]
    assert runs[0]._strips == runs[1]._strips


def test_masks_given_with_latents_count_as_what_a_source_sees():
    net, data = painter(), painted(60)
    seen = ul.dissect(net, "layer", data, exemplars=0)

    class Marked:
        concepts = Squares.concepts

        def __len__(self):
            return len(data)

        def __getitem__(self, index):
            inputs = torch.from_numpy(data[index].image)[None]
            with ul.evaluating(net.model):
                image = net.images(inputs, net.model(net.prepare(inputs)))[0].permute(1, 2, 0).numpy()
            return ul.Example(image, Squares().planes(image, ""), data[index].name)

    given = ul.latents(np.stack([data[index].image for index in range(len(data))]), masks=Marked())
    pd.testing.assert_frame_equal(ul.dissect(net, "layer", given, exemplars=0).table(), seen.table(), check_exact=True)


def test_exemplars_are_images_that_were_drawn(d):
    rows = d._exemplars[d._exemplars["unit"] == 0]
    assert rows["image"].str.startswith("latent-").all()
    strip = np.asarray(Image.open(io.BytesIO(d._strips["layer", 0])).convert("RGB")).astype(int)
    red = (strip[..., 0] > 180) & (strip[..., 1] < 90)
    assert red.mean() > 0.005  # unit 0 paints red


def test_a_saved_run_of_a_generator_is_opened_again_with_its_latents(tmp_path):
    net = ul.load("tests.worlds.generators:Painter", latents=20, rescale=(-1, 1))
    with pytest.warns(ul.UnitlensWarning, match=r"in none of the 40 images.*orange"):
        made = ul.dissect(net, "layer", ul.open_data("latents:20,seed=5", images=40, concepts=["colors"]))
    made.info["data"] |= {"source": "latents:20,seed=5", "opened": {"concepts": ["colors"]}}
    page = ul.report(tmp_path / "run", made)
    assert all(text in page.read_text() for text in ("that the network drew from", "drew 40 images", "units draw"))
    run = ul.open_run(tmp_path / "run")
    assert run.table().drop(columns="needed_concepts").equals(made.table().drop(columns="needed_concepts"))
    with pytest.raises(ul.UnitlensError, match=r"import and call tests\.worlds\.generators:Painter"):
        ul.audit(run)
    again = Reopening.of(run.info).open_network(trust=True)
    assert repr(again) == repr(net)
    checks = set(ul.audit(run, trust=True).table()["check"])
    assert {"half quantile", "noise"} <= checks


CHANGES = {
    "no latents": (lambda network: network.update(latents=None), "compared with the output"),
    "no shape": (lambda network: network["latents"].update(shape=[]), "shape of a latent"),
    "a range that is none": (lambda network: network["latents"].update(output_range=[1, 1]), "from 1 to 1"),
    "a shape without end": (lambda network: network["latents"].update(shape=[2**40, 2**20]), "shape of a latent"),
    "classes that are none": (lambda network: network["latents"].update(classes=0), "number of classes"),
    "the input": (lambda network: network.update(image="input"), "compared with the input"),
    "an unknown field": (lambda network: network["latents"].update(more=1), "unknown field"),
}


@pytest.mark.parametrize(("change", "fact"), CHANGES.values(), ids=CHANGES)
def test_a_changed_record_of_latents_is_refused(d, tmp_path, change, fact):
    folder = tmp_path / "run"
    ul.report(folder, d)
    info = json.loads((folder / "run.json").read_text())
    change(info["network"])
    (folder / "run.json").write_text(json.dumps(info))
    with pytest.raises(ul.UnitlensError, match=fact):
        ul.open_run(folder)
    shutil.rmtree(folder)


def test_another_network_or_other_latents_are_not_those_of_a_run(d):
    with pytest.raises(ul.UnitlensError, match="weights"):
        ul.audit(d, ul.generator(Painter(extra=2).double(), latents=22), painted(extra=2))
    with pytest.raises(ul.UnitlensError, match="are not those of the run"):
        ul.audit(d, painter(extra=2), painted(extra=2, seed=1))


class OfClass(Painter):
    """Draws the squares of one colour only, its class."""

    def forward(self, latents, label):
        of_class = torch.arange(8) % 4 == label[:, None]
        return super().forward(torch.cat([latents[:, :8] * of_class, latents[:, 8:]], 1))


def test_a_class_conditional_generator_is_dissected_with_its_classes():
    net = ul.generator(OfClass().eval(), latents=20, classes=("red", "green", "blue", "yellow"), rescale=(-1, 1))
    data = ul.with_concepts(ul.latents(20, 200, classes=4), Squares())
    rows = table(ul.dissect(net, "layer", data, quantile=0.004, control="untrained"))
    assert [rows.loc[unit, "concept"] for unit in range(8)] == [concept_of(unit) for unit in range(8)]


def test_what_is_missing_is_said():
    with pytest.raises(ul.UnitlensError, match=r"Nothing says what is drawn.*ul\.Colors\(\)"):
        ul.dissect(painter(), "layer", ul.latents(20, 30))
    with pytest.raises(
        ul.UnitlensError, match=r"takes latents of 20, and was given 19: give ul\.latents\(\(20,\), 1000\)"
    ):
        ul.dissect(painter(), "layer", ul.with_concepts(ul.latents(19, 30), Squares()))
    with pytest.raises(ul.UnitlensError, match="was given images"):
        ul.dissect(painter(), "layer", ul.Scenes(4))
    with pytest.raises(ul.UnitlensError, match="takes images and was given latents"):
        ul.dissect(ul.load("bundled:scenes"), None, painted(30))


def test_a_concept_that_nobody_draws_is_named_in_a_warning():
    class More(Squares):
        concepts = (*Squares.concepts, ul.Concept("color", 9, "purple"))

    with pytest.warns(ul.UnitlensWarning, match=r"Of the 5 concepts, 1 can be seen in none of the 40 images.*purple"):
        made = ul.dissect(painter(), "layer", ul.with_concepts(ul.latents(20, 40), More()))
    assert "purple" not in set(made.table()["concept"])


def test_images_that_are_nan_are_refused_and_units_that_are_get_no_concept():
    model = Painter().eval()
    with torch.no_grad():
        model.paint.bias.fill_(torch.nan)
    with pytest.raises(ul.UnitlensError, match="NaN or infinite"):
        ul.dissect(ul.generator(model, latents=20, rescale=(-1, 1)), "layer", painted(30))


def test_a_generator_that_draws_much_the_same_is_reported():
    class Still(Painter):
        def forward(self, latents):
            return super().forward(torch.cat([latents[:, :-BACKDROP], 0 * latents[:, -BACKDROP:]], 1))

    with pytest.warns(ul.UnitlensWarning, match="draws much the same from many latents"):
        ul.dissect(ul.generator(Still().eval(), latents=20, rescale=(-1, 1)), "layer", painted(60))


def test_a_plan_of_a_generator_is_made_from_one_batch():
    planned = ul.plan(painter(), "layer", painted(500), control="untrained")
    assert (planned.images, planned.passes) == (500, 2)
    assert planned.layers[0].grid == (16, 16)


def test_fast_dissects_a_generator_too():
    made = ul.dissect(painter(), "layer", painted(60), fast=True, exemplars=0)
    assert made.info["deviation"]["layer"]["activation"] < 1e-3
