import re
from dataclasses import replace

import pandas as pd
import pytest

import unitlens as ul
from tests.worlds.planted import ColourWorld, colour_net
from unitlens.cli.text import summarize
from unitlens.dissection.sentences.headline import describe_context, undecided_units, untrained_detectors
from unitlens.errors import shell_sentences
from unitlens.pages.comparison import render_comparison
from unitlens.pages.writing import render_page


def small(net=None, **options):
    return ul.dissect(
        colour_net() if net is None else net, "pool", ColourWorld(48), quantile=0.05, grid=8, exemplars=0, **options
    )


def headlines(d):
    """The text of a result, of the command and of its page."""
    with shell_sentences():
        said = summarize(d)
    return repr(d), said, render_page(d.files())


def test_without_an_untrained_copy_every_headline_says_so_and_what_to_type():
    text, said, page = headlines(small())
    for headline in (text, said, page):
        assert "compared with the labels of other images, but with no untrained copy" in headline
    assert "control='untrained'" in text
    assert "--control untrained" in said
    assert "--control untrained" in page


def test_the_detectors_of_untrained_copies_stand_beside_those_of_the_network():
    one, three = small(control="untrained"), small(control="untrained:3")
    number = untrained_detectors(one.info)[0]
    for headline in headlines(one):
        assert f"with an untrained copy, which has {number} detector" in headline
    numbers = untrained_detectors(three.info)
    assert len(numbers) == 3
    assert numbers[0] == number
    for headline in headlines(three):
        assert f"with 3 untrained copies, which have {min(numbers)} to {max(numbers)} detectors" in headline


def test_random_weights_are_said_first():
    random = ul.load("bundled:scenes", weights="none")
    d = ul.dissect(random, None, "bundled:scenes", limit=24, exemplars=0)
    text, said, page = headlines(d)
    assert said.startswith("The weights are random")
    assert text.index("weights are random") < text.index("detectors")
    assert page.index("The weights are random") < page.index("<dt>detectors")
    assert "weights are random" not in repr(small())


def test_without_evidence_nothing_was_compared():
    for headline in headlines(small(evidence=False)):
        assert "chance was not tested" in headline


def test_a_comparison_says_which_weights_are_random_and_what_detectors_were_compared_with():
    trained = small()
    random = replace(trained, info={**trained.info, "network": {**trained.info["network"], "weights": "none"}})
    with pytest.warns(ul.UnitlensWarning, match="differ in evidence"):
        compared = ul.compare(trained, random, small(evidence=False), names=["one", "two", "three"])
    page = render_comparison(compared)
    for headline in (compared.summary(), compared._repr_html_(), page):
        assert "The weights of two are random" in headline
        assert "Detectors of two were compared with the labels of other images, but with no untrained copy" in headline
        assert "Detectors of three were compared with nothing" in headline
    assert re.search(r"two \d+ \(random weights\)", repr(compared))
    assert ul.compare(trained, random).remarks()[-1].startswith("Detectors were compared with the labels")


@pytest.mark.parametrize(
    ("p_values", "undecided"),
    [([0.01, 0.02, 0.03, 0.7], 2), ([0.2, 0.3, 0.6, 0.9], 0), ([0.6, 0.7, 0.8], 0), ([0.1], 1), ([], 0)],
)
def test_units_context_are_undecided_as_far_as_more_p_values_are_small_than_large(p_values, undecided):
    rows = [{"verdict": "context", "context_p": p_value} for p_value in p_values]
    rows += [{"verdict": "detector", "context_p": 0.001}, {"verdict": "chance", "context_p": 0.9}]
    table = pd.DataFrame(rows)
    assert undecided_units(table) == undecided
    assert (f"about {undecided} of them for want of images" in describe_context(table)) == (undecided > 0)
    assert describe_context(table).startswith(f"{len(p_values)} more go") == bool(p_values)


@pytest.mark.parametrize(
    ("detectors", "said"), [(1, "1 of 4 units is a detector, of 1 concept;"), (2, "2 of 4 units are")]
)
def test_numbers_agree_with_their_words(dissection, detectors, said):
    part = dissection["0"]
    table = part.table()
    lost = table.index[table["detector"]][detectors:]
    table.loc[lost, ["detector", "verdict"]] = [False, "weak"]
    changed = replace(part, _units=table)
    assert said in repr(changed)
    assert summarize(changed).startswith(said.rstrip(";"))
