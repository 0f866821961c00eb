"""Answers to a sheet: read, checked, and how often people chose the label of each method."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.drawing.notebooks import table_html
from unitlens.errors import UnitlensError
from unitlens.files import check_readable, read_json
from unitlens.journal import settle
from unitlens.labels.people.questions import Question, SheetKey
from unitlens.labels.result import wilson
from unitlens.plurals import counted
from unitlens.records import read_versioned
from unitlens.stats.scores import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

KEY = "labels.sheet.json"
"""The key to the sheet of a run, in its folder."""

COLUMNS = ("sheet", "rater", "question", "choice")

MOST_RATERS = 1000

_MOST_BYTES, _LONGEST = 1 << 24, 100

_RESAMPLES = 1000


@dataclass(frozen=True, eq=False, repr=False)
class Ratings:
    """What people answered.

    Attributes
    ----------
    questions : tuple of Question
    raters : tuple of str
    chosen : int64 array, (raters, questions)
        Place of the choice, from 0; -1 where a question was not answered.
    """

    questions: tuple[Question, ...]
    raters: tuple[str, ...]
    chosen: Ints

    def table(self) -> "pd.DataFrame":
        """How often people chose the label of each method.

        Returns
        -------
        DataFrame
            A row a method: ``raters``, ``questions`` (that anybody answered) and ``answers``; ``right``, the share of
            the answers that are the method's label, with ``low`` and ``high``, its 95 % interval (Wilson's, of as many
            answers as questions, since raters share these); ``chance``, one in as many as there are choices;
            ``p_value`` of as many right ones by chance (one-sided, of the same number); and ``alpha``, Krippendorff's,
            of the agreement between raters, with ``alpha_low`` and ``alpha_high`` (bootstrap over questions).
        """
        import pandas as pd

        methods = dict.fromkeys(question.method for question in self.questions)
        return pd.DataFrame([self._of_method(method) for method in methods])

    def _of_method(self, method: str) -> dict[str, Any]:
        from scipy.stats import binomtest

        mine = np.array([question.method == method for question in self.questions])
        chosen, asked = self.chosen[:, mine], [one for one in self.questions if one.method == method]
        answered = chosen >= 0
        right = answered & (chosen == np.array([question.right for question in asked]))
        questions, answers = int(answered.any(0).sum()), int(answered.sum())
        share = right.sum() / answers if answers else np.nan
        count = round(float(share) * questions) if answers else 0
        low, high = wilson(count, questions)
        chance = float(np.mean([1 / len(question.choices) for question in asked]))
        alpha, alpha_low, alpha_high = alpha_interval(chosen)
        return {
            "method": method,
            "raters": int(answered.any(1).sum()),
            "questions": questions,
            "answers": answers,
            "right": share,
            "low": low,
            "high": high,
            "chance": chance,
            "p_value": binomtest(count, questions, chance, alternative="greater").pvalue if questions else np.nan,
            "alpha": alpha,
            "alpha_low": alpha_low,
            "alpha_high": alpha_high,
        }

    def __repr__(self) -> str:
        answers = int((self.chosen >= 0).sum())
        return (
            f"<Ratings by {counted(len(self.raters), 'person', 'people')}: {counted(answers, 'answer')} to "
            f"{counted(len(self.questions), 'question')}>"
        )

    def _repr_html_(self) -> str:
        return table_html(repr(self), self.table())


def krippendorff_alpha(chosen: Ints) -> float:
    """Krippendorff's alpha of nominal answers, (raters, questions), -1 where there is none; NaN if it is undefined.

    Examples
    --------
    >>> krippendorff_alpha(np.array([[0, 1, 2, 0], [0, 1, 2, 0]]))
    1.0

    References
    ----------
    Krippendorff, "Content Analysis" (4th ed., 2018), chapter 12.
    """
    if not chosen.size or chosen.max() < 0:
        return np.nan
    counts = np.stack([(chosen == choice).sum(0) for choice in range(int(chosen.max()) + 1)], 1).astype(np.float64)
    raters = counts.sum(1)
    counts, raters = counts[raters > 1], raters[raters > 1]
    total, values = raters.sum(), counts.sum(0)
    expected = total * total - (values**2).sum()
    if not expected:
        return np.nan
    observed = ((raters**2 - (counts**2).sum(1)) / (raters - 1)).sum()
    return float(1 - (total - 1) * observed / expected)


def alpha_interval(chosen: Ints, *, seed: int = 0) -> tuple[float, float, float]:
    """Krippendorff's alpha, and its 95 % interval by the bootstrap over questions."""
    value = krippendorff_alpha(chosen)
    if np.isnan(value):
        return value, np.nan, np.nan
    rng, questions = np.random.default_rng(seed), chosen.shape[1]
    drawn: Floats = np.array(
        [krippendorff_alpha(chosen[:, rng.integers(0, questions, questions)]) for _ in range(_RESAMPLES)]
    )
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return value, float(low), float(high)


def read_key(folder: Path) -> SheetKey:
    """Read the key to the sheet of a run.

    Raises
    ------
    UnitlensError
        If there is none, or it is damaged.
    """
    settle(folder)
    if not (folder / KEY).is_file():
        raise UnitlensError(f"{folder} has no {KEY}: answers are read with the run whose sheet was answered.")
    try:
        return read_versioned(SheetKey, read_json(folder / KEY), schema=1, file=KEY)
    except UnitlensError as error:
        raise UnitlensError(f"{folder / KEY} is damaged ({str(error).rstrip('.')}): make the sheet again.") from None


def read_answers(folder: str | Path, *files: str | Path) -> Ratings:
    """Read the answers of people to the sheet of a run.

    Parameters
    ----------
    folder : str or Path
        The run, which has the key.
    *files : str or Path
        CSV files as the page saves them: sheet, rater, question, choice; of one person or several.

    Raises
    ------
    UnitlensError
        If a file is none of answers, or of another sheet, or answers a question in two ways; or if there are answers by
        more than 1,000 people.
    """
    key = read_key(Path(folder))
    found: dict[tuple[str, int], int] = {}
    for file in map(Path, files):
        for number, row in enumerate(_rows(file), start=1):
            rater, question, choice = _answer(row, key, f"{file}, row {number}")
            if found.setdefault((rater, question), choice) != choice:
                raise UnitlensError(f"{file}, row {number}: {rater!r} answers question {question} in two ways.")
    if not found:
        raise UnitlensError("There are no answers: give the CSV files that the page of the sheet saved.")
    raters = tuple(dict.fromkeys(rater for rater, _ in found))
    if len(raters) > MOST_RATERS:
        raise UnitlensError(f"There are answers by {len(raters)} people; up to {MOST_RATERS} are read together.")
    row_of = {rater: row for row, rater in enumerate(raters)}
    chosen = np.full((len(raters), len(key.questions)), -1, np.int64)
    for (rater, question), choice in found.items():
        chosen[row_of[rater], question - 1] = choice - 1
    return Ratings(key.questions, raters, chosen)


def _rows(path: Path) -> Sequence[Mapping[str, str | None]]:
    check_readable(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UnitlensError(f"{path} has more than {_MOST_BYTES >> 20} MB; answers have a row for each question.")
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            rows, columns = list(reader), list(reader.fieldnames or ())
    except (OSError, csv.Error, ValueError) as error:
        fact = error.strerror if isinstance(error, OSError) else error
        raise UnitlensError(f"{path} cannot be read as a CSV file ({fact}).") from None
    if missing := [name for name in COLUMNS if name not in columns]:
        raise UnitlensError(f"{path} has no column {missing[0]}; answers have {', '.join(COLUMNS)}.")
    return rows


def _answer(row: Mapping[str, str | None], key: SheetKey, where: str) -> tuple[str, int, int]:
    """Rater, question and choice, both counted from 1."""
    if row["sheet"] != key.sheet:
        raise UnitlensError(f"{where}: the answers are of the sheet {row['sheet']!r:.40}; the run's is {key.sheet}.")
    rater = (row["rater"] or "").strip()
    if not rater.isprintable() or not 1 <= len(rater) <= _LONGEST:
        raise UnitlensError(f"{where}: the rater is a name of 1 to {_LONGEST} letters.")
    question = _whole(row["question"], "question", len(key.questions), where)
    choices = len(key.questions[question - 1].choices)
    return rater, question, _whole(row["choice"], "choice", choices, where)


def _whole(text: str | None, name: str, most: int, where: str) -> int:
    text = (text or "").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise UnitlensError(f"{where}: {name} is {text!r:.40}; it is a number from 1 to {most}.")
    return int(text)
