import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest

import unitlens as ul
from tests.worlds.coloured import write_world
from tests.worlds.planted import ColourWorld, InMemory, colour_net
from unitlens.comparison.audit_checks import baselines, check_halves, overlapping_concepts
from unitlens.comparison.audit_passes import with_noise
from unitlens.comparison.auditing import audit
from unitlens.comparison.columns import AUDIT_COLUMNS, AUDIT_SUMMARY_COLUMNS, CHECKS
from unitlens.comparison.entries import open_entries
from unitlens.data.batches import Batches
from unitlens.data.columns import Columns
from unitlens.data.reading import Reading
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.temporary import temporary_store

QUANTILE = 0.1
NET = colour_net()


@pytest.fixture(scope="module")
def world():
    return ColourWorld(48)


@pytest.fixture(scope="module")
def run(world):
    return ul.dissect(NET, ["pool", "head"], world, exemplars=0, quantile=QUANTILE)


@pytest.fixture(scope="module")
def audited(run, world):
    return audit(run, NET, world)


def entry_of(run, layer="pool"):
    return next(entry for entry in open_entries([run]) if entry.layer == layer)


def test_concepts_under_other_settings_equal_those_of_a_dissection_with_them(audited, world):
    changed = {
        "half quantile": {"quantile": QUANTILE / 2},
        "double quantile": {"quantile": QUANTILE * 2},
        "other upsampling": {"quantile": QUANTILE, "upsampling": "zeros"},
    }
    for check, options in changed.items():
        other = ul.dissect(NET, ["pool", "head"], world, exemplars=0, evidence=False, **options)
        for layer in ("pool", "head"):
            own = audited.units[(audited.units["check"] == check) & (audited.units["layer"] == layer)]
            if layer == "head" and check == "other upsampling":
                assert own.empty  # there is nothing to bring to a grid
                continue
            table = other[layer].table().iloc[own["unit"]]
            assert own["check_concept"].fillna("").tolist() == table["concept"].fillna("").tolist()
            assert np.allclose(own["check_iou"].fillna(-1), table["iou"].fillna(-1))
            for row in own.itertuples():
                assert row.concept_iou == other[layer].scores("iou").to_numpy()[row.unit, other.column(row.concept)]
                assert row.same_concept == (row.concept == row.check_concept)


def test_halves_equal_dissections_of_half_of_the_images(run):
    entry = entry_of(run)
    meet = entry.counts.intersection_by_fold(slice(0, entry.units))
    activated = entry.counts.activated_by_fold[:, :, entry.counts.category_of]
    found = {check.name: check.checked for check in check_halves(entry)}
    for name, first in (("even folds", 0), ("odd folds", 1)):
        kept = slice(first, None, 2)
        both, mask, concept = meet[:, kept].sum(1), activated[:, kept].sum(1), entry.counts.concept_by_fold[kept].sum(0)
        iou = both / (mask + concept - both)
        met = both.any(1)
        assert found[name].concept[met].tolist() == np.where(both > 0, iou, -1).argmax(1)[met].tolist()
        assert (found[name].concept[~met] == -1).all()
        assert np.allclose(found[name].iou[met], iou.max(1)[met])
        assert np.allclose(found[name].run_concept_iou, iou[np.arange(len(iou)), entry.concept])


def test_noise_is_drawn_image_by_image_and_clipped():
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    net = NET
    whole = with_noise(net, noise=0.02, seed=3).prepare(images)
    other = with_noise(net, noise=0.02, seed=3)
    assert torch.equal(whole, torch.cat([other.prepare(part) for part in images.split([1, 3, 2])]))
    assert whole.min() >= 0
    assert whole.max() <= 1
    middle = (images > 40) & (images < 215)
    added = (whole - net.prepare(images))[middle]
    assert added.std() == pytest.approx(0.02, rel=0.03)
    assert abs(float(added.mean())) < 0.001
    assert not torch.equal(whole, with_noise(net, noise=0.02, seed=4).prepare(images))
    assert torch.equal(with_noise(net, noise=0.0).prepare(images), net.prepare(images))


def test_strong_noise_changes_concepts(run, world, audited):
    drowned = audit(run, NET, world, noise=5.0).table().set_index(["layer", "check"])
    little = audited.table().set_index(["layer", "check"])
    assert little.loc[("pool", "noise"), "detectors_same_concept"] == 1
    assert drowned.loc[("pool", "noise"), "check_mean_iou"] < 0.6 * little.loc[("pool", "noise"), "check_mean_iou"]
    assert "noise" not in set(audit(run, NET, world, noise=0).units["check"])


def test_an_audit_repeats_in_other_batches(run, world, audited):
    before = torch.get_rng_state()
    again = audit(run, NET, world, batch_size=7)
    assert torch.equal(before, torch.get_rng_state())
    pd.testing.assert_frame_equal(again.units, audited.units)


def test_columns_are_the_documented_ones(audited):
    assert list(audited.units.columns) == list(AUDIT_COLUMNS)
    assert list(audited.table().columns) == list(AUDIT_SUMMARY_COLUMNS)
    assert set(audited.units["check"]) == set(CHECKS)
    assert list(dict.fromkeys(audited.table()["check"])) == list(CHECKS)


def test_shares_come_with_wilsons_intervals(audited):
    table = audited.table()
    for row in table.itertuples():
        exact = binomtest(round(row.same_concept * row.units), row.units).proportion_ci(method="wilson")
        assert (row.same_concept_low, row.same_concept_high) == pytest.approx((exact.low, exact.high))
        ends = row.detectors_same_concept_low, row.detectors_same_concept, row.detectors_same_concept_high
        assert list(ends) == sorted(ends) if row.detectors else np.isnan(ends).all()


def test_baselines_are_means_over_units(run):
    entry = entry_of(run)
    scores, table = run["pool"].scores("iou").to_numpy(), run["pool"].table()
    labelled = table["concept"].notna().to_numpy(bool)
    rows = {row["baseline"]: row for row in baselines(entry)}
    assert rows["concepts of the run"]["mean_iou"] == pytest.approx(table["iou"].mean())
    assert rows["concepts of the run, held out"]["mean_iou"] == pytest.approx(table["heldout_iou"].mean())
    assert rows["random concept"]["mean_iou"] == pytest.approx(scores[labelled].mean())
    assert rows["best single concept for all units"]["mean_iou"] == pytest.approx(scores[labelled].mean(0).max())
    concepts = [run.column(name) for name in table["concept"][labelled]]
    dealt = np.mean([scores[labelled][:, concept].mean() for concept in concepts])
    assert rows["concepts of the run, shuffled among the units"]["mean_iou"] == pytest.approx(dealt)
    frequent = rows["most frequent concept"]
    assert frequent["concept"] == "upper half"
    assert frequent["mean_iou"] == pytest.approx(scores[labelled, run.column("upper half")].mean())


def test_collisions_are_units_that_share_a_concept(audited, run):
    found = audited.collisions()
    table = run.table()
    for row in found.itertuples():
        same = table[(table["layer"] == row.layer) & (table["concept"] == row.concept)]
        assert same["unit"].tolist() == row.units
        assert len(row.units) > 1
    shared = table[table["concept"].notna()].groupby(["layer", "concept"]).size()
    assert len(found) == (shared > 1).sum()


def test_overlap_of_concepts_is_their_iou_where_both_are_judged():
    concepts = (
        *(ul.Concept("object", 1, "a"), ul.Concept("object", 2, "b")),
        *(ul.Concept("part", 1, "c"), ul.Concept("part", 2, "d")),
    )
    rng = np.random.default_rng(0)
    planes = []
    for number in range(12):
        objects, parts = rng.integers(0, 3, (8, 8)), rng.integers(-1, 3, (8, 8))
        planes.append(
            {"object": [objects], "part": [parts, rng.integers(0, 3, (8, 8))]} if number % 3 else {"object": [objects]}
        )
    data = InMemory(planes, concepts, size=8)
    columns = Columns.of(data.concepts)
    with temporary_store() as store:
        marked = LabelPlanes.start(columns, (8, 8), store)
        for batch in Batches(data, NET.preprocessing, Reading(batch_size=5), grid=(8, 8)):
            marked.add(batch.planes, batch.folds)
        found = {
            (row["concept"], row["other"]): row["iou"] for row in overlapping_concepts(marked, 12, columns.names())
        }
    expected = {}
    for one in range(4):
        for other in range(one + 1, 4):
            both = either = 0
            for named in planes:
                if "part" not in named and max(one, other) > 1:
                    continue
                holds, judged = [], np.ones((8, 8), bool)
                for concept in (one, other):
                    own = named[concepts[concept].category]
                    holds.append(np.any([plane == concepts[concept].label for plane in own], axis=0))
                    judged &= ~np.any([plane < 0 for plane in own], axis=0)
                both += (holds[0] & holds[1] & judged).sum()
                either += ((holds[0] | holds[1]) & judged).sum()
            expected["abcd"[one], "abcd"[other]] = both / either
    assert found.keys() == {pair for pair, iou in expected.items() if iou > 0}
    assert all(found[pair] == pytest.approx(expected[pair]) for pair in found)


# ---- what is needed may be gone, or other


def test_without_a_network_only_counts_are_checked(run):
    alone = audit(run)
    assert set(alone.units["check"]) == {"even folds", "odd folds"}
    assert alone.overlaps is None
    assert len(alone.notes) == 1
    assert "Only the counts of the run were checked" in alone.notes[0]
    assert len(alone.baselines())


def test_a_missing_network_is_noted_beside_given_data(run, world):
    alone = audit(run, data=world)
    assert "Only the counts of the run were checked" in alone.notes[0]


def test_given_networks_and_data_that_differ_are_errors(run, world):
    with pytest.raises(ul.UnitlensError, match=r"^The weights of ColourNet are not those of the run \(their SHA-256 "):
        audit(run, colour_net(extra=5), world)
    with pytest.raises(ul.UnitlensError, match=r"or what is marked in them, are not those of the run \(their SHA-256"):
        audit(run, NET, ColourWorld(48, seed=1))


@pytest.mark.parametrize("noise", [-1, np.nan, np.inf])
def test_noise_that_is_no_standard_deviation_is_refused_before_anything_is_opened(monkeypatch, shell, noise):
    monkeypatch.setattr("unitlens.comparison.auditing.open_run", None)
    monkeypatch.setattr("unitlens.cli.audit.begin", None)
    with pytest.raises(ul.UnitlensError, match=rf"^noise={noise} must be a standard deviation, such as 0\.02, or 0"):
        audit("run", noise=noise)
    said = shell("audit", "run", "--noise", noise)
    assert (said.code, f"--noise {float(noise)} must be a standard deviation" in said.err) == (2, True), said.err


@pytest.fixture
def saved(net_file, tmp_path):
    folder = write_world(tmp_path / "world", images=40)
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    ul.dissect(net, "0", folder, quantile=0.15, exemplars=0).save(tmp_path / "run")
    return tmp_path


def test_a_saved_run_opens_its_network_and_images(saved):
    found = audit(saved / "run", trust=True)
    assert found.notes == ()
    assert set(found.units["check"]) == set(CHECKS)
    moved = shutil.move(saved / "world", saved / "moved")
    assert set(audit(saved / "run", trust=True).units["check"]) == {"even folds", "odd folds"}
    pd.testing.assert_frame_equal(audit(saved / "run", data=moved, trust=True).units, found.units)


def test_changed_data_are_noted(saved):
    (saved / "world" / "images" / "00.png").unlink()
    assert re.search(r"has 39 images, the run has 40: give the data of ", audit(saved / "run", trust=True).notes[0])
    shutil.copy(saved / "world" / "images" / "01.png", saved / "world" / "images" / "00.png")
    assert "are not those of the run" in audit(saved / "run", trust=True).notes[0]


def test_the_command_writes_into_the_run(saved, shell, net_file):
    again = ("--network", f"{net_file}:build", "--workers", 0)
    said = shell("audit", saved / "run", *again, "--quiet")
    assert (said.code, said.out) == (0, "")
    said = shell("audit", saved / "run", *again)
    assert said.code == 0, said.err
    assert "noise: 100.0% of 3 units keep their concept" in said.out
    table = pd.read_csv(saved / "run" / "audit.csv")
    assert list(table.columns) == list(AUDIT_COLUMNS)
    summary = json.loads((saved / "run" / "audit.json").read_text())
    assert summary["run"]["network_sha256"] == ul.open_run(saved / "run").info["network"]["sha256"]
    assert [row["check"] for row in summary["checks"]] == list(CHECKS)
    assert shell("audit", saved / "nowhere").err.startswith(f"unitlens: {saved / 'nowhere'} holds no run")
    ul.report(saved / "run", ul.open_run(saved / "run"), overwrite=True)
    assert not list((saved / "run").glob("audit.*"))  # an audit of the run that was there
    shutil.rmtree(saved / "world")
    said = shell("audit", saved / "run", *again, "--quiet")
    assert said.code == 0
    assert "Only the counts of the run were checked" not in said.out


# ---- the page


def test_page_holds_everything_and_asks_for_nothing(audited, tmp_path):
    page = ul.report(tmp_path, audited).read_text()
    assert not re.search(r"https?://|<script src|@import|url\(", page)
    assert "default-src &#39;none&#39;" in page
    for said in ("Stability", "Baselines", "Shared concepts", "double quantile", "best single concept", "overlap most"):
        assert said in page
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).lower()


def test_the_page_has_the_notes(run, tmp_path):
    page = ul.report(tmp_path, audit(run)).read_text()
    assert "Only the counts of the run were checked" in page
    assert "overlap most" not in page


def test_saving_where_no_folder_can_be_made_is_an_error(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ul.UnitlensError, match=r"could not be made: .*; choose another folder\.$"):
        audit(run).save(tmp_path / "file" / "out")


def test_representations(audited):
    assert repr(audited).startswith("<Audit of pool, head; same concepts: even folds ")
    assert "half quantile" in audited._repr_html_()
