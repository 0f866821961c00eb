"""What ablating the best units of each concept does in images that contain it: against loops, in runs and compared."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import unitlens as ul
from tests.worlds.planted import COLOURS, ColourWorld, colour_net
from unitlens.ablation.concepts.estimates import mean_change
from unitlens.ablation.concepts.measuring import concept_effects
from unitlens.ablation.concepts.result import COLUMNS, CONCEPT_COLUMNS, FILE
from unitlens.stats.folds import iou_in

HOW = {"quantile": 0.05, "exemplars": 0, "evidence": False}
CLASSES = list(COLOURS)


class Classed(ColourWorld):
    """The coloured world, each image of a class."""

    def __getitem__(self, index):
        example = super().__getitem__(index)
        return example._replace(class_=CLASSES[index % 3])


@pytest.fixture(scope="module")
def world():
    """A network, 64 images and a run; not to be changed."""
    torch.manual_seed(0)
    net, data = colour_net(), Classed(64)
    return net, data, ul.dissect(net, "pool", data, **HOW)


@pytest.fixture(scope="module")
def found(world):
    return measured(world)


def measured(world, **how):
    net, data, run = world
    return concept_effects(run, net, data, **how)


def rotation(seed=0):
    drawn = torch.randn(8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(drawn)[0].float()


def folds_of(data):
    """The fold of each image, by what a response is told of it."""
    from unitlens.data.batches import Batches
    from unitlens.data.reading import Reading

    (batch,) = Batches(data, colour_net().preprocessing, Reading(batch_size=len(data)))
    return np.array(batch.folds)


def loops(world, turn, top):
    """Mean change of the own class's logit, and of whether it is predicted, under the chosen and under every set."""
    net, data, run = world
    folds, table = folds_of(data), run.table()
    able = table.loc[table["concept"].notna(), "unit"].tolist()
    basis = torch.eye(8) if turn is None else turn

    def outputs(image, units):
        def cut(activation):
            removed = torch.zeros_like(activation)
            for unit in units:
                said = torch.einsum("c,nchw->nhw", basis[unit], activation)
                removed += said[:, None] * basis[unit][None, :, None, None]
            return activation - removed

        with torch.no_grad(), ul.edit(net.model, {"pool": cut}):
            return net.model(image)[0].double()

    chosen, random = [], []
    for concept in data.concepts:
        changes, drawn = [], []
        for i in range(len(data)):
            plane = data[i].planes.get(concept.category, [np.zeros((32, 32))])[0]
            if not (plane[2::4, 2::4] == concept.label).any():  # on the label grid
                continue
            iou = iou_in(run.counts, "even" if folds[i] % 2 else "odd")[able, data.concepts.index(concept)]
            best = [able[place] for place in np.argsort(-iou, kind="stable")[:top]]
            image = net.prepare(torch.from_numpy(data[i].image).permute(2, 0, 1)[None])
            own, before = CLASSES.index(data[i].class_), outputs(image, ())
            pairs = []
            for units in (best, *([unit] for unit in able)):
                after = outputs(image, units)
                right = float(after.argmax() == own) - float(before.argmax() == own)
                pairs.append((float(after[own] - before[own]), right))
            changes.append(pairs[0])
            drawn.append(np.mean(pairs[1:], axis=0))
        chosen.append(np.mean(changes, axis=0))
        random.append(np.mean(drawn, axis=0))
    return np.array(chosen), np.array(random)


@pytest.mark.parametrize(("turned", "top"), [(False, 1), (False, 2), (True, 1)])
def test_effects_are_those_of_loops(world, turned, top):
    turn = rotation() if turned else None
    if turned:
        world = (*world[:2], ul.dissect(*world[:1], "pool", world[1], basis=turn, **HOW))
    found = measured(world, top=top, basis=turn, batch_size=7, draws=50)
    chosen, random = loops(world, turn, top)
    assert len(found.concepts) == 5
    for column, measure in enumerate(("logit", "accuracy")):
        effect = getattr(found, measure)
        assert effect.effect == pytest.approx(chosen[:, column].mean(), abs=1e-5)
        assert [getattr(one, measure).effect for one in found.concepts] == pytest.approx(chosen[:, column], abs=1e-5)
        if top == 1:  # then each unit is a set, and none is drawn twice
            assert effect.random_effect == pytest.approx(random[:, column].mean(), abs=1e-5)
            assert effect.draws_half_width == 0
        else:
            assert effect.draws_half_width > 0 or measure == "accuracy"
    assert found.logit.low < found.logit.effect < found.logit.high


def test_tables_and_the_words_of_a_result(found):
    table, concepts = found.table(), found.concepts_table()
    assert list(table) == list(COLUMNS)
    assert list(concepts) == list(CONCEPT_COLUMNS)
    logit = table.set_index("measure").loc["logit"]
    assert logit["beyond_random"] == pytest.approx(logit["effect"] - logit["random_effect"])
    assert logit["beyond_random_low"] < logit["beyond_random"] < logit["beyond_random_high"]
    mean = concepts.groupby("measure")["effect"].mean()
    assert mean["logit"] == pytest.approx(logit["effect"])
    assert "5 concepts in 64 images: ablating the best unit changes the logit" in str(found)


@given(st.lists(st.tuples(st.integers(0, 31), st.integers(0, 2), st.floats(-5, 5)), min_size=30, max_size=80))
def test_what_is_left_out_is_what_it_is_without_these_images(changes):
    """Images of one concept each, in folds: without a fold, the mean is that of the others."""
    images, sums = np.zeros((32, 3), int), np.zeros((32, 3))
    for concept in range(3):
        images[[0, 1], concept] += 1  # so that each is there without any fold
    for fold, concept, change in changes:
        images[fold, concept] += 1
        sums[fold, concept] += change
    found = mean_change(images, sums)
    for fold in range(32):
        kept = np.arange(32) != fold
        expected = np.mean(sums[kept].sum(0) / images[kept].sum(0))
        if images[fold].any():
            assert found.left_out[fold] == pytest.approx(expected, abs=1e-9)
        else:
            assert np.isnan(found.left_out[fold])


def test_nothing_has_no_effect_and_the_units_order_is_of_no_matter(world, found):
    assert measured(world, scale=1.0).logit.effect == 0
    order = [3, 0, 2, 1, 7, 5, 4, 6]
    turn = torch.eye(8)[order]
    again = ul.dissect(world[0], "pool", world[1], basis=turn, **HOW)
    permuted = measured((*world[:2], again), basis=turn)
    assert permuted.logit.beyond_random == pytest.approx(found.logit.beyond_random, abs=1e-6)
    assert [order[u] for one in permuted.concepts for u in one.units] == [
        u for one in found.concepts for u in one.units
    ]


def test_it_goes_on_where_it_was_stopped(world, found, tmp_path):
    class Failing(Classed):
        def __getitem__(self, index):
            if index == 40 and failing:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    failing, (net, _, run) = True, world
    with pytest.raises(KeyboardInterrupt):
        measured((net, Failing(64), run), checkpoint=tmp_path / "kept")
    failing = False
    assert measured((net, Failing(64), run), checkpoint=tmp_path / "kept") == found


def test_what_cannot_be_measured_is_a_sentence(world):
    net, data, run = world
    with pytest.raises(ul.UnitlensError, match=r"top=8 units are to be ablated together.* from 1 to 7"):
        measured(world, top=8)
    with pytest.raises(ul.UnitlensError, match="draws=1 gives nothing to compare with: give 2 or more"):
        measured(world, draws=1)
    with pytest.raises(ul.UnitlensError, match="No concept is in images of 8 folds or more, of the 6"):
        measured((net, Classed(6), run))
    with pytest.raises(ul.UnitlensError, match=r"other concepts than the run's \(part/upper half is"):
        measured((net, ul.Scenes(4), run))
    with pytest.raises(ul.UnitlensError, match="Several layers were dissected: choose one"):
        concept_effects(ul.dissect(net, ["conv", "pool"], data, **HOW), net, data)


def test_results_in_a_run_and_in_its_comparison(world, found, tmp_path):
    net, data, run = world
    turn = rotation()
    turned = ul.dissect(net, "pool", data, basis=turn, **HOW)
    other = measured((net, data, turned), basis=turn)
    run.save(tmp_path / "units")
    turned.save(tmp_path / "turned")
    found.save(tmp_path / "units")
    with pytest.warns(ul.UnitlensWarning, match="units"):
        compared = ul.compare(tmp_path / "units", tmp_path / "turned")
    (note,) = [one for one in compared.remarks() if "best units" in one]
    assert "What ablating the best units of concepts does in turned was not" in note
    assert np.isnan(_row(compared, "turned")["concept_effect_difference"])
    other.save(tmp_path / "turned")
    with pytest.warns(ul.UnitlensWarning):
        saved = ul.compare(tmp_path / "units", tmp_path / "turned")
    with pytest.warns(ul.UnitlensWarning):
        in_memory = ul.compare(run, turned, names=["units", "turned"], measured=[other, found])
    row = _row(saved, "turned")
    assert not [one for one in saved.remarks() if "best units" in one]
    assert f"turned: {other}" in saved.summary()
    for name in ("concept_effect", "concept_effect_low", "concept_effect_difference_low", "concept_accuracy_beyond"):
        assert row[name] == _row(in_memory, "turned")[name]
    assert row["concept_effect"] == other.logit.effect
    assert row["concept_effect_beyond_low"] == other.logit.interval().low
    difference = other.logit.beyond_random - found.logit.beyond_random
    assert row["concept_effect_difference"] == pytest.approx(difference)
    assert row["concept_effect_difference_low"] < difference < row["concept_effect_difference_high"]


def _row(compared, entry):
    return compared.table().query("category == 'all'").set_index("entry").loc[entry]


def test_differences_are_paired_where_images_are_the_same(world, found):
    net, data, _ = world
    same = found.logit.minus(found.logit, paired=True)
    assert (same.low, same.value, same.high) == (0, 0, 0)
    apart = found.logit.minus(found.logit, paired=False)
    assert apart.high == pytest.approx(np.sqrt(2) * (found.logit.interval().high - found.logit.beyond_random))
    assert found.same_images(found)
    assert not found.same_images(replace(found, data_sha256="0" * 64))
    pairs = {data[i].name: f"pair {i // 2}" for i in range(len(data))}
    grouped = measured((net, data, ul.dissect(net, "pool", data, groups=pairs, **HOW)))
    assert (grouped.data_sha256, grouped.images) == (found.data_sha256, found.images)
    assert not found.same_images(grouped)
    assert not found.is_comparable(measured(world, top=2))
    assert not found.is_comparable(measured(world, scale=0.5))


def test_results_that_belong_elsewhere_are_refused(world, found, tmp_path):
    net, data, run = world
    run.save(tmp_path / "units")
    of_features = measured((net, data, ul.dissect(net, "pool", data, basis=rotation(), **HOW)), basis=rotation())
    with pytest.raises(ul.UnitlensError, match="is of other units of pool than those that the effects of concepts was"):
        of_features.save(tmp_path / "units")
    with pytest.raises(ul.UnitlensError, match=r"measured= has the effects of concepts of pool \(8 directions"):
        ul.compare(run, run, measured=[of_features])
    with pytest.raises(ul.UnitlensError, match=r"measured= takes what .* return, not int"):
        ul.compare(run, run, measured=[3])
    found.save(tmp_path / "units")
    with pytest.raises(ul.UnitlensError, match=r"has the effects of 1 unit for each concept in pool.* of 2.*overwrite"):
        measured(world, top=2).save(tmp_path / "units")
    measured(world, top=2).save(tmp_path / "units", overwrite=True)
    (again,) = FILE.read(tmp_path / "units")
    assert again.top == 2
    with pytest.warns(ul.UnitlensWarning, match="measured on other images"):
        replace(found, data_sha256="0" * 64).save(tmp_path / "units", overwrite=True)
    file = tmp_path / "units" / "concept_effects.json"
    (record,) = json.loads(file.read_text())
    logit, (concept, *_) = record["logit"], record["concepts"]
    for content, fact in (
        ([record | {"top": "x"}], "top is 'x'"),
        ([record | {"choice_sha256": "x"}], "choice_sha256 is 'x', not a SHA-256"),
        ([record | {"concepts": []}], "there is no concept"),
        ([record | {"concepts": [concept | {"units": [9]}]}], "the units for .* are not 1 of 8"),
        ([record | {"logit": logit | {"left_out": [1.0]}}], "left_out has 1 values; there are 32 folds"),
        ([record | {"logit": logit | {"left_out": [1e308, -1e308] * 16}}], r"an effect is 1e\+308; it lies between"),
        ([record | {"logit": logit | {"low": None}}], "the interval of an effect has one end"),
    ):
        file.write_text(json.dumps(content))
        with pytest.raises(ul.UnitlensError, match=rf"concept_effects.json is damaged \(.*{fact}.*\): save .* remove"):
            FILE.read(tmp_path / "units")
    found.save(tmp_path / "units", overwrite=True)
    assert FILE.read(tmp_path / "units") == [found]


def test_effects_belong_to_the_run_that_chose_the_units(world, found, tmp_path):
    net, data, run = world
    wide = ul.dissect(net, "pool", data, **HOW | {"quantile": 0.2})
    of_wide = measured((net, data, wide))
    run.save(tmp_path / "units")
    wide.save(tmp_path / "wide")
    found.save(tmp_path / "units")
    with pytest.raises(ul.UnitlensError, match=r"chosen by another run than the one in .*units.*such as the quantile"):
        of_wide.save(tmp_path / "units", overwrite=True)
    assert FILE.read(tmp_path / "units") == [found]
    with pytest.warns(ul.UnitlensWarning, match="quantile"):
        compared = ul.compare(wide, tmp_path / "units", names=["wide", "units"], measured=[of_wide])
    assert compared.measured["wide"].effects == of_wide
    assert compared.measured["units"].effects == found
    with pytest.raises(ul.UnitlensError, match="no run is of these units and their network, and chose them"):
        ul.compare(run, run, measured=[of_wide])
    with pytest.raises(ul.UnitlensError, match=r"2 results of units that differ, .* its effects of concepts: give one"):
        ul.compare(run, wide, names=["units", "wide"], measured=[found, measured(world, top=2)])
    shutil.copy(tmp_path / "units" / "concept_effects.json", tmp_path / "wide")
    with pytest.raises(ul.UnitlensError, match=r"chosen by another run than the one in .*wide"):
        ul.compare(tmp_path / "units", tmp_path / "wide")


def test_images_are_in_the_groups_of_the_run(world):
    net, data, run = world

    class Paired(Classed):
        def __getitem__(self, index):
            return super().__getitem__(index)._replace(group=f"pair {index // 2}")

    with pytest.raises(ul.UnitlensError, match=r"The images have groups, and the run has none.*dissect the images"):
        measured((net, Paired(64), run))
    pairs = {data[i].name: f"pair {i // 2}" for i in range(len(data))}
    grouped = ul.dissect(net, "pool", data, groups=pairs, **HOW)
    assert measured((net, Paired(64), grouped)) == measured((net, data, grouped))


def test_images_are_prepared_as_for_the_run(world, found, tmp_path):
    net, data, run = world
    assert measured((net.model, data, run)) == found
    other = ul.classifier(net.model, image_size=32, mean=net.preprocessing.mean, std=(2, 2, 2), classes=net.classes)
    with pytest.raises(ul.UnitlensError, match=r"other images than in the run \(std is \(2.0, 2.0, 2.0\), not "):
        measured((other, data, run))
    run.save(tmp_path / "run")
    effects = ul.ablate(other, "pool", [0], data, draws=2, limit=24)
    with pytest.raises(ul.UnitlensError, match=r"prepared otherwise for these effects than for the run .*std is \(2.0"):
        ul.report(tmp_path / "run", effects)
    ul.report(tmp_path / "elsewhere", effects)
