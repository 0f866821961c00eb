"""The paragraph for the methods section says what the run did: every setting that changes a number is in it."""

from dataclasses import replace

import pytest

import unitlens as ul
from tests.made_up.runs import run_info
from tests.worlds.planted import ColourWorld, colour_net
from unitlens.dissection.sentences.methods import methods_bibtex, methods_text
from unitlens.dissection.settings import PRESETS, BasisRecord, Settings
from unitlens.pages.writing import render_page

CHANGES = {
    "quantile": (0.005, "0.005"),
    "min_iou": (0.07, "0.07"),
    "detector_rule": ("lower", "lower end of its IoU's interval"),
    "grid": ((12, 20), "12 x 20"),
    "threshold_on": ("raw", "layer's own maps"),
    "upsampling": ("zeros", "zeros beyond"),
    "union": ("all", "summed over all images"),
    "not_judged": ("none", "count as none of the concepts"),
    "tap": ("after_inplace", "in-place operations"),
    "layout": ("tokens", "tokens"),
    "basis": (BasisRecord("mine.npy", "ab" * 32, (7, 9)), "7 directions"),
    "unique": ("category", "best concept of every category"),
    "score": ("recall", "recall"),
    "evidence": (False, "chance was not tested"),
    "fdr": (0.1, "rate of 0.1."),
    "control": (("untrained:8",), "8 untrained copies"),
    "seed": (41, "seed 41"),
    "limit": (99, "limit 99"),
    "fast": (True, "faster way"),
    "preset": ("pnas2020", "preset pnas2020"),
    "within": ("weather", "strata of weather"),
    "groups": ("folder", "groups (folder)"),
}


def info_of(settings):
    info = run_info(["layer4"], 8)
    info["data"]["groups"] = None if settings.groups is None else {"count": 12, "largest": 30, "sha256": "a" * 64}
    return info


@pytest.mark.parametrize("name", CHANGES)
def test_every_setting_that_changes_numbers_changes_the_paragraph(name):
    value, words = CHANGES[name]
    plain = Settings(layers=("layer4",), grid=(56, 56))
    changed = replace(plain, **{name: value})
    assert words in methods_text(info_of(changed), changed)
    assert words not in methods_text(info_of(plain), plain)


def test_how_labels_move_follows_from_the_groups():
    plain = Settings(layers=("layer4",), grid=(56, 56))
    in_order, together = replace(plain, groups="sequence:9"), replace(plain, groups="folder")
    assert "in the order of names" in methods_text(info_of(in_order), in_order)
    assert "those of a group together" in methods_text(info_of(together), together)
    for words in ("in the order of names", "those of a group together"):
        assert words not in methods_text(info_of(plain), plain)


def test_no_setting_is_forgotten():
    # What changes no number of the table, or is in the layers' sentence.
    rest = {"layers", "levels", "exemplars", "exemplar_size", "batch_size", "strict"}
    assert set(Settings.__dataclass_fields__) == set(CHANGES) | rest


@pytest.mark.parametrize("preset", PRESETS)
def test_the_paragraph_is_true_to_each_preset(preset):
    d = ul.dissect(colour_net(), "pool", ColourWorld(40), preset=preset, quantile=0.05, grid=8, exemplars=0)
    text, settings = d.methods(), d.settings
    assert ("held-out IoU are above" in text) == (settings.rule == "heldout")
    assert ("zeros beyond" in text) == (settings.upsampling == "zeros")
    assert ("own maps" in text) == (settings.threshold_on == "raw")
    assert d.info["network"]["sha256"][:12] in text
    assert d.info["data"]["sha256"][:12] in text
    assert "40 images" in text
    for package, version in d.info["versions"].items():
        assert f"{package} {version}" in text
    page = render_page(d.files())
    assert "How this was measured" in page
    assert "A unit is called a detector where" in page


def test_what_is_cited_has_an_entry_and_nothing_else_has():
    plain = Settings(layers=("layer4",), grid=(56, 56), control=("rotated",))
    text, entries = methods_text(info_of(plain), plain), methods_bibtex(info_of(plain), plain)
    assert "Mezzadri, 2007" in text
    assert entries.count("@") == 6
    without = replace(plain, control=(), evidence=False)
    assert methods_bibtex(info_of(without), without).count("@") == 3
    assert "Benjamini" not in methods_text(info_of(without), without)
