"""What is known of the processor decides how convolutions are computed."""

import pytest
import torch

from unitlens.models.fast import processor
from unitlens.models.fast.processor import multiplies_wide_vectors, processor_name

ZEN_4 = {"vendor_id": "AuthenticAMD", "cpu family": "25", "model name": "AMD EPYC 9654"}


@pytest.mark.parametrize(
    ("vectors", "described", "wide"),
    [
        ("AVX512", ZEN_4, False),
        ("AVX512", {**ZEN_4, "cpu family": "26"}, True),
        ("AVX512", {"vendor_id": "GenuineIntel", "cpu family": "6"}, True),
        ("AVX512", {}, True),
        ("AVX2", ZEN_4, False),
        ("NO AVX", {}, False),
    ],
)
def test_zen_4_multiplies_wide_vectors_in_halves(monkeypatch, vectors, described, wide):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: vectors)
    monkeypatch.setattr(processor, "_described", lambda: described)
    assert multiplies_wide_vectors() == wide


def test_a_processor_has_a_name(monkeypatch):
    assert processor_name()
    monkeypatch.setattr(processor, "_described", lambda: ZEN_4)
    assert processor_name() == "AMD EPYC 9654"
    monkeypatch.setattr(processor, "_described", dict)
    assert processor_name()


@pytest.mark.parametrize(
    ("text", "family"),
    [("processor : 0\ncpu family\t: 25\n\nprocessor : 1\ncpu family : 26\n", "25"), ("\x00\ufffd\n\n", None)],
)
def test_what_linux_says_of_the_first_processor_is_read(monkeypatch, tmp_path, text, family):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    processor._described.cache_clear()
    try:
        assert processor._described().get("cpu family") == family
        (tmp_path / "cpuinfo").unlink()
        processor._described.cache_clear()
        assert processor._described() == {}
    finally:
        processor._described.cache_clear()
