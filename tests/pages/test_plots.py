"""Figures of a saved run as files, and figures in axes of the user's."""

import itertools
import shutil

import matplotlib.style
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import unitlens as ul
from tests.made_up.effects import curve_of, sweep_of
from unitlens.drawing.effects import causal_figure
from unitlens.drawing.emergence import counts_by_layer, emergence_figure
from unitlens.drawing.figures import category_colours, style_colours
from unitlens.errors import UnitlensError
from unitlens.pages.plots import of_run
from unitlens.pages.plots.files import COLUMN, DPI, write_figures
from unitlens.pages.plots.of_run import UnitImages, figures_of, file_name
from unitlens.pages.writing import Contents


@pytest.fixture(scope="module")
def sweep():
    return sweep_of(24, ["beach", "ski slope", "$x_"])


@pytest.fixture(scope="module")
def effects_folder(sweep, tmp_path_factory):
    folder = tmp_path_factory.mktemp("effects") / "run"
    ul.report(folder, sweep, curve_of(sweep, "ski slope"))
    return folder


def test_every_kind_of_figure_of_a_run_is_written(shell, run_folder, tmp_path):
    run = shutil.copytree(run_folder, tmp_path / "run")
    said = shell("figures", run, "--format", "png", "--format", "svg", "--columns", "1")
    layers = [file_name(layer) for layer in ul.open_run(run).layers]
    names = ["emergence", *(f"{kind}-{layer}" for kind in ("concepts", "units") for layer in layers)]
    expected = {f"{name}.{ending}" for name in names for ending in ("png", "svg")}
    written = {path.name for path in (tmp_path / "run-figures").iterdir()}
    assert said.code == 0
    assert written == expected
    assert {line.rpartition("/")[2] for line in said.out.splitlines()} == expected
    for name in written:
        if name.endswith(".png"):
            with Image.open(tmp_path / "run-figures" / name) as image:
                assert abs(image.width - COLUMN * DPI) <= 1
        else:
            assert "<svg" in (tmp_path / "run-figures" / name).read_text()


@pytest.mark.parametrize("width", [3.5, 7.2])
def test_units_that_do_not_fit_on_a_page_are_on_further_figures(dissection, width, monkeypatch):
    monkeypatch.setattr(of_run, "PAGE", 1.5)
    contents = Contents(run=dissection[dissection.layers[0]].files())
    shown = UnitImages(units=3, width=width)
    pages = [one.draw() for one in figures_of(contents, shown) if one.name.startswith("units")]
    titles = [axes.get_title(loc="left").split(":")[0] for page in pages for axes in page.axes]
    assert len(pages) > 1
    assert len(set(titles)) == len(titles) == 3
    for page in pages:
        page.draw_without_rendering()
        boxes = [axes.get_tightbbox() for axes in page.axes]
        assert all(above.y0 >= below.y1 for above, below in itertools.pairwise(boxes))
        assert boxes[0].y1 <= page.bbox.y1
        assert page.get_figheight() <= 1.5


def test_nothing_is_overwritten_unless_that_is_said(shell, effects_folder, tmp_path):
    out = tmp_path / "figures"
    written = write_figures(effects_folder, out)
    assert {path.name for path in written} == {"effects-layer4.pdf", "curve-ski-slope.pdf"}
    before = {path: path.read_bytes() for path in written}
    said = shell("figures", effects_folder, "--out", out)
    assert said.code == 2
    assert "effects-layer4.pdf is there already" in said.err
    assert "--overwrite" in said.err
    assert shell("figures", effects_folder, "--out", out, "--overwrite").code == 0
    assert {path: path.read_bytes() for path in written} == before


def test_an_unknown_style_is_refused_with_the_nearest(shell, effects_folder, tmp_path):
    said = shell("figures", effects_folder, "--style", "ggplt")
    assert said.code == 2
    assert "--style ggplt" in said.err
    assert "did you mean ggplot?" in said.err
    with pytest.raises(UnitlensError, match=r"https://example\.org/a\.mplstyle"):  # nothing is fetched
        write_figures(effects_folder, tmp_path / "out", style="https://example.org/a.mplstyle")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_run_has_no_figures(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnitlensError, match="holds no run"):
        write_figures(tmp_path / "empty", tmp_path / "out")


def test_figures_are_drawn_in_axes_that_are_given(dissection, sweep):
    curve = curve_of(sweep, "ski slope")
    figure = Figure(figsize=(8, 8))
    axes = figure.subplots(2, 3).ravel()
    layer = dissection[dissection.layers[0]]
    assert layer.show(0, ax=axes[0]) is figure
    assert ul.concept_bars(layer.table(), ax=axes[1]) is figure
    assert sweep.show(ax=axes[2]) is figure
    assert curve.show(ax=axes[3]) is figure
    assert causal_figure([3, 1], np.ones(2), np.zeros(2), np.full(2, 2.0), concept="door", ax=axes[4]) is figure
    assert all(one.has_data() for one in axes[:5])
    below = figure.subfigures(1, 1)
    assert emergence_figure(counts_by_layer(layer.table()), figure=below) is figure


def test_a_map_and_a_curve_hold_what_was_measured(sweep):
    curve = curve_of(sweep, "ski slope")
    shown = sweep.show().axes[0].images[0].get_array()
    assert sorted(map(tuple, shown.T.tolist())) == sorted(map(tuple, sweep.effect("logit").tolist()))
    lines = {line.get_label(): line.get_xydata() for line in curve.show().axes[0].get_lines()}
    most = curve.band("most")
    assert lines["most important units ablated"].tolist() == most[["k", "mean"]].to_numpy().tolist()
    assert lines["no ablation"][0][1] == curve.untouched()["balanced_accuracy"]


def test_colours_and_fonts_are_those_of_the_style(dissection):
    table = dissection[dissection.layers[0]].table()
    ours = {name: colour.light for name, colour in category_colours(["object", "color"]).items()}
    assert style_colours(["color", "object"]) == ours
    plain = ul.concept_bars(table)
    with matplotlib.style.context("ggplot"):
        assert style_colours(["color", "object"])["object"] == "#E24A33"
        styled = ul.concept_bars(table)
        assert styled.axes[0].get_facecolor() != plain.axes[0].get_facecolor()
    with matplotlib.style.context({"axes.facecolor": "black", "font.size": 20}):
        assert style_colours(["object"])["object"] == category_colours(["object"])["object"].dark
        large = ul.concept_bars(table).axes[0].get_xticklabels()[0].get_fontsize()
    assert large == 2 * plain.axes[0].get_xticklabels()[0].get_fontsize()


@pytest.mark.parametrize("images", [0, -1])
def test_no_figure_shows_fewer_than_one_image(dissection, images):
    with pytest.raises(UnitlensError, match=f"images is {images}"):
        dissection["0"].show(1, images=images)
