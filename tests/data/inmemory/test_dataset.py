"""Whatever images people have in Python are the same data, and give the same dissection."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, tv_tensors

import unitlens as ul
from tests.worlds.coloured import write_world
from unitlens.data.inmemory.dataset import as_data, dataset

NAMES = {1: "tree", 2: "car", 4: "sky"}
COUNT = 6


def drawn(index):
    """An image, and a label map of it."""
    draws = np.random.default_rng(index)
    return draws.integers(0, 256, (12, 10, 3), dtype=np.uint8), draws.choice([0, 1, 2, 4, 255], (12, 10)).astype(
        np.uint8
    )


PAIRS = [drawn(index) for index in range(COUNT)]


class Pairs(Dataset):
    """A plain torch data set of (image, mask), as people write them."""

    classes = ("indoor", "outdoor")

    def __init__(self, item):
        self.item = item

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return self.item(*PAIRS[index], index)


def tensor(image):
    return torch.from_numpy(image).permute(2, 0, 1)


WAYS = {
    "arrays": lambda image, mask, index: (image, mask),
    "Pillow images": lambda image, mask, index: (Image.fromarray(image), Image.fromarray(mask)),
    "tensors from 0 to 1": lambda image, mask, index: (tensor(image) / 255, torch.from_numpy(mask)),
    "tensors of uint8": lambda image, mask, index: (tensor(image), torch.from_numpy(mask).long()[None]),
    "tv_tensors": lambda image, mask, index: (tv_tensors.Image(tensor(image)), tv_tensors.Mask(torch.from_numpy(mask))),
    "with a class": lambda image, mask, index: (image, mask, index % 2),
    "class before mask": lambda image, mask, index: (image, index % 2, mask),
    "dictionaries": lambda image, mask, index: {"image": image, "mask": mask, "label": index % 2, "name": f"n{index}"},
    "Hugging Face's words": lambda image, mask, index: {"pixel_values": tensor(image) / 255, "annotation": mask},
    "maps by category": lambda image, mask, index: {"image": image, "masks": {"object": mask}},
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_images_and_label_maps_come_out_as_they_were_however_they_are_held(way):
    names = {"object": NAMES} if way is WAYS["maps by category"] else NAMES
    data = dataset(Pairs(way), concepts=names)
    assert [tuple(concept) for concept in data.concepts] == [
        ("object", 1, "tree"),
        ("object", 2, "car"),
        ("object", 4, "sky"),
    ]
    for index, (image, mask) in enumerate(PAIRS):
        example = data[index]
        np.testing.assert_array_equal(example.image, image)
        assert example.image.dtype == np.uint8
        assert list(example.planes) == ["object"]
        np.testing.assert_array_equal(example.planes["object"][0], mask)


def test_a_list_a_loader_and_a_table_are_data_too(tmp_path):
    whole = Pairs(WAYS["arrays"])
    rows = []
    for index, (image, mask) in enumerate(PAIRS):
        for kind, array in (("image", image), ("mask", mask)):
            Image.fromarray(array).save(tmp_path / f"{kind}{index}.png")
        rows.append({"image": str(tmp_path / f"image{index}.png"), "class": "indoor", "group": index // 2})
    loader = DataLoader(whole, batch_size=4, shuffle=True)
    for source in (PAIRS, loader):
        np.testing.assert_array_equal(dataset(source, concepts=NAMES)[3].image, PAIRS[3][0])
    table = dataset(pd.DataFrame(rows), concepts="colors")
    example = table[3]
    np.testing.assert_array_equal(example.image, PAIRS[3][0])
    assert (example.class_, example.group) == ("indoor", "1")
    assert "red" in {concept.name for concept in table.concepts}


def test_objects_and_annotations_become_label_maps():
    image = PAIRS[0][0]
    masks = np.zeros((2, 12, 10), bool)
    masks[0, 2:6, 2:6] = masks[1, 4:8, 4:8] = True
    objects = {"labels": torch.tensor([1, 2]), "masks": torch.from_numpy(masks)}
    boxes = {
        "labels": [1, 2],
        "boxes": tv_tensors.BoundingBoxes([[2, 2, 6, 6], [4, 4, 8, 8]], format="XYXY", canvas_size=(12, 10)),
    }
    annotations = [{"category_id": 1, "bbox": [2, 2, 4, 4]}, {"category_id": 2, "bbox": [4, 4, 4, 4]}]
    for target in (objects, boxes, annotations, {"annotations": annotations, "image_id": 3}):
        planes = dataset([(image, target)], concepts=NAMES)[0].planes["object"]
        for label, mask in enumerate(masks, 1):
            np.testing.assert_array_equal(np.any([plane == label for plane in planes], axis=0), mask)


def test_polygons_are_drawn():
    pytest.importorskip("pycocotools", reason="pycocotools is not installed (extra coco)")
    polygon = [{"category_id": 2, "segmentation": [[4, 4, 8, 4, 8, 8, 4, 8]], "bbox": [0, 0, 1, 1]}]
    (plane,) = dataset([(PAIRS[0][0], polygon)], concepts=NAMES)[0].planes["object"]
    expected = np.zeros((12, 10), int)
    expected[4:8, 4:8] = 2
    np.testing.assert_array_equal(plane, expected)


def test_classes_are_called_what_the_data_set_calls_them(tmp_path):
    data = dataset(Pairs(lambda image, mask, index: (image, index % 2)), concepts="colors")
    assert [data[index].class_ for index in range(3)] == ["indoor", "outdoor", "indoor"]
    for name in ("beach", "farm"):
        (tmp_path / name).mkdir()
        Image.fromarray(PAIRS[0][0]).save(tmp_path / name / "a.png")
    folder = dataset(datasets.ImageFolder(tmp_path))
    assert [folder[index].class_ for index in range(2)] == ["beach", "farm"]
    assert dataset([(PAIRS[0][0], 7)])[0].class_ == 7
    assert dataset([(PAIRS[0][0], 1)], classes=["no", "yes"])[0].class_ == "yes"


def test_a_dissection_of_a_torch_data_set_is_that_of_its_folder(tmp_path, net):
    world = ul.annotated(write_world(tmp_path / "world"))
    examples = [world[index] for index in range(len(world))]
    pairs = [
        (tensor(one.image.copy()) / 255, torch.from_numpy(one.planes["color"][0].astype(np.int64))) for one in examples
    ]
    held = dataset(pairs, concepts={"object": ["red", "green", "blue"]}, names=[one.name for one in examples])
    first, second = (ul.dissect(net, "1", data, exemplars=0, evidence=False) for data in (held, world))
    for counts in ("intersection", "activated", "concept"):
        np.testing.assert_array_equal(getattr(first["1"].counts, counts), getattr(second["1"].counts, counts))
    assert second["1"].counts.intersection.any()


@pytest.mark.parametrize(
    ("source", "concepts", "facts"),
    [
        ([], None, ["no image"]),
        ([3], None, ["int", "(image, mask)"]),
        ([(3, 4)], None, ["tuples that begin with a int"]),
        ([{"picture": 3}], None, ["picture", "image, img"]),
        ([(PAIRS[0][0], np.zeros((12, 10)))], None, ["float64", "label map"]),
        ([PAIRS[0]], None, ["label map", "concepts={1: 'tree'"]),
        ([PAIRS[0]], {-1: "x"}, ["-1"]),
        ([PAIRS[0][0]], ["tree"], ["nothing is marked"]),
        ([(PAIRS[0][0], PAIRS[0][0])], ["tree"], ["uint8 of 12 x 10 x 3", "map colours to numbers"]),
        ([(PAIRS[0][0], Image.new("RGB", (10, 12)))], ["tree"], ["map colours to numbers"]),
        ({"image": PAIRS[0][0]}, None, ["dictionary", "list"]),
        (iter(PAIRS), None, ["no length", "list"]),
        ([np.zeros((4, 12, 10, 3), np.uint8)], None, ["uint8 of 4 x 12 x 10 x 3", "video clips and volumes"]),
        ([(np.zeros((4, 12, 10, 3)), 1)], None, ["float64 of 4 x 12 x 10 x 3", "video clips and volumes"]),
        ([np.zeros((40, 50, 60), np.uint8)], None, ["uint8 of 40 x 50 x 60", "no image"]),
    ],
)
def test_what_is_no_data_is_a_sentence(source, concepts, facts):
    with pytest.raises(ul.UnitlensError) as error:
        dataset(source, concepts=concepts)
    assert all(fact in str(error.value) for fact in facts), str(error.value)


@pytest.mark.parametrize(
    ("later", "facts"),
    [
        ((PAIRS[0][0], 3), ["first image has label map", "class"]),
        ((PAIRS[0][0],), ["Image 1", "not like the first"]),
        ((np.full((12, 10, 3), np.nan), PAIRS[0][1]), ["NaN"]),
        ((Image.new("RGB", (10, 12)), Image.new("RGB", (10, 12))), ["first image has label map"]),
    ],
)
def test_an_item_unlike_the_first_one_is_a_sentence(later, facts):
    data = dataset([PAIRS[0], later], concepts=NAMES)
    with pytest.raises(ul.UnitlensError) as error:
        data[1]
    assert all(fact in str(error.value) for fact in facts), str(error.value)


def test_functions_take_what_dataset_takes():
    found = ul.check(dataset(PAIRS, concepts=NAMES), image_size=32)
    assert found is not None
    explained = as_data([Image.fromarray(PAIRS[0][0])])
    np.testing.assert_array_equal(explained[0].image, PAIRS[0][0])


def test_what_was_understood_is_said():
    said = repr(dataset(Pairs(WAYS["tensors from 0 to 1"]), concepts=NAMES))
    assert (
        said == "<6 images of a Pairs: tensors of 3 x 12 x 10 in [0, 1], each with a label map beside it, 3 concepts>"
    )
