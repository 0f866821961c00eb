"""Effects on any outcome: what full passes of single images give, by loops straight from the definitions."""

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.ablation.outcomes.networks import NAMES, Detector, Marked, Segmenter, Vectors, by_full_passes, network
from tests.worlds.small import Noise
from tests.worlds.small import classifier as small_classifier
from unitlens.ablation.outcomes.result import COLUMNS
from unitlens.stats.changes import mean_change, ratio_change

pytestmark = pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")


def naive_mean(net, data, units, number):
    """The mean of a number of each image."""
    return float(np.mean([number(example, output) for example, output in by_full_passes(net, data, units)]))


def assert_as_naive(effects, net, data, outcome, number):
    estimate = effects.estimate(outcome)
    assert estimate.before[0] == pytest.approx(naive_mean(net, data, (), number), abs=1e-6)
    for set_, after, effect in zip(effects.sets, estimate.after, estimate.effect, strict=True):
        assert after == pytest.approx(naive_mean(net, data, set_, number), rel=1e-6, abs=1e-6)
        assert effect == pytest.approx(after - estimate.before[0])


def test_areas_and_own_functions_of_a_segmenter_are_as_by_full_passes():
    net, data = network(Segmenter(), classes=NAMES), Marked(12)

    def highest(outputs):
        return {"out": outputs["out"].amax((1, 2, 3)), "aux": outputs["aux"].amax((1, 2, 3))}

    effects = ul.outcome_effects(net, "body", data, ["area:sky", "area:2", highest], batch_size=5)
    assert effects.info["replay"]["replays"]
    assert effects.outcomes == ("area:sky", "area:2", "out", "aux")
    for name, number in (("area:sky", 1), ("area:2", 2)):
        assert_as_naive(effects, net, data, name, lambda _, o, k=number: (o["out"].argmax(1) == k).double().mean())
    assert_as_naive(effects, net, data, "out", lambda _, o: o["out"].max())
    assert (effects.effect("aux") == 0).all()
    assert (effects.estimate("aux").p_value == 1).all()


def test_iou_is_the_ratio_of_sums_over_judged_positions():
    net, data = network(Segmenter(), classes=NAMES), Marked(40)
    effects = ul.outcome_effects(net, "body", data, "iou:Tree", batch_size=7)

    def naive(units):
        both = either = 0
        for example, output in by_full_passes(net, data, units):
            predicted = output["out"][0].argmax(0)
            for plane in example.planes.get("object", ()):
                for (row, column), label in np.ndenumerate(plane):
                    if label != 255:
                        marked, said = label == 2, int(predicted[row, column]) == 2
                        both, either = both + (marked and said), either + (marked or said)
        return both / either

    estimate = effects.estimate()
    assert estimate.before == pytest.approx(naive(()))
    assert estimate.after == pytest.approx([naive((unit,)) for unit in range(5)])
    assert (estimate.low[estimate.effect != 0] < estimate.effect[estimate.effect != 0]).all()


def test_boxes_of_a_detector_are_as_by_full_passes():
    net, data = network(Detector()), Marked(6)
    outcomes = ["best_box:2", "boxes", "boxes@0.6:1", lambda outputs: [len(one["boxes"]) for one in outputs]]
    effects = ul.outcome_effects(net, "body", data, outcomes, batch_size=4)
    assert "an item for each image" in effects.info["replay"]["reason"]

    def scores(output, label=None):
        return [float(s) for s, k in zip(output[0]["scores"], output[0]["labels"], strict=True) if label in (None, k)]

    assert_as_naive(effects, net, data, "best_box:2", lambda _, o: max(scores(o, 2), default=0))
    assert_as_naive(effects, net, data, "boxes", lambda _, o: sum(s > 0.5 for s in scores(o)))
    assert_as_naive(effects, net, data, "boxes@0.6:1", lambda _, o: sum(s > 0.6 for s in scores(o, 1)))
    assert_as_naive(effects, net, data, "<lambda>", lambda _, o: len(o[0]["boxes"]))


def test_distances_and_similarities_of_embeddings_are_as_by_full_passes(tmp_path):
    net, data = network(Vectors(4)), Marked(10)
    vectors = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    np.save(tmp_path / "text.npy", vectors.numpy())
    lines = [",".join([name, *map(str, row.tolist())]) for name, row in zip("abc", vectors, strict=True)]
    (tmp_path / "text.csv").write_text("\n".join(lines) + "\n")
    outcomes = [
        "distance",
        "distance:euclidean",
        f"similarity:{tmp_path / 'text.npy'}",
        f"zero_shot:{tmp_path}/text.csv",
    ]
    effects = ul.outcome_effects(net, "body", data, outcomes, batch_size=4)
    assert effects.outcomes[2:] == (*(f"similarity:{k}" for k in range(3)), *(f"zero_shot:{k}" for k in "abc"))
    untouched = {example.name: output for example, output in by_full_passes(net, data, ())}

    def cosine(one, other):
        return torch.nn.functional.cosine_similarity(one.double(), other.double())

    assert (effects.estimate("distance:cosine").before == 0).all()
    assert_as_naive(effects, net, data, "distance:cosine", lambda e, o: 1 - cosine(o, untouched[e.name]))
    assert_as_naive(effects, net, data, "distance:euclidean", lambda e, o: torch.dist(o, untouched[e.name]))
    assert_as_naive(effects, net, data, "similarity:1", lambda _, o: cosine(o, vectors[1:2]))
    assert_as_naive(effects, net, data, "zero_shot:c", lambda _, o: (100 * cosine(o, vectors)).softmax(0)[2])


def test_a_regression_has_one_output():
    net, data = network(Vectors(1)), Marked(10)
    effects = ul.outcome_effects(net, "body", data, "output")
    assert_as_naive(effects, net, data, "output", lambda _, output: output[0, 0])


class OfOneClass(Noise):
    """Only images of the second class."""

    def __len__(self):
        return self.images // 3

    def __getitem__(self, index):
        return super().__getitem__(3 * index + 1)


def test_the_output_of_a_class_is_the_logit_of_ablate():
    net, data = small_classifier(), OfOneClass(90)
    effects = ul.outcome_effects(net, "first", data, "output:b")
    logits = ul.importance(net, "first", data, measures=["logit"])
    assert effects.effect() == pytest.approx(logits.effect("logit")[:, 0], abs=1e-9)
    assert effects.estimate().before == pytest.approx(logits.estimate("logit").before[:, 0], abs=1e-9)
    of_set = ul.outcome_effects(net, "first", data, "output:b", units=[1, 4], draws=8)
    assert of_set.effect() == pytest.approx(
        ul.ablate(net, "first", [1, 4], data, measures=["logit"], draws=0).effect("logit")
    )


def test_a_set_stands_beside_drawn_ones_and_a_unit_beside_all_others():
    net, data = network(Vectors(2)), Marked(40)
    effects = ul.outcome_effects(net, "body", data, "output:0")
    table = effects.table()
    assert list(table.columns) == list(COLUMNS)
    effect = effects.effect()
    for unit, row in table.iterrows():
        others = np.delete(effect, unit)
        assert row["random_mean"] == pytest.approx(others.mean())
        assert row["random_p_value"] == (1 + (np.abs(others) >= abs(effect[unit])).sum()) / 5
    ranked = effects.most_important(n=2)
    assert list(ranked) == np.argsort(effects.effect(folds="even"), kind="stable")[:2].tolist()
    of_set = ul.outcome_effects(net, "body", data, "output:0", units=ranked, draws=7)
    assert (of_set.settings.ranked, of_set.settings.folds) == ("even", "odd")
    assert of_set.images < effects.images
    drawn = of_set.drawn["random"].change().effect[:, 0]
    (row,) = of_set.table().to_dict("records")
    assert row["random_mean"] == pytest.approx(drawn.mean())
    assert row["random_p_value"] == (1 + (np.abs(drawn) >= abs(row["effect"])).sum()) / 8
    assert "7 drawn at random and 7 matched in" in of_set.remarks()


def test_units_of_several_layers_and_what_is_kept():
    net, data = network(Segmenter(), classes=NAMES), Marked(10)
    effects = ul.outcome_effects(net, {"body.0": [1], "body": [3]}, data, "area:sky", draws=0)
    assert effects.table()["units"].tolist() == ["body.0/1;body/3"]
    kept = ul.outcome_effects(net, "body", data, "area:sky", units=[1], keep=True, draws=0)
    assert kept.sets == ((0, 2, 3, 4),)


def test_sums_do_not_depend_on_the_batches():
    net, data = network(Segmenter(), classes=NAMES), Marked(20)
    one, other = (ul.outcome_effects(net, "body", data, ["area:sky", "iou:sky"], batch_size=size) for size in (3, 20))
    np.testing.assert_allclose(one.tally.after, other.tally.after, atol=1e-9)
    halves = [one.tally.half(folds) for folds in ("even", "odd")]
    np.testing.assert_allclose(halves[0].after + halves[1].after, one.tally.after)
    assert (one.tally.images == other.tally.images).all()


def test_the_change_of_a_mean_is_that_of_a_ratio_to_images():
    rng = np.random.default_rng(0)
    before, after, images = rng.normal(size=(32, 1)), rng.normal(size=(32, 6)), rng.integers(0, 4, 32)
    before, after = before * (images > 0)[:, None], after * (images > 0)[:, None]
    change = ratio_change(before, images[:, None] * 1.0, after, images[:, None] * 1.0, images > 0)
    mean, half_width, p_value = mean_change(after - before, images)
    np.testing.assert_allclose(change.effect, mean)
    np.testing.assert_allclose(change.high - change.effect, half_width)
    np.testing.assert_allclose(change.p_value, p_value)
