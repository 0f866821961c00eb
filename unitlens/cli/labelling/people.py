"""Options of `unitlens label` for sheets that people answer, and what they ask for."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from unitlens.cli.options import options
from unitlens.errors import UnitlensError
from unitlens.plurals import counted

people_options = options(
    click.option(
        "--sheet",
        type=click.Path(path_type=Path),
        metavar="PAGE",
        help="Write a page on which people choose the label of units among others; the run keeps the key.",
    ),
    click.option("--units", metavar="N|U,...", help="Units of a sheet: how many of each layer, or which: 3,17. [20]"),
    click.option("--per-unit", type=click.IntRange(5, 100), metavar="N", help="Images of each unit of a sheet. [15]"),
    click.option("--choices", type=click.IntRange(2, 9), metavar="N", help="Labels to choose from on a sheet. [4]"),
    click.option("--seed", type=click.IntRange(0), metavar="N", help="Of all that is drawn for a sheet. [0]"),
    click.option(
        "--answers",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Answers that the page of a sheet saved: the run keeps them, and says how often people chose the label of "
        "each method. Repeatable.",
    ),
)


class AskedPeople(NamedTuple):
    """What was asked for: where to write a sheet, with which settings; and which answers to read."""

    sheet: Path | None
    settings: dict[str, Any]
    answers: tuple[Path, ...]


def take_people_options(given: dict[str, Any]) -> AskedPeople:
    """Take the options of sheets out of those of the command.

    Raises
    ------
    UnitlensError
        If some of them were given without what they are for.
    """
    taken = {name: given.pop(name) for name in ("units", "per_unit", "choices", "seed")}
    settings = {name: value for name, value in taken.items() if value is not None}
    page, answers = given.pop("sheet"), given.pop("answers")
    if settings and page is None:
        raise UnitlensError(f"--{next(iter(settings)).replace('_', '-')} is for sheets: add --sheet PAGE.")
    if "units" in settings:
        settings["units"] = _units(settings["units"])
    return AskedPeople(page, settings, answers)


def _units(text: str) -> int | list[int]:
    """How many units, or with a comma which."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts if part) or not parts[0]:
        raise UnitlensError(
            f"--units is {text!r:.40}: it is how many, such as 20, or which, such as 3,17 (or 3, for one)."
        )
    return int(text) if len(parts) == 1 else [int(part) for part in parts if part]


def save_answers(run: Path, files: Sequence[Path], *, overwrite: bool) -> Iterator[str]:
    """Save answers beside those that a run has, or in their place; what all of them say, and how many are new."""
    from unitlens.labels.files import open_labels, read_labels
    from unitlens.labels.people.answers import read_answers
    from unitlens.pages.writing import report

    given, before = read_answers(run, *files), read_labels(run, overwrite_answers=overwrite)
    report(run, given, overwrite=overwrite)
    saved = open_labels(run).answers
    assert saved is not None
    yield from describe_ratings(saved)
    there = 0 if overwrite or before is None or before.answers is None else before.answers.answers
    yield f"saved in {run}/: {counted(saved.answers, 'answer')}, {saved.answers - there} of them new"


def describe_ratings(ratings: Any) -> Iterator[str]:
    """A line a method."""
    for row in ratings.table().to_dict("records"):
        line = (
            f"{row['method']}: {100 * row['right']:.0f} % right ({100 * row['low']:.0f} to {100 * row['high']:.0f} %; "
            f"chance {100 * row['chance']:.0f} %, p = {row['p_value']:.2g}), "
            f"{counted(row['answers'], 'answer')} to {counted(row['questions'], 'question')} by "
            f"{counted(row['raters'], 'person', 'people')}"
        )
        if row["alpha"] == row["alpha"]:
            line += f"; Krippendorff's alpha {row['alpha']:.2f} ({row['alpha_low']:.2f} to {row['alpha_high']:.2f})"
        yield line
