import io
import os
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import unitlens as ul
from tests.data.readers import layouts
from tests.worlds.coloured import blocks
from tests.worlds.planted import ColourWorld, InMemory
from unitlens.data.checking import check
from unitlens.data.findings import highest_iou
from unitlens.data.segmentation.segmenters import segmenter

CONCEPTS = [ul.Concept("object", 1, "cat"), ul.Concept("object", 2, "dog")]


def halves(size=16, left=1, right=2):
    return np.where(np.arange(size) < size // 2, left, right)[None].repeat(size, 0).astype(np.uint8)


def folder(tmp_path, images=4):
    root = tmp_path / "data"
    for part in ("images", "labels/object"):
        (root / part).mkdir(parents=True)
    (root / "concepts.csv").write_text("category,label,name\nobject,1,cat\nobject,2,dog\n")
    for number in range(images):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(root / "images" / f"{number}.png")
        Image.fromarray(halves()).save(root / "labels/object" / f"{number}.png")
    return root


def kinds(found):
    return sorted(finding.kind for finding in found.findings)


def test_what_is_there_is_counted():
    found = check(InMemory([{"object": [halves()]}] * 4, CONCEPTS), image_size=16, quantile=0.25)
    assert (found.images, found.read, found.grid, found.ok) == (4, 4, (4, 4), True)
    assert found.categories == {"object": 4}
    cat, dog = found.concepts
    assert (cat.images, cat.positions, cat.share, cat.ceiling) == (4, 32, 0.5, 0.5)
    assert [sight.image for sight in dog.sights] == [f"image {number}" for number in range(4)]
    assert all(sight.share == 0.5 and sight.tile.startswith(b"\xff\xd8") for sight in dog.sights)


def test_an_image_shows_the_mask_of_the_concept():
    found = check(InMemory([{"object": [halves()]}], CONCEPTS, offset=200), image_size=16, quantile=0.25)
    tile = np.asarray(Image.open(io.BytesIO(found.concepts[0].sights[0].tile))).astype(int)
    left, right = tile[:, :40].mean(), tile[:, 56:].mean()
    assert left == pytest.approx(200, abs=3)
    assert right == pytest.approx(180, abs=3)  # faded


def test_images_in_which_a_concept_covers_most_come_first_and_no_more_than_asked_for():
    small = np.zeros((16, 16), np.uint8)
    small[:4, :4] = 1
    data = InMemory([{"object": [small]}, {"object": [halves()]}, {"object": [halves(left=0)]}], CONCEPTS)
    cat, dog = check(data, image_size=16, quantile=0.25, sights=2).concepts
    assert [sight.image for sight in cat.sights] == ["image 1", "image 0"]
    assert [sight.image for sight in dog.sights] == ["image 1", "image 2"]
    assert all(not one.sights for one in check(data, image_size=16, quantile=0.25, sights=0).concepts)


@pytest.mark.parametrize(
    ("planes", "kind", "text"),
    [
        ({"object": [halves(right=3)]}, "stray label", "holds the label 3, which no concept of object has"),
        ({"object": [halves()[:4]]}, "size", "a label map shows the whole image, at any size of the same aspect"),
        ({"part": [halves()]}, "stray label", "has label maps of the category part"),
        ({}, "missing map", "image 1 is annotated for no category"),
    ],
)
def test_what_is_wrong_with_an_image_is_said_and_the_others_are_counted(planes, kind, text):
    found = check(InMemory([{"object": [halves()]}, planes], CONCEPTS), image_size=16, quantile=0.25)
    assert kinds(found) == [kind]
    assert text in found.findings[0].text
    assert found.concepts[0].positions == 8


def test_concepts_that_are_hardly_or_nowhere_marked():
    plane = np.zeros((64, 64), np.uint8)
    plane[0, 0] = 1
    found = check(InMemory([{"object": [plane]}] * 4, CONCEPTS, size=64), image_size=64, grid=64, quantile=0.1)
    assert [finding.text for finding in found.findings] == [
        "object cat is marked at 4 positions in 4 images: at the quantile 0.1 no IoU with it can pass 0.002.",
        "object dog is marked nowhere.",
    ]


def test_many_concepts_that_are_marked_nowhere_are_one_finding():
    concepts = [*CONCEPTS, *(ul.Concept("object", 3 + k, f"{k}") for k in range(7)), ul.Concept("part", 1, "dog")]
    found = check(
        InMemory([{"object": [halves()], "part": [halves(right=0)]}] * 4, concepts), image_size=16, quantile=0.25
    )
    assert [finding.text for finding in found.findings] == [
        "7 of 9 concepts of object are marked nowhere: 0, 1, 2, 3, 4 and 2 more."
    ]


def test_what_only_the_images_of_a_limit_lack_is_a_note():
    data = InMemory([{"object": [halves(right=0)]}] * 4 + [{"object": [halves()]}], CONCEPTS)
    data.exchangeable = True
    found = check(data, image_size=16, quantile=0.25, limit=4)
    assert found.ok
    assert found.notes[-1] == "1 of 2 concepts of object are found nowhere or too rarely to be labels: dog."
    assert check(data, image_size=16, quantile=0.25).ok


def test_a_concept_that_covers_too_much_is_a_note():
    found = check(InMemory([{"object": [halves(right=1)]}] * 8, CONCEPTS[:1]), image_size=16, quantile=0.01)
    assert found.ok
    assert re.match(r"object cat covers 100% of what is judged: no IoU with it can pass 0\.008, so", found.notes[0])


def test_what_is_not_annotated_is_a_note_and_counts_for_nothing():
    found = check(ColourWorld(8), image_size=32, quantile=0.1)
    assert found.ok
    assert found.notes == ("4 of 8 images are not annotated for part, and count for nothing in it.",)
    assert found.concepts[-1].share == 0.5


def test_files_without_a_counterpart(tmp_path):
    root = folder(tmp_path)
    (root / "labels/object/0.png").unlink()
    Image.fromarray(halves()).save(root / "labels/object/none.png")
    (root / "labels/object/notes.txt").write_text("")
    (root / "images/notes.txt").write_text("")
    (root / "images/2.png").write_bytes((root / "images/2.png").read_bytes()[:40])
    found = check(root, image_size=16, quantile=0.25)
    assert kinds(found) == ["missing image", "missing map", "no image", "no label map", "unreadable"]
    assert (found.images, found.read) == (4, 3)


def test_images_and_masks_without_their_counterpart(tmp_path):
    layouts.camvid(tmp_path, [blocks(seed) for seed in range(4)])
    (tmp_path / "701_StillsRaw_full" / "0001TP_000000.png").unlink()
    (tmp_path / "LabeledApproved_full" / "0001TP_000003_L.png").unlink()
    for data in (tmp_path, ul.open_data(tmp_path, concepts=["masks", "colors"])):
        found = check(data, image_size=32, quantile=0.25)
        assert kinds(found) == ["missing pair"] * 2
        assert [finding.text.partition(", an image or a mask of the same name")[0] for finding in found.findings] == [
            "701_StillsRaw_full/0001TP_000003.png has no counterpart",
            "LabeledApproved_full/0001TP_000000_L.png has no counterpart",
        ]
    assert check(ul.open_data(tmp_path, concepts=["colors"]), image_size=32, quantile=0.25).ok


def test_two_images_of_one_name():
    class Twice(InMemory):
        def __getitem__(self, index):
            return super().__getitem__(0)

    assert "name" in kinds(check(Twice([{"object": [halves()]}] * 2, CONCEPTS), image_size=16, quantile=0.25))


def test_images_without_any_concept():
    assert kinds(check(InMemory([{}], ()), image_size=16)) == ["nothing marked"]


def test_a_quantile_is_a_share():
    with pytest.raises(ul.UnitlensError, match="quantile=2 must lie between 0 and 1"):
        check(ColourWorld(2), quantile=2)


@given(concept=st.integers(0, 12), mask=st.integers(0, 12), elsewhere=st.integers(0, 12), judged=st.integers(1, 12))
def test_the_highest_iou_is_that_of_the_best_mask(concept, mask, elsewhere, judged):
    """Against trying every way in which a full mask can lie: inside the concept, beside it, or where nobody judged."""
    concept, mask = min(concept, judged), min(mask, judged + elsewhere)
    best = 0.0
    for inside in range(concept + 1):
        for beside in range(judged - concept + 1):
            if 0 <= mask - inside - beside <= elsewhere and concept + beside:
                best = max(best, inside / (concept + beside))
    assert highest_iou(concept, mask, elsewhere=elsewhere) == pytest.approx(best)


# ---- the page and the command


def test_a_page_is_written_whole_asks_for_nothing_and_escapes_what_it_shows(tmp_path):
    concepts = [ul.Concept("object", 1, "<b>cat"), ul.Concept("object", 2, "dog")]
    found = check(InMemory([{"object": [halves()]}] * 3, concepts), image_size=16, quantile=0.25)
    page = ul.report(tmp_path / "new" / "folder", found)
    text = page.read_text()
    assert text.count("<img ") == 6
    assert "&lt;b&gt;cat" in text
    assert "<b>cat" not in text
    assert "No problems found" in text
    assert re.findall(r'(?:src|href)="(?!data:image/jpeg;base64,|#)', text) == []
    with pytest.raises(ul.UnitlensError, match="is there already: choose another folder, or replace it"):
        ul.report(tmp_path / "new" / "folder", found)
    ul.report(tmp_path / "new" / "folder", found, overwrite=True)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_page_that_cannot_be_written(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    found = check(InMemory([{"object": [halves()]}], CONCEPTS), image_size=16, quantile=0.25)
    with pytest.raises(ul.UnitlensError, match=r"could not be made: Permission denied; choose another folder"):
        ul.report(tmp_path / "closed" / "inner", found)


def test_the_command_says_what_is_there(shell, tmp_path):
    said = shell("check", folder(tmp_path), "--image-size", 16, "--quantile", 0.25, "--out", "seen")
    assert said.code == 0, said.err
    assert re.search(r"^object +cat +4 +32 +50\.00% +0\.500$", said.out, re.M)
    assert "4 of 4 images read; annotated images by category: object (4); no problems" in said.out
    assert (tmp_path / "seen" / "check.html").is_file()


def test_the_command_says_how_many_groups_the_images_form(shell, tmp_path):
    alone = ("check", folder(tmp_path), "--image-size", 16, "--quantile", 0.25)
    said = shell(*alone, "--groups", "sequence:3")
    assert said.code == 0, said.err
    assert "The images form 2 groups, the largest (" in said.out
    assert "of 3 images" in said.out
    assert "fewer than 8" in said.out
    assert "images form" not in shell(*alone).out


def test_the_command_ends_with_1_if_something_is_wrong(shell, tmp_path):
    root = folder(tmp_path, images=8)
    for number in range(7):
        (root / f"labels/object/{number}.png").unlink()
    said = shell("check", root, "--image-size", 16, "--quantile", 0.25, "--quiet")
    assert said.code == 1
    assert said.out.splitlines() == [
        *(f"missing map: {number}.png is annotated for no category." for number in range(5)),
        "missing map: ... and 2 more",
    ]


def test_concepts_from_other_sources_are_checked_too(shell, tmp_path):
    how = ("--concepts", "masks", "--concepts", "colors", "--image-size", 16, "--quantile", 0.25)
    said = shell("check", folder(tmp_path), *how)
    assert re.search(r"^color +black +4 +64 +100\.00% ", said.out, re.M), said.out
    assert re.search(r"^object +cat +4 +32 ", said.out, re.M)


class Sees:
    """A segmenter that knows black from the rest, and calls the upper half of an image by another name."""

    def __call__(self, images):
        classes = (images.amax(1) > 0.01).long()
        classes[:, : classes.shape[1] // 2] = 2
        return classes


def segmented(masks=True, **options):
    planes = [{"part": [halves()]}, {"part": [halves(left=2, right=0)]}]
    data = InMemory(planes, [ul.Concept("part", 1, "Dog"), ul.Concept("part", 2, "cat")], offset=9)
    source = segmenter(Sees(), labels=["fox", "dog", "bee"], cache=None, **options)
    return ul.with_concepts(data, source, masks=masks)


@pytest.mark.parametrize("masks", [True, False])
def test_a_segmenter_is_compared_with_what_is_marked(masks):
    """Dog is marked in the left half of one image, and found in the lower half of both."""
    found = check(segmented(masks), image_size=16, quantile=0.25)
    reached = {one.concept: one.segmenter_iou for one in found.concepts if one.segmenter_iou is not None}
    assert reached == {ul.Concept("object", 2, "dog"): pytest.approx((1 / 4) / (1 / 2 + 1 - 1 / 4))}
    assert found.notes[-2:] == (
        "1 of 3 concepts of object are found nowhere or too rarely to be labels: fox.",
        "The segmenter Sees was compared with what is marked for 1 of its 3 concepts: IoU from 0.200 (dog) to 0.200 "
        "(dog). No label by it can be better than that.",
    )
    assert found.ok  # that a computed concept is nowhere is nothing to mend


def test_a_segmenter_without_anything_to_compare_it_with():
    nothing = ul.with_concepts(InMemory([{}], ()), segmenter(Sees(), labels=["a", "b", "c"], cache=None), masks=False)
    found = check(nothing, image_size=16, quantile=0.25)
    assert "Nothing is marked beside the segmenter Sees: how well it finds what it names is not known." in found.notes
    others = InMemory([{"part": [halves()]}], [ul.Concept("part", 1, "x"), ul.Concept("part", 2, "y")])
    strangers = ul.with_concepts(others, segmenter(Sees(), labels=["a", "b", "c"], cache=None))
    notes = check(strangers, image_size=16, quantile=0.25).notes
    assert notes[-1].startswith("How well the segmenter Sees finds what it names is not known: The segmenter Sees and")
    assert notes[-1].count(".") == 1


LEFT = """
import torch

class Left(torch.nn.Module):
    def forward(self, images):
        classes = torch.zeros_like(images[:, 0]).long()
        classes[..., :4] = 1
        return classes
"""


def test_the_segmenters_iou_stands_in_the_table_and_on_the_page(shell, tmp_path):
    (tmp_path / "own.py").write_text(LEFT)
    (tmp_path / "names.txt").write_text("dog\ncat\n")
    how = ("--concepts", "segmenter:own.py:Left", "--segmenter-labels", "names.txt", "--segmenter-cache", "none")
    root = folder(tmp_path)
    said = shell("check", root, "--image-size", 16, "--quantile", 0.25, "--out", "seen", *how)
    assert said.code == 0, said.err
    assert said.out.splitlines()[0].endswith("ceiling  segmenter's IoU")
    assert re.search(r"^object +cat +4 +16 +25\.00% +1\.000 +0\.500$", said.out, re.M), said.out
    assert re.search(r"^object +dog +4 +48 +75\.00% +0\.333 +0\.667$", said.out, re.M), said.out
    page = (tmp_path / "seen" / "check.html").read_text()
    assert re.search("segmenter.s IoU</th></tr></thead>", page)
    assert "<td>1.000</td><td>0.500</td>" in page
    assert shell("check", root, "--image-size", 16, "--quantile", 0.25, "--out", "plain").code == 0
    assert "s IoU</th></tr></thead>" not in (tmp_path / "plain" / "check.html").read_text()


def test_the_command_ends_with_2_if_there_is_nothing(shell, tmp_path):
    said = shell("check", tmp_path / "nowhere")
    assert (said.code, said.out) == (2, "")
    assert "There is no folder" in said.err


def test_bundled_scenes_are_fine():
    from unitlens.data.scenes.world import Scenes

    found = check(Scenes(40), image_size=112, sights=1)
    assert not [finding for finding in found.findings if finding.kind != "near-empty"]


def test_copies_are_noted_and_shown():
    class Twice:
        """Scenes, the first of them five times."""

        concepts = ul.Scenes(8).concepts

        def __len__(self):
            return 12

        def __getitem__(self, index):
            return ul.Scenes(8)[max(0, index - 4)]._replace(name=f"{index:02d}.png")

    checked = ul.check(Twice(), sights=2)
    notes = " ".join(checked.notes)
    assert "4 images are exact copies" in notes
    assert "5 of 12 images" in notes
    assert "8 groups" in notes
    assert [group.images for group in checked.alike] == [5]
    assert [sight.image for sight in checked.alike[0].sights] == [f"{index:02d}.png" for index in range(5)]
    assert "copies" not in " ".join(ul.check(ul.Scenes(12), sights=0).notes)


def test_bands_that_are_asked_for_are_checked_and_shown(tmp_path):
    root = folder(tmp_path)
    for number in range(4):
        (root / "images" / f"{number}.png").unlink()
        image = np.zeros((16, 16, 5), np.uint16)
        image[..., 4] = 1000 * (number + 1)
        np.save(root / "images" / f"{number}.npy", image[..., : 3 if number == 3 else 5])
    found = check(root, image_size=16, quantile=0.25, bands=(5, 1), range=(0, 8000), show_bands=1)
    assert kinds(found)[0] == "bands"
    assert "3.npy has 3 bands, and bands= chooses band 5" in found.findings[0].text
    assert "bands 5, 1; 0 becomes 0, and 8000 becomes 1" in found.notes[0]
    assert "shown as bands 1" in found.notes[1]
    brightness = {s.image: np.asarray(Image.open(io.BytesIO(s.tile)))[:, :40].mean() for s in found.concepts[0].sights}
    assert brightness == pytest.approx({f"{number}.npy": 255 * (number + 1) / 8 for number in range(3)}, abs=3)


def test_values_that_a_range_is_needed_for_are_reported_once_bands_are_asked_for(tmp_path):
    root = folder(tmp_path, images=2)
    (root / "images" / "0.png").unlink()
    np.save(root / "images" / "0.npy", np.full((16, 16, 3), 7.5, np.float32))
    assert check(root, image_size=16, quantile=0.25).ok
    asked = check(root, image_size=16, quantile=0.25, bands=(3, 2, 1))
    assert kinds(asked) == ["bands"]
    assert "range=(LOW, HIGH)" in asked.findings[0].text
    assert check(root, image_size=16, quantile=0.25, bands=(3, 2, 1), range=(0, 10)).ok


def test_a_fourth_band_of_a_file_is_read_where_it_is_asked_for(tmp_path):
    root = folder(tmp_path)
    for number in range(4):
        Image.new("RGBA", (16, 16), (0, 0, 0, 40 * number + 20)).save(root / "images" / f"{number}.png")
    found = check(root, image_size=16, quantile=0.25, bands=4)
    assert found.ok
    first = next(sight for sight in found.concepts[0].sights if sight.image == "1.png")
    assert np.asarray(Image.open(io.BytesIO(first.tile)))[:, :40].mean() == pytest.approx(60, abs=3)


def test_the_shell_takes_the_bands(shell, tmp_path):
    said = shell("check", folder(tmp_path), "--image-size", 16, "--quantile", 0.25, "--bands", "4", "--quiet")
    assert said.code == 1
    assert "has 3 bands, and --bands chooses band 4" in said.out
