"""Parts of the images, looked at apart and put together, have the bits of one process that looked at all."""

import json

import numpy as np
import pytest

import unitlens as ul
from tests.dissection.work.small_world import NET, OPTIONS, Stopping, assert_same, commit_always, dissect
from tests.worlds.generators import painted, painter
from unitlens.dissection.store.joined_rows import JoinedRows
from unitlens.dissection.store.rows import RowFile, append


def parts_of(folder, count, data=None, *, net=NET, layers=("conv", "pool"), given=OPTIONS, **options):
    """Look at each part, in its folder."""
    folders = [folder / f"{number + 1} of {count}" for number in range(count)]
    data = Stopping() if data is None else data
    for number, one in enumerate(folders):
        ul.dissect_part(net, list(layers), data, shard=(number + 1, count), checkpoint=one, **given | options)
    return folders


# 4 batches: uneven parts; one, as many, and more parts than batches
@pytest.mark.parametrize("count", [3, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 4, 6))])
def test_parts_that_are_merged_are_as_one_process(tmp_path, count):
    whole = dissect(Stopping(), evidence=False)
    folders = parts_of(tmp_path, count, evidence=False)
    assert_same(ul.merge(folders[::-1]), whole)


def test_a_part_without_images_is_opened_again_as_it_was(tmp_path):
    def contents():
        ul.dissect_part(
            NET,
            ["pool"],
            Stopping(),
            shard=(1, 6),
            checkpoint=tmp_path,
            **OPTIONS | {"evidence": False, "exemplars": 0},
        )
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    assert contents() == contents()


@pytest.mark.parametrize("shard", [(0, 8), (9, 8), (1, 0), (1,), "1/8", (True, 2), (1.0, 2)])
def test_parts_that_there_are_not_are_refused(shard, tmp_path):
    with pytest.raises(ul.UnitlensError, match=r"shard=.* is not a part: .* from \(1, 8\) to \(8, 8\)"):
        ul.dissect_part(NET, ["pool"], Stopping(), shard=shard, checkpoint=tmp_path)


def test_what_is_not_a_part_is_not_merged(tmp_path):
    ul.report(tmp_path / "run", dissect(Stopping(), evidence=False))
    with pytest.raises(ul.UnitlensError, match=r"run is a run, not a part of one: .*dissect_part"):
        ul.merge([tmp_path / "run"])
    with pytest.raises(ul.UnitlensError, match=r"There is no folder .*/rum \(did you mean run\?\)"):
        ul.merge([tmp_path / "rum"])


@pytest.mark.slow
def test_evidence_controls_and_a_limit_are_merged_as_well(tmp_path):
    data, options = Stopping(30), {"layers": ("pool",), "control": ("untrained:2", "rotated"), "limit": 13}
    assert_same(ul.merge(parts_of(tmp_path, 2, data, **options)), dissect(data, **options))


def test_planes_that_few_images_have_and_images_that_are_left_out_are_merged(tmp_path):
    class Odd(Stopping):
        def __getitem__(self, index):
            if index in {0, 1, 2, 3, 9}:  # all of the first batch, and one
                raise ValueError("broken")
            example = super().__getitem__(index)
            if index == 12:
                example.planes["part"] = [*example.planes.get("part", []), np.ones((32, 32), np.int64)]
            return example

    with pytest.warns(ul.UnitlensWarning, match="5 files were left out"):
        whole = dissect(Odd(), evidence=False)
    folders = parts_of(tmp_path, 4, Odd(), evidence=False)
    with pytest.warns(ul.UnitlensWarning, match="5 files were left out"):
        assert_same(ul.merge(folders), whole)


def test_parts_of_a_generator_are_merged(tmp_path):
    options = {"batch_size": 8, "exemplars": 2, "evidence": False}
    whole = ul.dissect(painter(), "layer", painted(20), **options)
    folders = parts_of(tmp_path, 2, painted(20), net=painter(), layers=("layer",), given={}, **options)
    assert_same(ul.merge(folders), whole)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three parts; not to be changed."""
    return parts_of(tmp_path_factory.mktemp("parts"), 3, evidence=False, exemplars=0, layers=("pool",))


def test_parts_that_do_not_belong_together_are_refused(folders, tmp_path):
    first, second, third = folders
    options = {"evidence": False, "exemplars": 0, "layers": ("pool",)}
    other = parts_of(tmp_path, 3, quantile=0.1, **options)[1]
    with pytest.raises(ul.UnitlensError, match=r"1 of 3 and .*2 of 3 .* differ in quantile \(0.05 and 0.1\)"):
        ul.merge([first, other, third])
    fourth = tmp_path / "fourth"
    ul.dissect_part(
        NET, ["pool"], Stopping(), shard=(4, 4), checkpoint=fourth, **OPTIONS | {"evidence": False, "exemplars": 0}
    )
    with pytest.raises(ul.UnitlensError, match=r"differ in parts \(3 and 4\)"):
        ul.merge([first, second, fourth])
    with pytest.raises(ul.UnitlensError, match="Of 3 parts 2 is missing"):
        ul.merge([first, third])
    with pytest.raises(ul.UnitlensError, match=r"1 of 3 and .*1 of 3 are both part 1 of 3"):
        ul.merge([first, first, second])
    with pytest.raises(ul.UnitlensError, match=r"There is no folder .*nowhere; give the folders of all parts"):
        ul.merge([first, tmp_path / "nowhere", third])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ul.UnitlensError, match=r"empty has no passes to go on with: asked\.json cannot be read"):
        ul.merge([first, tmp_path / "empty", third])
    with pytest.raises(ul.UnitlensError, match="No folders"):
        ul.merge([])


def test_a_part_that_is_not_finished_is_refused(folders, tmp_path, monkeypatch):
    commit_always(monkeypatch)
    options = OPTIONS | {"evidence": False, "exemplars": 0}
    with pytest.raises(KeyboardInterrupt):
        ul.dissect_part(NET, ["pool"], Stopping(at=13), shard=(3, 3), checkpoint=tmp_path / "third", **options)
    with pytest.raises(ul.UnitlensError, match=r"third is not finished \(0-network: it came to image 4 of the part\)"):
        ul.merge([*folders[:2], tmp_path / "third"])
    ul.dissect_part(NET, ["pool"], Stopping(), shard=(3, 3), checkpoint=tmp_path / "third", **options)
    assert_same(ul.merge([*folders[:2], tmp_path / "third"]), ul.merge(folders))


def test_images_of_one_name_in_two_parts_are_refused(tmp_path):
    class Same(Stopping):
        def __getitem__(self, index):
            return super().__getitem__(index % 10)

    folders = parts_of(tmp_path, 2, Same(), evidence=False, exemplars=0, layers=("pool",))
    with pytest.raises(ul.UnitlensError, match="Two images of the data are called"):
        ul.merge(folders)


def test_a_record_that_was_changed_is_refused(folders, tmp_path):
    asked = json.loads((folders[0] / "asked.json").read_text())
    (tmp_path / "asked.json").write_text(json.dumps(asked | {"network": {"name": "x"}}))
    with pytest.raises(ul.UnitlensError, match="has no passes to go on with: the network lacks"):
        ul.merge([tmp_path, *folders[1:]])


def test_rows_of_several_files_are_read_as_one(tmp_path):
    draws = np.random.default_rng(0)
    rows = draws.standard_normal((9, 3, 2)).astype(np.float32)
    rows[2:5] = rows[8] = 0
    files = [RowFile(tmp_path / str(number), (3, 2), np.float32) for number in range(2)]
    append(files[0], rows[:2])
    append(files[1], rows[5:8])
    joined = JoinedRows([files[0], None, files[1]], [2, 3, 4])
    assert joined.count == 9
    for chosen in (range(9), range(1, 7), [8, 0, 5, 5], range(4, 4)):
        np.testing.assert_array_equal(joined.read(chosen), rows[list(chosen)])
        np.testing.assert_array_equal(joined.read(chosen, slice(1, 3)), rows[list(chosen), 1:3])
    for file in files:
        file.close()


def test_the_shell_merges_parts(shell, net_file, world, tmp_path):
    sees = (f"{net_file}:build", "--layer", "0", "--image-size", 32, "--mean", 0, "--std", 1, "--quantile", 0.1)
    options = (*sees, "--data", world, "--batch-size", 4, "--workers", 0, "--no-evidence")
    for part in (1, 2):
        said = shell("dissect", *options, "--shard", f"{part}/2", "--out", f"part{part}")
        assert (said.code, said.out.count("kept part")) == (0, 1), said.err
    assert shell("merge", "part2", "part1", "--out", "merged").code == 0
    assert shell("dissect", *options, "--out", "whole").code == 0
    assert_same(ul.open_run(tmp_path / "merged"), ul.open_run(tmp_path / "whole"))
    assert "unitlens merge part2 part1" in ul.open_run(tmp_path / "merged").info["command"]
    wrong = {"0/2": "there are 1/2 to 2/2", "3/2": "there are", "1/0": "not a part such", "x": "not a part such as 2/8"}
    for shard, sentence in wrong.items():
        said = shell("dissect", *options, "--shard", shard, "--out", "other")
        assert said.code == 2
        assert sentence in said.err
    said = shell("dissect", *options, "--shard", "2/2", "--out", "part1")
    assert "keeps part 1 of 2, and part 2 is asked for" in said.err
