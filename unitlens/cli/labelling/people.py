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
    click.option(
        "--sheet-methods", metavar="M,...", help="Whose labels a sheet asks about. [all but the trivial ones]"
    ),
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
    taken = {name: given.pop(name) for name in ("units", "per_unit", "choices", "sheet_methods", "seed")}
    settings = {name: value for name, value in taken.items() if value is not None}
    page, answers = given.pop("sheet"), given.pop("answers")
    if settings and page is None:
        raise UnitlensError(f"--{next(iter(settings)).replace('_', '-')} is for sheets: add --sheet PAGE.")
    if "units" in settings:
        settings["units"] = _units(settings["units"])
    if "sheet_methods" in settings:
        settings["methods"] = [name.strip() for name in settings.pop("sheet_methods").split(",")]
    return AskedPeople(page, settings, answers)


def _units(text: str) -> int | list[int]:
    """How many units, or with a comma which."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts if part) or not parts[0]:
        raise UnitlensError(
            f"--units is {text!r:.40}: it is how many, such as 20, or which, such as 3,17 (or 3, for one)."
        )
    return int(text) if len(parts) == 1 else [int(part) for part in parts if part]


def answers_with_saved(run: Path, files: Sequence[Path], before: Any) -> Any:
    """Answers in files, with those that a run's labels, if any, have already; None where there are no files."""
    from unitlens.labels.people.answers import read_answers

    if not files:
        return None
    given, saved = read_answers(run, *files), None if before is None else before.answers
    return given if saved is None else saved.joined(given)


def describe_saved(run: Path, ratings: Any, before: Any) -> Iterator[str]:
    """Say what all answers of a run come to, and how many of them its labels, if any, did not have before."""
    there = 0 if before is None or before.answers is None else before.answers.answers
    yield from _describe_ratings(ratings)
    yield f"saved in {run}/: {counted(ratings.answers, 'answer')}, {ratings.answers - there} of them new"


def _describe_ratings(ratings: Any) -> Iterator[str]:
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
