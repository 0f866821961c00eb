"""Torchvision's own data sets on tiny files in their layouts, and downloads that never happen."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets
from torchvision.transforms import v2

import unitlens as ul
from tests.data.readers import layouts
from tests.worlds.coloured import blocks
from unitlens.data.pixels.files import UnreadableError
from unitlens.data.readers import downloads
from unitlens.data.readers.downloads import DOWNLOADS
from unitlens.data.readers.torchvision_sets import from_torchvision

IMAGES = [blocks(seed) for seed in range(4)]


def voc(root):
    layouts.voc(root / "VOCdevkit" / "VOC2012", IMAGES)
    return datasets.VOCSegmentation(root, image_set="trainval")


def cityscapes(root, **options):
    layouts.cityscapes(root, IMAGES)
    return datasets.Cityscapes(root, split="train", mode="fine", **options)


def pets(root, types):
    base = root / "oxford-iiit-pet"
    rows = []
    for n, (image, truth) in enumerate(IMAGES):
        stem = f"{('Abyssinian', 'american_bulldog')[n % 2]}_{n}"
        layouts.save_jpg(base / "images" / f"{stem}.jpg", image)
        layouts.save_png(base / "annotations" / "trimaps" / f"{stem}.png", np.choose(truth, [2, 1, 3, 2]).astype("u1"))
        rows.append([stem, 1 + n % 2, 1 + n % 2, 1])
    with (base / "annotations" / "trainval.txt").open("w", newline="") as file:
        csv.writer(file, delimiter=" ").writerows(rows)
    return datasets.OxfordIIITPet(root, target_types=types)


def sbd(root, mode="segmentation"):
    from scipy.io import savemat

    (root / "cls").mkdir(parents=True)
    for n, (image, truth) in enumerate(IMAGES):
        layouts.save_jpg(root / "img" / f"2008_{n:06}.jpg", image)
        record = np.zeros(1, [("Segmentation", object)])
        record[0] = (truth,)
        savemat(root / "cls" / f"2008_{n:06}.mat", {"GTcls": record})
    (root / "train.txt").write_text("".join(f"2008_{n:06}\n" for n in range(4)))
    return datasets.SBDataset(root, mode=mode)


def kitti(root, rows, train=True):
    part = root / "Kitti" / "raw" / ("training" if train else "testing")
    layouts.save_png(part / "image_2" / "000000.png", IMAGES[0][0])
    (part / "label_2").mkdir()
    text = "".join(
        f"{name} 0 0 0 {left} {top} {right} {bottom} 1 1 1 0 0 0 0\n" for name, left, top, right, bottom in rows
    )
    (part / "label_2" / "000000.txt").write_text(text)
    return datasets.Kitti(root, train=train)


def test_files_of_sbd_are_checked_before_the_reader_that_may_crash_on_them(tmp_path):
    data = from_torchvision(sbd(tmp_path))
    path = tmp_path / "cls" / "2008_000001.mat"
    sound = path.read_bytes()
    for content in (sound[: len(sound) // 2], b"", b"x" * 200, sound[:128] + bytes(8) + sound[136:]):
        path.write_bytes(content)
        with pytest.raises(UnreadableError, match=r"2008_000001\.mat is not a MATLAB file with GTcls"):
            data[1]
    path.unlink()
    with pytest.raises(UnreadableError, match="There is no file"):
        data[1]
    assert data[2].planes["object"][0].any()


def coco(root):
    layouts.coco_instances(root, IMAGES)
    return datasets.CocoDetection(root / "val2017", root / "annotations" / "instances_val2017.json")


@pytest.mark.parametrize(
    ("make", "ids"), [(voc, [0, 1, 2, 3]), (cityscapes, [65535, 7, 26, 11]), (sbd, [0, 1, 2, 3]), (coco, [0, 1, 2, 3])]
)
def test_maps_are_the_truth(make, ids, tmp_path):
    if make is coco:
        pytest.importorskip("pycocotools")
        dataset = make(tmp_path)
    else:
        dataset = make(tmp_path) if make is not cityscapes else make(tmp_path, target_type="semantic")
    data = from_torchvision(dataset)
    assert isinstance(data, ul.Data)
    assert len(data.names) == len(set(data.names)) == len(data) == len(dataset)
    for example in data:
        truth = next(t for p, t in IMAGES if np.abs(p.astype(int) - example.image).mean() < 4)
        plane = np.maximum.reduce([np.where(p == 65535, 0, p) for p in example.planes["object"]])
        expected = np.array(ids)[truth]
        inside = slice(1, None)  # VOC's band is not judged
        assert (plane[:, inside] == np.where(expected == 65535, 0, expected)[:, inside]).all()
        assert example.file_digest is None
    assert type(dataset).__name__ in repr(data)


def test_dissected(tmp_path, net):
    table = ul.dissect(net, "0", from_torchvision(sbd(tmp_path)), quantile=0.15, evidence=False, exemplars=0).table()
    assert table["concept"][:3].tolist() == layouts.VOC_NAMES


def test_targets_of_several_kinds(tmp_path):
    data = from_torchvision(cityscapes(tmp_path, target_type=["color", "semantic"]))
    assert set(np.unique(data[0].planes["object"][0])) <= {7, 11, 26, 65535}


def test_pets(tmp_path):
    data = from_torchvision(pets(tmp_path, ["category", "segmentation", "binary-category"]))
    assert [concept.name for concept in data.concepts] == ["cat", "dog"]
    assert [example.class_ for example in data] == ["Abyssinian", "American Bulldog"] * 2
    for n, (_, truth) in enumerate(IMAGES):
        plane = data[n].planes["object"][0]
        assert (plane == np.choose(truth, [0, 1 + n % 2, 65535, 0])).all()
    (plain := tmp_path / "plain").mkdir()
    data = from_torchvision(pets(plain, "segmentation"))
    assert [concept.name for concept in data.concepts] == ["pet"]
    assert data[0].class_ is None


def test_boxes_of_kitti(tmp_path):
    rows = [("Car", 4.2, 8.4, 10.1, 12.0), ("Van", 9.0, 10.0, 50.0, 50.0), ("DontCare", 0, 0, 3, 3)]
    data = from_torchvision(kitti(tmp_path, rows))
    planes = data[0].planes["box"]
    car = np.logical_or.reduce([plane == 1 for plane in planes])
    assert car.sum() == 7 * 5
    assert car[8, 4]
    assert np.logical_or.reduce([plane == 8 for plane in planes])[10:, 9:].all()
    assert (planes[0][:4, :4] == 65535).all()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: cityscapes(root, target_type="color"), "has color as its target: make it with target_type='sem"),
        (lambda root: pets(root, ["category"]), "has category as its target: make it with target_types='segmentation'"),
        (lambda root: sbd(root, "boundaries"), "has boundaries, not regions: make it with mode='segmentation'"),
        (lambda root: kitti(root, [], train=False), "test images have no labels: make the data set with train=True"),
        (
            lambda root: datasets.FakeData(),
            "A FakeData has no regions that could be read; .* VOCSegmentation, SBDataset",
        ),
        (lambda root: [1, 2], "A list has no regions that could be read"),
    ],
)
def test_what_has_no_regions(make, sentence, tmp_path):
    with pytest.raises(ul.UnitlensError, match=sentence):
        from_torchvision(make(tmp_path))


def test_transforms_and_strange_types(tmp_path):
    dataset = voc(tmp_path)
    dataset.transforms = v2.Compose([v2.PILToTensor()])
    with pytest.raises(ul.UnitlensError, match="gives a Tensor in place of an image: make the data set without trans"):
        from_torchvision(dataset)[0]
    data = from_torchvision(kitti(tmp_path, [("Boat", 0, 0, 1, 1)]))
    with pytest.raises(ul.UnitlensError, match="has the type 'Boat'; known are Car"):
        data[0]


def test_names_that_are_not_unique_become_numbers(tmp_path):
    dataset = voc(tmp_path)
    dataset.images = [dataset.images[0]] * 4
    assert from_torchvision(dataset).names == ("000000", "000001", "000002", "000003")


@pytest.fixture
def fetches(monkeypatch, capsys):
    """Torchvision's download replaced: files in the layout of the archive appear, once the size was said."""
    from torchvision.datasets import oxford_iiit_pet
    from torchvision.datasets import voc as module

    fetched = []

    def of_voc(url, root, *, filename, md5):
        said = capsys.readouterr().err
        fetched.append((filename, said))
        layouts.voc(Path(root) / "VOCdevkit" / "VOC2012", IMAGES)

    def of_pets(url, download_root, md5):
        fetched.append((url, capsys.readouterr().err))
        if "images" in url:
            pets(Path(download_root).parent, "segmentation")

    monkeypatch.setattr(module, "download_and_extract_archive", of_voc)
    monkeypatch.setattr(oxford_iiit_pet, "download_and_extract_archive", of_pets)
    return fetched


def test_a_data_set_by_name_is_not_downloaded_unasked(shell, fetches, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    said = shell("check", "torchvision:voc2012")
    assert (said.code, said.out, fetches) == (2, "", [])
    assert said.err == (
        f"unitlens: torchvision:voc2012 is not in {tmp_path}/cache/unitlens/data/voc2012: add --download "
        "to have torchvision download it there (about 2.0 GB, and as much again unpacked), or say where it is with "
        "--data-root.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_download_says_its_size_first_and_happens_once(shell, fetches, sees, tmp_path):
    how = ("--data", "torchvision:voc2012", "--data-root", "there", "--no-evidence", "--exemplars", 0)
    said = shell("dissect", *sees, *how, "--download")
    assert said.code == 0, said.err
    ((archive, before),) = fetches
    assert archive == "VOCtrainval_11-May-2012.tar"
    assert before == (
        "unitlens: downloading voc2012 (about 2.0 GB, and as much again unpacked) into there with torchvision's "
        "VOCSegmentation\n"
    )
    assert ul.open_run("run").table()["concept"][:2].tolist() == layouts.VOC_NAMES[:2]
    told = json.loads(Path("run/run.json").read_text())["data"]
    assert (told["source"], told["opened"], told["images"]) == ("torchvision:voc2012", {"root": "there"}, 4)
    assert shell("dissect", *sees, *how, "--download", "--out", "again").code == 0
    assert shell("dissect", *sees, *how, "--out", "and again", "--split", "train").code == 0
    assert ul.open_run("and again").info["data"]["images"] == 3
    assert len(fetches) == 1
    said = shell("audit", "run", "--network", sees[0], "--noise", 0, "--quiet")
    assert (said.code, said.err.count("Only what the counts of the run tell")) == (0, 0)
    assert len(ul.open_data("there")) == 4  # its layout is recognised where it was put


def test_what_a_broken_download_left_is_not_the_data_set(fetches, tmp_path):
    data = ul.open_data("torchvision:pets", root=tmp_path, download=True)
    assert (len(data), len(fetches), data.source) == (4, 2, "torchvision:pets")
    assert {concept.name for concept in data.concepts} == {"cat", "dog"}
    assert "downloading pets (about 0.8 GB" in fetches[0][1]
    next((tmp_path / "oxford-iiit-pet" / "images").glob("*.jpg")).unlink()
    with pytest.raises(ul.UnitlensError, match=r"torchvision:pets is not in .*: add download=True"):
        ul.open_data("torchvision:pets", root=tmp_path)
    with pytest.raises(
        ul.UnitlensError, match=r"pets lies in .* in part, and torchvision does not fetch it anew: remove"
    ):
        ul.open_data("torchvision:pets", root=tmp_path, download=True)
    shutil.rmtree(tmp_path / "oxford-iiit-pet")
    assert len(ul.open_data("torchvision:pets", root=tmp_path, download=True)) == 4


def test_an_image_that_went_missing_is_left_out(tmp_path):
    dataset = voc(tmp_path)
    data = from_torchvision(dataset)
    Path(dataset.images[1]).unlink()
    with pytest.raises(
        UnreadableError, match=r"2007_000001\.jpg of torchvision.datasets.VOCSegmentation cannot be read"
    ):
        data[1]


def test_downloads_that_fail(tmp_path, monkeypatch):
    def broken(root, *, download=False, **options):
        raise OSError("no route to host" if download else "no such file")

    monkeypatch.setattr(downloads, "_dataset", lambda name: broken)
    with pytest.raises(ul.UnitlensError, match=r"pets could not be downloaded into .* \(OSError: no route to host\)"):
        ul.open_data("torchvision:pets", root=tmp_path, download=True)


@pytest.mark.parametrize(
    ("source", "options", "sentence"),
    [
        (
            "torchvision:voc2021",
            {},
            r"no torchvision:voc2021 \(did you mean voc2012\?\); there are torchvision:voc2012, ",
        ),
        ("torchvision:kitti", {"split": "val"}, "torchvision:kitti has no split 'val'; it has none at all"),
        ("torchvision:pets", {"split": "val"}, "torchvision:pets has no split 'val'; it has trainval, test"),
        ("torchvision:pets", {"format": "voc"}, "is read by torchvision: leave format= out"),
        ("voc2012", {"download": True}, "no folder voc2012; torchvision's data set is called torchvision:voc2012"),
        (
            ".",
            {"download": True},
            r"download=True is for data sets by name, such as torchvision:voc2012; \. is",
        ),
        (".", {"root": "there"}, r"root= is for data sets by name"),
    ],
)
def test_names_and_options_that_do_not_fit(source, options, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ul.UnitlensError, match=sentence):
        ul.open_data(source, **options)


def test_every_download_is_a_data_set_that_can_be_read():
    for entry in DOWNLOADS.values():
        assert downloads._dataset(entry.dataset).__name__ == entry.dataset


def test_a_file_of_coco_is_read_as_torchvision_reads_it(tmp_path):
    pytest.importorskip("pycocotools")
    wrapped = from_torchvision(coco(tmp_path))
    opened = ul.open_data(tmp_path)
    assert [c.name for c in wrapped.concepts] == [c.name for c in opened.concepts]
    assert json.loads((tmp_path / "annotations" / "instances_val2017.json").read_text())["images"]
    for ours, theirs in zip(opened, wrapped, strict=True):
        assert np.array_equal(np.stack(ours.planes["object"]), np.stack(theirs.planes["object"]))
        assert np.array_equal(ours.image, theirs.image)
        assert Image.fromarray(theirs.image).size == (32, 32)
