import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import unitlens as ul
from unitlens.data import copies
from unitlens.data.copies import CORRELATION, DISTANCE, find_copies, fingerprint, is_near_copy


def grouped_one_by_one(fingerprints):
    """The groups by their definition: every pair is compared."""
    count = len(fingerprints)
    group = np.arange(count)
    table = np.stack([np.frombuffer(one, np.uint8) for one in fingerprints])
    bits, grey = np.unpackbits(table[:, :16], axis=1), table[:, 16:].astype(float)
    grey -= grey.mean(1, keepdims=True)
    grey /= np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-6)
    for one in range(count):
        for other in range(one):
            same = fingerprints[one] == fingerprints[other]
            near = (bits[one] != bits[other]).sum() <= DISTANCE and grey[one] @ grey[other] >= CORRELATION
            if same or near:
                group[group == group[one]] = group[other]
    return [np.flatnonzero(group == group[one])[0] for one in range(count)]


@given(count=st.integers(1, 40), flips=st.integers(0, 30), seed=st.integers(0, 99))
def test_near_copies_found_by_parts_are_those_of_all_pairs(count, flips, seed):
    rng = np.random.default_rng(seed)
    originals = rng.integers(0, 256, (5, 80), np.uint8)
    found = originals[rng.integers(0, 5, count)]
    bits = np.unpackbits(found[:, :16], axis=1)
    for image in bits:
        image[rng.integers(0, 128, rng.integers(0, flips + 1))] ^= 1
    found[:, :16] = np.packbits(bits, axis=1)
    some = rng.integers(0, count, count // 4)
    found[some, 16:] = rng.integers(0, 256, (len(some), 64))  # the same bits, as bright elsewhere
    as_bytes = [one.tobytes() for one in found]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "_IMAGES_AT_ONCE", 7)
        patch.setattr(copies, "_PAIRS_AT_ONCE", 5)
        by_blocks = find_copies(as_bytes).group.tolist()
    assert find_copies(as_bytes).group.tolist() == by_blocks == grouped_one_by_one(as_bytes)
    pairs = [len(set(grouped_one_by_one([as_bytes[0], other]))) == 1 for other in as_bytes[1:]]
    assert [is_near_copy(as_bytes[0], [other]) for other in as_bytes[1:]] == pairs
    assert is_near_copy(as_bytes[0], as_bytes[1:]) == any(pairs)


def test_images_scaled_compressed_or_brightened_are_near_copies():
    image = ul.Scenes(1)[0].image
    height, width = image.shape[:2]
    smaller = np.asarray(Image.fromarray(image).resize((width * 3 // 4, height * 3 // 4)))
    brighter = np.clip(image * 1.1 + 5, 0, 255).astype(np.uint8)
    others = [ul.Scenes(4)[index].image for index in (1, 2, 3)]
    found = find_copies([fingerprint(one) for one in (image, others[0], smaller, brighter, *others[1:], image)])
    assert found.group.tolist() == [0, 1, 0, 0, 4, 5, 0]
    assert found.sizes.tolist() == [4]
    assert found.images == 4
    assert found.groups == 4


def test_drawn_scenes_are_no_copies():
    scenes = ul.Scenes(150)
    assert find_copies([fingerprint(scenes[index].image) for index in range(150)]).images == 0


def test_a_few_copies_among_many_images_are_not_worth_a_warning():
    rng = np.random.default_rng(0)
    different = [one.tobytes() for one in rng.integers(0, 256, (300, 80), np.uint8)]
    assert not find_copies([*different, *different[:2]]).notable
    assert find_copies([*different, *different[:10]]).notable
