import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitlens.pages.formats import base_name, decimals, image_uri, script_json


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/home/me/photos", "photos"),
        ("/home/me/photos/", "photos"),
        (r"C:\me\photos", "photos"),
        ("photos/street", "photos/street"),
        ("/x/net.py:build", "net.py:build"),
        ("torchvision:voc2012", "torchvision:voc2012"),
        ("hf:facebook/dinov2-small", "hf:facebook/dinov2-small"),
        ("/data/street + colors", "street + colors"),
        ("/", "/"),
        ("", ""),
    ],
)
def test_a_name_has_no_absolute_path_in_it(source, name):
    assert base_name(source) == name


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e3))
def test_a_number_and_its_interval_have_the_same_decimals_and_the_ends_differ(value, half):
    texts = decimals(value, value - half, value + half)
    assert len({len(text.partition(".")[2]) for text in texts}) == 1
    assert texts[1] != texts[2]


def test_an_interval_of_no_width_and_a_number_alone():
    assert decimals(0.039, 0.039, 0.039) == ["0.039"] * 3
    assert decimals(0.5, signed=True) == ["+0.50"]
    assert decimals(0, 0, 0) == ["0", "0", "0"]


def test_images_are_named_by_what_they_are():
    assert image_uri(b"\x89PNG....").startswith("data:image/png;base64,")
    assert image_uri(b"RIFF....WEBP").startswith("data:image/webp;base64,")
    assert image_uri(b"\xff\xd8").startswith("data:image/jpeg;base64,")


def test_json_in_a_script_element_is_what_it_was_and_ends_nothing():
    value = {"a": ["</script><!--", "&amp;", "'\"\u2028\u00a0", None, 1.5]}
    text = script_json(value)
    assert json.loads(text) == value
    assert not set("<>&") & set(text)
