"""What the page saves: figures as SVG and PNG, tables as CSV, a unit's row; and what stands in its address."""

import csv
import io
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.pages.test_report_browser import browser, choose, reports, visit  # noqa: F401
from unitlens.pages.units.places import unit_id

pytestmark = pytest.mark.slow

SVG = "{http://www.w3.org/2000/svg}"


def saved(page, press):
    """The name and content of the file that a button saves."""
    with page.expect_download() as download:
        press.press("Enter")
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_the_chart_is_saved_as_svg_and_png_with_its_names(visit, reports):  # noqa: F811
    page = visit("one")
    buttons = page.locator("#concepts .save button")
    name, content = saved(page, buttons.nth(0))
    root = ElementTree.fromstring(content)
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert name == "concepts.svg"
    assert set(page.locator(".chart .bar .name").all_inner_texts()) <= set(texts)
    bars = page.locator(".chart .bar").count()
    assert len(list(root.iter(f"{SVG}rect"))) > bars
    name, content = saved(page, buttons.nth(1))
    image = Image.open(io.BytesIO(content))
    assert name == "concepts.png"
    assert image.width == 3 * int(root.get("width"))
    assert len(image.convert("RGB").getcolors(1 << 24)) > 10


def test_the_units_that_are_shown_are_saved_as_csv(visit, reports):  # noqa: F811
    page = visit("one")
    choose(page, verdict="chance")
    name, content = saved(page, page.locator("#save-units"))
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    units = reports["one"][1]
    assert name == "units.csv"
    assert {row["verdict"] for row in rows} == {"chance"}
    assert {int(row["unit"]) for row in rows} == set(units[units["verdict"] == "chance"]["unit"])
    of_unit = units.set_index("unit").loc[int(rows[0]["unit"])]
    assert float(rows[0]["iou"]) == pytest.approx(of_unit["iou"], rel=1e-5)
    assert rows[0]["concept"] == of_unit["concept"]


def test_a_unit_is_saved_with_its_images(visit):  # noqa: F811
    page = visit("one")
    page.locator(".strip").first.press("Enter")
    page.locator(".shelf img").last.evaluate("image => image.decode()")
    name, content = saved(page, page.locator("#closer .save button").first)
    root = ElementTree.fromstring(content)
    assert name.startswith("layer4-unit-")
    assert len(list(root.iter(f"{SVG}image"))) == page.locator(".shelf img").count()


def test_choices_and_the_opened_unit_are_in_the_address_and_come_back_with_it(visit):  # noqa: F811
    page = visit("layers")
    choose(page, layer="layer2", sort="worst")
    page.locator("#search").fill("2")
    page.locator(".strip").first.press("Enter")
    title = page.locator("#closer-title").inner_text()
    choices = parse_qs(page.evaluate("location.hash").removeprefix("#units?"))
    assert {name: choices[name] for name in ("layer", "sort", "search")} == {
        "layer": ["layer2"], "sort": ["worst"], "search": ["2"]
    }  # fmt: skip
    again = visit("layers", page.evaluate("location.hash"))
    assert again.locator("#closer-title").inner_text() == title
    assert again.locator("#layer").input_value() == "layer2"
    assert again.locator("#shown").inner_text() == page.locator("#shown").inner_text()
    again.keyboard.press("Escape")
    again.locator("#clear").press("Enter")
    assert again.evaluate("location.hash") == "#units?sort=worst"


def test_arrows_go_to_the_next_and_the_previous_unit(visit):  # noqa: F811
    page = visit("one")
    page.locator(".strip").first.press("Enter")
    first = page.locator("#closer-title").inner_text()
    assert page.locator("#closer-place").inner_text() == "1 of 150"
    assert page.locator("#previous").is_disabled()
    page.keyboard.press("ArrowRight")
    page.locator("#next").press("Enter")
    assert page.locator("#closer-place").inner_text() == "3 of 150"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#closer-title").inner_text() == first


def test_the_row_of_a_unit_is_copied(visit, reports):  # noqa: F811
    page = visit("one", permissions=["clipboard-read", "clipboard-write"])
    page.locator(".strip").first.press("Enter")
    page.locator("#copy").press("Enter")
    page.locator("#copied:not(:empty)").wait_for()
    columns, values = page.evaluate("navigator.clipboard.readText()").split("\n")
    row = dict(zip(columns.split("\t"), values.split("\t"), strict=True))
    unit = reports["one"][1].set_index("unit").loc[int(row["unit"])]
    assert unit_id(row["layer"], int(row["unit"])) in page.evaluate("location.hash")
    assert float(row["iou"]) == pytest.approx(unit["iou"], rel=1e-5)
    assert row["concept"] == unit["concept"]
