"""A measurement that is stopped by anything goes on where it was, and ends with the bits of an undisturbed one."""

import errno
import os

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.ablation.work.stopping import (
    IMAGES,
    Stopping,
    arrays_of,
    assert_same,
    commit_always,
    experiment,
    measured_in_parts,
)
from unitlens.ablation.outcomes.effects import unit_outcomes
from unitlens.ablation.outcomes.named import image_outcomes
from unitlens.ablation.responses.counting import PredictionTally
from unitlens.ablation.work.kept import NOTHING_KEPT, Kept
from unitlens.ablation.work.keys import NoKeyError, key_of
from unitlens.dissection.store import folder as store_folder
from unitlens.dissection.store import manifest

SETS = [((0, 3),), ((1,),)]


@pytest.fixture(autouse=True)
def often(monkeypatch):
    commit_always(monkeypatch)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sets", [None, pytest.param(SETS, marks=pytest.mark.slow)])
def test_effects_that_are_stopped_again_and_again_end_as_if_they_were_not(tmp_path, sets):
    whole = experiment(Stopping(), NOTHING_KEPT).measure(sets)
    data = Stopping()
    for data.at in (2, 5, 13, 21):
        with pytest.raises(KeyboardInterrupt) as stopped:
            experiment(data, Kept(tmp_path / "kept")).measure(sets)
        notes = getattr(stopped.value, "__notes__", [""])
        assert (f"Kept up to image {data.at // 4 * 4} of {IMAGES}" in notes[0]) == (data.at >= 4)
    data.at, data.read = None, []
    kept = Kept(tmp_path / "kept")
    assert_same(experiment(data, kept).measure(sets), whole)
    assert set(data.read) == {*range(4), 10, 19, *range(20, 22)}  # the first batch, some to compare, and those left
    data.read = []
    assert_same(experiment(data, kept).measure(sets), whole)
    assert max(data.read.count(index) for index in range(IMAGES)) == 2  # nothing was measured again
    kept.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("count", "sets"), [(2, None), pytest.param(7, SETS, marks=pytest.mark.slow)])  # of 6 batches
def test_parts_add_to_the_bits_of_one_process(count, sets):
    whole = experiment(Stopping(classless=range(6)), NOTHING_KEPT).measure(sets)
    assert_same(measured_in_parts(Stopping(classless=range(6)), count, sets), whole)


def refusing(patch, kind, *, after):
    """Let the system refuse to write the kept, by whatever way, after so many times."""
    left = [after]

    def refuse(function):
        def refused(*arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(kind, os.strerror(kind), str(arguments[0]))
            return function(*arguments, **options)

        return refused

    patch.setattr(os, "pwrite", refuse(os.pwrite))
    patch.setattr(os, "mkdir", refuse(os.mkdir))
    for module in (manifest, store_folder):
        patch.setattr(module, "replace_file", refuse(module.replace_file))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [errno.ENOSPC, pytest.param(errno.EROFS, marks=pytest.mark.slow)])
def test_where_nothing_more_can_be_written_it_goes_on_once_that_is_mended(tmp_path, monkeypatch, kind):
    whole = experiment(Stopping(), NOTHING_KEPT).measure(SETS)
    for after in (0, 1, 3, 6, 9, 11):
        with monkeypatch.context() as patch:
            refusing(patch, kind, after=after)
            with pytest.raises(ul.UnitlensError, match=os.strerror(kind)):
                experiment(Stopping(), Kept(tmp_path / "kept")).measure(SETS)
    data = Stopping()
    assert_same(experiment(data, Kept(tmp_path / "kept")).measure(SETS), whole)
    assert len(set(data.read)) < IMAGES


@pytest.mark.filterwarnings("ignore")
def test_outcomes_go_on(tmp_path):
    asked = image_outcomes(["output:a", "distance"])
    whole = unit_outcomes(experiment(Stopping(), NOTHING_KEPT), asked)
    with pytest.raises(ul.UnitlensError, match="gone"):
        unit_outcomes(experiment(Stopping(at=9, error=ul.UnitlensError("gone")), Kept(tmp_path)), asked)
    assert arrays_of(unit_outcomes(experiment(Stopping(), Kept(tmp_path)), asked).tally) == arrays_of(whole.tally)


@pytest.mark.filterwarnings("ignore")
def test_means_are_found_once(tmp_path):
    whole = experiment(Stopping(), NOTHING_KEPT, value="mean").measure(SETS)
    data, kept = Stopping(), Kept(tmp_path)  # no image is looked at for them again
    experiment(data, kept, value="mean").values("first")
    data.at = 0
    again = experiment(data, kept, value="mean").values("first")
    data.at = None
    assert (
        again.replacement.value.tolist()
        == experiment(data, kept, value="mean").values("first").replacement.value.tolist()
    )
    assert_same(experiment(data, kept, value="mean").measure(SETS), whole)


@pytest.mark.filterwarnings("ignore")
def test_an_error_within_a_batch_counts_nothing_twice(tmp_path, monkeypatch):
    whole = experiment(Stopping(), NOTHING_KEPT).measure(SETS)
    calls, add_outcome = [], PredictionTally.add_outcome

    def fail(*arguments):
        calls.append(len(calls))
        if len(calls) in (3, 5):  # when the predictions of the third and the fourth batch are counted
            raise KeyboardInterrupt
        add_outcome(*arguments)

    monkeypatch.setattr(PredictionTally, "add_outcome", fail)
    for images in (8, 12):
        with pytest.raises(KeyboardInterrupt) as stopped:
            experiment(Stopping(), Kept(tmp_path)).measure(SETS)
        assert f"Kept up to image {images}" in stopped.value.__notes__[0]
    assert_same(experiment(Stopping(), Kept(tmp_path)).measure(SETS), whole)


@pytest.mark.filterwarnings("ignore")
def test_another_question_is_measured_for_itself(tmp_path):
    kept = Kept(tmp_path)
    for sets, size in ((SETS, 4), (SETS[:1], 4), (SETS, 5)):
        made = experiment(Stopping(), kept, batch_size=size).measure(sets)
        assert_same(made, experiment(Stopping(), NOTHING_KEPT, batch_size=size).measure(sets))
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.filterwarnings("ignore")
def test_images_that_have_changed_meanwhile_are_not_mixed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        experiment(Stopping(at=9), Kept(tmp_path)).measure(SETS)
    with pytest.raises(ul.UnitlensError, match="is not what it was when 8 of 22 images"):
        experiment(Changed(), Kept(tmp_path)).measure(SETS)
    whole = experiment(Changed(), NOTHING_KEPT).measure(SETS)
    assert_same(experiment(Changed(), Kept(tmp_path, replace=True)).measure(SETS), whole)


class Changed(Stopping):
    def __getitem__(self, index):
        example = super().__getitem__(index)
        example.image[0, 0] = 7
        return example


def test_a_key_tells_questions_apart_and_knows_none_of_what_it_cannot_compare():
    values = [1, 1.0, "1", None, True, (1,), [1], {"a": 1}, {"b": 1}, np.ones(2), np.ones(3), torch.ones(2), key_of]
    keys = {key_of(value) for value in values}
    assert len(keys) == len(values)  # a tensor is told from an array by its type of number
    assert key_of(np.ones(2)) == key_of(np.ones(2))
    with pytest.raises(NoKeyError):
        key_of(lambda: None)
