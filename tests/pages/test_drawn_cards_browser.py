"""Of thousands of units, the page has numbers from which its script draws cards: the same as those in the page."""

import itertools
import json

import pytest

from tests.made_up.runs import made_up_run
from tests.pages.test_report_browser import browser, choose, reports, shown, visit, worded_run  # noqa: F401
from unitlens.drawing import strips
from unitlens.files import write_whole
from unitlens.labels.result import Labels, labels_table
from unitlens.pages.dissection import render_dissection
from unitlens.pages.units.places import unit_id

pytestmark = pytest.mark.slow


def told_run():
    """A run whose units have all that a card can show: labels, needed concepts, several that fit, a range."""
    run = worded_run()
    units = run["units"]
    units["needed_concepts"] = json.dumps(["sea", "boat"])
    units["needed_precision"] = 0.8125
    layer = units["layer"].iloc[0]
    rows = [
        {"layer": layer, "unit": unit, "label": "sea", "verdict": verdict, "score": 0.25, "also": json.dumps(["lake"])}
        for unit, verdict in zip(range(60), itertools.cycle(["supported", "chance", "no gain"]), strict=False)
    ]
    ranges = [{"layer": layer, "unit": 3, "label": "sky", "verdict": "untested", "range_low": 1.5, "share": 0.5}]
    methods = Labels(labels_table(rows, method="correlation")).joined(Labels(labels_table(ranges, method="ranges")))
    return {**run, "labels": methods}


CARDS = """cards => {
  const tidy = (text) => text.replace(/\\s+/g, " ").replace(/: /g, ":").replace(/; /g, ";").replace(/;$/, "").trim();
  const tree = (node) => node.nodeType === Node.TEXT_NODE ? tidy(node.data) : [
    node.tagName, [...node.attributes].map(({ name, value }) => [name, tidy(value)]).sort(),
    [...node.childNodes].map(tree).filter((part) => part !== ""),
  ];
  return cards.map((card) => { card.normalize(); return JSON.stringify(tree(card)); });
}"""
"""Each card as text: its elements with their attributes, and their texts."""


def found_by(page, *texts):
    """How many units the search finds, by what is typed; afterwards all are shown again."""
    found = {}
    for text in texts:
        page.locator("#search").fill(text)
        found[text] = len(shown(page))
    page.locator("#search").fill("")
    return found


def test_cards_that_the_script_draws_are_those_of_the_page(visit, reports, monkeypatch):  # noqa: F811
    run, path = told_run(), reports.folder / "drawn.html"
    page = visit("plain")
    write_whole(path, render_dissection(**run))
    page.goto(path.as_uri())
    written = page.eval_on_selector_all("#cards > li", CARDS)
    found = found_by(page, "lake", "sky", "boat", "=")
    assert found == {
        "lake": 60,
        "sky": 1,
        "boat": 60,
        "=": 0,
    }  # a label that fits too, one of a range, a needed concept
    monkeypatch.setattr(strips, "ALL_DRAWN", 50)
    monkeypatch.setattr(strips, "FEW_DRAWN", 0)
    run["info"]["settings"]["exemplar_size"] = 64  # with the images of all
    write_whole(path, render_dissection(**run))
    page.reload()
    drawn = page.eval_on_selector_all("#cards > li", CARDS)
    assert found_by(page, *found) == found
    assert len(drawn) == len(written) == 60
    for one, other in zip(drawn, written, strict=True):
        assert one == other


def test_units_that_the_page_holds_as_numbers_are_found_opened_and_passed(visit, reports, monkeypatch):  # noqa: F811
    monkeypatch.setattr(strips, "ALL_DRAWN", 100)
    monkeypatch.setattr(strips, "FEW_DRAWN", 12)
    run = made_up_run(150)
    path = reports.folder / "few.html"
    write_whole(path, render_dissection(**run))
    page = visit("plain")
    last = run["units"][run["units"].silent].unit.iloc[-1]
    page.goto(f"{path.as_uri()}#{unit_id('layer4', last)}")
    assert page.locator(".card.found").get_attribute("id") == unit_id("layer4", last)
    choose(page, sort="unit")
    page.locator("#all").press("Enter")
    assert [int(card["unit"]) for card in shown(page)] == list(range(150))
    page.locator("#search").fill(run["exemplars"].image[run["exemplars"].unit == 149].iloc[0])
    assert "149" in {card["unit"] for card in shown(page)}
    page.locator("#clear").click()
    choose(page, sort="worst")
    page.locator(".strip.bare").first.press("Enter")
    dialog = page.locator("dialog[open]")
    assert dialog.locator("figure").count() == 8
    assert dialog.locator("img:visible").count() == 0
    page.keyboard.press("ArrowRight")
    assert page.locator("#closer-place").inner_text() == "2 of 150"
    page.keyboard.press("Escape")
