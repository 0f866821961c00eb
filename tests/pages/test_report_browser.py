import json
import re
import shutil
from functools import partial

import numpy as np
import pytest

from tests.made_up.runs import made_up_run
from unitlens.dissection.searching.unit_vectors import UnitVectors
from unitlens.files import write_whole
from unitlens.labels.result import Labels, labels_table
from unitlens.pages.dissection import render_dissection
from unitlens.pages.units.places import concept_id, unit_id

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
EVIL = "<script>document.title = 'taken over'</script><img src=x onerror=\"document.title = 'taken over'\">"

# A browser takes a second or two for every page: `make test-slow` opens them.
pytestmark = pytest.mark.slow

if CHROMIUM is None:
    pytest.skip("no Chromium is installed (on Debian: apt install chromium)", allow_module_level=True)


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


def evil_run():
    """A run in which names are markup."""
    evil = made_up_run(12)
    evil["units"]["concept"] = evil["units"].concept.where(evil["units"].concept.isna(), EVIL)
    evil["exemplars"]["image"] = EVIL
    evil["info"]["network"]["name"] = EVIL
    return evil


def worded_run():
    """A run whose units words have named: each goes with the words whose vectors are near its own."""
    run = made_up_run(60)
    layer = run["units"]["layer"].iloc[0]
    rng = np.random.default_rng(0)
    words = ("red car", "sea", "street lamp", "sofa")
    vectors = UnitVectors(
        encoder="made up",
        weights=None,
        words=words,
        word_vectors=np.eye(4, dtype=np.float32),
        spread=np.eye(4, dtype=np.float32),
        units={layer: rng.uniform(-1, 1, (60, 4)).astype(np.float32)},
    )
    rows = labels_table([{"layer": layer, "unit": 0, "label": "sea", "verdict": "supported"}], method="correlation")
    return {**run, "labels": Labels(rows, vectors=vectors)}


RUNS = {
    "worded": worded_run,
    "one": partial(made_up_run, 150),
    "layers": partial(made_up_run, 70, ("layer2", "layer3[1].conv", "lstm:0 <b>")),
    "plain": partial(made_up_run, 20, evidence=False),
    "evil": evil_run,
    "big": partial(made_up_run, 2100),
}


class Reports(dict):
    """Pages and units by name, each written when it is first asked for."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __missing__(self, name):
        run, path = RUNS[name](), self.folder / f"{name}.html"
        write_whole(path, render_dissection(**run))
        self[name] = path, run["units"]
        return self[name]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    return Reports(tmp_path_factory.mktemp("reports"))


@pytest.fixture
def visit(browser, reports):
    """Open a page by name; at the end, no message in the console and no request that left the file."""
    contexts, messages, asked = [], [], []

    def go(name, fragment="", **options):
        context = browser.new_context(offline=True, viewport={"width": 1300, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(reports[name][0].as_uri() + fragment)
        return page

    yield go
    for context in contexts:
        context.close()
    assert messages == []
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}


SHOWN = """cards => {
  const { placeOf, layerOf, nameOf, categoryOf, verdictOf, unit } = window.unitlens.units;
  return JSON.stringify(cards.map(card => placeOf(card.id)).map(at => ({
    unit: String(unit[at]), layer: layerOf(at), name: nameOf(at), category: categoryOf(at), verdict: verdictOf(at),
  })));
}"""


def shown(page):
    """What is known of each unit that is shown: as one text, since Playwright checks every value of a list."""
    return json.loads(page.eval_on_selector_all("#cards > li", SHOWN))


def choose(page, **values):
    for name, value in values.items():
        page.locator(f"#{name}").select_option(value)


def test_the_page_opens_with_the_first_units_and_their_images(visit, reports):
    page = visit("one")
    assert page.locator("h1").inner_text() == "What the 150 units of layer4 look for"
    assert len(shown(page)) == 60
    first = page.locator(".strip img").first
    first.scroll_into_view_if_needed()
    assert first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 8 * 224
    assert page.locator("#shown").inner_text() == "150 units"
    page.locator("#more").press("Enter")  # a click could miss: the units above are still being laid out
    assert len(shown(page)) == 120
    page.locator("#all").press("Enter")
    assert len(shown(page)) == 150
    assert not page.locator("#more").is_visible()


def test_units_sort_by_numbers_and_those_without_a_concept_stay_last(visit, reports):
    units = reports["one"][1]
    page = visit("one")
    page.locator("#all").press("Enter")
    columns = {"worst": "iou", "iou": "iou", "low": "iou_low", "heldout": "heldout_iou"}
    for order, column in columns.items():
        choose(page, sort=order)
        known = units[units[column].notna()]
        expected = known.sort_values(column, ascending=order == "worst", kind="stable").unit.tolist()
        found = [int(card["unit"]) for card in shown(page)]
        assert found[: len(expected)] == expected, order
        assert len(found) == 150


def test_detectors_come_first_each_by_falling_iou(visit, reports):
    units = reports["one"][1].set_index("unit")
    page = visit("one")
    page.locator("#all").press("Enter")
    found = units.loc[[int(card["unit"]) for card in shown(page)]]
    known = found[found.iou.notna()]
    assert not known.detector.is_monotonic_increasing
    assert known.detector.is_monotonic_decreasing
    for _, alike in known.groupby("detector"):
        assert alike.iou.is_monotonic_decreasing
    assert found.iou.notna().is_monotonic_decreasing  # those without a concept stay last


def test_units_sort_by_q_ratio_concept_and_number(visit, reports):
    units = reports["one"][1].set_index("unit")
    page = visit("one")
    page.locator("#all").press("Enter")
    known = units.q_value.notna().sum()
    choose(page, sort="q")
    values = [units.q_value[int(card["unit"])] for card in shown(page)]
    assert values[:known] == sorted(values[:known])
    choose(page, sort="ratio")
    values = [(units.iou / units.chance_iou)[int(card["unit"])] for card in shown(page)]
    assert values[:known] == sorted(values[:known], reverse=True)
    choose(page, sort="concept")
    names = [card["name"] for card in shown(page)]
    assert names[:known] == sorted(names[:known], key=str.lower)
    assert set(names[known:]) == {""}
    choose(page, sort="unit")
    assert [int(card["unit"]) for card in shown(page)] == list(range(150))


def test_filters_narrow_the_units_and_clear_again(visit, reports):
    units = reports["one"][1]
    page = visit("one")
    page.locator("#all").press("Enter")
    choose(page, category="part")
    assert {card["category"] for card in shown(page)} == {"part"}
    assert page.locator("#shown").inner_text() == f"{(units.category == 'part').sum()} of 150 units"
    choose(page, verdict="chance")
    both = units[(units.category == "part") & (units.verdict == "chance")]
    assert {int(card["unit"]) for card in shown(page)} == set(both.unit)
    page.locator("#clear").click()
    assert page.locator("#shown").inner_text() == "150 units"
    choose(page, concept=concept_id("color", "color/red"))
    assert {card["name"] for card in shown(page)} == {"color/red"}
    choose(page, verdict="silent")
    assert page.locator("#nothing").is_visible()
    page.locator("#clear-too").click()
    assert len(shown(page)) == 150


def test_a_bar_and_a_category_of_the_chart_choose_their_units(visit, reports):
    units = reports["one"][1]
    page = visit("one")
    bar = page.locator(".chart .bar").first
    concept = bar.locator(".name").inner_text()
    bar.click()
    assert {card["name"] for card in shown(page)} == {concept}
    assert page.locator("#shown").inner_text() == f"{(units.concept == concept).sum()} of 150 units"
    assert bar.get_attribute("aria-current") == "true"
    bar.click()
    assert page.locator("#shown").inner_text() == "150 units"
    page.locator(".chart h3 a", has_text="color").click()
    assert {card["category"] for card in shown(page)} == {"color"}


def test_search_finds_units_concepts_and_images(visit, reports):
    units = reports["one"][1]
    page = visit("one")
    page.locator("#search").fill("17")
    assert [card["unit"] for card in shown(page)] == ["17"]
    name = units[units.category == "part"].concept.iloc[0]
    page.locator("#search").fill(f"{name.upper()} part")
    found = {int(card["unit"]) for card in shown(page)}
    assert set(units[units.concept == name].unit) <= found
    page.keyboard.press("Escape")
    image = page.locator("#cards .names li").first.evaluate("line => line.firstChild.textContent.trim()")
    page.locator("#search").fill(image)
    assert shown(page)
    page.locator("#search").fill("no such thing")
    assert page.locator("#nothing").is_visible()


def test_keys_reach_the_search_and_leave_it(visit):
    page = visit("one")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("lamp/")
    assert page.locator("#search").input_value() == "lamp/"
    page.keyboard.press("Escape")
    assert page.locator("#search").input_value() == ""
    assert page.locator("#shown").inner_text() == "150 units"


def test_everything_is_reached_by_keyboard_and_the_focus_is_seen(visit):
    page = visit("plain")
    reached = set()
    for _ in range(90):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "(() => { const at = document.activeElement;"
            "return [at.id || at.className.split(' ')[0] || at.tagName, getComputedStyle(at).outlineStyle] })()"
        )
        if name != "BODY":
            assert outline != "none", name
        reached.add(name)
    assert {"skip", "theme", "bar", "search", "sort", "category", "concept", "verdict"} <= reached
    assert {"name", "where", "strip", "SUMMARY"} <= reached


def test_a_link_finds_its_unit_wherever_it_stands(visit, reports):
    units = reports["layers"][1]
    last = units[(units.layer == "lstm:0 <b>") & units.silent].unit.iloc[-1]
    target = unit_id("lstm:0 <b>", last)
    page = visit("layers", f"#{target}")
    card = page.locator(f"[id='{target}']")
    assert "found" in card.get_attribute("class")
    assert card.is_visible()
    assert page.evaluate("document.activeElement.id") == target
    box = card.bounding_box()
    assert 0 <= box["y"] < 900
    choose(page, layer="layer2")
    assert page.locator(f"[id='{target}']").count() == 0
    page.evaluate("location.hash = '#unit-x'")
    page.evaluate(f"location.hash = '#{target}'")
    page.wait_for_selector(f"[id='{target}'].found")
    assert page.locator("#layer").input_value() == ""


def test_a_concept_section_shows_its_images_and_leads_to_its_units(visit):
    page = visit("one")
    page.locator("#cards .name").first.click()
    section = page.locator("details.concept[open]")
    section.wait_for()  # the browser opens what an address leads to in its own time
    assert section.count() == 1
    tile = section.locator(".tiles img").first
    page.wait_for_function("document.querySelector('details.concept[open] .tiles img').naturalWidth > 0")
    assert tile.is_visible()
    section.locator(".units a").first.click()
    page.locator(".card.found").wait_for()
    assert page.locator(".card.found").count() == 1


def test_a_strip_opens_larger_with_the_names_of_its_images(visit):
    page = visit("one")
    page.locator(".strip").nth(2).click()
    dialog = page.locator("dialog[open]")
    assert dialog.locator("figure").count() == 8
    assert re.match(r"street/\d+_frame.jpg 9.5", dialog.locator("figcaption").first.inner_text().replace("\n", " "))
    places = dialog.locator("img").evaluate_all("tiles => tiles.map(tile => parseFloat(tile.style.objectPosition))")
    assert places == pytest.approx([100 * rank / 7 for rank in range(8)], abs=1e-3)
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_the_chart_counts_the_chosen_layer(visit, reports):
    units = reports["layers"][1]
    page = visit("layers")
    choose(page, layer="layer3[1].conv")
    own = units[(units.layer == "layer3[1].conv") & units.detector]
    counts = page.locator(".chart .count").all_inner_texts()
    assert sum(int(count or 0) for count in counts) == len(own)
    assert {card["layer"] for card in shown(page)} == {"layer3[1].conv"}
    page.locator("#clear").click()
    counts = page.locator(".chart .count").all_inner_texts()
    assert sum(int(count or 0) for count in counts) == units.detector.sum()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system_and_the_button(visit, scheme):
    page = visit("plain", color_scheme=scheme)

    def is_dark():
        red = page.evaluate("getComputedStyle(document.body).backgroundColor").split("(")[1].split(",")[0]
        return int(red) < 128

    assert is_dark() == (scheme == "dark")
    page.locator("#theme").click()
    assert is_dark() == (scheme == "light")
    page.reload()
    assert is_dark() == (scheme == "light")  # the choice is kept


def test_markup_in_names_is_shown_and_not_run(visit):
    page = visit("evil")
    assert page.locator("#cards .name").first.inner_text() == EVIL
    page.locator(".strip").first.click()
    page.keyboard.press("Escape")
    page.locator("#cards .name").first.click()
    page.locator("#search").fill("<script>")
    assert shown(page)
    assert "taken over" not in page.evaluate("document.title.replace(/document.title = 'taken over'/g, '')")
    assert page.locator("img[src='x']").count() == 0


def test_without_scripts_every_unit_is_still_there(visit):
    page = visit("one", java_script_enabled=False)
    assert page.locator("#cards > li").count() == 150
    assert page.locator("#cards > li").last.is_visible()
    assert not page.locator("#search").is_visible()


def test_a_phone_shows_the_page_without_scrolling_sideways(browser, reports):
    page = browser.new_page(viewport={"width": 380, "height": 800}, offline=True)
    page.goto(reports["layers"][0].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    page.close()


def test_of_two_thousand_units_few_are_drawn_and_all_are_sorted_and_searched(visit):
    page = visit("big")
    assert len(shown(page)) == 60
    page.locator("#all").press("Enter")
    assert len(shown(page)) < 2100
    page.locator("#cards > li").last.scroll_into_view_if_needed()
    page.locator("#cards > li:nth-child(400)").wait_for(state="attached")  # further ones, as one comes to them
    choose(page, sort="concept")
    page.locator("#search").fill("lamp")
    assert 0 < len(shown(page)) < 2100


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("sea", "“sea”"),
        ("Red Car", "“red car”"),
        ("lamp", "“street lamp”"),
        ("sofa, sead", "“sofa” and “sea”"),
        ("so", "“sofa”"),
        ("zzzzzz", "None of the 4 words"),
    ],
)
def test_units_are_searched_by_listed_words_or_those_like_them(visit, typed, meant):
    page = visit("worded")
    before = shown(page)
    page.locator("#words").fill(typed)
    assert meant in page.locator("#meant").inner_text()
    assert (len(shown(page)) > 0) == ("None" not in meant)
    assert len(shown(page)) <= (48 if "and" in meant else 24)
    page.locator("#clear").click()
    assert shown(page) == before
    assert page.locator("#meant").is_hidden()
