"""Passes and measurements in which anything was changed are gone on with, or refused in a sentence."""

from contextlib import suppress

import numpy as np
import pytest

import unitlens as ul
from tests.ablation.work import stopping
from tests.dissection.work.small_world import NET, OPTIONS, Stopping, assert_same, commit_always, dissect
from tests.faults.changed_stores import mutated
from tests.faults.hostile import watched
from unitlens.ablation.work.kept import Kept
from unitlens.dissection.store import folder as store_folder
from unitlens.dissection.store import layers as store_layers
from unitlens.dissection.store.manifest import Manifest

SETS = [((0, 3),), ((1,),)]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Two parts of the images, a dissection and a measurement that were stopped."""
    root = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        commit_always(patch)
        for part in range(2):
            few = OPTIONS | {"evidence": False, "exemplars": 1}
            if part == 1:  # maps are kept as what is not 0, in this part and in what was stopped
                patch.setattr(store_folder, "SPARSE", 1.0)
                patch.setattr(store_layers, "FEW", 1.0)
            ul.dissect_part(
                NET, ["conv", "pool"], Stopping(), shard=(part + 1, 2), checkpoint=root / f"part{part}", **few
            )
        with pytest.raises(KeyboardInterrupt):
            dissect(Stopping(at=9), root / "stopped", evidence=False)
        with pytest.raises(KeyboardInterrupt):
            measure(root / "measured", at=13)
    return root


def measure(folder, **stopped):
    return stopping.experiment(stopping.Stopping(**stopped), Kept(folder)).measure(SETS)


def use(kept, number, folder):
    """Change one thing, and go on; whether that was possible."""
    with suppress(ul.UnitlensError):
        if number % 3 == 0:
            changed, other = ("part0", "part1")[:: 1 if number % 2 else -1]
            ul.merge([mutated(kept / changed, folder, number), kept / other])
        elif number % 3 == 1:
            dissect(Stopping(), mutated(kept / "stopped", folder, number), evidence=False)
        else:
            measure(mutated(kept / "measured", folder, number))
        return True
    return False


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", range(0, 120, 30))
def test_any_change_is_refused_or_of_no_harm(kept, tmp_path, first):
    (tmp_path / "secret").mkdir()
    with watched(tmp_path / "secret"):
        done = [use(kept, number, tmp_path / "changed") for number in range(first, first + 30)]
    assert 0 < sum(done) < 30


def test_nothing_is_written_where_links_lead(tmp_path, monkeypatch):
    commit_always(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        dissect(Stopping(at=9), tmp_path / "kept", layers=("pool",), evidence=False)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.rows").write_text("mine")
    store = tmp_path / "kept" / "0-network"
    for place, target in (("thumbnails.rows", mine / "notes.rows"), ("maps", mine), ("", mine)):
        moved = store.with_name("moved")
        (store / place).rename(moved)
        (store / place).symlink_to(target)
        with pytest.raises(ul.UnitlensError, match=r"of a store|a link"):
            dissect(Stopping(), tmp_path / "kept", layers=("pool",), evidence=False)
        (store / place).unlink()
        moved.rename(store / place)
    assert [path.read_text() for path in mine.iterdir()] == ["mine"]
    assert Manifest.read(store).images == 8


def test_many_categories_and_classes_that_are_any_number_are_read_again(tmp_path, monkeypatch):
    commit_always(monkeypatch)

    class Many(Stopping):
        concepts = tuple(ul.Concept(f"kind {k}", 1, f"thing {k}") for k in range(70))

        def __getitem__(self, index):
            planes = {f"kind {k}": [np.full((32, 32), int(k == index % 70))] for k in range(70)}
            return super().__getitem__(index)._replace(planes=planes, class_=0.5)

    few = {"layers": ("pool",), "evidence": False, "exemplars": 0}
    with pytest.raises(KeyboardInterrupt):
        dissect(Many(at=9), tmp_path / "kept", **few)
    assert_same(dissect(Many(), tmp_path / "kept", **few), dissect(Many(), **few))
