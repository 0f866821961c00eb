"""What every page has, whatever it shows; one call writes each of them."""

import pytest

import unitlens as ul
from tests.made_up.effects import sweep_of
from tests.pages.test_report import Page
from tests.worlds.compared import three_runs
from tests.worlds.planted import InMemory
from unitlens.data.checking import check
from unitlens.pages.document import TEMPLATES

NAMES = ("Dissection", "UnitEffects", "Comparison", "Audit", "Check")


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """The page of each kind of result, by its name."""
    runs = three_runs()[:2]
    results = (runs[0], sweep_of(6, ["a", "b"]), ul.compare(*runs), ul.audit(runs[0]))
    results = (*results, check(InMemory([{"object": [[[1]]]}] * 3, [ul.Concept("object", 1, "cat")]), image_size=16))
    folder = tmp_path_factory.mktemp("pages")
    return {
        type(result).__name__: ul.report(folder / type(result).__name__, result).read_text(encoding="utf-8")
        for result in results
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_page_has_navigation_and_a_theme_button_and_loads_nothing(texts, name):
    page = Page(texts[name])
    ids = {attributes["id"] for _, attributes in page.elements if attributes.get("id")}
    links = [attributes["href"] for attributes in page.all("a") if "href" in attributes]
    assert {"theme", "content"} <= ids
    assert len([attributes for attributes in page.all("nav") if attributes.get("aria-label") == "Page"]) == 1
    assert {link[1:] for link in links} <= ids
    assert len(links) >= 3
    assert not [
        attributes for _, attributes in page.elements if "src" in attributes and "data:" not in attributes["src"]
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_page_has_the_same_styles_for_light_and_dark(texts, name):
    styles = (TEMPLATES / "base.css").read_text(encoding="utf-8")
    assert "color-scheme: light dark" in styles
    assert styles in texts[name]
