"""Answers to a sheet, as its page saves them: read and checked."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from unitlens.errors import UnitlensError
from unitlens.labels.csv_files import csv_rows
from unitlens.labels.people.key import SheetKey, read_key
from unitlens.labels.people.ratings import MOST_RATERS, Ratings, SheetAnswers

COLUMNS = ("sheet", "rater", "question", "choice")

_MOST_BYTES, _LONGEST = 1 << 24, 100


def read_answers(folder: str | Path, *files: str | Path) -> Ratings:
    """Read the answers of people to the sheet of a run; `unitlens.report` saves them into it.

    Parameters
    ----------
    folder : str or Path
        The run, which has the key.
    *files : str or Path
        CSV files as the page saves them: sheet, rater, question, choice; of one person or several.

    Returns
    -------
    Ratings
        Without the names: in their place are codes (of the name and the run, by SHA-256), so that one knows the answers
        of the same person again, and does not count them twice.

    Raises
    ------
    UnitlensError
        If a file is none of answers, or of another sheet, or answers a question in two ways; or if there are answers by
        more than 1,000 people.
    """
    key = read_key(Path(folder))
    found: dict[str, dict[int, int]] = {}
    for file in map(Path, files):
        for where, row in _rows(file):
            rater, question, choice = _answer(row, key, where)
            answers = found.setdefault(rater, {})
            if len(found) > MOST_RATERS:
                raise UnitlensError(f"{where}: there are answers by more than {MOST_RATERS} people.")
            if answers.setdefault(question, choice) != choice:
                raise UnitlensError(f"{where}: {rater!r} answers question {question} in two ways.")
    if not found:
        raise UnitlensError("There are no answers: give the CSV files that the page of the sheet saved.")
    numbers = range(1, len(key.questions) + 1)
    answers_of = {
        _code(rater, key): "".join(str(answers.get(number, "-")) for number in numbers)
        for rater, answers in found.items()
    }
    of_sheet = SheetAnswers(sheet=key.sheet, questions=key.questions, answers=answers_of)
    return Ratings((of_sheet,), network=key.network, data=key.data)


def _code(rater: str, key: SheetKey) -> str:
    """What stands for a name; the same on all sheets of a run."""
    return hashlib.sha256(f"{key.network} {key.data} {rater}".encode()).hexdigest()[:16]


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, str | None]]]:
    """The rows of a file, and where each is."""
    with csv_rows(path, most=_MOST_BYTES, of="answers have a row for each question") as (rows, columns):
        if missing := [name for name in COLUMNS if name not in columns]:
            raise UnitlensError(f"{path} has no column {missing[0]}; answers have {', '.join(COLUMNS)}.")
        for number, row in enumerate(rows, start=1):
            yield f"{path}, row {number}", row


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
