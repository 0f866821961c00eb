"""Images in pairs: what changes is what full passes say, and equal images change nothing."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import unitlens as ul
from tests.worlds.coloured import blocks
from unitlens.data.readers.paired import pair_images
from unitlens.errors import UnitlensError
from unitlens.explaining.pairs.image_changes import COLUMNS, CONCEPT_COLUMNS, MATTER_COLUMNS, PAIR_COLUMNS

BEFORE = [blocks(seed)[0] for seed in range(100, 116)]
AFTER = [blocks(seed)[0] for seed in range(200, 216)]


@pytest.fixture(scope="module")
def changes(net_file, dissection):
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    return ul.compare_images(net, dissection, BEFORE, AFTER, layer="0")


def said(net, image, units=()):
    """Activations of layer 0 and logits of an image, by a full pass with units ablated."""
    inputs = net.prepare(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])
    interventions = [ul.Intervention("0", list(units), 0.0)] if units else []
    with ul.intervening(net, *interventions), ul.record(net.model, ["0"]) as recorded, torch.no_grad():
        outputs = net.model.eval()(inputs)[0].double().numpy()
    return recorded["0"][0].double().numpy(), outputs


def test_equal_images_change_nothing(net, dissection):
    same = ul.compare_images(net, dissection, BEFORE, BEFORE, layer="0")
    table = same.table()
    for name in ("peak", "area"):
        assert (table[[f"{name}_change", f"{name}_low", f"{name}_high"]] == 0).all(axis=None)
        assert (table[f"{name}_q_value"] == 1).all()
    assert not same.changed.any()
    assert table["margin_change"].isna().all()
    assert len(same.matter()) == 0
    assert (same.concepts()["change"] == "").all()


def test_peaks_and_margins_are_those_of_full_passes(net, changes):
    assert changes.changed.sum() >= 3
    for pair, images in enumerate(zip(BEFORE, AFTER, strict=True)):
        lead, other = changes.predictions[:, pair]
        for side, image in enumerate(images):
            maps, outputs = said(net, image)
            assert changes.peaks[side, pair] == pytest.approx(maps.max((1, 2)), abs=1e-6)
            assert outputs.argmax() == (lead, other)[side]
            for unit in range(len(maps)):
                _, without = said(net, image, [unit])
                added = (outputs[lead] - outputs[other]) - (without[lead] - without[other])
                expected = added if lead != other else np.nan
                assert changes.margins[side, pair, unit] == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_what_units_add_sums_where_the_head_is_linear(changes):
    margins, pairs = changes.margins[:, changes.measured], np.flatnonzero(changes.measured)
    lead, other = changes.predictions[:, pairs]
    scores = changes.outputs[:, pairs]
    place = np.arange(len(pairs))
    gap = scores[:, place, lead] - scores[:, place, other]
    assert (margins[1] - margins[0]).sum(1) == pytest.approx(gap[1] - gap[0], abs=1e-4)


def test_tables_have_the_columns_that_are_documented(changes):
    assert list(changes.table().columns) == list(COLUMNS)
    assert list(changes.images().columns) == list(PAIR_COLUMNS)
    assert list(changes.concepts().columns) == list(CONCEPT_COLUMNS)
    assert list(changes.matter().columns) == list(MATTER_COLUMNS)
    assert len(changes.matter()) == 2
    assert (changes.table()["peak_low"] <= changes.table()["peak_change"]).all()


def test_an_interval_of_99_percent_is_wider(net, dissection, changes):
    wider = ul.compare_images(net, dissection, BEFORE, AFTER, layer="0", interval=0.99)
    widths = [one.peak_changes.high - one.peak_changes.low for one in (wider, changes)]
    assert (widths[0] >= widths[1]).all()
    assert (widths[0] > widths[1]).sum() >= 3
    assert (wider.peak_changes.mean == changes.peak_changes.mean).all()


def test_pairs_of_one_group_are_one_draw(net, dissection):
    groups = [f"film {pair // 8}" for pair in range(16)]
    with pytest.warns(ul.UnitlensWarning, match="2 of 32 folds|1 of 32 folds"):
        grouped = ul.compare_images(net, dissection, BEFORE, AFTER, layer="0", groups=groups)
    assert np.isnan(grouped.peak_changes.low).all()


def test_the_figure_shows_the_pairs(changes, net, dissection):
    assert len(changes.figure().subfigs) == 3
    assert len(ul.compare_images(net, dissection, BEFORE[0], BEFORE[0], layer="0").figure().subfigs) == 2


def test_the_figure_is_drawn_where_the_user_says(changes):
    page = Figure(figsize=(20, 6))
    left, right = page.subfigures(1, 2)
    assert changes.figure(figure=right) is page
    assert len(right.subfigs) == 3
    assert not left.subfigs


def test_files_of_two_folders_are_paired_by_their_names(tmp_path):
    for side, names in (("a", ("one.png", "two.png")), ("b", ("two.jpg", "one.jpg"))):
        (tmp_path / side).mkdir()
        for name in names:
            Image.fromarray(BEFORE[0]).save(tmp_path / side / name)
    data = pair_images(tmp_path / "a", tmp_path / "b")
    assert [data[i].name for i in range(4)] == ["before/one.png", "after/one.jpg", "before/two.png", "after/two.jpg"]
    assert data[2].group == data[3].group == "two.png"
    (tmp_path / "b" / "one.jpg").rename(tmp_path / "b" / "other.jpg")
    assert "one with other" in pair_images(tmp_path / "a", tmp_path / "b").note
    (tmp_path / "b" / "other.jpg").unlink()
    with pytest.raises(UnitlensError, match="2 images before and 1 after, and one is in one"):
        pair_images(tmp_path / "a", tmp_path / "b")


def test_pairs_keep_a_fourth_band_and_floats_as_they_were_given(tmp_path):
    four = np.random.default_rng(0).integers(0, 256, (6, 6, 4), dtype=np.uint8)
    for side in "ab":
        (tmp_path / side).mkdir()
        Image.fromarray(four, "RGBA").save(tmp_path / side / "one.png")
    of_files = pair_images(tmp_path / "a", tmp_path / "b")
    assert (of_files.encoded(1).image.pixels(4) == four).all()
    floats = np.linspace(0, 1, 36, dtype=np.float32).reshape(6, 6, 1)
    assert (pair_images([floats], [floats])[0].exact == floats).all()


def test_an_image_that_cannot_be_read_leaves_its_pair_out(net, dissection, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    images = [*BEFORE[:3], tmp_path / "bad.png"]
    with pytest.warns(ul.UnitlensWarning) as said:
        assert ul.compare_images(net, dissection, images, AFTER[:4], layer="0").pairs == 3
    assert any(str(one.message).startswith("1 of 4 pairs") for one in said)
    assert any("1 file was left out" in str(one.message) for one in said)
    with pytest.raises(UnitlensError, match=r"bad\.png"):
        ul.compare_images(net, dissection, images, AFTER[:4], layer="0", strict=True)


def test_bad_input(net, dissection):
    with pytest.raises(UnitlensError, match="3 images before and 2 after"):
        ul.compare_images(net, dissection, BEFORE[:3], AFTER[:2], layer="0")
    with pytest.raises(UnitlensError, match="groups"):
        ul.compare_images(net, dissection, BEFORE[:3], AFTER[:3], layer="0", groups=["a", "b"])
    with pytest.raises(UnitlensError, match="latents"):
        ul.compare_images(net, dissection, ul.latents((4, 1, 1), 3), AFTER[:3], layer="0")
    with pytest.raises(UnitlensError, match="Several layers"):
        ul.compare_images(net, dissection, BEFORE[:3], AFTER[:3])
    with pytest.raises(UnitlensError, match=r"0\.95 and 0\.99"):
        ul.compare_images(net, dissection, BEFORE, AFTER, layer="0", interval=0.5).table()
