import numpy as np
import pandas as pd
import pytest

from unitlens.drawing.emergence import counts_by_layer, emergence_figure, panels

TABLE = pd.DataFrame(
    [
        ("layer3", "object", 2, 1.0, 3.0, 5, 3.5, 6.5),
        ("layer3", "color", 1, 0.0, 2.0, 4, 2.0, 6.0),
        ("layer4", "object", 9, 7.0, 11.0, 30, 25.0, 35.0),
        ("layer4", "color", 0, np.nan, np.nan, 0, np.nan, np.nan),
    ],
    columns=[
        *("entry", "category", "unique_concepts", "unique_low", "unique_high"),
        *("detectors", "detectors_low", "detectors_high"),
    ],
)


def value_at(panel, y):
    """The number at a height of a chart, by its ticks."""
    places, texts = zip(*panel.ticks, strict=True)
    return np.interp(-y, -np.array(places), np.array(texts, float))


@pytest.mark.parametrize("number", [0, 1])
def test_points_and_whiskers_lie_at_their_numbers(number):
    panel, column, ends = panels(TABLE)[number], *(("unique_concepts", "unique"), ("detectors", "detectors"))[number]
    assert [line.category for line in panel.lines] == ["object", "color"]
    for line in panel.lines:
        rows = TABLE[TABLE["category"] == line.category]
        for point, (_, row) in zip(line.points, rows.iterrows(), strict=True):
            expected = row[[column, f"{ends}_low", f"{ends}_high"]].fillna(row[column])
            assert [value_at(panel, y) for y in (point.y, point.low, point.high)] == pytest.approx(list(expected))


def test_points_are_described_with_their_interval_where_it_is_known():
    objects, colors = panels(TABLE)[1].lines
    assert objects.points[1].description == "layer4: 30 detectors of category object (25.0 to 35.0)"
    assert colors.points[1].description == "layer4: 0 detectors of category color"


def test_the_figure_shows_what_the_page_shows():
    figure = emergence_figure(TABLE)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["unique concepts", "detectors"]
    for axes, panel in zip(figure.axes, panels(TABLE), strict=True):
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["layer3", "layer4"]
        assert [tick.get_text() for tick in axes.get_yticklabels()] == [text for _, text in panel.ticks]
        for drawn, line in zip(axes.get_lines(), panel.lines, strict=True):
            assert drawn.get_label() == line.category
            assert list(drawn.get_xydata().ravel()) == [end for point in line.points for end in (point.x, point.y)]
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_counts_by_layer_are_those_of_its_detectors():
    units = pd.DataFrame(
        [
            ("a", "object", "tree", True),
            ("a", "object", "tree", True),
            ("a", "color", "red", False),
            ("b", "color", "red", True),
            ("b", None, None, False),
        ],
        columns=["layer", "category", "concept", "detector"],
    )
    table = counts_by_layer(units).set_index(["entry", "category"])
    assert table["detectors"].to_dict() == {
        ("a", "object"): 2, ("a", "color"): 0, ("b", "object"): 0, ("b", "color"): 1
    }  # fmt: skip
    assert table["unique_concepts"].to_dict() == {
        ("a", "object"): 1, ("a", "color"): 0, ("b", "object"): 0, ("b", "color"): 1
    }  # fmt: skip
    assert table[["unique_low", "detectors_high"]].isna().all(axis=None)
