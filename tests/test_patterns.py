"""Regular expressions of strangers end, whatever they say."""

import pytest

from unitlens import patterns
from unitlens.errors import UnitlensError
from unitlens.patterns import first_groups


def test_the_first_group_of_each_text_is_found():
    texts = ["a/walk_01.png", "x.png", "\udcffé_2", "_3"]
    assert first_groups(r"(.*)_\d", texts, given="g") == ["a/walk", None, "\udcffé", ""]


@pytest.mark.parametrize(
    ("pattern", "said"), [("(", "no regular expression"), ("a", "no group"), ("((" * 5000, "no reg")]
)
def test_what_is_no_expression_is_refused(pattern, said):
    with pytest.raises(UnitlensError, match=f"g .*{said}"):
        first_groups(pattern, ["a"], given="g is what was given and")


@pytest.mark.slow
@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|aa)+$", "(a*)*b", r"(.*)(.*)(.*)(.*)(.*)(.*)(.*)x", "((a{1,999}){1,999}){1,999}b"]
)
def test_what_would_run_for_ever_is_ended(pattern, monkeypatch):
    monkeypatch.setattr(patterns, "SECONDS", 1)
    with pytest.raises(UnitlensError, match="within 1 seconds: write it without repeats"):
        first_groups(pattern, ["a" * 5000 + "!"], given="it")
