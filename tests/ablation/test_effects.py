from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from tests.worlds.small import Net, Noise, classifier, expected, outputs_of
from unitlens.ablation.curves import ablation_curve, doubling
from unitlens.ablation.effects import ablate, importance
from unitlens.ablation.interventions import Intervention, intervening
from unitlens.ablation.outcomes.measures import OUTCOMES
from unitlens.ablation.result import Ranking
from unitlens.data.preparing import image_hash
from unitlens.data.reading import as_example, chosen_images

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def net():
    return classifier()


@pytest.mark.parametrize("layer", ["first", "second"])
def test_every_unit_alone_is_what_full_passes_give(net, layer):
    data = Noise()
    effects = importance(net, layer, data, measures=["recall", "logit"], batch_size=16)
    assert effects.info["replay"]["replays"]
    for unit in range(6):
        (recall, logits), (recall_after, logits_after) = expected(net, data, Intervention(layer, [unit]))
        found, summed = effects.estimate("recall"), effects.estimate("logit")
        assert found.before[unit].tolist() == recall
        assert found.after[unit] == pytest.approx(recall_after, abs=1e-12)
        assert summed.before[unit] == pytest.approx(logits, abs=1e-6)
        assert summed.effect[unit] == pytest.approx(np.subtract(logits_after, logits), abs=1e-6)


@pytest.mark.parametrize("batch_size", [7, 40])
def test_a_set_is_what_full_passes_give_in_any_batches(net, batch_size):
    data, units = Noise(), [0, 2, 5]
    effects = ablate(net, "first", units, data, measures=["recall", "logit"], batch_size=batch_size)
    (_, logits), (recall_after, logits_after) = expected(net, data, Intervention("first", units))
    assert effects.estimate("recall").after == pytest.approx(recall_after, abs=1e-12)
    assert effects.effect("logit") == pytest.approx(np.subtract(logits_after, logits), abs=1e-6)
    kept = ablate(net, "first", [1, 3, 4], data, keep=True, measures=["recall", "logit"])
    assert np.array_equal(kept.effect("recall"), effects.effect("recall"))


def test_units_may_be_scaled_set_to_means_or_changed_at_some_positions(net):
    data = Noise(20)
    where = torch.zeros(8, 8, dtype=torch.bool)
    where[:4] = True
    with torch.no_grad(), ul.record(net.model, "first") as recording:
        outputs_of(net, data)
        net.model(
            net.prepare(torch.stack([torch.from_numpy(data[i].image.transpose(2, 0, 1).copy()) for i in range(20)]))
        )
    means = recording["first"].double().mean((0, 2, 3))
    for options, intervention in (
        ({"scale": 0.5}, Intervention("first", [1, 2], scale=0.5)),
        ({"value": 2.0, "where": where}, Intervention("first", [1, 2], value=2.0, where=where)),
        ({"value": "mean"}, Intervention("first", [1, 2], value=means[[1, 2]].float())),
    ):
        effects = ablate(net, "first", [1, 2], data, measures=["logit"], batch_size=6, **options)
        (_, logits), (_, after) = expected(net, data, intervention)
        assert effects.effect("logit") == pytest.approx(np.subtract(after, logits), abs=1e-6), options


def test_resampling_takes_other_images_whatever_the_batches(net):
    one, other = (
        importance(net, "second", Noise(30), value="resample", measures=["logit"], batch_size=size) for size in (4, 30)
    )
    assert one.effect("logit") == pytest.approx(other.effect("logit"), abs=1e-6)
    assert (one.effect("logit") != 0).any()
    with pytest.raises(ul.UnitlensError, match="takes activations from other images, of which there are none"):
        importance(net, "second", Noise(1), value="resample")


def test_scaling_by_one_changes_nothing(net):
    effects = importance(net, "second", Noise(12), scale=1.0, measures=["recall", "precision", "logit", "margin"])
    for measure in effects.settings.measures:
        found = effects.effect(measure)
        assert (found[~np.isnan(found)] == 0).all()


def test_permuting_units_permutes_effects():
    order = [3, 0, 5, 1, 4, 2]
    straight = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    other = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    with torch.no_grad():
        other[0].weight.copy_(straight[0].weight[order])
        other[0].bias.copy_(straight[0].bias[order])
        other[4].weight.copy_(straight[4].weight[:, order])
        other[4].bias.copy_(straight[4].bias)
    one, two = (
        importance(
            ul.classifier(m.eval(), image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3), "1", Noise(20), measures=["logit"]
        )
        for m in (straight, other)
    )
    assert one.effect("logit")[order] == pytest.approx(two.effect("logit"), abs=1e-6)


def test_a_ranking_of_even_folds_is_measured_on_odd_ones_and_another_is_marked(net):
    effects = importance(net, "second", Noise(60))
    ranked = effects.most_important("b", 2)
    assert isinstance(ranked, Ranking)
    assert ranked.folds == "even"
    assert set(effects.most_important("b", 6)) == set(range(6))
    assert effects.most_important("b")[::-1] == tuple(effects.most_important("b", least=True))
    clean = ablate(net, "second", ranked, Noise(60))
    assert clean.settings.folds == "odd"
    assert "ranked on the even folds, measured on the odd" in repr(clean)
    both = ablate(net, "second", [*ranked], Noise(60))
    alone = [effects.measured.counted(folds).images.sum() for folds in ("even", "odd", "all")]
    assert clean.table().query("`class` == '*'")["images"].tolist() == [alone[1]]
    assert both.table().query("`class` == '*'")["images"].tolist() == [alone[2]]
    marked = ablate(net, "second", effects.most_important("b", 2, folds="all"), Noise(60))
    assert "measured on the images that ranked it: top-ranked units look better, as they were selected" in repr(marked)


def test_an_estimate_is_computed_once_and_cannot_be_changed(net):
    effects = importance(net, "second", Noise(60))
    assert effects.estimate("recall") is effects.estimate("recall")
    assert effects.estimate("recall", folds="even") is not effects.estimate("recall")
    with pytest.raises(ValueError, match="read-only"):
        effects.effect("recall")[0] = 0


def test_ranking_follows_the_measure_and_then_the_logit(net):
    effects = importance(net, "second", Noise(60))
    ranked = effects.most_important("a", folds="even")
    keys = np.stack([effects.effect(name, folds="even")[:, 0] for name in ("balanced_accuracy", "logit")], 1)
    assert [tuple(keys[unit]) for unit in ranked] == sorted(map(tuple, keys))


def test_images_without_class_count_for_nothing(net):
    with pytest.warns(ul.UnitlensWarning, match="3 of 30 images have no class and count for nothing"):
        effects = importance(net, "second", Noise(30, classless=(0, 5, 7)))
    assert effects.measured.images == 27


def test_training_mode_is_said_and_restored(net):
    model = Net().train()
    model.second[0].eval()
    trained = ul.classifier(model, image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, classes=["a", "b", "c"])
    flags = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.warns(ul.UnitlensWarning, match="in training mode; effects are measured in evaluation mode"):
        effects = importance(trained, "second", Noise(12))
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert np.array_equal(effects.effect("recall"), importance(net, "second", Noise(12)).effect("recall"))


def test_replay_that_disagrees_on_an_image_of_the_run_falls_back_and_says_by_how_much(net, monkeypatch):
    from unitlens.ablation.replay import replayed

    right, calls = replayed.sweep, []

    def off_once(cut, state, ablation, **options):
        for swept in right(cut, state, ablation, **options):
            calls.append(swept.units)
            yield swept._replace(outputs=swept.outputs + 1.0 if len(calls) == 1 else swept.outputs)

    monkeypatch.setattr(replayed, "sweep", off_once)
    with pytest.warns(ul.UnitlensWarning, match="takes a full pass of the network, as replaying.*is off by 1 on an im"):
        effects = importance(net, "second", Noise(20))
    assert not effects.info["replay"]["replays"]
    monkeypatch.undo()
    assert np.array_equal(effects.effect("recall"), importance(net, "second", Noise(20)).effect("recall"))


def test_a_network_that_decides_by_values_is_measured_by_full_passes():
    class Untraceable(Net):
        def forward(self, images):
            x = self.first(images)
            return super().forward(images) if x.sum() > -1 else x

    opaque = ul.classifier(Untraceable().eval(), image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, classes=["a", "b", "c"])
    with pytest.warns(ul.UnitlensWarning, match="takes a full pass of the network, as it looks at values inside"):
        found = ablate(opaque, "second", [1, 2], Noise(10), measures=["logit"])
    (_, logits), (_, after) = expected(opaque, Noise(10), Intervention("second", [1, 2]))
    assert found.effect("logit") == pytest.approx(np.subtract(after, logits), abs=1e-6)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda net: ablate(net, "second", [6], Noise(6)), "second has 6 units, 0 to 5; unit 6 is not among them"),
        (lambda net: ablate(net, "second", [1, 1], Noise(6)), "Unit 1 of second is given twice"),
        (lambda net: ablate(net, "second", [], Noise(6)), "No unit of second is given, so that nothing would change"),
        (lambda net: ablate(net, "second", [], Noise(6), keep=True), "nothing of the layer would be left"),
        (lambda net: ablate(net, "second", range(6), Noise(6), keep=True), "All 6 units of second would be kept"),
        (lambda net: ablate(net, "secnd", [0], Noise(6)), "did you mean second"),
        (lambda net: importance(net, "second", Noise(6), value="men"), r"value is 'men' \(did you mean mean\?\)"),
        (lambda net: importance(net, "second", Noise(6), value=1.0, scale=2), "value= and scale= are both given"),
        (
            lambda net: importance(net, "second", Noise(6), value=torch.zeros(5)),
            "a value of shape 5: give one number, 6",
        ),
        (lambda net: importance(net, "second", Noise(6), measures="recal"), "did you mean recall"),
        (lambda net: importance(net, "second", Noise(2, classless=(0, 1))), "None of the 2 images.*has a class"),
        (lambda net: importance(net, "second", Noise(6)).most_important("d"), "There is no class 'd'"),
        (lambda net: importance(net, "second", Noise(2)).most_important("c"), "The class c has no images"),
        (lambda net: ablation_curve(net, "second", "a", Noise(60), top=6), "6 units cannot be chosen from the 6 of se"),
    ],
)
def test_bad_input_is_a_sentence(net, call, sentence):
    with pytest.raises(ul.UnitlensError, match=sentence):
        call(net)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_whose_outputs_are_not_finite_is_refused(value):
    broken = classifier()
    with torch.no_grad():
        broken.model.head.weight[1] = value
    with pytest.raises(ul.UnitlensError, match="outputs are nan or infinite for 12 of 12 images"):
        importance(broken, "second", Noise(12))


def test_outputs_that_ablation_makes_nan_are_refused(net):
    class Ratio(Net):
        def forward(self, images):
            x = self.second(self.first(images)).mean((2, 3))
            return self.head(x / x)

    ratio = ul.classifier(Ratio().eval(), image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, classes=["a", "b", "c"])
    with pytest.raises(ul.UnitlensError, match="are nan or infinite"):
        ablate(ratio, "second", [0], Noise(12), draws=0)


def test_drawing_sets_leaves_the_random_state_of_torch(net):
    before = torch.get_rng_state()
    ablate(net, "second", [1, 2], Noise(12), draws=3, value="resample")
    importance(net, "second", Noise(12), value="mean")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_layer_that_the_output_does_not_depend_on_is_refused():
    class Aside(Net):
        def forward(self, images):
            self.second(self.first(images))
            return self.head(self.first(images).mean((2, 3)))

    loose = ul.classifier(Aside().eval(), image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3)
    with pytest.raises(ul.UnitlensError, match="does not depend on what second returns"):
        importance(loose, "second", Noise(6))


class EvenOnly(Noise):
    """Noise whose class c has images of even folds only."""

    def __getitem__(self, index):
        example = as_example(super().__getitem__(index))
        odd = image_hash(example) % 2
        return example._replace(class_="a" if odd and example.class_ == "c" else example.class_)


def test_a_curve_of_a_class_without_images_to_measure_on_is_refused(net):
    with pytest.raises(ul.UnitlensError, match="class c has no images of the odd folds"):
        ablation_curve(net, "second", "c", EvenOnly(60), top=2, draws=0)


def test_a_curve_ranks_on_even_folds_and_measures_on_odd(net):
    data = Noise(60)
    ranking = importance(net, "second", data)
    curve = ablation_curve(net, "second", "b", data, top=3, draws=4, ranking=ranking)
    table = curve.table()
    assert doubling(3) == (1, 2, 3)
    assert table.groupby("kind").size().to_dict() == {"kept": 3, "least": 3, "matched": 12, "most": 3, "random": 12}
    ranked = ranking.most_important("b")
    most = table.query("kind == 'most' and k == 3").iloc[0]
    alone = ablate(net, "second", ranked[:3], data)
    assert most["units"] == ";".join(map(str, ranked[:3]))
    odd = alone.estimate("balanced_accuracy").after[1]
    assert most["balanced_accuracy"] == pytest.approx(odd)
    kept = table.query("kind == 'kept' and k == 2").iloc[0]["units"].split(";")
    assert set(map(int, kept)) == set(range(6)) - set(ranked[:2])
    assert curve.untouched()["balanced_accuracy"] == pytest.approx(alone.estimate("balanced_accuracy").before[1])
    paper = curve.paper_table(few=1)
    assert paper["what"].tolist()[:4] == [
        "unchanged",
        "1 most important units ablated",
        "3 most important units ablated",
        "only these 3 kept, 3 ablated",
    ]
    assert paper["what"].iloc[-1] == "chance"
    band = curve.band()
    assert ((band["low"] <= band["mean"]) & (band["mean"] <= band["high"])).all()


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared networks and images are not here")
def test_resnet20_on_cifar10_every_unit_of_layer3_equals_full_passes():
    net = ul.load(
        f"{SHARED / 'models.py'}:resnet20", image_size=32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    data = ul.annotated(SHARED / "cifar10")
    effects = importance(net, "layer3", data, measures=["recall", "logit"], limit=48)
    assert effects.info["replay"]["replays"]
    examples = [data[index] for index in chosen_images(data, 48)]
    images = torch.stack([torch.from_numpy(example.image.transpose(2, 0, 1).copy()) for example in examples])
    truth = torch.tensor([effects.measured.outputs.output(example.class_) for example in examples])
    seen, shown = truth.unique().tolist(), net.prepare(images)
    recalls, means = (effects.estimate(measure).after for measure in ("recall", "logit"))
    for unit in range(64):
        with ul.evaluating(net.model), intervening(net, Intervention("layer3", [unit])):
            outputs = net.model(shown)
        right = outputs.argmax(1) == truth
        recall = [float(right[truth == k].double().mean()) for k in seen]
        assert recalls[unit] == pytest.approx(recall, abs=1e-12)
        logits = OUTCOMES["logit"](outputs, truth).double()
        after = [float(logits[truth == k].mean()) for k in seen]
        assert means[unit] == pytest.approx(after, abs=1e-4)
