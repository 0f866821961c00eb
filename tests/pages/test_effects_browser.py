from xml.etree import ElementTree

import pytest

from tests.made_up.effects import agreement_of, curve_of, dissection_of, saved_of, sweep_of
from tests.made_up.runs import made_up_run
from tests.pages.test_report_browser import EVIL, browser, visit  # noqa: F401
from unitlens.pages.dissection import render_dissection
from unitlens.pages.effects import effects_view, render_effects
from unitlens.pages.units.places import class_id, unit_id

pytestmark = pytest.mark.slow

NAMES = ["ski_slope", EVIL, "tree house"]


@pytest.fixture(scope="module")
def made():
    made = made_up_run(80)
    made["units"]["concept"] = made["units"].concept.replace("tree", EVIL)
    sweep = sweep_of(80, NAMES)
    saved, agreement = saved_of(sweep, curve_of(sweep, EVIL)), agreement_of(NAMES)
    return made, effects_view(saved, dissection_of(made), agreement), effects_view(saved, agreement=agreement)


@pytest.fixture(scope="module")
def reports(made, tmp_path_factory):
    """Pages by name, as `visit` of the report's own browser tests takes them."""
    run, view, bare = made
    folder = tmp_path_factory.mktemp("effects")
    (folder / "run.html").write_text(render_dissection(**run, effects=view), encoding="utf-8")
    (folder / "alone.html").write_text(render_effects(bare), encoding="utf-8")
    return {name: (folder / f"{name}.html", run["units"]) for name in ("run", "alone")}


def section(page, name):
    return page.locator(f"[id='{class_id(name)}']")


@pytest.mark.parametrize("name", ["run", "alone"])
def test_the_map_is_drawn_with_its_names(visit, made, name):  # noqa: F811
    page, view = visit(name), made[1]
    squares = page.locator(".heat").first.locator("rect")
    assert squares.count() == len(view.heat.cells)
    box = page.locator(".heat svg").first.bounding_box()
    assert box["height"] == 20 * len(NAMES)
    strongest = max(range(len(view.heat.cells)), key=lambda place: view.heat.cells[place].strength)
    size = squares.nth(strongest).bounding_box()
    assert min(size["width"], size["height"]) > 3
    paint = "square => { const own = getComputedStyle(square); return [own.fill, own.opacity] }"
    fill, opacity = squares.nth(strongest).evaluate(paint)
    assert fill not in ("none", "rgb(0, 0, 0)")
    assert float(opacity) == 1
    assert set(NAMES) <= set(page.locator(".heat").first.locator("li").all_inner_texts())


def test_a_square_and_a_point_lead_to_their_unit(visit, made):  # noqa: F811
    page, view = visit("run"), made[1]
    page.locator(".heat").first.locator("a:has(rect)").first.dispatch_event("click")
    page.wait_for_selector(f"[id='{view.heat.cells[0].target}'].found")
    assert page.locator(".served circle").count() == 80
    page.locator(".served a:has(circle)").nth(7).dispatch_event("click")
    page.wait_for_selector(f"[id='{unit_id('layer4', 7)}'].found")


def test_a_class_opens_with_the_images_of_its_units_and_leads_to_them(visit, made):  # noqa: F811
    page, view = visit("run"), made[1]
    own = section(page, "ski_slope")
    assert not own.locator(".tiles").is_visible()
    own.locator("summary").click()
    tiles = own.locator(".tiles li")
    assert tiles.count() == len(view.classes[0].uses) == 8
    page.wait_for_function(f"document.getElementById('{class_id('ski_slope')}').querySelector('img').naturalWidth > 0")
    assert own.locator("img:visible").count() == 24
    places = own.locator("img").evaluate_all(
        "tiles => tiles.slice(0, 3).map(tile => parseFloat(tile.style.objectPosition))"
    )
    assert places == pytest.approx([0, 100 / 7, 200 / 7], abs=1e-3)
    tiles.first.locator("a").click()
    page.wait_for_selector(f"[id='{view.classes[0].uses[0].id}'].found")


def test_a_unit_leads_to_the_class_it_serves(visit, made):  # noqa: F811
    page, one = visit("run"), made[1].units[0]
    page.evaluate(f"location.hash = '#{one.id}'")
    card = page.locator(f"[id='{one.id}']")
    assert one.uses[0].class_ in card.locator(".used").inner_text()
    card.locator(".used a").first.click()
    page.wait_for_function(f"document.getElementById('{one.uses[0].class_id}').open")
    page.locator("#search").fill("used for nothing")
    page.locator("#search").fill("ski_slope")
    serving = sum(any(use.class_ == "ski_slope" for use in unit.uses) for unit in made[1].units)
    assert page.locator("#cards > li").count() == serving


@pytest.mark.parametrize("name", ["run", "alone"])
def test_names_are_shown_and_not_run(visit, name):  # noqa: F811
    page = visit(name)
    section(page, EVIL).locator("summary").click()
    assert section(page, EVIL).locator(".name").inner_text() == EVIL
    assert page.locator(".curves figcaption").inner_text() == EVIL
    assert "taken over" not in page.evaluate("document.title.replace(/document.title = 'taken over'/g, '')")
    assert page.locator("img[src='x']").count() == 0


@pytest.mark.parametrize("name", ["run", "alone"])
def test_a_phone_shows_the_effects_without_scrolling_sideways(browser, reports, name):  # noqa: F811
    page = browser.new_page(viewport={"width": 380, "height": 800}, offline=True)
    page.goto(reports[name][0].as_uri())
    page.eval_on_selector_all("#effects details", "all => all.forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    page.close()


def test_maps_and_curves_are_saved_as_they_are_seen(visit):  # noqa: F811
    page = visit("alone")
    for figure in ("Effects of units on classes", f"Ablation curve of {EVIL}"):
        with page.expect_download() as download:
            page.get_by_label(f"Save {figure} as SVG", exact=True).press("Enter")
        root = ElementTree.fromstring(download.value.path().read_bytes())
        assert float(root.get("width")) > 300
        assert len(list(root.iter("{http://www.w3.org/2000/svg}text"))) > 3
        shapes = {element.tag.partition("}")[2] for element in root.iter()}
        assert shapes & {"polyline", "rect"}


def test_without_scripts_the_effects_are_there(visit):  # noqa: F811
    page = visit("run", java_script_enabled=False)
    section(page, "ski_slope").locator("summary").click()
    assert section(page, "ski_slope").locator(".tiles li").first.is_visible()
    assert page.locator(".heat rect").count() > 0
