import json
import re
from dataclasses import replace

import numpy as np
import pytest

import unitlens as ul
from unitlens.ablation.files import read_effects
from unitlens.comparison.entries import open_entries
from unitlens.dissection.reopening import Reopening
from unitlens.errors import UnitlensError, UnitlensWarning

pytestmark = pytest.mark.usefixtures("scenes_drawn_once")


@pytest.fixture(scope="module")
def net(scenes_drawn_once):
    return ul.load("bundled:scenes")


@pytest.fixture(scope="module")
def grouped(net):
    return ul.dissect(net, "relu6", ul.Scenes(48), groups="sequence:4", exemplars=0)


def unknown_network(info):
    """Run.json of a network that nobody has any more."""
    return {**info, "network": {**info["network"], "sha256": "0" * 64}}


def test_folds_are_those_of_the_groups(grouped):
    sizes = np.unique(list(grouped.groups.values()), return_counts=True)[1]
    record = grouped.info["data"]["groups"]
    assert record["count"] == len(sizes)
    assert record["largest"] == sizes.max() == 4
    assert grouped.settings.groups == "sequence:4"
    filled = (grouped.counts.judged_by_fold.max(1) > 0).sum()
    assert filled <= record["count"]


def test_a_saved_run_has_its_groups_again_and_they_are_used_without_being_given(grouped, net, tmp_path):
    grouped.save(tmp_path / "run")
    again = ul.open_run(tmp_path / "run")
    assert again.groups == grouped.groups
    data = Reopening.of(again.info, groups=again.groups).open_data()
    assert {data[index].name: data[index].group for index in range(48)} == grouped.groups
    checks = ul.audit(again, net, ul.Scenes(48), noise=0)
    assert (checks.table()["check"] == "half quantile").any()


def test_an_audit_by_groups_compares_the_halves_of_a_run_by_groups(grouped, net):
    alone = ul.dissect(net, "relu6", ul.Scenes(48), evidence=False, exemplars=0)
    regrouped = ul.audit(alone, net, ul.Scenes(48), groups="sequence:4", noise=0)
    count = grouped.info["data"]["groups"]["count"]
    assert any(f"the {count} groups" in note for note in regrouped.notes)
    own = ul.audit(replace(grouped, info=unknown_network(grouped.info)))  # halves alone, from the counts of the run
    columns = ["unit", "check", "check_concept", "check_iou", "concept_iou"]
    found = regrouped.units[regrouped.units["check"].isin(["even folds", "odd folds"])]
    assert found[columns].reset_index(drop=True).equals(own.units[columns].reset_index(drop=True))
    with pytest.raises(UnitlensError, match=r"groups= .* pass over the images"):
        ul.audit(replace(alone, info=unknown_network(alone.info)), groups="sequence:4")
    with pytest.raises(UnitlensError, match="foldre"):
        ul.audit(alone, groups="foldre")


def test_groups_of_a_mapping_are_saved_too(net, tmp_path):
    names = [ul.Scenes(24)[index].name for index in range(24)]
    groups = {name: str(n // 2) for n, name in enumerate(names)}
    run = ul.dissect(net, "relu6", ul.Scenes(24), groups=groups, evidence=False, exemplars=0)
    run.save(tmp_path / "run")
    assert ul.open_run(tmp_path / "run").groups == run.groups
    assert run.settings.groups.startswith("given:")


@pytest.mark.parametrize("edit", ["change", "remove", "drop a line", "add a line", "empty"])
def test_groups_that_were_changed_are_noticed(grouped, tmp_path, edit):
    grouped.save(tmp_path / "run")
    file = tmp_path / "run" / "groups.csv"
    lines = file.read_text().splitlines()
    if edit == "remove":
        file.unlink()
    elif edit == "empty":
        file.write_text("")
    elif edit == "add a line":
        file.write_text("\n".join([*lines, lines[-1]]))
    elif edit == "drop a line":
        file.write_text("\n".join(lines[:-1]))
    else:
        file.write_text("\n".join([*lines[:-1], lines[-1].split(",")[0] + ",another"]))
    with pytest.raises(UnitlensError, match=r"groups\.csv"):
        ul.open_run(tmp_path / "run")


def test_runs_of_the_same_images_in_other_groups_are_not_paired(grouped, net):
    alone = ul.dissect(net, "relu6", ul.Scenes(48), exemplars=0, evidence=False)
    first, second = open_entries([grouped, alone])
    assert first.same_images(first)
    assert not first.same_images(second)


def test_few_groups_have_no_intervals_and_a_note_says_the_smallest_p_value(net):
    run = ul.dissect(net, "relu6", ul.Scenes(48), groups="sequence:16", exemplars=0)
    notes = " ".join(run.info["warnings"])
    count = run.info["data"]["groups"]["count"]
    assert f"{count} groups" in notes
    assert run.table()["iou_low"].isna().all()
    assert run.table()["p_value"].min() > 0


def test_near_copies_are_noticed_and_auto_takes_them(net):
    class Twice:
        """Scenes, each of them twice."""

        scenes = ul.Scenes(16)
        concepts = scenes.concepts
        source = "twice"

        def __len__(self):
            return 32

        def __getitem__(self, index):
            example = self.scenes[index // 2]
            brighter = np.clip(example.image.astype(int) + 4 * (index % 2), 0, 255).astype(np.uint8)
            return example._replace(name=f"{index:02d}.png", image=brighter)

    with pytest.warns(UnitlensWarning, match=r"32 of the 32 images .* 16 groups"):
        ul.dissect(net, "relu6", Twice(), exemplars=0)
    with pytest.warns(UnitlensWarning, match=r"32 of the 32 images .* 16 groups"):
        ul.ablate(net, "relu6", [3], Twice(), draws=0)
    run = ul.dissect(net, "relu6", Twice(), groups="auto", exemplars=0)
    assert run.info["data"]["groups"]["count"] == 16


def test_effects_are_measured_on_halves_of_groups(net):
    data = ul.Scenes(24)
    with pytest.warns(UnitlensWarning, match=r"24 images .* in 1 groups fill 1 of 32 folds"):
        effects = ul.importance(net, "relu6", data, groups=["one"] * 24)
    halves = [effects.measured.tally.half(half).images.sum() for half in ("even", "odd")]
    assert sorted(halves) == [0, 24]
    assert len(effects.measured.tally.images) == 32  # by fold, for intervals by group
    assert effects.info["data"]["groups"]["count"] == 1


def test_effects_of_few_groups_have_no_intervals_and_say_so(net, tmp_path):
    with pytest.warns(UnitlensWarning, match=r"3 groups fill 2 of 32 folds, fewer than 8"):
        effects = ul.ablate(net, "relu6", [3], ul.Scenes(24), groups=["one", "two", "three"] * 8, draws=0)
    table = effects.table()
    assert table[["low", "high", "q_value"]].isna().all(axis=None)
    assert table["effect"].notna().all()
    page = ul.report(tmp_path / "run", effects).read_text()
    assert "fill 2 of 32 folds" in page
    assert not re.search(r"[+-]nan|\bnan\b", page)
    again = read_effects(tmp_path / "run")
    assert again.first.table().equals(table)


def test_effects_say_how_many_groups_their_images_form(net, tmp_path):
    data = ul.Scenes(24)
    record = ul.dissect(net, "relu6", data, groups="sequence:4", exemplars=0, evidence=False).info["data"]["groups"]
    with pytest.warns(UnitlensWarning, match="fewer than 8"):
        effects = ul.ablate(net, "relu6", [3], data, groups="sequence:4", draws=0, measures=["recall"])
    ul.report(tmp_path / "run", effects)
    assert read_effects(tmp_path / "run").first.info["data"]["groups"] == record
    assert ul.ablate(net, "relu6", [3], data, draws=0, measures=["recall"]).info["data"]["groups"] is None


def test_run_json_holds_how_many_groups_there_are(grouped, tmp_path):
    grouped.save(tmp_path / "run")
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["data"]["groups"] == grouped.info["data"]["groups"]
