"""Sheets that people answer, and what their answers say of labels."""

import json
import shutil

import numpy as np
import pytest

import unitlens as ul
from unitlens.labels.people.key import read_key
from unitlens.pages.labels.sheets import render_sheet


@pytest.fixture(scope="module")
def kept(net_file, tmp_path_factory):
    """A run with activations, images and labels of a stranger; not to be changed."""
    from tests.worlds.coloured import write_world

    folder = tmp_path_factory.mktemp("people")
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    world = write_world(folder / "world")
    run = ul.dissect(net, "0", world, quantile=0.15, exemplars=2)
    labels = ul.given_labels(run, {0: "</script>&red", 1: "green", 2: "=cmd()"}, method="mine")
    ul.report(folder / "run", run, labels)
    return folder / "run", net, world


@pytest.fixture
def run(kept, tmp_path):
    return shutil.copytree(kept[0], tmp_path / "run")


def write_sheet(run, kept, page, **settings):
    return ul.sheet(run, page, net=kept[1], data=kept[2], **{"choices": 3, "per_unit": 5} | settings)


def write_answers(path, key, answers):
    lines = [f"{key.sheet},{rater},{question},{choice}" for (rater, question), choice in answers.items()]
    path.write_text("\n".join(["sheet,rater,question,choice", *lines, ""]))
    return path


def test_a_sheet_asks_for_every_label_among_those_of_other_units(run, kept, tmp_path):
    page = write_sheet(run, kept, tmp_path / "My Sheet-1.html").read_text()
    key = read_key(run)
    asked = sorted((one.method, one.unit) for one in key.questions)
    assert asked == [(method, unit) for method in ("dissection", "mine") for unit in range(3)]
    for one in key.questions:
        assert len(set(one.choices)) == 3
    assert len({one.right for one in key.questions}) > 1  # in no fixed place
    assert page.count("data:image/jpeg") == 6 * 5
    assert "&lt;/script&gt;&amp;red" in page


def test_the_page_does_not_hold_the_right_answers(run, kept, tmp_path):
    page = write_sheet(run, kept, tmp_path / "sheet.html").read_text()
    key = read_key(run)
    place = [page.index(f'id="q{number}"') for number in range(1, 7)]
    assert place == sorted(place)
    for one, start in zip(key.questions, place, strict=True):
        part = page[start : page.index("</fieldset>", start)]
        found = [part.index(f'value="{number}"') for number in (1, 2, 3)]
        assert found == sorted(found)
        assert one.method not in part
        assert "right" not in part
    # what is shown is the same whichever choice is right
    from unitlens.labels.people.questions import Sheet, Shown

    turned = [one.__class__(**{**vars(one), "right": (one.right + 1) % 3}) for one in key.questions]
    shown = [Shown([[b"x"]] * 5, one.choices) for one in key.questions]
    pages = {
        render_sheet(Sheet(key.__class__(**{**vars(key), "questions": q}), shown)) for q in (key.questions, turned)
    }
    assert len(pages) == 1


def test_the_same_seed_draws_the_same_sheet(run, kept, tmp_path):
    pages = [
        write_sheet(run, kept, tmp_path / "sheet.html", seed=seed, overwrite=True).read_text() for seed in (1, 1, 2)
    ]
    assert pages[0] == pages[1] != pages[2]
    with pytest.raises(ul.UnitlensError, match=r"has a sheet already: overwrite=True replaces it, and answers to it"):
        write_sheet(run, kept, tmp_path / "sheet.html")


@pytest.mark.parametrize("name", ["labels.csv", "units.csv", "report.html", "notes.html", "folder.html", "new.csv"])
def test_a_sheet_replaces_no_other_file(run, kept, tmp_path, name):
    (run / "notes.html").write_text("<p>mine</p>")
    (run / "folder.html").mkdir()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(ul.UnitlensError, match=name):
        write_sheet(run, kept, run / name, overwrite=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_sheet_of_another_run_is_replaced_when_that_is_said(run, kept, tmp_path):
    page = write_sheet(run, kept, tmp_path / "sheet.html")
    (run / "labels.sheet.json").unlink()
    with pytest.raises(ul.UnitlensError, match=r"sheet\.html is a sheet already: overwrite=True"):
        write_sheet(run, kept, page)
    write_sheet(run, kept, page, overwrite=True)
    assert read_key(run).sheet in page.read_text()


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"choices": 9}, r"8 are needed.*choices"),
        ({"choices": 10}, "2 to 9 choices"),
        ({"per_unit": 4}, "5 images a unit"),
        ({"units": [3]}, "Unit 3 has no label"),
        ({"units": 0}, "No unit"),
        ({"methods": ["mime"]}, "did you mean mine"),
    ],
)
def test_a_sheet_that_cannot_be_made_is_refused_and_leaves_nothing(run, kept, tmp_path, settings, fact):
    with pytest.raises(ul.UnitlensError, match=fact):
        write_sheet(run, kept, tmp_path / "sheet.html", **settings)
    assert not (tmp_path / "sheet.html").exists()
    assert not (run / "labels.sheet.json").exists()


def test_people_who_know_are_told_from_those_who_guess(run, kept, tmp_path):
    write_sheet(run, kept, tmp_path / "sheet.html")
    key, rng = read_key(run), np.random.default_rng(0)
    knows = {(rater, n): one.right + 1 for rater in ("ann", "bob") for n, one in enumerate(key.questions, 1)}
    ratings = ul.read_answers(run, write_answers(tmp_path / "knows.csv", key, knows))
    table = ratings.table().set_index("method")
    assert table.loc["mine", ["raters", "questions", "answers", "right", "alpha"]].tolist() == [2, 3, 6, 1, 1]
    assert table.loc["mine", "low"] < 1 == table.loc["mine", "high"]
    assert table.loc["mine", "chance"] == pytest.approx(1 / 3)
    assert table.loc["mine", "p_value"] == pytest.approx(1 / 27)
    assert repr(ratings) == "<Ratings by 2 people: 12 answers to 6 questions>"
    guesses = {(f"r{r}", n): int(rng.integers(3)) + 1 for r in range(200) for n in range(1, 7)}
    table = ul.read_answers(run, write_answers(tmp_path / "guesses.csv", key, guesses)).table()
    assert (abs(table["right"] - 1 / 3) < 0.1).all()
    assert (abs(table["alpha"]) < 0.1).all()
    assert (table["p_value"] > 0.05).all()


def test_a_sheet_of_very_many_questions_is_refused(run, kept, tmp_path, monkeypatch):
    for module in ("questions", "key"):
        monkeypatch.setattr(f"unitlens.labels.people.{module}.MOST_QUESTIONS", 5)
    with pytest.raises(ul.UnitlensError, match=r"These are 6 questions; a sheet has up to 5: .*units"):
        write_sheet(run, kept, tmp_path / "sheet.html")
    monkeypatch.setattr("unitlens.labels.people.questions.MOST_QUESTIONS", 6)
    with pytest.raises(ul.UnitlensError, match="a sheet has 6 questions; it has up to 5"):
        write_sheet(run, kept, tmp_path / "sheet.html")


def everybody(key, raters=("ann", "bob"), choice=None):
    """Answers to all questions: the right ones, or always the same choice."""
    right = [one.right + 1 if choice is None else choice for one in key.questions]
    return {(rater, number): answer for rater in raters for number, answer in enumerate(right, 1)}


def test_answers_are_saved_in_the_run_and_add_up(run, kept, tmp_path):
    write_sheet(run, kept, tmp_path / "sheet.html")
    key = read_key(run)
    ann = ul.read_answers(run, write_answers(tmp_path / "ann.csv", key, everybody(key, ["<b>ann</b>"])))
    bob = ul.read_answers(run, write_answers(tmp_path / "bob.csv", key, everybody(key, ["bob"], choice=1)))
    ul.report(run, ann)
    assert ul.open_labels(run).answers.sheets == ann.sheets
    ul.report(run, ann, bob)  # hers once more
    saved = ul.open_labels(run)
    assert (len(saved.answers.raters), saved.answers.answers) == (2, 12)
    both = ul.read_answers(run, tmp_path / "ann.csv", tmp_path / "bob.csv")
    assert saved.answers.table().equals(both.table())
    assert list(saved.methods) == ["mine"]  # labels are as they were
    assert not any("ann" in path.read_text() for path in run.glob("labels.*"))
    ul.report(run, ul.given_labels(ul.open_run(run), {0: "red"}, method="other"))  # and further labels lose none
    assert ul.open_labels(run).answers.answers == 12
    ul.report(run, bob, overwrite=True)
    assert ul.open_labels(run).answers.sheets == bob.sheets


def test_nobody_answers_in_two_ways_and_then_nothing_is_saved(run, kept, tmp_path):
    write_sheet(run, kept, tmp_path / "sheet.html")
    key = read_key(run)
    ul.report(run, ul.read_answers(run, write_answers(tmp_path / "1.csv", key, {("ann", 3): 1})))
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    other = ul.read_answers(run, write_answers(tmp_path / "2.csv", key, {("ann", 2): 1, ("ann", 3): 2}))
    with pytest.raises(ul.UnitlensError, match=r"question 3 of the sheet .* in two ways, 1 and 2: .*overwrite=True"):
        ul.report(run, other)
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_answers_outlive_the_sheet_and_those_to_the_next_stand_beside_them(run, kept, tmp_path):
    for seed, raters in ((1, ["ann"]), (2, ["ann", "bob"])):
        write_sheet(run, kept, tmp_path / "sheet.html", seed=seed, overwrite=True, units=[seed])
        key = read_key(run)
        ul.report(run, ul.read_answers(run, write_answers(tmp_path / "some.csv", key, everybody(key, raters))))
    answers = ul.open_labels(run).answers
    assert (len(answers.sheets), len(answers.questions), len(answers.raters), answers.answers) == (2, 4, 2, 6)
    rows = answers.by_label().set_index(["method", "unit"])
    assert rows.loc[("mine", 1), ["label", "answers", "right"]].tolist() == ["green", 1, 1]
    assert rows.loc[("mine", 2), ["label", "answers", "right"]].tolist() == ["=cmd()", 2, 2]
    table = answers.table().set_index("method")
    assert table.loc["mine", ["raters", "questions", "answers", "right"]].tolist() == [2, 2, 3, 1]


def test_the_page_says_what_people_chose_of_each_label(run, kept, tmp_path):
    write_sheet(run, kept, tmp_path / "sheet.html")
    key = read_key(run)
    wrong = {("eve", number): (one.right + 1) % 3 + 1 for number, one in enumerate(key.questions, 1)}
    answers = everybody(key) | wrong
    ul.report(run, ul.read_answers(run, write_answers(tmp_path / "some.csv", key, answers)))
    page = (run / "report.html").read_text()
    assert "What people chose" in page
    assert (
        page.count("chosen in 2 of 3 answers") == 3 + 2 * 3
    )  # of the concept once, of a label beside it and in the table


def test_a_run_that_has_answers_alone_has_labels_and_a_page(run, kept, tmp_path):
    for name in ("labels.csv", "labels.json"):
        (run / name).unlink()
    write_sheet(run, kept, tmp_path / "sheet.html")
    key = read_key(run)
    ul.report(run, ul.read_answers(run, write_answers(tmp_path / "ann.csv", key, everybody(key))))
    labels = ul.open_labels(run)
    assert len(labels.table()) == len(labels.summary()) == 0
    assert labels.answers.table()["right"].tolist() == [1]
    assert not (run / "labels.csv").exists()
    assert "What people chose" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda saved: saved | {"network": "b" * 64}, "of another network"),
        (lambda saved: saved | {"schema": 7}, "schema 7"),
        (lambda saved: saved | {"sheets": saved["sheets"] * 2}, "twice"),
        (lambda saved: saved | {"sheets": [saved["sheets"][0] | {"answers": {"ann": "111111"}}]}, "'ann'"),
        (lambda saved: saved | {"sheets": [saved["sheets"][0] | {"answers": {"0" * 16: "11111"}}]}, "6 questions"),
        (lambda saved: saved | {"sheets": [saved["sheets"][0] | {"answers": {"0" * 16: "11111\u0661"}}]}, "a choice"),
        (lambda saved: saved | {"sheets": [saved["sheets"][0] | {"answers": {"0" * 16: "111114"}}]}, "a choice"),
    ],
    ids=["network", "schema", "twice", "name", "fewer", "digit", "choice"],
)
def test_saved_answers_that_were_changed_are_refused(run, kept, tmp_path, change, fact):
    write_sheet(run, kept, tmp_path / "sheet.html")
    key = read_key(run)
    ann = ul.read_answers(run, write_answers(tmp_path / "ann.csv", key, everybody(key)))
    ul.report(run, ann)
    path = run / "labels.answers.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ul.UnitlensError, match=rf"labels\.answers\.json is damaged.*{fact}.*or remove the file"):
        ul.open_labels(run)
    ul.report(run, ann, overwrite=True)
    assert ul.open_labels(run).answers.sheets == ann.sheets


def test_labels_that_take_the_place_of_others_do_not_hide_damaged_answers(run, kept, tmp_path, shell):
    write_sheet(run, kept, tmp_path / "sheet.html")
    answers = write_answers(tmp_path / "ann.csv", read_key(run), everybody(read_key(run)))
    ul.report(run, ul.read_answers(run, answers))
    saved = (run / "labels.answers.json").read_text()
    (run / "labels.answers.json").write_text(saved[:-5])
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    others = ul.given_labels(ul.open_run(run), {0: "red"}, method="mine")
    with pytest.raises(ul.UnitlensError, match=r"labels\.answers\.json is damaged"):
        ul.report(run, others, overwrite=True)
    said = shell("label", run, "--formulas", 1, "--overwrite")  # without the images, as nothing is computed
    assert said.code == 2
    assert "labels.answers.json is damaged" in said.err
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    assert shell("label", run, "--answers", answers, "--overwrite").code == 0
    assert (run / "labels.answers.json").read_text() == saved
    ul.report(run, others, overwrite=True)
    assert ul.open_labels(run).answers.answers == 12


def test_answers_that_take_the_place_of_others_do_not_hide_damaged_labels(run, kept, tmp_path):
    write_sheet(run, kept, tmp_path / "sheet.html")
    ann = ul.read_answers(run, write_answers(tmp_path / "ann.csv", read_key(run), everybody(read_key(run))))
    (run / "labels.json").write_text("{}")
    with pytest.raises(ul.UnitlensError, match=r"labels\.csv is damaged"):
        ul.report(run, ann, overwrite=True)
    assert not (run / "labels.answers.json").exists()
    others = ul.given_labels(ul.open_run(run), {0: "red"}, method="mine")
    ul.report(run, others, ann, overwrite=True)
    assert ul.open_labels(run).answers.answers == 12


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"sheet,rater,question\n", ["no column choice"]),
        (b"sheet,rater,question,choice\n", ["no answers"]),
        (b"sheet,rater,question,choice\nother,ann,1,1\n", ["row 1", "'other'"]),
        (b"sheet,rater,question,choice\nKEY,,1,1\n", ["row 1", "rater"]),
        (b"sheet,rater,question,choice\nKEY,ann,7,1\n", ["question is '7'", "1 to 6"]),
        (b"sheet,rater,question,choice\nKEY,ann,1,0\n", ["choice is '0'", "1 to 3"]),
        (b"sheet,rater,question,choice\nKEY,ann,1,\xd9\xa1\n", ["choice is"]),
        (b"sheet,rater,question,choice\nKEY,ann,1\n", ["choice is ''"]),
        (b"sheet,rater,question,choice\nKEY,ann,1,1\nKEY,ann,1,2\n", ["row 2", "two ways"]),
        (b"sheet,rater,question,choice\nKEY,ann,1,\x00\n", ["choice is"]),
        (b"sheet,rater,question,choice\nKEY,a\x00,1,1\n", ["row 1", "rater"]),
        (b"\xff\xfe", ["cannot be read"]),
    ],
)
def test_answers_that_are_none_are_refused_with_their_facts(run, kept, tmp_path, content, facts):
    write_sheet(run, kept, tmp_path / "sheet.html")
    (tmp_path / "answers.csv").write_bytes(content.replace(b"KEY", read_key(run).sheet.encode()))
    with pytest.raises(ul.UnitlensError) as refused:
        ul.read_answers(run, tmp_path / "answers.csv")
    assert all(fact in str(refused.value) for fact in facts), str(refused.value)


def test_answers_by_very_many_people_are_refused(run, kept, tmp_path):
    write_sheet(run, kept, tmp_path / "sheet.html")
    key = read_key(run)
    most = write_answers(tmp_path / "most.csv", key, {(f"r{number}", 1): 1 for number in range(1000)})
    one = write_answers(tmp_path / "one.csv", key, {("another", 1): 1})
    assert len(ul.read_answers(run, most).raters) == 1000
    with pytest.raises(ul.UnitlensError, match=r"one\.csv, row 1: there are answers by more than 1000 people"):
        ul.read_answers(run, most, one)
    with pytest.raises(ul.UnitlensError, match=r"1001 people; up to 1000"):
        ul.read_answers(run, most).joined(ul.read_answers(run, one))


def test_answers_with_a_mark_in_front_and_other_line_ends_are_read(run, kept, tmp_path):
    write_sheet(run, kept, tmp_path / "sheet.html")
    text = f'\ufeffsheet,rater,question,choice\r\n{read_key(run).sheet},"Ann, ""A""",2,1\r\n'
    (tmp_path / "answers.csv").write_bytes(text.encode())
    ratings = ul.read_answers(run, tmp_path / "answers.csv")
    assert ratings.chosen[0].tolist() == [-1, 0, -1, -1, -1, -1]
    assert not any("Ann" in rater for rater in ratings.raters)


@pytest.mark.parametrize(
    "change",
    [{"schema": 9}, {"questions": [{}]}, {"seed": "x"}, {"questions": "no"}],
    ids=["schema", "field", "seed", "list"],
)
def test_a_key_that_was_changed_is_refused(run, kept, tmp_path, change):
    write_sheet(run, kept, tmp_path / "sheet.html")
    path = run / "labels.sheet.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ul.UnitlensError, match=r"labels\.sheet\.json"):
        ul.read_answers(run, tmp_path / "answers.csv")


def test_without_a_sheet_answers_cannot_be_read(run, tmp_path):
    with pytest.raises(ul.UnitlensError, match=r"has no labels\.sheet\.json"):
        ul.read_answers(run, tmp_path / "answers.csv")


def test_the_command_writes_a_sheet_and_reads_answers(shell, sees, world, tmp_path):
    shell("dissect", *sees, "--data", world, "--out", "run", "--keep-activations")
    said = shell("label", "run", "--sheet", "sheet.html", "--units", "0,1", "--choices", 2, "--seed", 3)
    assert said.code == 0, said.err
    assert "the key to it is in run/" in said.out
    key = read_key(tmp_path / "run")
    assert [one.unit for one in key.questions] in ([0, 1], [1, 0])
    write_answers(tmp_path / "ann.csv", key, {("ann", 1): key.questions[0].right + 1})
    said = shell("label", "run", "--answers", "ann.csv")
    assert said.code == 0
    assert "dissection: 100 % right" in said.out
    assert "chance 50 %" in said.out
    assert "saved in run/: 1 answer, 1 of them new" in said.out
    write_answers(tmp_path / "bob.csv", key, {("bob", 1): 2 - key.questions[0].right, ("bob", 2): 1})
    said = shell("label", "run", "--answers", "ann.csv", "--answers", "bob.csv")
    assert "saved in run/: 3 answers, 2 of them new" in said.out
    assert "3 answers to 2 questions by 2 people" in said.out
    write_answers(tmp_path / "ann.csv", key, {("ann", 1): 2 - key.questions[0].right})
    said = shell("label", "run", "--answers", "ann.csv")
    assert said.code == 2
    assert "answers question 1" in said.err
    assert "--overwrite" in said.err
    assert shell("label", "run", "--answers", "ann.csv", "--overwrite").code == 0
    assert ul.open_labels(tmp_path / "run").answers.answers == 1
    said = shell("label", "run", "--sheet", "other.html", "--formulas", 1)
    assert said.code == 2
    assert "run has a sheet already: --overwrite replaces it, and answers to it that are not saved can then" in said.err
    assert not (tmp_path / "run/labels.csv").exists()  # refused before anything is computed
    assert "--units is 'x'" in shell("label", "run", "--sheet", "s.html", "--units", "x").err
    assert "add --sheet PAGE" in shell("label", "run", "--choices", 3).err


def test_all_that_is_asked_for_at_once_takes_one_pass(shell, sees, world, tmp_path):
    shell("dissect", *sees, "--data", world, "--out", "run")
    asked = ("--ranges", 2, "--unmeasured", "--sheet", "sheet.html", "--choices", 2, "--trust")
    said = shell("label", "run", *asked)
    assert said.code == 0, said.err
    assert said.err.count("one more pass over its images") == 1
    assert list(ul.open_labels(tmp_path / "run").methods) == ["ranges"]
    assert read_key(tmp_path / "run").sheet in (tmp_path / "sheet.html").read_text()


@pytest.mark.parametrize("damaged", [["labels.json"], ["labels.json", "labels.answers.json"], []])
def test_labels_and_answers_take_the_place_of_others_together(run, kept, tmp_path, shell, damaged):
    write_sheet(run, kept, tmp_path / "sheet.html")
    key = read_key(run)
    ann = write_answers(tmp_path / "ann.csv", key, everybody(key, ["ann"]))
    bob = write_answers(tmp_path / "bob.csv", key, everybody(key, ["bob"]))
    assert shell("label", run, "--answers", ann).code == 0
    (tmp_path / "given.csv").write_text("unit,label,layer\n0,red,0\n")
    for name in damaged:
        (run / name).write_text("{}")
    how = ("label", run, "--answers", bob, "--from", tmp_path / "given.csv", "--unmeasured")
    once = shell(*how)
    if damaged:
        assert once.code == 2
        assert "labels.csv is damaged" in once.err
        assert "label the run again with --overwrite" in once.err
    else:
        assert "12 answers, 6 of them new" in once.out
        assert list(ul.open_labels(run).methods) == ["mine", "given"]
    said = shell(*how, "--overwrite")
    assert said.code == 0, said.err
    assert "6 answers, 6 of them new" in said.out
    saved = ul.open_labels(run)
    assert list(saved.methods) == (["given"] if damaged else ["mine", "given"])
    assert (len(saved.answers.raters), saved.answers.answers) == (1, 6)
