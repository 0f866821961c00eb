import pytest

import unitlens as ul
from tests.data.readers import layouts
from tests.worlds.coloured import blocks
from unitlens.data.colors import Colors


def test_the_datas_own_masks_are_the_default(world):
    assert ul.open_data(world).concepts == ul.open_data(world, concepts=["masks"]).concepts


def test_sources_by_name(tmp_path):
    layouts.voc(tmp_path / "voc", [blocks(0), blocks(1)])
    both = ul.open_data(tmp_path / "voc", concepts=["colors", "masks"])
    assert list(dict.fromkeys(c.category for c in both.concepts)) == ["object", "color"]
    assert sorted(both[0].planes) == ["color", "object"]
    only = ul.open_data(tmp_path / "voc", concepts=[Colors()])
    assert {c.category for c in only.concepts} == {"color"}
    assert sorted(only[0].planes) == ["color"]
    (tmp_path / "tags.csv").write_text("image,tag\n2007_000000.jpg,day\n")
    tagged = ul.open_data(tmp_path / "voc", concepts=[f"tags:{tmp_path / 'tags.csv'}", "colors", "masks"])
    assert sorted(tagged[0].planes) == ["color", "object", "scene"]


def test_folders_and_a_segmenter(tmp_path):
    for n, place in enumerate(["attic", "beach"]):
        layouts.save_png(tmp_path / place / "1.png", blocks(n)[0])
    options = {"weights": "none", "size": 32, "cache": None, "category": "network"}
    data = ul.open_data(
        tmp_path, concepts=["folders", "segmenter:lraspp_mobilenet_v3_large"], segmenter_options=options, seed=3
    )
    assert sorted(data[0].planes) == ["network", "scene"]
    assert len(data.concepts) == 22


def test_bundled_scenes_take_colors_too():
    data = ul.open_data("bundled:scenes", images=2, concepts=["colors"])
    assert sorted(data[1].planes) == ["color"]
    with pytest.raises(ul.UnitlensError, match="bundled:scenes has neither formats nor splits"):
        ul.open_data("bundled:scenes", split="train")


@pytest.mark.parametrize(
    ("concepts", "sentence"),
    [
        (["colours"], r"There is no concept source 'colours' \(did you mean colors\?\); there are masks, colors, "),
        (["tags:"], "There is no concept source 'tags:'"),
        (["segmenter:"], "There is no concept source 'segmenter:'"),
        (["tags:nowhere.csv"], "nowhere.csv cannot be read"),
        ("colors", r"concepts is 'colors'; it is a list of sources, such as"),
        ([], "it is a list of sources"),
        (["folders"], "do not lie in folders whose names could be their tags"),
        (["masks", "colors"], "The category color is marked by the data itself and by colors"),
    ],
)
def test_what_is_no_source(concepts, sentence, world):
    with pytest.raises(ul.UnitlensError, match=sentence):
        ul.open_data(world, concepts=concepts)


def test_the_folder_of_a_run_holds_no_images(tmp_path):
    for name in ("run.json", "units.csv"):
        (tmp_path / name).write_text('{"images": 3}')
    with pytest.raises(
        ul.UnitlensError, match=r"is a run, which run\.json and units\.csv in it say, and holds no images"
    ):
        ul.open_data(tmp_path)


def test_tags_of_other_images(world, tmp_path):
    (tmp_path / "tags.csv").write_text("image,tag\nother.png,day\n")
    with pytest.raises(ul.UnitlensError, match=r"name no image of the data; the first is other\.png"):
        ul.open_data(world, concepts=[f"tags:{tmp_path / 'tags.csv'}"])
