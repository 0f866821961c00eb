"""Images that are given one by one, and some images of a data set."""

import numpy as np
import pytest
from PIL import Image

import unitlens as ul
from unitlens.data.readers.given import given_images, images_of


def test_files_and_arrays_are_what_they_hold(tmp_path):
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    data = given_images([tmp_path / "one.png", pixels])
    assert [example.name for example in map(data.__getitem__, range(2))] == [
        (tmp_path / "one.png").as_posix(),
        "image 1",
    ]
    assert all(np.array_equal(data[index].image, pixels) for index in range(2))
    assert given_images(data) is data


def test_images_of_a_data_set_by_name_and_class():
    scenes = ul.Scenes(30)
    chosen = images_of(scenes, of_class="beach")
    assert [chosen[index].class_ for index in range(len(chosen))] == ["beach"] * 3
    names = [scenes[index].name for index in (7, 2)]
    chosen = images_of(scenes, names=names)
    assert [chosen[index].name for index in range(2)] == names
    assert images_of(scenes) is scenes


def test_what_is_not_there_is_said(tmp_path):
    scenes = ul.Scenes(13)
    for change, facts in (
        ({"of_class": "beech"}, r"no image of the class beech in bundled:scenes \(did you mean beach\?\)"),
        (
            {"names": ["test-0/000001-harbor.png"]},
            r"no image test-0/000001-harbor\.png.*did you mean test-0/",
        ),
    ):
        with pytest.raises(ul.UnitlensError, match=facts):
            images_of(scenes, **change)
    for images, facts in (
        (tmp_path, r"is a folder, where an image file is meant"),
        (["a.png"], r"There is no image file a\.png"),
        ([object()], r"image 0 is of type object"),
    ):
        with pytest.raises(ul.UnitlensError, match=facts):
            given_images(images)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ul.UnitlensError, match=r"text\.png is not an image"):
        given_images(tmp_path / "text.png")[0]
    with pytest.raises(ul.UnitlensError, match="is given twice"):
        given_images([tmp_path / "text.png"] * 2)
