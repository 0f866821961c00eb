import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import unitlens as ul
from tests.worlds.small import Net, Noise, classifier, expected
from unitlens.ablation.effects import ablate, importance
from unitlens.ablation.files import SavedEffects, read_effects, write_effects
from unitlens.ablation.interventions import Intervention
from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.table import LayerUnit


@pytest.fixture(scope="module")
def net():
    return classifier()


class Parallel(Net):
    """The two branches are not one behind the other."""

    def forward(self, images):
        x = self.first(images)
        return self.head((self.second(x) + self.third(x)).mean((2, 3)))

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.third = nn.Conv2d(6, 6, 1)


class Untraceable(Net):
    def forward(self, images):
        return super().forward(images) if images.sum() > -1e9 else images


def as_classifier(model):
    return ul.classifier(model.eval(), image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, classes=["a", "b", "c"])


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("make", [Net, Parallel, Untraceable])
@pytest.mark.filterwarnings("ignore:Every intervention at first and second takes a full pass")
def test_units_of_two_layers_are_ablated_together(make, order):
    net, data = as_classifier(make()), Noise()
    chosen = dict([("first", [1, 2]), ("second", [5])][::order])
    found = ablate(net, chosen, data=data, measures=["recall", "logit"], batch_size=16, draws=3)
    assert found.info["replay"]["replays"] == (make is not Untraceable)
    interventions = (Intervention(layer, units) for layer, units in chosen.items())
    (_, logits), (recall_after, logits_after) = expected(net, data, *interventions)
    assert found.estimate("recall").after == pytest.approx(recall_after, abs=1e-12)
    assert found.effect("logit") == pytest.approx(np.subtract(logits_after, logits), abs=1e-6)
    for drawn in found.drawn.values():
        for place, units in enumerate(drawn.sets):
            by_layer = {layer: [u.unit for u in units if u.layer == layer] for layer in chosen}
            assert {layer: len(own) for layer, own in by_layer.items()} == {"first": 2, "second": 1}
            (_, logits), (_, after) = expected(net, data, *(Intervention(*pair) for pair in by_layer.items()))
            assert drawn.estimate("logit").effect[place] == pytest.approx(np.subtract(after, logits), abs=1e-6)


def test_layers_inside_one_another_and_the_same_tensor_by_two_names(net):
    for layers in (["second.0", "second"], ["second.2", "second"], ["first", "second.1", "head"]):
        found = ablate(net, {layer: [1] for layer in layers}, data=Noise(20), measures=["logit"], draws=0)
        (_, logits), (_, after) = expected(net, Noise(20), *(Intervention(layer, [1]) for layer in layers))
        assert found.info["replay"]["replays"]
        assert found.effect("logit") == pytest.approx(np.subtract(after, logits), abs=1e-6), layers


@pytest.mark.parametrize("how", [{"scale": 0.5}, {"value": 2.0}])
def test_what_is_replaced_in_a_later_layer_follows_from_its_activations_then(net, how):
    found = ablate(net, {"first": [0, 3], "second": [2, 4]}, data=Noise(20), measures=["logit"], draws=2, **how)
    edits = (Intervention("first", [0, 3], **how), Intervention("second", [2, 4], **how))
    (_, logits), (_, after) = expected(net, Noise(20), *edits)
    assert found.effect("logit") == pytest.approx(np.subtract(after, logits), abs=1e-6)


@pytest.mark.parametrize("value", ["mean", "resample"])
def test_means_and_other_images_are_found_for_every_layer(net, value):
    both = ablate(net, {"first": [0, 3], "second": [2]}, data=Noise(30), value=value, measures=["logit"], draws=0)
    other = ablate(
        net, {"second": [2], "first": [0, 3]}, data=Noise(30), value=value, measures=["logit"], draws=0, batch_size=7
    )
    assert both.effect("logit") == pytest.approx(other.effect("logit"), abs=1e-6)
    assert (both.effect("logit") != 0).any()


def test_one_layer_in_a_mapping_is_that_layer_and_keeping_ablates_the_others(net):
    one, same = ablate(net, {"second": [1, 2]}, data=Noise(20)), ablate(net, "second", [1, 2], Noise(20))
    pd.testing.assert_frame_equal(one.table(), same.table())
    pd.testing.assert_frame_equal(one.random_sets(), same.random_sets())
    kept = ablate(net, {"first": [0], "second": [1, 2]}, data=Noise(20), keep=True, draws=0)
    assert kept.units == tuple(LayerUnit("first", u) for u in range(1, 6)) + tuple(
        LayerUnit("second", u) for u in (0, 3, 4, 5)
    )


def test_units_stand_in_the_files_with_their_layers(net, tmp_path):
    found = ablate(net, {"first": [1, 2], "second": [5]}, data=Noise(20), draws=2)
    table = found.table()
    assert set(table["layer"]) == {"first;second"}
    assert set(table["units"]) == {"first/1;first/2;second/5"}
    assert len(found.measured.peaks) == 12
    write_effects(tmp_path / "run", SavedEffects((found,)))
    (again,) = read_effects(tmp_path / "run").sets
    assert again.units == found.units
    assert isinstance(again.units[0], LayerUnit)
    pd.testing.assert_frame_equal(again.random_sets(), found.random_sets())
    page = ul.report(tmp_path / "shown", found).read_text()
    assert "first/1, first/2, second/5" in page


def test_rankings_of_several_layers_are_measured_on_the_other_folds_or_marked(net):
    data = Noise(60)
    one, two = (importance(net, layer, data) for layer in ("first", "second"))
    clean = ablate(net, {"first": one.most_important("b", 2), "second": two.most_important("b")[:1]}, data=data)
    assert clean.settings.folds == "odd"
    mixed = {"first": one.most_important("b", 2), "second": two.most_important("b", 1, folds="odd")}
    assert "measured on the images that ranked it: top-ranked units look better" in repr(ablate(net, mixed, data=data))


def test_the_first_of_a_ranking_stay_a_ranking(net):
    ranked = importance(net, "second", Noise(60)).most_important("b")
    assert ranked[:2].folds == "even"
    assert ranked[:2].class_ == "b"
    assert ranked[0] in range(6)
    assert ablate(net, "second", ranked[:2], Noise(60), draws=0).settings.folds == "odd"


def test_a_cut_says_what_the_later_layers_return(net):
    images = net.prepare(torch.randint(0, 255, (4, 3, 8, 8), dtype=torch.uint8))
    cut = cut_network(net.model, ["second", "first"], images)
    assert (cut.layer, cut.later) == ("first", ("second",))
    state = cut.front(images)
    with torch.no_grad(), ul.record(net.model, "second") as recording:
        net.model(images)
    torch.testing.assert_close(state.later["second"], recording["second"])
    doubled = cut.back(state, state.activation.repeat(2, 1, 1, 1), {"second": lambda x, rows: x * (len(rows) == 8)})
    assert doubled.shape == (8, 3)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda net: ablate(net, {"first": [1]}, Noise(6)), "The units of several layers are given with them"),
        (lambda net: ablate(net, {"first": [1]}), "No images were given: name them with data="),
        (lambda net: ablate(net, {}, data=Noise(6)), "No layer is given: name at least one"),
        (lambda net: ablate(net, "first", data=Noise(6)), r"No units of first are given, such as \[3, 17\]"),
        (lambda net: ablate(net, {"first": [1], "secnd": [1]}, data=Noise(6)), "did you mean second"),
        (lambda net: ablate(net, {"first": [1], "second": [6]}, data=Noise(6)), "second has 6 units, 0 to 5; unit 6"),
        (lambda net: ablate(net, {"first": [1], "aside": [0]}, data=Noise(6)), "not reached"),
    ],
)
def test_bad_input_is_a_sentence(net, call, sentence):
    with pytest.raises(ul.UnitlensError, match=sentence):
        call(net)


def test_a_later_layer_that_the_output_does_not_depend_on_is_refused():
    class Aside(Net):
        def forward(self, images):
            x = self.first(images)
            self.second(x)
            return self.head(x.mean((2, 3)))

    with pytest.raises(ul.UnitlensError, match="does not depend on what second returns"):
        ablate(as_classifier(Aside()), {"first": [1], "second": [1]}, data=Noise(6))


def test_a_layer_without_a_grid_is_ablated_too(net):
    effects = importance(net, "head", Noise(20), measures=["logit"])
    assert effects.effect("logit").shape == (3, 3)
    set_of_two = ablate(net, {"second": [1], "head": [0]}, data=Noise(20), draws=2)
    assert set_of_two.units == (LayerUnit("second", 1), LayerUnit("head", 0))
