"""The page of a sheet as people use it: keys and clicks answer, answers outlive a reload, and the file is read."""

import io

import pytest
from PIL import Image

from tests.pages.test_report_browser import browser  # noqa: F401
from unitlens.files import json_text
from unitlens.labels.people.answers import read_answers
from unitlens.labels.people.key import KEY, Question, SheetKey
from unitlens.labels.people.questions import Sheet, Shown
from unitlens.pages.labels.sheets import render_sheet
from unitlens.records import write_record

pytestmark = pytest.mark.slow

EVIL = "<img src=x onerror=\"document.title = 'taken over'\">"


def tile(shade):
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, 90, 200 - shade)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A folder with the key to a sheet of four questions, and the page."""
    folder = tmp_path_factory.mktemp("asked")
    choices = ("sky", EVIL, "tall tree", "sea")
    questions = tuple(
        Question(layer="relu6", unit=unit, method="mine", choices=choices, right=unit % 4) for unit in range(4)
    )
    key = SheetKey(schema=1, sheet="5e7", network="a" * 64, data="b" * 64, seed=0, questions=questions)
    shown = [Shown([[tile(40 * place)] * 3 for place in range(5)], choices) for _ in questions]
    (folder / KEY).write_text(json_text(write_record(key)))
    (folder / "sheet.html").write_text(render_sheet(Sheet(key, shown)))
    return folder


@pytest.fixture
def sheet(browser, asked):  # noqa: F811
    """The open page; at the end nothing was asked for, and nothing complained."""
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900})
    page, messages = context.new_page(), []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: request.url.startswith(("file:", "data:", "blob:")) or messages.append(request))
    page.goto((asked / "sheet.html").as_uri())
    yield page
    assert messages == []
    assert page.title().startswith("Which label fits?")
    context.close()


def now(page):
    """The number of the question that is shown; there is one."""
    shown = page.locator(".question:visible")
    assert shown.count() == 1
    return int(shown.get_attribute("id").removeprefix("q"))


def chosen(page):
    return page.locator("input:checked").evaluate_all("inputs => inputs.map((one) => [one.name, one.value])")


def save(page):
    with page.expect_download() as download:
        page.locator("#save").click()
    return download.value


def test_keys_choose_and_move_on(sheet):
    assert now(sheet) == 1
    sheet.keyboard.press("2")
    assert now(sheet) == 2
    sheet.keyboard.press("ArrowRight")
    sheet.keyboard.press("4")
    assert now(sheet) == 4
    sheet.keyboard.press("9")  # there is no such choice
    sheet.keyboard.press("ArrowRight")  # nor a question behind the last
    assert now(sheet) == 4
    assert chosen(sheet) == [["q1", "2"], ["q3", "4"]]
    sheet.keyboard.press("ArrowLeft")
    assert now(sheet) == 3
    assert sheet.locator("#done").inner_text() == "2 of 4 answered"


def test_a_click_chooses_and_another_changes_the_answer(sheet):
    sheet.get_by_text("tall tree").locator("visible=true").click()
    assert now(sheet) == 1  # who points may look again
    sheet.locator("label", has_text="img src").locator("visible=true").click()
    assert chosen(sheet) == [["q1", "2"]]
    assert sheet.locator("#back").is_disabled()
    sheet.locator("#forward").click()
    assert now(sheet) == 2


def test_keys_typed_into_the_name_answer_nothing(sheet):
    sheet.locator("#rater").press_sequentially("r2d2")
    sheet.keyboard.press("ArrowRight")
    assert chosen(sheet) == []
    assert now(sheet) == 1
    assert sheet.locator("#rater").input_value() == "r2d2"


def test_answers_outlive_a_reload_and_it_goes_on_where_one_was(sheet):
    sheet.locator("#rater").fill("ann")
    sheet.locator("#rater").press("Tab")
    for key in ("1", "ArrowRight", "3"):
        sheet.keyboard.press(key)
    sheet.reload()
    assert chosen(sheet) == [["q1", "1"], ["q3", "3"]]
    assert sheet.locator("#rater").input_value() == "ann"
    assert now(sheet) == 2  # the first that is open
    assert sheet.locator("#done").inner_text() == "2 of 4 answered"


def test_the_saved_file_is_read_with_the_run_that_has_the_key(sheet, asked, tmp_path):
    for key in ("1", "2", "3", "1"):
        sheet.keyboard.press(key)
    sheet.locator("#save").click()
    assert sheet.locator("#said").inner_text() == "Say who answers, first."
    sheet.locator("#rater").fill('Ann, "the first"')
    download = save(sheet)
    assert download.suggested_filename == "answers-5e7.csv"
    assert sheet.locator("#said").inner_text() == "4 of 4 answers saved."
    ratings = read_answers(asked, download.path())
    assert ratings.chosen.tolist() == [[0, 1, 2, 0]]
    assert ratings.table()["right"].tolist() == [0.75]
