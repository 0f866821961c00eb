"""What docs/tables.md says of columns, from the code: `python -m tests.exports.documented` writes it into the page."""

import re
from pathlib import Path

from unitlens.comparison.columns import COLUMNS, CONCEPT_COLUMNS, UNIT_COLUMNS
from unitlens.exports.catalogue import TABLES

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"
BEGIN = "<!-- from the code, by python -m tests.exports.documented -->"


def escaped(text):
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def table(columns):
    rows = [f"| `{name}` | {escaped(meaning)} |" for name, meaning in columns.items()]
    return "\n".join(["| column | meaning |", "|---|---|", *rows])


def section():
    """All tables of a run, then those of a comparison."""
    parts = [BEGIN]
    for name, described in TABLES.items():
        command = re.sub(r"\((\w+)\)", r"--\1", described.made_by)
        parts += [
            f"### {name}",
            f"By `unitlens {command}`; a row is {described.row}.",
            table(described.columns),
        ]
    of_comparison = {"compare.csv": COLUMNS, "compare_concepts.csv": CONCEPT_COLUMNS, "compare_units.csv": UNIT_COLUMNS}
    for name, columns in of_comparison.items():
        parts += [f"### {name}", "By `unitlens compare`, into a folder of its own.", table(columns)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(PAGE.read_text(encoding="utf-8").partition(BEGIN)[0] + section(), encoding="utf-8")
