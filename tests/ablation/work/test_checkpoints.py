"""What `checkpoint=` keeps of calls in Python: they go on where they were stopped, and are answered from there."""

import numpy as np
import pandas as pd
import pytest

import unitlens as ul
from tests.ablation.work.stopping import NET, Stopping, commit_always
from tests.worlds.generators import painted, painter
from unitlens.ablation.attribution import attributions
from unitlens.ablation.work.kept import Kept
from unitlens.data.pixels.files import UnreadableError
from unitlens.data.reading import noting_unread
from unitlens.processes import _LAUNCH

CALLS = {
    "importance": lambda data, **how: ul.importance(NET, "first", data, **how).table(),
    "ablate": lambda data, **how: ul.ablate(NET, "first", [0, 3], data, draws=0, **how).table(),
    "curve": lambda data, **how: ul.ablation_curve(NET, "first", "a", data, top=2, draws=1, **how).table(),
    "outcomes": lambda data, **how: ul.outcome_effects(NET, "first", data, "distance", **how).table(),
}


@pytest.fixture(autouse=True)
def often(monkeypatch):
    commit_always(monkeypatch)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "importance" else pytest.mark.slow) for name in CALLS]
)
def test_a_call_that_was_stopped_goes_on(tmp_path, name):
    call = CALLS[name]
    whole = call(Stopping(), batch_size=4)
    with pytest.raises(KeyboardInterrupt) as stopped:
        call(Stopping(at=13), batch_size=4, checkpoint=tmp_path / "kept")
    assert "Kept up to image 12" in stopped.value.__notes__[0]
    for _ in range(2):
        again = call(Stopping(), batch_size=4, checkpoint=tmp_path / "kept")
        pd.testing.assert_frame_equal(again, whole)


@pytest.mark.filterwarnings("ignore")
def test_several_calls_share_what_is_kept(tmp_path):
    with ul.keeping(tmp_path / "kept") as kept:
        ranking = ul.importance(NET, "first", Stopping(), batch_size=4, checkpoint=kept)
        data = Stopping()
        again = ul.importance(NET, "first", data, batch_size=4, checkpoint=kept)
        with pytest.raises(ul.UnitlensError, match="Another process is at work in"), ul.keeping(tmp_path / "kept"):
            pass
    pd.testing.assert_frame_equal(again.table(), ranking.table())
    assert len(set(data.read)) < 8  # the first batch, and those that are compared with what was read before
    assert (tmp_path / "kept").is_dir()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", [0, "mean"])
def test_images_that_were_left_out_before_are_noted_where_the_answer_is_kept(tmp_path, value):
    unreadable = Stopping(at=21, error=UnreadableError("it is gone"))
    for data in (unreadable, Stopping()):
        with noting_unread() as unread:
            ul.ablate(NET, "first", [0, 3], data, value=value, draws=0, checkpoint=tmp_path / "kept")
        assert len(unread) == (2 if value == "mean" else 1)


def test_an_older_store_that_does_not_say_what_was_left_out_is_not_of_all_images(tmp_path):
    kept = Kept(tmp_path)
    found = {"tensor": np.ones(2, np.float32)}
    with kept.store("key") as store:
        store.commit(images=0, complete=True, arrays={"found": found})
    with noting_unread() as unread:
        assert kept.arrays("key", dict)["tensor"].tolist() == [1, 1]
    assert len(unread) == 1


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(ul.UnitlensError, match=r"run holds other files: choose a folder that is empty"):
        ul.importance(NET, "first", Stopping(), checkpoint=tmp_path / "run")
    with pytest.raises(ul.UnitlensError, match=r"checkpoint=3 is not a folder: give its path"):
        ul.importance(NET, "first", Stopping(), checkpoint=3)


def test_attributions_are_computed_once(tmp_path):
    pytest.importorskip("captum")
    method, data = ("activation_x_gradient",), Stopping()
    first = attributions(NET, "first", data, methods=method, checkpoint=tmp_path)
    data.at = 0
    again = attributions(NET, "first", data, methods=method, checkpoint=tmp_path)
    assert again.classes == first.classes
    assert (again.by_method[method[0]] == first.by_method[method[0]]).all()


def test_what_is_drawn_goes_on(tmp_path):
    net, latents = painter(8, extra=2), painted(24, extra=2)
    first, again = (
        ul.intervene(net, "layer", [0, 1], latents, draws=1, examples=0, batch_size=8, checkpoint=tmp_path)
        for _ in range(2)
    )
    pd.testing.assert_frame_equal(again.table(), first.table())
    assert list(tmp_path.glob("*/manifest.json"))


def test_processes_open_one_checkpoint_for_all_calls(tmp_path, monkeypatch):
    for name in _LAUNCH:
        monkeypatch.setenv(name, "2")
    with pytest.raises(ul.UnitlensError, match=r"with unitlens.keeping\('.*kept'\) as kept"):
        ul.importance(NET, "first", Stopping(), checkpoint=tmp_path / "kept")
