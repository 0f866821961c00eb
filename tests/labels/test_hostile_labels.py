"""Files of labels and answers from strangers are read or refused in a sentence, whatever is in them."""

import shutil
from contextlib import suppress

import numpy as np
import pytest

import unitlens as ul
from tests.faults.hostile import CODINGS, spoiled
from unitlens.labels.people.key import read_key

GIVEN = (
    b"\xef\xbb\xbflayer,unit,description,similarity,rank,chosen_on\r\n"
    b'0,1,"a ""green"" thing",0.5,1,other\r\n0,2,=cmd()!A0,1e-3,,other\r\n'
    b"4,2,(red OR green) AND NOT blue,,2,other\r\n"
)


@pytest.fixture(scope="module")
def run(net_file, tmp_path_factory):
    """A run with labels and a sheet; not to be changed."""
    from tests.worlds.coloured import write_world

    folder = tmp_path_factory.mktemp("hostile")
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    run = ul.dissect(net, ["0", "4"], write_world(folder / "world"), quantile=0.15, exemplars=2)
    (folder / "given.csv").write_bytes(GIVEN)
    ul.report(folder / "run", run, ul.given_labels(run, folder / "given.csv"))
    ul.sheet(folder / "run", folder / "sheet.html", net=net, data=folder / "world", choices=2, per_unit=5)
    return folder / "run"


def test_spoiled_labels_from_elsewhere(run, tmp_path):
    dissection = ul.open_run(run)
    for seed in range(200):
        (tmp_path / "given.csv").write_bytes(spoiled(GIVEN, np.random.default_rng(seed)))
        with suppress(ul.UnitlensError):
            ul.given_labels(dissection, tmp_path / "given.csv")


@pytest.mark.parametrize("name", ["labels.csv", "labels.json"])
def test_spoiled_labels_of_a_run(run, tmp_path, name):
    copy = shutil.copytree(run, tmp_path / "run")
    whole = (run / name).read_bytes()
    for seed in range(40):
        (copy / name).write_bytes(spoiled(whole, np.random.default_rng(seed)))
        with suppress(ul.UnitlensError):
            ul.open_labels(copy)


def test_spoiled_answers_of_a_run(run, tmp_path):
    copy, key = shutil.copytree(run, tmp_path / "run"), read_key(run)
    lines = [f"{key.sheet},ann,{number},1" for number in range(1, len(key.questions) + 1)]
    (tmp_path / "answers.csv").write_text("\n".join(["sheet,rater,question,choice", *lines, ""]))
    ul.report(copy, ul.read_answers(copy, tmp_path / "answers.csv"))
    path = copy / "labels.answers.json"
    whole = path.read_bytes()
    for seed in range(60):
        path.write_bytes(spoiled(whole, np.random.default_rng(seed)))
        with suppress(ul.UnitlensError):
            ul.open_labels(copy).answers.by_label()


def test_a_line_without_an_end_is_refused(run, tmp_path):
    (tmp_path / "answers.csv").write_text("sheet,rater,question,choice\n" + "," * (1 << 21))
    with pytest.raises(ul.UnitlensError, match=r"a line has 1,048,576 letters or more"):
        ul.read_answers(run, tmp_path / "answers.csv")


def test_spoiled_keys_and_answers(run, tmp_path):
    copy, key = shutil.copytree(run, tmp_path / "run"), read_key(run)
    lines = [f"{key.sheet},ann,{number},1" for number in range(1, len(key.questions) + 1)]
    answers = "\r\n".join(["sheet,rater,question,choice", *lines, ""]).encode()
    path = copy / "labels.sheet.json"
    whole = path.read_bytes()
    for seed in range(100):
        rng = np.random.default_rng(seed)
        (tmp_path / "answers.csv").write_bytes(spoiled(answers, rng) if seed % 2 else answers)
        path.write_bytes(whole if seed % 2 else spoiled(whole, rng))
        with suppress(ul.UnitlensError):
            ul.read_answers(copy, tmp_path / "answers.csv")


@pytest.mark.parametrize("change", CODINGS.values(), ids=CODINGS)
def test_labels_and_answers_in_other_codings(run, tmp_path, change):
    (tmp_path / "given.csv").write_bytes(change(GIVEN.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")))
    answers = f"sheet,rater,question,choice\n{read_key(run).sheet},ann,1,1\n".encode()
    (tmp_path / "answers.csv").write_bytes(change(answers))
    with suppress(ul.UnitlensError):
        ul.given_labels(ul.open_run(run), tmp_path / "given.csv")
    with suppress(ul.UnitlensError):
        ul.read_answers(run, tmp_path / "answers.csv")


@pytest.mark.slow
def test_a_million_rows_of_labels_and_answers(run, tmp_path):
    (tmp_path / "given.csv").write_bytes(b"layer,unit,label\n" + b"0,1,green\n" * 1_000_000)
    (tmp_path / "answers.csv").write_bytes(
        b"sheet,rater,question,choice\n" + f"{read_key(run).sheet},ann,1,1\n".encode() * 400_000
    )
    with suppress(ul.UnitlensError):
        ul.given_labels(ul.open_run(run), tmp_path / "given.csv")
    with suppress(ul.UnitlensError):
        ul.read_answers(run, tmp_path / "answers.csv")


def test_a_file_that_is_too_large_is_refused_unread(run, tmp_path):
    for name, most in (("given.csv", 1 << 28), ("answers.csv", 1 << 24)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(most + 1)
    with pytest.raises(ul.UnitlensError, match="more than 256 MB"):
        ul.given_labels(ul.open_run(run), tmp_path / "given.csv")
    with pytest.raises(ul.UnitlensError, match="more than 16 MB"):
        ul.read_answers(run, tmp_path / "answers.csv")
