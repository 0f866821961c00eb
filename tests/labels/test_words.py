"""Words for units: planted units get theirs, others none; what is kept is enough; units are found by words."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from tests.worlds.planted import COLOURS, ColourWorld, colour_net
from unitlens.data.preparing import name_hash
from unitlens.dissection.exemplars.strongest import Variety
from unitlens.labels.by_words.lists import word_list
from unitlens.labels.by_words.naming import METHODS, held_out
from unitlens.labels.by_words.scores import above_others
from unitlens.labels.by_words.vectors import crop_vectors, first_exemplars, masked_crop

WORDS = [*COLOURS, "grey", "black"]


class OneColour(ColourWorld):
    """A square of one colour an image, on grey."""

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, index])
        grey = rng.integers(104, 152, (4, 4, 1), dtype=np.uint8)  # no two images alike
        image, labels = grey.repeat(8, 0).repeat(8, 1).repeat(3, 2), np.zeros((32, 32), np.int64)
        y, x = rng.integers(0, 22, 2)
        label = index % 4 + 1
        shades = list(COLOURS.values())[label - 1] + rng.integers(-24, 25, (10, 10, 3))
        image[y : y + 10, x : x + 10] = shades.clip(0, 255)
        labels[y : y + 10, x : x + 10] = label
        return ul.Example(image, {"color": [labels]}, f"square {index}")


class Palette(nn.Module):
    """How much of an image is near each colour that a word names."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.tensor([*COLOURS.values(), (128, 128, 128), (0, 0, 0)]) / 255)

    def encode_images(self, images):
        far = (images[:, None] - self.table[None, :, :, None, None]).square().sum(2)
        return torch.sqrt((far < 0.05).float().mean((2, 3)) + 1e-4)

    def encode_words(self, words):
        return torch.eye(len(WORDS))[[WORDS.index(word) for word in words]]


@pytest.fixture(scope="module")
def seen():
    """A network with a unit a colour and random ones, images, and what was found."""
    net, data = colour_net(), OneColour(80)
    run = ul.dissect(net, "relu", data, quantile=0.02, seed=1)
    return net, data, run


@pytest.fixture(scope="module")
def labels(seen):
    net, data, run = seen
    return ul.words(run, Palette(), WORDS, net=net, data=data)


@pytest.mark.parametrize("method", METHODS)
def test_planted_units_get_their_colours(labels, method):
    rows = labels[method].rows.set_index("unit")
    assert rows.loc[range(4), "label"].tolist() == list(COLOURS)
    assert (rows.loc[range(4), "verdict"] == "supported").all()
    assert (rows.loc[range(4), "heldout_score"] > rows.loc[range(4), "chance_score"]).all()


def test_a_word_that_is_a_concept_has_its_iou(seen, labels):
    _, _, run = seen
    rows = labels["crops"].rows
    assert rows.loc[0, "iou"] == run.counts.iou[0, 0]
    assert rows[rows["label"].isin(["grey", "black"])]["iou"].isna().all()


def test_words_predict_the_peaks_of_planted_units_on_odd_folds(seen, labels):
    net, data, run = seen
    rows = labels["correlation"].rows.set_index("unit")
    with ul.activations(run, net, data) as stored:
        peaks, odd = stored.layers["relu"].peaks.read(range(80)), stored.folds % 2 == 1
        there = np.array([int(name.split()[1]) % 4 == 0 for name in stored.record.names])
    assert rows.loc[0, "label"] == "red"
    assert rows.loc[0, "simulation_low"] <= rows.loc[0, "simulation"] <= rows.loc[0, "simulation_high"]
    assert rows.loc[0, "simulation"] == pytest.approx(np.corrcoef(there[odd], peaks[odd, 0])[0, 1], abs=0.05)


def test_silent_units_have_no_word(seen, labels):
    silent = seen[2].table().query("silent")["unit"].tolist()
    assert not set(silent) & set(labels.rows["unit"])
    assert len(labels.rows) == len(METHODS) * (len(seen[2].table()) - len(silent))


def test_words_that_say_nothing_of_a_unit_are_not_supported(seen):
    net, data, run = seen

    def noise(images):
        seeds = (images.flatten(1).double() @ torch.linspace(1, 2, images[0].numel(), dtype=torch.float64)).tolist()
        return torch.stack(
            [torch.randn(16, generator=torch.Generator().manual_seed(int(seed * 1e6))) for seed in seeds]
        )

    random = torch.randn(20, 16, generator=torch.Generator().manual_seed(3))
    encoder = (noise, lambda words: random[: len(words)])
    found = ul.words(run, encoder, [f"word {n}" for n in range(20)], net=net, data=data)
    assert (found.rows["verdict"] == "supported").mean() <= 0.15


def test_words_are_tested_also_where_the_run_has_no_evidence(seen, labels):
    net, data, _ = seen
    run = ul.dissect(net, "relu", data, quantile=0.02, seed=1, evidence=False, exemplars=0)
    found = ul.words(run, Palette(), WORDS, net=net, data=data, methods=["correlation"])
    assert found.rows.equals(labels["correlation"].rows)
    of_means = ul.words(run, Palette(), WORDS, net=net, data=data, methods=["correlation"], pooling="mean")
    assert of_means.rows["label"].tolist()[:4] == list(COLOURS)
    assert not of_means.rows["score"].equals(found.rows["score"])
    one_crop = ul.words(seen[2], Palette(), WORDS, net=net, data=data, methods=["crops"], crops=1)
    assert not one_crop.rows["score"].equals(labels["crops"].rows["score"])


def test_crops_of_one_half_are_never_counted_with_the_other(seen):
    net, data, encoder = seen[0], OneColour(40), ul.encoder(Palette())
    halves = [[name for name in map("g{}".format, range(60)) if name_hash(name) % 32 % 2 == half] for half in (0, 1)]
    groups = [*halves[0][:4], *[halves[1][0]] * 36]
    run = ul.dissect(net, "relu", data, quantile=0.02, groups=groups)
    labels = ul.words(run, Palette(), WORDS, net=net, data=data, methods=["crops"])
    units, of_half = labels.rows["unit"].to_numpy(), []
    with ul.activations(run, net, data, images=True) as stored:
        layer = stored.layers["relu"]
        for half, fewer in ((0, 4), (1, 10)):
            images = first_exemplars(layer.peaks.read(range(40)), stored.folds % 2 == half, 10, Variety.of(stored))
            assert images.shape[1] == fewer
            crops = crop_vectors(stored, layer, images, run.table()["threshold"].to_numpy(), encoder)[units]
            of_half.append(above_others(crops.mean(1), encoder.encode_words(WORDS).numpy()))
    np.testing.assert_allclose(labels.rows["heldout_score"], held_out(np.stack(of_half)), atol=1e-6)


@pytest.mark.parametrize("half", [0, 1])
def test_words_are_untested_where_one_half_of_the_folds_has_no_image(seen, half):
    net, data = seen[0], OneColour(40)
    of_half = [name for name in map("g{}".format, range(20)) if name_hash(name) % 32 % 2 == half]
    run = ul.dissect(net, "relu", data, quantile=0.02, groups=[of_half[number // 14] for number in range(40)])
    labels = ul.words(run, Palette(), WORDS, net=net, data=data)
    measured = ul.measure_labels(run, labels, net, data, references=False)
    for rows in (labels.rows, measured.rows):
        assert set(rows["verdict"]) == {"untested"}
        assert rows[["heldout_score", "chance_score", "chance_sd", "p_value", "q_value"]].isna().all(axis=None)
        assert rows["score"].notna().all()
    assert {record.notes[0][:55] for record in labels.methods.values()} == {
        "The labels are untested: all 40 images are in one half "
    }


def test_what_a_run_keeps_is_enough_and_the_same(seen, labels, tmp_path):
    net, data, _ = seen
    kept = ul.dissect(net, "relu", data, quantile=0.02, seed=1, checkpoint=tmp_path / "kept")
    again = ul.words(kept, Palette(), WORDS)
    assert again.rows.equals(labels.rows)
    without = ul.dissect(net, "relu", data, quantile=0.02, exemplars=0, checkpoint=tmp_path / "without")
    with pytest.raises(ul.UnitlensError, match=r"kept no images.*net= and data="):
        ul.words(without, Palette(), WORDS)
    assert len(ul.words(without, Palette(), WORDS, net=net, data=data).rows) == len(labels.rows)


def test_units_are_found_by_words_and_by_images(seen, labels):
    _, data, run = seen
    found = run.search("green", labels.vectors, n=3)
    assert 1 in found["unit"].tolist()
    assert found.loc[0, ["layer", "concept"]].tolist() == ["relu", "green"]
    by_image = run.search(data[2].image, labels.vectors, encoder=Palette())
    assert by_image.loc[0, "concept"] == "blue"


def test_a_search_by_a_word_is_the_correlation_with_it(labels):
    rows = labels["correlation"].rows
    for word in ("red", "grey"):
        scores = labels.vectors.scores(labels.vectors.query_vector(word)[None])["relu"][:, 0]
        here = rows[rows["label"] == word]
        np.testing.assert_allclose(scores[here["unit"]], here["score"], atol=1e-5)


def test_vectors_are_saved_with_the_run_and_read_back(seen, labels, tmp_path):
    run = seen[2]
    ul.report(tmp_path / "run", run, labels)
    opened = ul.open_run(tmp_path / "run")
    assert opened.search("blue").equals(run.search("blue", labels.vectors))
    ul.report(tmp_path / "run", ul.given_labels(run, {0: "red"}))
    both = ul.open_labels(tmp_path / "run")
    assert set(both.methods) == {*METHODS, "given"}
    assert opened.search("blue").equals(
        both.vectors.of_layers(["relu"])
        .search("blue")
        .merge(run.table()[["layer", "unit", "concept", "iou"]], how="left", on=["layer", "unit"])
    )
    fewer = replace(both.vectors, units={"relu": both.vectors.units["relu"][:3]})
    with pytest.raises(ul.UnitlensError, match=r"3 units of relu, and the run 8"):
        ul.report(tmp_path / "run", replace(both, vectors=fewer), overwrite=True)
    (tmp_path / "run/labels.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ul.UnitlensError, match=r"labels.safetensors is damaged"):
        opened.search("blue")


def test_sentences_of_a_search(seen, labels):
    run = seen[2]
    with pytest.raises(ul.UnitlensError, match=r"Words have not named the units"):
        run.search("blue")
    with pytest.raises(ul.UnitlensError, match=r"placed among words by Palette.*encoder="):
        run.search("light blue", labels.vectors)
    with pytest.raises(ul.UnitlensError, match=r"bundled:scenes-words is another encoder"):
        run.search("sea", labels.vectors, encoder="bundled:scenes-words")
    with pytest.raises(ul.UnitlensError, match="n is 0"):
        run.search("blue", labels.vectors, n=0)


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"methods": ["soft_pmi"]}, r"soft_pmi.*did you mean soft_wpmi.*correlation"),
        ({"methods": "crops"}, "'crops'; it is a list"),
        ({"pooling": "sum"}, "'sum'; it is max or mean"),
        ({"exemplars": 60}, "more than half of the 80 images"),
        ({"crops": 0}, "crops= is 0"),
        ({"words": ["red"]}, "has 1 words"),
        ({"words": ["red", 3]}, "holds 3"),
        ({"words": "nuons"}, "'nuons'.*did you mean nouns"),
    ],
)
def test_sentences_of_words(seen, settings, facts):
    net, data, run = seen
    with pytest.raises(ul.UnitlensError, match=facts):
        ul.words(run, Palette(), **{"words": WORDS, "net": net, "data": data, **settings})


def test_lists_of_words(tmp_path):
    nouns, imagenet = word_list("nouns", []), word_list("imagenet", [])
    assert (len(nouns), len(imagenet)) == (3000, 1000)
    assert {"person", "tree", "dog"} < set(nouns)
    assert imagenet[0] == "tench"
    (tmp_path / "mine.txt").write_text("# a comment\nsea\n\n red car \nsea\n")
    assert word_list(tmp_path / "mine.txt", []) == ("sea", "red car")
    assert word_list("concepts", [ul.Concept("object", 1, "hay_bale"), ul.Concept("color", 1, "red")]) == (
        "hay bale",
        "red",
    )


def test_a_held_out_score_is_of_the_word_that_the_other_half_chose():
    halves = np.array([[[3.0, 1.0, 0.0]], [[0.5, 2.0, 1.0]]])
    assert held_out(halves).tolist() == [(1.0 + 0.5) / 2]


def test_exemplars_are_the_highest_peaks_among_the_images():
    peaks = np.array([[3, 0], [1, 5], [3, 1], [9, 2]], float)
    assert first_exemplars(peaks, np.array([True, True, True, False]), 2).tolist() == [[0, 2], [1, 2]]


def test_a_crop_is_what_the_mask_holds_and_grey_around_it():
    image = np.zeros((40, 40, 3), np.uint8)
    image[10:30, 20:40] = (200, 10, 10)
    maps = np.zeros((4, 4), np.float32)
    maps[1:3, 2:4] = 1
    crop = masked_crop(image, maps, 0.5)
    assert crop.shape == (96, 96, 3)
    assert crop[48, 48].tolist() == [200, 10, 10]
    assert {tuple(corner) for corner in crop[[0, 0, -1], [0, -1, 0]].tolist()} <= {(128, 128, 128), (200, 10, 10)}
    whole = masked_crop(image, np.ones((1, 1), np.float32), 0.5)
    assert (whole[24:70, 50:95] != 128).any()


def test_the_shell_names_units_by_words(shell, tmp_path):
    shell(
        "dissect", "bundled:scenes", "--data", "bundled:scenes", "--limit", "48", "--out", "run", "--keep-activations"
    )
    (tmp_path / "words.txt").write_text("sea\ntree\nred car\n")
    said = shell("label", "run", "--words", "words.txt", "--word-methods", "correlation", "--word-exemplars", "4")
    assert said.code == 0, said.err
    assert "correlation: " in said.out
    assert set(ul.open_labels(tmp_path / "run")["correlation"].rows["label"]) <= {"sea", "tree", "red car"}
    assert len(ul.open_run(tmp_path / "run").search("striped animal", n=5)) == 5
    assert "--word-crops is for words" in shell("label", "run", "--word-crops", "3").err
    assert "add --encoder" in shell("label", "run", "--encoder-weights", "none").err
    assert "'a,crops'" in shell("label", "run", "--words", "nouns", "--word-methods", "a,crops", "--overwrite").err
    assert "--words LIST" in shell("label", "run").err
    same = ("label", "run", "--words", "words.txt", "--word-methods", "correlation", "--word-exemplars")
    assert "labels by correlation with these settings already" in shell(*same, 4).err
    assert "labels by correlation already: replace" in shell(*same, 5).err
    assert "labels by correlation already" in shell("label", "run", "--words", "nouns").err
    assert "does not know the word 'group'" in shell("label", "run", "--words", "nouns", "--overwrite").err


def test_the_page_searches_by_the_words_of_the_list(seen, tmp_path):
    net, data, run = seen
    evil = "</script><b>red"
    encoder = Palette()
    known = dict(zip([evil, *WORDS[1:]], WORDS, strict=True))
    given = (encoder.encode_images, lambda words: encoder.encode_words([known[word] for word in words]))
    labels = ul.words(run, given, list(known), net=net, data=data, methods=["correlation"])
    page = ul.report(tmp_path / "run", run, labels).read_text()
    assert evil not in page
    held = json.loads(page.partition('id="word-data">')[2].partition("</script>")[0])
    assert held["words"] == list(known)
    found = run.search("green", labels.vectors, n=2)
    units, thousandths = (held["found"][held["words"].index("green")][first::2] for first in (0, 1))
    assert [held["cards"][unit] for unit in units[:2]] == [f"unit-relu-{unit}" for unit in found["unit"]]
    np.testing.assert_allclose(np.array(thousandths[:2]) / 1000, found["score"], atol=6e-4)
    plain = ul.report(tmp_path / "plain", run).read_text()
    assert "word-data" not in plain.partition("<script>")[0]
    assert 'id="words"' not in plain


class Sentences(Palette):
    """Reads "something red", and no other sentence."""

    def encode_words(self, words):
        if strange := [word for word in words if not word.startswith("something ")]:
            raise ul.UnitlensError(f"it does not know {strange[0]!r}")
        return super().encode_words([word.removeprefix("something ") for word in words])


def test_labels_that_are_no_concept_are_weighed_by_an_encoder(seen):
    net, data, run = seen
    colours = list(COLOURS)
    texts = {0: f"something {colours[0]}", 1: f"something {colours[0]}", 2: "joy", 3: colours[3]}
    given = ul.given_labels(run, texts, method="mine")
    options = {"net": net, "data": data, "references": False}
    measured = ul.measure_labels(run, given, encoder=Sentences(), **options)
    rows = measured.rows.set_index("unit")
    assert rows["verdict"].tolist() == ["supported", "chance", "untested", "supported"]
    assert rows["iou"].notna().tolist() == [False, False, False, True]
    with ul.activations(run, net, data, images=True) as stored:
        images = torch.from_numpy(np.stack(list(stored.thumbnails.read(range(80))))).permute(0, 3, 1, 2)
        peaks = stored.layers["relu"].peaks.read(range(80))
    encoder = ul.encoder(Sentences())
    near = (encoder.encode_images(images) @ encoder.encode_words([texts[0]])[0]).numpy()
    for unit in (0, 1):
        expected = np.corrcoef(near, peaks[:, unit])[0, 1]
        assert np.isclose(rows.loc[unit, "heldout_score"], expected, atol=1e-5)
        assert np.allclose(rows.loc[unit, ["score", "simulation"]].to_numpy(float), expected, atol=1e-5)
        assert rows.loc[unit, "simulation_low"] < expected < rows.loc[unit, "simulation_high"]
        assert abs(rows.loc[unit, "chance_score"]) < 0.2
    notes = " ".join(measured.methods["mine"].notes)
    assert "Sentences weighs 2 labels by mine" in notes
    assert "cannot read 1 label by mine: it does not know 'joy'" in notes
    assert measured.methods["mine"].settings["encoder"] == "Sentences"
    without = ul.measure_labels(run, given, **options)
    later = ul.measure_labels(run, without, encoder=Sentences(), **options)
    assert later.rows.equals(measured.rows)
    assert ul.measure_labels(run, measured, **options).rows.equals(measured.rows)


def test_labels_that_the_images_chose_are_weighed_by_an_encoder_where_they_are_held_out(seen):
    net, data, run = seen
    text = f"something {next(iter(COLOURS))}"
    options = {"net": net, "data": data, "references": False, "encoder": Sentences()}
    found = {
        images: ul.measure_labels(run, ul.given_labels(run, {0: text}, chosen_on=images), **options).rows.loc[0]
        for images in ("other", "even", "these")
    }
    assert found["other"]["heldout_score"] != found["even"]["heldout_score"]
    assert np.isnan(found["these"]["heldout_score"])
    assert found["these"]["verdict"] == "untested"


def test_an_encoder_that_can_read_no_label_is_refused(seen):
    net, data, run = seen
    given = ul.given_labels(run, {0: "joy", 1: "grief"})
    with pytest.raises(ul.UnitlensError, match=r"Sentences can read none of the labels.*know 'joy'"):
        ul.measure_labels(run, given, net, data, encoder=Sentences())
