"""The painting page in a browser: what is painted changes there and nowhere else; nothing is asked of others."""

import base64
import io
import random
import threading
from functools import partial

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra app)")

import unitlens as ul
from tests.app.pages import Colours, painting_page
from tests.pages.test_report_browser import browser  # noqa: F401
from tests.worlds.generators import CELLS
from unitlens.app.serving import serve

pytestmark = pytest.mark.slow

PICTURE = "document.getElementById('picture').toDataURL()"


@pytest.fixture(scope="module")
def served():
    """A page that is served, and its address."""
    page, there, address = painting_page(), threading.Event(), []

    def open_(found):
        address.append(found)
        there.set()

    threading.Thread(target=partial(serve, page, there=open_), daemon=True).start()
    assert there.wait(60)
    return page, address[0]


@pytest.fixture
def visit(browser, served):  # noqa: F811
    """Open the page, of some width, at some state; and make sure that nothing failed at the end."""
    contexts, wrong, asked = [], [], []

    def visit(state="", *, width=1200, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.on("response", lambda answer: wrong.append(answer.url) if answer.status >= 400 else None)
        page.goto(served[1] + state)
        page.wait_for_selector("#screen[data-drawn]")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []
    outside = [url for url in asked if not url.startswith((served[1], "data:", "blob:"))]
    assert outside == []


def picture(page):
    content = base64.b64decode(page.evaluate(PICTURE).partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def settled(page):
    """Wait until everything that was asked is drawn, and measured."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(100)


def choose(page, name):
    page.locator("#concepts label", has_text=name).first.locator("input").check(force=True)


def paint(page, *cells):
    """Paint along cells of the grid, (row, column)."""
    page.locator("#cover").scroll_into_view_if_needed()
    box = page.locator("#cover").bounding_box()
    places = [
        (box["x"] + box["width"] * (column + 0.5) / CELLS, box["y"] + box["height"] * (row + 0.5) / CELLS)
        for row, column in cells
    ]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places:
        page.mouse.move(*place, steps=3)
    page.mouse.up()
    settled(page)


def test_pixels_change_where_it_was_painted_and_nowhere_else(visit):
    page = visit("#scene=2")
    before = picture(page)
    choose(page, "red")
    paint(page, (8, 3), (8, 9))
    moved = (picture(page) != before).any(-1).reshape(CELLS, 2, CELLS, 2).any((1, 3))
    assert moved[8, 3:10].sum() >= 5
    assert not moved[:6].any()
    assert not moved[11:].any()
    assert page.locator("#areas tbody tr").count() >= 1
    assert "red:" in page.locator("#status").inner_text()


def test_undo_and_redo_give_the_same_bytes(visit):
    page = visit("#scene=1")
    choose(page, "green")
    seen = [page.evaluate(PICTURE)]
    for row in (4, 9):
        paint(page, (row, 5), (row, 7))
        seen.append(page.evaluate(PICTURE))
    assert len(set(seen)) == 3
    for expected in (seen[1], seen[0]):
        page.locator("#undo").click()
        settled(page)
        assert page.evaluate(PICTURE) == expected
    page.keyboard.press("Control+y")
    settled(page)
    page.keyboard.press("Control+Shift+z")
    settled(page)
    assert page.evaluate(PICTURE) == seen[2]
    page.keyboard.press("Control+z")
    settled(page)
    assert page.evaluate(PICTURE) == seen[1]


def test_any_view_is_an_address(visit):
    page = visit("#scene=3")
    choose(page, "blue")
    paint(page, (5, 5), (5, 8))
    again = visit(page.evaluate("location.hash"))
    assert again.evaluate(PICTURE) == page.evaluate(PICTURE)
    assert again.locator("#concepts input:checked").count() == 1
    assert again.locator("#concepts label:has(:checked)").inner_text().startswith("blue")


def test_two_pages_do_not_disturb_each_other(visit):
    one, other = visit("#scene=1"), visit("#scene=2")
    choose(one, "red")
    choose(other, "green")
    untouched = one.evaluate(PICTURE), other.evaluate(PICTURE)
    paint(one, (8, 3), (8, 9))
    assert other.evaluate(PICTURE) == untouched[1]
    paint(other, (3, 3), (3, 9))
    one.locator("#undo").click()
    settled(one)
    assert one.evaluate(PICTURE) == untouched[0]
    assert other.evaluate(PICTURE) != untouched[1]


def test_it_is_painted_by_keyboard_alone(visit):
    page = visit("#scene=1")
    before = picture(page)
    choose(page, "red")
    page.locator("#cover").focus()
    for key in ("ArrowDown", "ArrowRight", " "):
        page.keyboard.press(key)
    settled(page)
    moved = (picture(page) != before).any(-1).reshape(CELLS, 2, CELLS, 2).any((1, 3))
    assert moved[9, 9]
    assert "red" in page.locator("#status").inner_text()


def test_it_is_painted_by_touch_on_a_phone(visit):
    page = visit("#scene=1", width=360, height=740, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    before = page.evaluate(PICTURE)
    choose(page, "red")
    page.locator("#cover").scroll_into_view_if_needed()
    box = page.locator("#cover").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    settled(page)
    assert page.evaluate(PICTURE) != before


def test_the_recipe_and_the_image_that_are_downloaded_agree(visit, served, tmp_path):
    page = visit("#scene=2")
    choose(page, "yellow")
    paint(page, (8, 3), (8, 9))
    for button, name in (("#image", "image.png"), ("#recipe", "recipe.json")):
        with page.expect_download() as download:
            page.locator(button).click()
        download.value.save_as(tmp_path / name)
    image = np.asarray(Image.open(tmp_path / "image.png").convert("RGB"))
    np.testing.assert_array_equal(image, picture(page))
    edited = ul.open_recipe(tmp_path / "recipe.json").draw(served[0].painter.net)
    np.testing.assert_array_equal(edited.after[0], image)


def test_the_slider_shows_the_scene_as_it_was(visit):
    page = visit("#scene=2")
    before = picture(page)
    choose(page, "red")
    paint(page, (8, 3), (8, 9))
    after = picture(page)
    page.locator("#compare").fill("100")
    np.testing.assert_array_equal(picture(page), before)
    page.locator("#compare").fill("50")
    half = picture(page)
    np.testing.assert_array_equal(half[:, :16], before[:, :16])
    np.testing.assert_array_equal(half[:, 16:], after[:, 16:])


def test_a_page_of_a_stranger_can_not_drive_it(browser, served):  # noqa: F811
    context = browser.new_context()
    page = context.new_page()
    page.route(
        "http://evil.example/", lambda route: route.fulfill(body="<title>evil</title>", content_type="text/html")
    )
    page.goto("http://evil.example/")
    asked = "address => fetch(address, {method: 'POST', body: '{}'}).then(answer => answer.text(), () => 'refused')"
    assert page.evaluate(asked, served[1] + "api/draw") == "refused"
    simple = (
        "address => fetch(address, {method: 'POST', body: '{}', mode: 'no-cors'}).then(a => a.type, () => 'refused')"
    )
    assert page.evaluate(simple, served[1] + "api/draw") in ("opaque", "refused")
    framed = """address => new Promise(done => {
        const frame = document.createElement("iframe");
        frame.onload = () => done(frame.contentDocument === null);
        frame.src = address;
        document.body.append(frame);
    })"""
    assert page.evaluate(framed, served[1])
    context.close()


def first_units(page):
    return [int(text.split()[0]) for text in page.locator("#units .unit").all_inner_texts()]


def test_the_brush_takes_units_by_any_words_and_by_the_scene(visit, served):
    from playwright.sync_api import expect

    page, vectors = visit("#scene=3"), served[0].search.vectors
    page.locator("#words").fill("blue")
    page.locator("#words").press("Enter")
    expect(page.locator("#found")).to_contain_text("“blue”")
    count = len(first_units(page))
    assert first_units(page) == vectors.search("blue", n=count, encoder=Colours()).unit.tolist()
    again = visit("#" + page.url.partition("#")[2])  # the words stand in the address
    expect(again.locator("#found")).to_contain_text("“blue”")
    assert first_units(again)[0] == first_units(page)[0]
    choose(page, "green")  # another concept is painted with the same units
    settled(page)
    assert first_units(page)[0] == first_units(again)[0]
    paint(page, (8, 3), (8, 9))
    page.locator("#like").click()
    expect(page.locator("#found")).to_contain_text("this image")
    by_scene = vectors.search(served[0]._pixels("3"), n=8, encoder=Colours()).unit.tolist()
    assert first_units(page) == by_scene[: len(first_units(page))]
    page.locator("#like").click()
    expect(page.locator("#found")).to_be_empty()
    assert page.locator("#order").input_value() != "found"


def test_300_random_clicks_leave_no_error(visit):
    page, draws = visit(), random.Random(0)
    names = "button:visible, input:visible, label:visible, select:visible, canvas:visible"
    for number in range(300):
        things = page.locator(names)
        thing = things.nth(draws.randrange(things.count()))
        if thing.get_attribute("id") in ("image", "recipe", "copy", "theme") or not thing.is_enabled():
            continue
        box = thing.bounding_box()
        if box is None or box["height"] < 1:
            continue
        at = {"x": draws.random() * (box["width"] - 1), "y": draws.random() * (box["height"] - 1)}
        thing.click(position=at, force=True, timeout=5000, no_wait_after=True)
        if number % 25 == 0:
            page.keyboard.press(draws.choice(["Control+z", "Control+y", " ", "ArrowUp", "["]))
    settled(page)
    assert page.locator("#status").inner_text()
