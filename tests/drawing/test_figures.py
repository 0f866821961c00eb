import itertools
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from unitlens.drawing.figures import category_colours, concept_bars, concept_counts, strip_figure
from unitlens.drawing.strips import draw_strip

KNOWN = ["scene", "object", "part", "material", "texture", "color"]


def units(*rows):
    return pd.DataFrame(rows, columns=["category", "concept", "detector", "above_min_iou"])


TABLE = units(
    ("object", "tree", True, True),
    ("object", "tree", True, True),
    ("object", "car", True, True),
    ("object", "sky", False, True),
    ("color", "color/red", True, True),
    ("color", "color/red", False, True),
    ("object", "road", False, False),
    (None, None, False, False),
)


def luminance(colour):
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def test_known_categories_keep_colour_and_order_beside_others():
    everyone = category_colours(["color", "zebra", "object", *KNOWN, "alpha"])
    assert list(everyone) == [*KNOWN, "alpha", "zebra"]
    assert category_colours(["object"])["object"] == everyone["object"]
    assert everyone["alpha"] == everyone["zebra"]  # none is left but grey
    assert category_colours(["stuff", "thing"])["stuff"] != category_colours(["stuff", "thing"])["thing"]


def test_every_colour_contrasts_with_its_page():
    for colour in category_colours([*KNOWN, "one more"]).values():
        assert 1.05 / (luminance(colour.light) + 0.05) >= 3
        assert (luminance(colour.dark) + 0.05) / (luminance("#17181b") + 0.05) >= 3


@pytest.mark.parametrize(
    "sees",
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        # no red, no green, no blue cones: Machado, Oliveira and Fernandes (2009), severity 1
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ],
    ids=["everyone", "protanopia", "deuteranopia", "tritanopia"],
)
@pytest.mark.parametrize("shade", ["light", "dark"])
def test_colours_stay_apart_for_the_colour_blind(sees, shade):
    def lab(colour):
        value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
        to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        x, y, z = np.cbrt(to_xyz @ np.clip(np.array(sees) @ linear, 0, 1) / [0.9505, 1, 1.089])
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    shades = [lab(getattr(colour, shade)) for colour in category_colours(KNOWN).values()]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(shades, 2)) > 15


def test_counts_are_by_category_and_fall_within_it():
    assert concept_counts(TABLE) == [
        ("object", "tree", 2, 0),
        ("object", "car", 1, 0),
        ("object", "sky", 0, 1),
        ("color", "color/red", 1, 1),
    ]
    assert concept_counts(TABLE.iloc[:0]) == []


def test_bars_show_detectors_and_others_and_the_legend_counts_unique_concepts():
    figure = concept_bars(TABLE, title="a $title$")
    axes = figure.axes[0]
    full, pale = axes.containers
    assert [bar.get_height() for bar in full] == [2, 1, 0, 1]
    assert [bar.get_height() for bar in pale] == [0, 0, 1, 1]
    assert [bar.get_y() for bar in pale] == [2, 1, 0, 1]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["tree", "car", "sky", "color/red"]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["object: 2 concepts, 3 units", "color: 1 concept, 1 unit"]
    assert full[0].get_facecolor() != full[3].get_facecolor()


def test_a_chart_without_concepts_says_so():
    axes = concept_bars(TABLE.iloc[:0]).axes[0]
    assert axes.texts[0].get_text() == "no unit has a concept above the least IoU"


def test_a_dollar_in_a_name_is_not_a_formula():
    figure = concept_bars(units(("object", "a $x_", True, True)), title="$\\nonsense$")
    assert figure._repr_png_().startswith(b"\x89PNG")


def strip(tiles):
    return draw_strip(np.full((tiles, 20, 20, 3), 90, np.uint8), np.ones((tiles, 4, 4), bool), size=32)


def test_a_strip_is_shown_under_the_units_concept():
    row = pd.Series({"layer": "layer4[1]", "unit": 17, "concept": "$tree", "iou": 0.3123})
    figure = strip_figure(strip(5), row)
    assert figure.get_suptitle() == "layer4[1] unit 17: $tree, IoU 0.312"
    (image,) = figure.axes[0].images
    assert image.get_array().shape == (32, 160, 3)
    assert figure._repr_jpeg_().startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    ("low", "high", "end"), [(0.29, 0.331, " (0.29 to 0.33)"), (math.nan, math.nan, ""), (None, None, "")]
)
def test_the_title_has_the_interval_where_it_is_known(low, high, end):
    row = pd.Series({"layer": "fc", "unit": 3, "concept": "red", "iou": 0.5, "iou_low": low, "iou_high": high})
    assert strip_figure(strip(1), row).get_suptitle() == f"fc unit 3: red, IoU 0.500{end}"


@pytest.mark.parametrize("nothing", [None, math.nan])
def test_a_unit_without_a_concept_says_so(nothing):
    row = pd.Series({"layer": "fc", "unit": 3, "concept": nothing, "iou": math.nan})
    assert strip_figure(strip(2), row).get_suptitle() == "fc unit 3: no concept"


def test_figures_leave_no_trace_in_pyplot_or_the_settings():
    code = (
        "import matplotlib; before = dict(matplotlib.rcParams)\n"
        "import pandas as pd; from unitlens.drawing.figures import concept_bars\n"
        "table = pd.DataFrame({'category': ['object'], 'concept': ['a'], 'detector': [1], 'above_min_iou': [1]})\n"
        "concept_bars(table)._repr_png_()\n"
        "assert dict(matplotlib.rcParams) == before\n"
        "import matplotlib.pyplot; assert matplotlib.pyplot.get_fignums() == []\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_figures_and_strips_is_light():
    code = (
        "import sys; import unitlens.drawing.figures, unitlens.drawing.strips\n"
        "assert not {'matplotlib', 'pandas', 'jinja2', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
