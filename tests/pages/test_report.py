import html
import io
import json
import math
import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from tests.made_up.runs import made_up_run
from unitlens.dissection.settings import Settings
from unitlens.drawing import strips
from unitlens.labels.result import Labels, labels_table
from unitlens.pages.dissection import render_dissection
from unitlens.pages.formats import number, percent, rows_of
from unitlens.pages.units import concepts
from unitlens.pages.units.concepts import concept_shares
from unitlens.pages.units.places import concept_id, unit_id
from unitlens.pages.units.ranked import VERDICTS, ranked_units

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&{{ 7 * 7 }}</style>-->"


class Page(HTMLParser):
    """The elements of a page, and its text without style and script."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.inside = [], [], []
        self.source = text
        self.feed(text)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = [tag] if tag in ("script", "style") else []

    def handle_endtag(self, tag):
        self.inside = []

    def handle_data(self, data):
        if not self.inside:
            self.words.append(data)

    def all(self, tag, **wanted):
        return [own for name, own in self.elements if name == tag and wanted.items() <= own.items()]

    def cards(self):
        return [own for own in self.all("li") if (own.get("class") or "").startswith("card ")]

    def columns(self):
        """What the script of the page knows of its units."""
        return json.loads(re.search(r'id="unit-data">(.*?)</script>', self.source)[1])

    def units(self):
        """The same by unit: its id on the page, and its numbers; None where there are none."""
        known = self.columns()
        concepts = [*known["concepts"], ["", "", ""]]
        numbers = ("unit", "detector", "iou", "chance")
        return {
            f"unit-{known['slugs'][layer]}-{known['unit'][place]}": {
                "layer": known["layers"][layer],
                "verdict": known["verdicts"][known["verdict"][place]],
                "concept": concepts[known["concept"][place]][0],
                **{name: known[name][place] for name in numbers},
            }
            for place, layer in enumerate(known["layer"])
        }


@pytest.fixture(scope="module")
def run():
    return made_up_run(96)


@pytest.fixture(scope="module")
def page(run):
    return Page(render_dissection(**run))


def test_the_page_of_several_layers_alone_draws_their_emergence():
    one, two = (render_dissection(**made_up_run(20, layers=layers)) for layers in (("layer4",), ("layer3", "layer4")))
    assert 'id="emergence"' not in one
    drawn = two[two.index('id="emergence"') :].split("</section>")[0]
    assert "layer3: " in drawn
    assert "nan" not in drawn


def test_the_header_says_what_was_dissected_and_how(run, page):
    units = run["units"]
    assert "What the 96 units of layer4 look for" in page.text
    assert "torchvision.models:resnet18 was shown 233 images from photos/street" in page.text
    assert "in which 22 concepts are marked" in page.text
    assert "highest 1 % of all positions on a 56 \N{MULTIPLICATION SIGN} 56 grid" in page.text
    detectors = units[units.detector]
    unique = len(set(zip(detectors.category, detectors.concept, strict=True)))
    assert f"detectors {len(detectors)}" in page.text
    assert f"unique concepts {unique}" in page.text
    assert f"silent {units.silent.sum()} " in page.text
    assert f"nonfinite {units.nonfinite.sum()} " in page.text
    assert run["info"]["warnings"][0] in page.text
    assert "street/broken.jpg the file ends too early" in page.text
    assert run["info"]["command"] in page.text


def test_every_setting_stands_in_the_page(run, page):
    for value in ("5c10" * 16, "0.485, 0.456, 0.406", "fdr", "2.9.0", "12.25", "bilinear"):
        assert value in page.text


def test_every_unit_has_a_card_with_its_numbers(run, page):
    known = page.units()
    assert [own["id"] for own in page.cards()] == list(known)
    assert len(known) == 96
    for row in run["units"].to_dict("records"):
        unit = known[unit_id(row["layer"], row["unit"])]
        assert unit["verdict"] == row["verdict"]
        if row["verdict"] in ("silent", "nonfinite"):
            assert (unit["concept"], unit["iou"]) == ("", None)
            continue
        assert unit["iou"] == pytest.approx(row["iou"], rel=1e-5)
        assert unit["chance"] == pytest.approx(row["chance_iou"], rel=1e-5)
        assert f"{row['iou']:.3f}" in page.text
        assert f"runner-up {row['second_concept']} {row['second_iou']:.3f}" in page.text
        assert f"threshold {number(row['threshold'])}" in page.text


def test_cards_come_detectors_first_by_falling_iou_and_those_without_a_concept_last(page):
    places = [(unit["detector"], unit["iou"] or -1) for unit in page.units().values()]
    assert places == sorted(places, reverse=True)
    assert places[0][0]
    assert places[-1] == (0, -1)


def test_chance_and_interval_are_drawn_beside_every_iou(run, page):
    labelled = run["units"].concept.notna().sum()
    scales = [own for own in page.all("span") if own.get("class") == "scale"]
    assert len(scales) == labelled
    for scale in scales:
        places = dict(part.split(":") for part in scale["style"].split(";"))
        assert set(places) == {"--v", "--l", "--h", "--n", "--o"}
        assert all(0 <= float(place) <= 100 for place in places.values())
        assert re.match(
            r"IoU 0\.\d{3}, 95 % interval 0\.\d{3} to 0\.\d{3}, chance 0\.\d{3}, held out 0", scale["aria-label"]
        )


def test_exemplars_have_alternative_text_and_stand_in_the_file_once(run, page):
    strips = [own for own in page.all("img") if own.get("src")]
    assert len(strips) == 96
    by_unit = run["exemplars"].groupby("unit").image.apply(list)
    for strip in strips:
        unit = int(re.search(r"unit (\d+) of layer4", strip["alt"])[1])
        assert strip["alt"].endswith(": " + ", ".join(by_unit[unit]))
        assert strip["src"].startswith("data:image/jpeg;base64,/9j/")


def test_the_bars_count_detectors_and_others(run, page):
    units = run["units"]
    bars = {own["data-concept"]: own for own in page.all("a") if own.get("class") == "bar"}
    detectors = Counter(map(concept_id, *zip(*units[units.detector][["category", "concept"]].values, strict=True)))
    labelled = units[units.above_min_iou & ~units.detector]
    others = Counter(map(concept_id, *zip(*labelled[["category", "concept"]].values, strict=True)))
    assert set(bars) == set(detectors) | set(others)
    for key, bar in bars.items():
        assert bar["style"] == f"--d:{detectors[key]};--o:{others[key]}"


def test_every_concept_of_a_unit_has_a_section_with_its_units_and_images(run, page):
    units = run["units"][run["units"].concept.notna()]
    sections = [own for own in page.all("details") if own.get("id")]
    matched = {concept_id(*key) for key in units[["category", "concept"]].itertuples(index=False)}
    assert {own["id"] for own in sections} - {"settings"} == matched
    assert "Images that excite them" in page.text
    tiles = [own for own in page.all("img") if own.get("data-from")]
    assert tiles
    assert all(0 <= int(tile["data-rank"]) < 8 for tile in tiles)


def test_links_lead_somewhere_and_ids_are_unique(page):
    ids = Counter(own["id"] for _, own in page.elements if own.get("id"))
    assert ids.most_common(1)[0][1] == 1
    targets = {own["href"] for own in page.all("a") if own.get("href")}
    assert targets
    assert {target[1:] for target in targets} <= set(ids)


def test_silent_and_nonfinite_units_are_listed(run, page):
    for kind, title in (("silent", "Silent units"), ("nonfinite", "Nonfinite units")):
        own = run["units"][run["units"][kind]]
        assert f"{title} {len(own)}" in page.text
        links = " ".join(str(unit) for unit in own.unit)
        assert links in page.text


def test_a_concept_too_large_for_a_mask_is_said_to_be(page):
    assert "road object, 36 % of all positions; IoU at most 0.028" in page.text


def test_shares_and_ceilings_by_hand():
    info = {
        "data": {
            "images": 10,
            "concepts": [
                {"category": "object", "name": "red", "images": 5, "positions": 800},
                {"category": "color", "name": "red", "images": 1, "positions": 8},
                {"category": "object", "name": "tree", "images": 2, "positions": 0},
            ],
        },
        "layers": {"layer4": {"grid": [7, 7]}},
    }
    settings = Settings(layers=("layer4",), grid=(10, 20), quantile=0.02)
    assert concept_shares(info, settings) == [
        ("object/red", "object", 0.4, 0.02 / 0.4, None),
        ("color/red", "color", 0.004, None, None),
        ("tree", "object", 0.0, None, None),
    ]
    info["layers"]["layer4"]["grid"] = None  # then an image is a position
    assert [share.share for share in concept_shares(info, settings)] == [0.5, 0.1, 0.2]


def test_units_stand_detectors_first_and_those_without_a_concept_last():
    run = made_up_run(4)
    units = run["units"]
    units["iou"], units["detector"] = [0.5, 0.1, 0.3, 0.2], [False, True, False, True]
    units.loc[0, "concept"] = units.loc[0, "category"] = None
    ranked = ranked_units(units)
    assert [units["unit"].tolist().index(unit) for unit in ranked["unit"]] == [3, 1, 2, 0]


def test_an_infinite_number_on_a_card_is_missing_whatever_the_type_of_its_column():
    run = made_up_run(3)
    run["units"]["threshold"] = [math.inf, -math.inf, 1.0]
    run["units"]["iou_high"] = pd.Series([math.inf, None, 0.5], dtype=object)
    ranked = rows_of(ranked_units(run["units"]).sort_values("unit"))
    assert [row["threshold"] for row in ranked] == [None, None, 1.0]
    assert [row["iou_high"] for row in ranked] == [None, None, 0.5]


def test_names_are_text_whatever_they_hold():
    run = made_up_run(12)
    units, exemplars, info = run["units"], run["exemplars"], run["info"]
    units["concept"] = units.concept.where(units.concept.isna(), EVIL)
    units["category"] = units.category.where(units.category.isna(), "object" + EVIL)
    units["second_concept"] = EVIL
    units["concept_set"] = json.dumps([EVIL, "tree" + EVIL])
    units["layer"] = exemplars["layer"] = EVIL
    exemplars["image"] = EVIL + exemplars.image
    info["layers"] = {EVIL: info["layers"]["layer4"]}
    info["settings"]["layers"] = [EVIL]
    info["network"] |= {"name": EVIL, "weights": EVIL, "classes": [EVIL]}
    info["command"] = info["data"]["source"] = EVIL
    info["warnings"] = [EVIL]
    info["data"]["skipped"] = [{"image": EVIL, "reason": EVIL}]
    info["data"]["concepts"][0] |= {"name": EVIL, "category": EVIL}
    run["strips"] = {(EVIL, unit): strip for (_, unit), strip in run["strips"].items()}
    text = render_dissection(**run)
    page = Page(text)
    scripts = [own for name, own in page.elements if name == "script"]
    assert [own for own in scripts if own] == [{"type": "application/json", "id": "unit-data"}]
    assert len(scripts) == 6
    assert not [own for _, own in page.elements if any(name.startswith("on") for name in own)]
    assert len(page.all("style")) == 1
    assert "alert(1)</" not in text
    assert html.escape(EVIL, quote=False) in html.escape(page.text, quote=False)
    assert "49" not in page.text.split(EVIL)[1][:3]
    assert len(page.cards()) == 12
    assert page.columns()["layers"] == [EVIL]


def test_nothing_is_asked_of_the_network(run):
    text = render_dissection(**run)
    page = Page(text)
    for _, own in page.elements:
        for name in ("src", "href", "action", "srcset", "poster"):
            assert (own.get(name) or "#").startswith(("#", "data:image/"))
    assert "@import" not in text
    assert "url(" not in text
    assert "http://" not in text
    assert "https://" not in text
    (policy,) = [own["content"] for own in page.all("meta") if own.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert policy.count("'sha256-") == 5


def test_a_page_read_back_from_csv_is_the_same_page(run):
    def through_csv(table):
        return pd.read_csv(io.StringIO(table.to_csv(index=False)))

    again = run | {"units": through_csv(run["units"]), "exemplars": through_csv(run["exemplars"])}
    assert render_dissection(**again) == render_dissection(**run)


@pytest.mark.parametrize("lacking", ["missing", "empty"])
def test_without_evidence_the_page_does_not_speak_of_chance(lacking):
    run = made_up_run(40, evidence=False)
    if lacking == "empty":
        for name in ("iou_low", "iou_high", "heldout_iou", "chance_iou", "q_value", "concept_set"):
            run["units"][name] = np.nan
        run["units"]["verdict"] = np.where(run["units"].above_min_iou, "detector", "weak")
        run["units"]["activated_pixels"] = run["units"].activated_pixels.astype("Int64")
    page = Page(render_dissection(**run))
    assert "chance was not tested" in page.text
    assert {unit["verdict"] for unit in page.units().values()} == {"above", "below", "silent", "nonfinite"}
    assert not [own for own in page.all("i") if own.get("class") in ("w", "c", "o")]
    assert not page.all("option", value="q")


def test_without_exemplars_or_strips_the_cards_still_stand():
    run = made_up_run(10)
    bare = run | {"exemplars": pd.DataFrame(), "strips": {}}
    page = Page(render_dissection(**bare))
    assert len(page.cards()) == 10
    assert not page.all("img")
    assert (
        len(Page(render_dissection(**run | {"strips": {}})).all("ol", **{"class": "names"})) == 11
    )  # one is the blank
    some = dict(list(run["strips"].items())[:3])
    assert len([own for own in Page(render_dissection(**run | {"strips": some})).all("img") if own.get("src")]) == 3


def test_a_run_without_units_concepts_or_detectors_has_a_page():
    run = made_up_run(30)
    run["units"][["detector", "above_min_iou"]] = False
    assert "No unit matches any concept with an IoU above 0.04." in Page(render_dissection(**run)).text
    run["units"][["concept", "category", "iou"]] = None
    run["info"]["data"]["concepts"] = []
    assert "0 concepts are marked" in Page(render_dissection(**run)).text
    none = run | {"units": run["units"].iloc[:0], "strips": {}, "exemplars": pd.DataFrame()}
    none["info"]["layers"] = {}
    assert "The run has no units." in Page(render_dissection(**none)).text


def test_optional_parts_of_run_json_may_be_none():
    run = made_up_run(3)
    run["info"] |= {"command": None, "warnings": []}
    run["info"]["network"] |= {"weights": None, "classes": None}
    run["info"]["layers"]["layer4"]["grid"] = None
    page = Page(render_dissection(**run))
    assert "The layer has no grid and is evaluated by image." in page.text
    assert "weights as given" in page.text


def test_several_layers_are_compared_and_distinguished():
    layers = ("layer2", "layer3[1].conv", "lstm:0")
    run = made_up_run(20, layers)
    page = Page(render_dissection(**run))
    assert "What 60 units of 3 layers look for" in page.text
    for layer in layers:
        own = run["units"][run["units"].layer == layer]
        assert f"{layer} 20 {own.detector.sum()} " in page.text
    assert page.all("select", id="layer")
    assert len({card["id"] for card in page.cards()}) == 60


def test_links_to_units_are_one_to_one_and_need_no_escaping():
    layers = ["layer4", "layer4[0]", "layer4:0", "layer4.0", "a b", "a~20b", "a%20b", "a_b", "ü", "<&'\">", "x-1"]
    ids = {unit_id(layer, unit) for layer in layers for unit in (0, 1, 11)}
    assert len(ids) == 3 * len(layers)
    assert all(re.fullmatch(r"[\w.~-]+", own, re.ASCII) for own in ids)
    assert unit_id("layer4", 17) == "unit-layer4-17"
    assert concept_id("a/b", "c") != concept_id("a", "b/c")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (3.0, "3"), (12345.0, "12,345"), (0.12345, "0.123"), (12345.6, "12300"), (1e-9, "1e-09")],
)
def test_numbers_are_short_and_whole_ones_full(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"), [(None, "-"), (1.0, "100 %"), (0.3567, "36 %"), (0.0, "0 %"), (0.005, "0.5 %")]
)
def test_percentages(share, text):
    assert percent(share).replace("\N{NO-BREAK SPACE}", " ") == text


def test_every_verdict_is_explained(page):
    for name in {unit["verdict"] for unit in page.units().values()}:
        assert VERDICTS[name] in page.text


def test_of_thousands_of_units_those_worth_a_look_have_cards_and_images_and_all_their_numbers(run, monkeypatch):
    monkeypatch.setattr(strips, "ALL_DRAWN", 90)
    monkeypatch.setattr(strips, "FEW_DRAWN", 20)
    monkeypatch.setattr(concepts, "LISTED", 3)
    page = Page(render_dissection(**run))
    known, columns = page.units(), page.columns()
    assert len(known) == 96
    assert [own["id"] for own in page.cards()] == list(known)[:20]
    assert all(unit["detector"] for unit in list(known.values())[:20])
    assert len([own for own in page.all("img") if own.get("src")]) == 20
    assert "Of the 96 units, 20 are shown with images: detectors first" in page.text
    assert len(columns["peaks"]) == 96 - 20
    unit, places = columns["unit"][50], columns["exemplars"][50]
    exemplars = run["exemplars"][run["exemplars"].unit == unit]
    assert [columns["images"][place] for place in places] == exemplars.image.tolist()
    assert columns["peaks"]["50"] == exemplars.value.map(number).tolist()
    links = Counter(own["href"] for own in page.all("a") if "?concept=" in own.get("href", ""))
    many = run["units"][["category", "concept", "detector"]].value_counts()
    assert sum(links.values()) == (many > 3).sum()  # the first ones are listed, and a link leads to all


@pytest.mark.parametrize("full", [96, 20])
def test_labels_are_searched_of_units_with_a_card_in_the_page_and_without(run, monkeypatch, full):
    monkeypatch.setattr(strips, "ALL_DRAWN", full)
    monkeypatch.setattr(strips, "FEW_DRAWN", full)
    rows = [
        {"layer": "layer4", "unit": unit, "label": f"word {unit}", "verdict": "untested", "also": '["another"]'}
        for unit in range(96)
    ]
    page = Page(render_dissection(**run | {"labels": Labels(labels_table(rows, method="mine"))}))
    assert len(page.cards()) == full
    columns = page.columns()
    for place, unit in enumerate(columns["unit"]):
        assert {"another", f"word {unit}"} <= {columns["names"][name] for name in columns["said"][str(place)]}


def test_images_of_a_size_that_was_asked_for_are_those_of_every_unit(run, monkeypatch):
    monkeypatch.setattr(strips, "ALL_DRAWN", 90)
    monkeypatch.setattr(strips, "FEW_DRAWN", 20)
    info = run["info"] | {"settings": run["info"]["settings"] | {"exemplar_size": 64}}
    page = Page(render_dissection(**run | {"info": info}))
    assert len(page.cards()) == 20
    assert len(page.columns()["strips"]) == 96 - 20
    assert "are shown with images" not in page.text


@pytest.mark.slow
def test_two_thousand_units_stay_within_forty_megabytes():
    run = made_up_run(2000)
    run["exemplars"]["image"] = "a/rather/long/folder/name/" + run["exemplars"].image
    assert len({len(strip) for strip in run["strips"].values()}) > 10  # strips as different as real ones
    size = len(render_dissection(**run).encode())
    assert 20_000_000 < size < 40_000_000
