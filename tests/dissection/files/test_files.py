import errno
import json
import os
import resource
import shutil

import numpy as np
import pandas as pd
import pytest

import unitlens as ul
from tests.worlds.coloured import everything_below, write_world
from unitlens.dissection import files as runs

FILES = {"run.json", "units.csv", "counts.safetensors", "exemplars.csv", "strips.safetensors"}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(action, sentence, **places):
    with pytest.raises(ul.UnitlensError) as error:
        action()
    text = str(error.value)
    for name, place in places.items():
        text = text.replace(str(place), name)
    assert text == sentence


def assert_same(one, other):
    pd.testing.assert_frame_equal(one.table(), other.table(), check_exact=True)
    assert one.layers == other.layers
    assert one.concepts == other.concepts
    for layer in one.layers:
        for name, array in one[layer].counts.arrays().items():
            np.testing.assert_array_equal(array, other[layer].counts.arrays()[name])
            assert array.dtype == other[layer].counts.arrays()[name].dtype
        np.testing.assert_array_equal(one[layer].scores("iou"), other[layer].scores("iou"))
        for unit in range(len(one[layer].table())):
            assert one[layer].top_images(unit) == other[layer].top_images(unit)
    assert one.files().strips == other.files().strips
    assert one.info == other.info


def test_a_run_is_read_back_as_it_was(dissection, tmp_path):
    assert dissection.save(tmp_path / "run") == tmp_path / "run"
    assert set(contents(tmp_path / "run")) == FILES
    assert_same(dissection, ul.open_run(tmp_path / "run"))


def test_saving_what_was_opened_gives_the_same_bytes(dissection, tmp_path):
    dissection.save(tmp_path / "one")
    ul.open_run(str(tmp_path / "one")).save(tmp_path / "other")
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


@pytest.mark.parametrize("how", [{"evidence": False}, {"exemplars": 0}, {"evidence": False, "exemplars": 0}])
def test_less_is_read_back_too(net, world, tmp_path, how):
    result = ul.dissect(net, ["0"], world, quantile=0.1, **how)
    result.save(tmp_path / "run")
    assert_same(result, ul.open_run(tmp_path / "run"))


def test_names_that_look_like_numbers_or_nothing_stay_names(net, world, tmp_path):
    (world / "concepts.csv").write_text("category,label,name\ncolor,1,1.0\ncolor,2,NA\ncolor,3,True\n")
    (world / "images" / "01.png").rename(world / "images" / "1.png")
    (world / "labels" / "color" / "01.png").rename(world / "labels" / "color" / "1.png")
    result = ul.dissect(net, "0", world, quantile=0.1)
    result.save(tmp_path / "run")
    opened = ul.open_run(tmp_path / "run")
    assert_same(result, opened)
    assert opened.table()["concept"].tolist()[:3] == ["1.0", "NA", "True"]
    assert opened["0"].units_for("NA", 1) == [1]


def test_one_concept_alone_is_read_back(net, world, tmp_path):
    from unitlens.data.readers.annotated import AnnotatedFolder

    for path in (world / "labels" / "color").iterdir():
        path.unlink()
    (world / "concepts.csv").write_text("category,label,name\ncolor,1,red\n")
    from PIL import Image

    from tests.worlds.coloured import blocks

    for number in range(14):
        Image.fromarray((blocks(number)[1] == 1).astype(np.uint8)).save(world / "labels" / "color" / f"{number:02}.png")
    result = ul.dissect(net, "0", AnnotatedFolder(world), quantile=0.1)
    result.save(tmp_path / "run")
    assert_same(result, ul.open_run(tmp_path / "run"))
    opened = ul.open_run(tmp_path / "run").table()
    assert opened["second_concept"].isna().all()
    assert opened["concept"].tolist()[0] == "red"


def test_missing_folders_are_made_and_readable_by_others(dissection, tmp_path):
    folder = dissection.save(tmp_path / "deep" / "er" / "run")
    assert folder.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    assert everything_below(tmp_path / "deep") == {"er", "er/run"} | {f"er/run/{name}" for name in FILES}


def test_an_existing_run_is_kept_without_overwrite(dissection, tmp_path):
    dissection.save(tmp_path / "run")
    before = contents(tmp_path / "run")
    refused(
        lambda: dissection.save(tmp_path / "run"),
        "RUN holds a run already: choose another folder, or replace it with overwrite=True.",
        RUN=tmp_path / "run",
    )
    assert contents(tmp_path / "run") == before


def test_overwriting_replaces_the_run_and_leaves_other_files(dissection, tmp_path):
    folder = dissection.save(tmp_path / "run")
    for name, text in {"report.html": "old", "effects.csv": "old", "units.csv": "old", "notes.txt": "mine"}.items():
        (folder / name).write_text(text)
    for name, text in {"figures": "mine", "interventions": "old"}.items():
        (folder / name).mkdir()
        (folder / name / "report.html").write_text(text)
    dissection["0"].save(folder, overwrite=True)
    assert everything_below(folder) == FILES | {"notes.txt", "figures", "figures/report.html"}
    assert (folder / "notes.txt").read_text() == (folder / "figures" / "report.html").read_text() == "mine"
    assert set(ul.open_run(folder).table()["layer"]) == {"0"}


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_of_other_files_is_never_written_to(dissection, tmp_path, overwrite):
    (tmp_path / "units.csv").write_text("mine")
    (tmp_path / "thesis.tex").write_text("mine")
    refused(
        lambda: dissection.save(tmp_path, overwrite=overwrite),
        "RUN holds other files and no run: choose another folder.",
        RUN=tmp_path,
    )
    assert everything_below(tmp_path) == {"units.csv", "thesis.tex"}


def test_an_empty_folder_is_written_to(dissection, tmp_path):
    dissection.save(tmp_path)
    assert everything_below(tmp_path) == FILES


def test_what_a_killed_run_left_is_not_in_the_way(dissection, tmp_path):
    for name in (".unitlens-new-abc", ".unitlens-work"):
        (tmp_path / name).mkdir()
    dissection.save(tmp_path)
    assert everything_below(tmp_path) == FILES | {".unitlens-work"}  # which is kept, for whoever goes on with it


@pytest.mark.parametrize("inside", ["", "deep/er"])
def test_a_file_is_no_folder(dissection, tmp_path, inside):
    (tmp_path / "file").write_text("mine")
    refused(
        lambda: dissection.save(tmp_path / "file" / inside),
        "FILE is a file; a run is written into a folder: choose another folder.",
        FILE=tmp_path / "file",
    )


def test_a_folder_that_may_not_be_written_to(tmp_path, monkeypatch):
    def refuse(*, dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(runs.tempfile, "TemporaryFile", refuse)  # root may write everywhere
    with pytest.raises(ul.UnitlensError) as error:
        runs.check_free(tmp_path / "run")
    assert str(error.value) == f"Nothing may be written into {tmp_path} (Permission denied): choose another folder."


def test_a_link_to_nothing(tmp_path):
    (tmp_path / "run").symlink_to("nowhere")
    with pytest.raises(ul.UnitlensError, match=r"run is a link to nothing: choose another folder\."):
        runs.check_free(tmp_path / "run")


@pytest.mark.parametrize("existing", ["nothing", "empty", "run"])
@pytest.mark.parametrize("at", range(len(FILES | {"report.html"})))
def test_a_disk_that_fills_leaves_everything_as_it_was(dissection, tmp_path, monkeypatch, existing, at):
    folder = tmp_path / "run"
    if existing == "empty":
        folder.mkdir()
    elif existing == "run":
        dissection.save(folder)
    before, below = {} if existing == "nothing" else contents(folder), everything_below(tmp_path)
    left = [at]

    def full(_):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refused(
        lambda: runs.write_run(folder, dissection.files(), page="page", overwrite=True),
        "RUN could not be written: No space left on device.",
        RUN=folder,
    )
    assert everything_below(tmp_path) == below
    assert existing == "nothing" or contents(folder) == before


def test_a_true_limit_on_files_is_an_error_too(dissection, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        refused(
            lambda: dissection.save(tmp_path / "run"), "RUN could not be written: File too large.", RUN=tmp_path / "run"
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert everything_below(tmp_path) == set()


def test_an_interrupt_while_writing_leaves_nothing(dissection, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        dissection.save(tmp_path / "run")
    assert everything_below(tmp_path) == set()


def test_no_run(tmp_path):
    refused(
        lambda: ul.open_run(tmp_path),
        "RUN holds no run (there is no RUN/run.json): ul.report(folder, ul.dissect(...)) writes one.",
        RUN=tmp_path,
    )


@pytest.fixture
def copy(run_folder, tmp_path):
    return shutil.copytree(run_folder, tmp_path / "copy")


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, damage) for name in sorted(FILES) for damage in ("gone", "empty")]
    + [(name, "cut") for name in sorted(FILES) if not name.endswith("csv")],  # a table that ends early is a table
)
def test_a_damaged_run_is_an_error(copy, name, damage):
    path = copy / name
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[: len(content) // 3] if damage == "cut" else b"")
    expected = "holds no run" if (name, damage) == ("run.json", "gone") else "is incomplete or damaged"
    with pytest.raises(ul.UnitlensError, match=expected):
        ul.open_run(copy)


@pytest.mark.parametrize("key", ["network", "data", "settings", "layers"])
def test_a_run_without_a_part_is_damaged(copy, key):
    info = json.loads((copy / "run.json").read_text())
    del info[key]
    (copy / "run.json").write_text(json.dumps(info))
    refused(
        lambda: ul.open_run(copy),
        f"The run in RUN is incomplete or damaged: run.json lacks {key}: it was changed, or written by another version "
        "of unitlens.",
        RUN=copy,
    )


def test_a_table_without_a_column_is_damaged(copy):
    pd.read_csv(copy / "units.csv", dtype=str).drop(columns="iou").to_csv(copy / "units.csv", index=False)
    with pytest.raises(ul.UnitlensError, match=r"units\.csv has other columns than those of this version\.$"):
        ul.open_run(copy)


def test_counts_without_a_layer_are_damaged(copy):
    from safetensors.numpy import load_file, save_file

    counts = {name: array for name, array in load_file(copy / "counts.safetensors").items() if name[0] != "4"}
    save_file(counts, copy / "counts.safetensors")
    with pytest.raises(ul.UnitlensError, match=r"4/activated_by_fold is missing in the counts\.$"):
        ul.open_run(copy)


def test_a_report_of_results_or_of_what_is_saved(dissection, tmp_path):
    page = ul.report(tmp_path / "run", dissection)
    assert page == tmp_path / "run" / "report.html"
    assert everything_below(tmp_path / "run") == FILES | {"report.html"}
    first = page.read_text()
    page.unlink()
    assert ul.report(str(tmp_path / "run")) == page
    assert page.read_text() == first
    with pytest.raises(ul.UnitlensError, match="holds a run already"):
        ul.report(tmp_path / "run", dissection)
    ul.report(tmp_path / "run", dissection, overwrite=True)
    assert page.read_text() == first


def test_a_run_may_lie_in_a_folder_given_by_a_link(dissection, tmp_path):
    (tmp_path / "true").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "true")
    dissection.save(tmp_path / "link")
    assert everything_below(tmp_path / "true") == FILES


def test_worlds_are_not_the_runs(tmp_path, dissection):
    world = write_world(tmp_path / "world", images=1)
    refused(
        lambda: dissection.save(world, overwrite=True),
        "WORLD holds other files and no run: choose another folder.",
        WORLD=world,
    )
