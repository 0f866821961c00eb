"""Every column of the tables of pairs, attacks and minimal pairs stands in docs/explain.md, as it is in the code."""

from pathlib import Path

import pytest

from unitlens.explaining.pairs import attack_result, causal_labels_result, image_changes

TEXT = (Path(__file__).parents[3] / "docs" / "explain.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "columns",
    [
        image_changes.COLUMNS,
        image_changes.PAIR_COLUMNS,
        image_changes.CONCEPT_COLUMNS,
        image_changes.MATTER_COLUMNS,
        attack_result.COLUMNS,
        causal_labels_result.COLUMNS,
    ],
    ids=["pairs.csv", "pairs.images.csv", "pairs.concepts.csv", "pairs.matter.csv", "attack.csv", "causal_labels.csv"],
)
def test_columns_are_documented(columns):
    for name, meaning in columns.items():
        assert f"| `{name}` | {meaning} |" in TEXT
