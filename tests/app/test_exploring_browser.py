"""The exploring page in a real Chromium: switches, the smallest set, dropped images, two pages, random clicks."""

import queue
import random
import re
import threading
from functools import partial

import numpy as np
import pytest
import torch

pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra app)")

import unitlens as ul
from tests.pages.test_report_browser import browser  # noqa: F401
from unitlens.app.exploring import ExploringPage
from unitlens.app.finding import UnitSearch
from unitlens.app.serving import serve

LAYER = "relu6"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exploring():
    net, data = ul.load("bundled:scenes"), ul.Scenes(36)
    run = ul.dissect(net, LAYER, data, exemplars=2)
    vectors = ul.words(run, net=net, data=data, methods=["correlation"]).vectors
    search = UnitSearch(vectors, vectors.open_encoder())
    return ExploringPage("run", net, run, data, (LAYER,), search=search)


@pytest.fixture(scope="module")
def address(exploring):
    found = queue.Queue()
    threading.Thread(target=partial(serve, exploring, there=found.put), daemon=True).start()
    return found.get(timeout=60)


@pytest.fixture
def visit(browser, address):  # noqa: F811
    """Open the page; at the end, nothing went wrong on any, and nothing was asked for from elsewhere."""
    wrong, contexts = [], []

    def visit(fragment="#image=4", **options):
        context = browser.new_context(**options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on(
            "request", lambda request: None if request.url.startswith((address, "data:")) else wrong.append(request.url)
        )
        tab.on("response", lambda response: wrong.append(response.url) if response.status >= 400 else None)
        tab.on("requestfailed", lambda request: None if "ABORTED" in request.failure else wrong.append(request.url))
        tab.goto(address + fragment)
        tab.wait_for_selector("#rows .row")
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


def probabilities(exploring, image, units=()):
    """By a full pass with units ablated."""
    inputs = exploring.net.prepare(
        torch.from_numpy(exploring._explorer(LAYER).pixels(image).copy()).permute(2, 0, 1)[None]
    )
    interventions = [ul.Intervention(LAYER, list(units))] if units else []
    with ul.evaluating(exploring.net.model), ul.intervening(exploring.net, *interventions):
        return exploring.net.model(inputs)[0].double().softmax(0).numpy()


def bars(tab):
    """Before and after of each class that is shown, by its output."""
    return {
        int(bar.get_attribute("data-output")): tuple(
            float(bar.locator(part).evaluate("bar => bar.style.getPropertyValue('--v')")) / 100 for part in ("b", "i")
        )
        for bar in tab.locator("#answer .class").all()
    }


def says(tab, pattern):
    from playwright.sync_api import expect

    expect(tab.locator("#status")).to_have_text(re.compile(pattern), timeout=60_000)


def test_switches_move_the_bars_as_interventions_do(exploring, visit):
    tab = visit()
    before = probabilities(exploring, 4)
    units = [int(row.get_attribute("data-key")[1:]) for row in tab.locator("#rows .row").all()[:3]]
    for count in (1, 2, 3):
        tab.locator(f"#rows .row:nth-child({count}) input[value=off]").check(force=True)
        says(tab, "^Without units? " + "[ ,and]+".join(map(str, sorted(units[:count]))))
        after = probabilities(exploring, 4, units[:count])
        for output, shown in bars(tab).items():
            assert shown == pytest.approx((before[output], after[output]), abs=1e-5)
        first = tab.locator("#answer .first").get_attribute("data-output")
        assert int(first) == after.argmax()
    again = visit("#" + tab.url.partition("#")[2])  # any view is an address
    says(again, "^Without units")
    assert bars(again) == bars(tab)
    tab.locator("#reset").click()
    says(tab, "^As it is")
    assert bars(tab)[int(before.argmax())] == pytest.approx([before.max()] * 2)
    tab.keyboard.press("Control+z")
    says(tab, "^Without units")


def test_whole_concepts_are_switched_with_the_keyboard(exploring, visit):
    tab = visit("#image=4&kind=concepts")
    concept = exploring._explorer(LAYER).labelled.concepts[
        int(tab.locator("#rows .row").first.get_attribute("data-key")[1:])
    ]
    tab.locator("#rows .row:first-child input").first.focus()
    tab.keyboard.press("ArrowRight")
    says(tab, "^Without")
    after = probabilities(exploring, 4, concept.units)
    for output, (_, shown) in bars(tab).items():
        assert shown == pytest.approx(after[output], abs=1e-5)


def test_units_are_held_where_it_is_painted(visit):
    tab = visit("#image=4&off=0.1.2.3.4.5.6.7.8.9.10.11.12.13")
    everywhere = bars(tab)
    tab.get_by_text("Only where I paint").click()
    says(tab, "where it is painted")
    assert {output: after for output, (_, after) in bars(tab).items()} == pytest.approx(
        {output: before for output, (before, _) in everywhere.items()}
    )
    tab.locator("#invert").click()
    for output, (_, after) in everywhere.items():
        tab.wait_for_function(
            "([output, value]) => Math.abs(document.querySelector(`[data-output='${output}'] i`)"
            ".style.getPropertyValue('--v') - value) < 1e-3",
            arg=[output, 100 * after],
        )
    tab.locator("#unpaint").click()
    tab.locator("#cover").focus()
    for key in ("ArrowDown", "ArrowLeft", "Space"):
        tab.keyboard.press(key)
    tab.wait_for_function("location.hash.includes('where=14x14.')")
    box = tab.locator("#cover").bounding_box()
    before = tab.url
    tab.mouse.move(box["x"] + 20, box["y"] + 20)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 150, box["y"] + 90, steps=4)
    tab.mouse.up()
    tab.wait_for_function("before => location.href !== before", arg=before)


def test_the_smallest_set_changes_the_class(exploring, visit):
    tab = visit()
    tab.locator("#smallest").click()
    says(tab, "^Without unit")
    units = [int(unit) for unit in re.search(r"off=([\d.]+)", tab.url)[1].split(".")]
    after = probabilities(exploring, 4, units)
    assert after.argmax() != probabilities(exploring, 4).argmax()
    assert int(tab.locator("#answer .first").get_attribute("data-output")) == after.argmax()


def test_a_dropped_image_is_explored(visit):
    tab = visit()
    before = tab.locator("#answer").inner_text()
    tab.evaluate(
        """async () => {
            const file = new File([await (await fetch("api/image?image=9")).blob()], "mine.png", { type: "image/png" });
            const data = new DataTransfer();
            data.items.add(file);
            for (const kind of ["dragenter", "dragover", "drop"]) {
                const given = { bubbles: true, cancelable: true, dataTransfer: data };
                document.body.dispatchEvent(new DragEvent(kind, given));
            }
        }"""
    )
    tab.get_by_text("mine.png").wait_for()
    tab.wait_for_function("before => document.getElementById('answer').innerText !== before", arg=before)
    of_data = visit("#image=9")
    assert bars(tab) == bars(of_data)


def test_a_pasted_image_is_explored_and_another_class_followed(exploring, visit):
    tab = visit()
    tab.evaluate(
        """async () => {
            const data = new DataTransfer();
            data.items.add(new File([await (await fetch("api/image?image=9")).blob()], "", { type: "image/png" }));
            dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
        }"""
    )
    tab.get_by_text("pasted image").wait_for()
    (other,) = tab.locator("#answer .class").all()[2:3]
    name = exploring._explorer(LAYER).classes.names[int(other.get_attribute("data-output"))]
    other.focus()
    tab.keyboard.press("Enter")
    tab.get_by_role("heading", name=f"What {name} rests on").wait_for()
    assert tab.evaluate("document.activeElement.dataset.output") == other.get_attribute("data-output")
    assert tab.locator("#answer [aria-pressed=true]").count() == 1


def test_two_pages_do_not_disturb_each_other(exploring, visit):
    tabs = [visit("#image=4"), visit("#image=9")]
    for tab in tabs:
        tab.locator("#smallest").click()
    for tab in tabs:
        says(tab, "^Without unit")
    for tab, image in zip(tabs, (4, 9), strict=True):
        units = [int(unit) for unit in re.search(r"off=([\d.]+)", tab.url)[1].split(".")]
        after = probabilities(exploring, image, units)
        for output, (_, shown) in bars(tab).items():
            assert shown == pytest.approx(after[output], abs=1e-5)


POINT = """number => {
    const open = document.querySelector("dialog[open]");
    const all = [...document.querySelectorAll("button:not(#own, #copy), input, select, canvas")]
        .filter((one) => one.checkVisibility() && !one.disabled && (!open || open.contains(one)));
    const one = all[number % all.length];
    if (one.tagName === "SELECT") {
        one.selectedIndex = number % one.options.length;
        one.dispatchEvent(new Event("change"));
    }
    one.scrollIntoView({ block: "center" });
    const box = one.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
}"""
"""The middle of something that can be clicked, in view."""


def test_random_clicks_leave_no_error(visit):
    tab, draw = visit(viewport={"width": 380, "height": 800}), random.Random(0)
    for _ in range(150):
        tab.mouse.click(*tab.evaluate(POINT, draw.randrange(10**6)))
    tab.wait_for_timeout(500)
    assert np.isfinite(list(bars(tab).values())).all()


def test_nothing_is_wider_than_a_phone(visit):
    for width in (360, 800, 1300):
        tab = visit("#image=4&off=1.2.3", viewport={"width": width, "height": 800})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def listed(tab):
    """The units in the first rows."""
    return [int(row.get_attribute("data-key")[1:]) for row in tab.locator("#rows .row").all()]


def test_units_are_found_by_any_words_and_by_the_image(exploring, visit):
    from playwright.sync_api import expect

    tab = visit()
    tab.locator("#words").fill("a red car")
    tab.locator("#words").press("Enter")
    expect(tab.locator("#found")).to_contain_text("“a red car”")
    vectors = exploring.search.vectors
    expected = vectors.search("a red car", n=16)
    assert sorted(listed(tab)) == sorted(expected.unit)
    assert f"correlation {expected.score[0]:.2f}" in tab.locator("#rows .row").first.inner_text()
    again = visit("#" + tab.url.partition("#")[2])  # the words stand in the address
    expect(again.locator("#found")).to_contain_text("“a red car”")
    assert listed(again) == listed(tab)
    tab.locator("#like").click()
    expect(tab.locator("#found")).to_contain_text("this image")
    assert sorted(listed(tab)) == sorted(vectors.search(exploring._pixels("4"), n=16).unit)
    tab.locator("#like").click()
    expect(tab.locator("#found")).to_be_empty()
    assert tab.locator("#order").input_value() == "for"
