"""What people answered to the sheets of a run, and how often they chose the label of each method."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from unitlens.drawing.notebooks import table_html
from unitlens.errors import UnitlensError, argument
from unitlens.labels.people.alpha import alpha_interval
from unitlens.labels.people.key import MOST_QUESTIONS, Question
from unitlens.plurals import counted
from unitlens.records import check_types
from unitlens.stats.intervals import wilson
from unitlens.stats.scores import Bools, Ints

if TYPE_CHECKING:
    import pandas as pd

MOST_RATERS = 1000
"""People whose answers are looked at together, at most."""

_NONE = "-"

_CODE = re.compile(r"[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class SheetAnswers:
    """What people answered to one sheet.

    Attributes
    ----------
    sheet : str
        What the page and the key call it.
    questions : tuple of Question
    answers : mapping of str to str
        By the code of who answered, which is no name: for each question the number of the choice, from 1, or ``-``.
    """

    sheet: str
    questions: tuple[Question, ...]
    answers: Mapping[str, str]

    def __post_init__(self) -> None:
        check_types(self)
        most = [len(question.choices) for question in self.questions]
        for rater, answers in self.answers.items():
            if not _CODE.fullmatch(rater) or len(answers) != len(most):
                raise UnitlensError(f"the answers of {rater!r:.40} are not those of a person to {len(most)} questions")
            if any(one != _NONE and one not in "123456789"[:of] for one, of in zip(answers, most, strict=True)):
                raise UnitlensError(f"the answers of {rater} have a choice that there is not")

    def joined(self, other: "SheetAnswers") -> Self:
        """These and other answers to the same sheet; what both have counts once.

        Raises
        ------
        UnitlensError
            If somebody answers a question in two ways.
        """
        together = dict(self.answers)
        for rater, answers in other.answers.items():
            pairs = zip(together.get(rater, _NONE * len(answers)), answers, strict=True)
            together[rater] = "".join(self._one_of(number, *pair) for number, pair in enumerate(pairs, start=1))
        return replace(self, answers=together)

    def _one_of(self, number: int, one: str, other: str) -> str:
        if _NONE not in (one, other) and one != other:
            raise UnitlensError(
                f"Somebody answers question {number} of the sheet {self.sheet} in two ways, {one} and {other}: two "
                "people of one name have to give different ones; what is saved is replaced by "
                f"{argument('overwrite', True)}."
            )
        return other if one == _NONE else one


@dataclass(frozen=True, eq=False, repr=False)
class Ratings:
    """What people answered.

    Attributes
    ----------
    sheets : tuple of SheetAnswers
    network, data : str
        SHA-256 of the network's weights and of the images, as run.json says them.
    """

    sheets: tuple[SheetAnswers, ...]
    network: str = field(default="", kw_only=True)
    data: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if len(self.raters) > MOST_RATERS:
            raise UnitlensError(
                f"There are answers by {len(self.raters)} people; up to {MOST_RATERS} are looked at together."
            )
        if len(self.questions) > MOST_QUESTIONS:
            raise UnitlensError(
                f"There are answers to {len(self.questions)} questions; up to {MOST_QUESTIONS} are looked at together."
            )

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """Those of all sheets."""
        return tuple(question for sheet in self.sheets for question in sheet.questions)

    @cached_property
    def raters(self) -> tuple[str, ...]:
        """Codes of the people, which are no names."""
        return tuple(dict.fromkeys(rater for sheet in self.sheets for rater in sheet.answers))

    @cached_property
    def chosen(self) -> Ints:
        """Place of each choice from 0, (raters, questions); -1 where a question was not answered."""
        rows = [
            "".join(sheet.answers.get(rater, _NONE * len(sheet.questions)) for sheet in self.sheets)
            for rater in self.raters
        ]
        letters = np.frombuffer("".join(rows).encode(), np.uint8).reshape(len(rows), len(self.questions))
        return np.where(letters == ord(_NONE), -1, letters.astype(np.int64) - ord("1"))

    @cached_property
    def right(self) -> Bools:
        """Whether the choice is the label of the method, (raters, questions)."""
        return np.asarray(self.chosen == np.array([question.right for question in self.questions], np.int64))

    @property
    def answers(self) -> int:
        """How many there are."""
        return int((self.chosen >= 0).sum())

    def joined(self, *others: "Ratings") -> Self:
        """These and others of the same run, sheet by sheet; what several have counts once.

        Raises
        ------
        UnitlensError
            If they are of another run, somebody answers a question in two ways, or there are too many people or
            questions.
        """
        sheets = {one.sheet: one for one in self.sheets}
        for other in others:
            if (self.network, self.data) != (other.network, other.data):
                raise UnitlensError("These answers are of another network, or of other images, than those beside them.")
            for one in other.sheets:
                sheets[one.sheet] = sheets[one.sheet].joined(one) if one.sheet in sheets else one
        return replace(self, sheets=tuple(sheets.values()))

    def table(self) -> "pd.DataFrame":
        """How often people chose the label of each method.

        Returns
        -------
        DataFrame
            A row a method: ``raters``, ``questions`` (that anybody answered) and ``answers``; ``right``, the share of
            the answers that are the method's label, with ``low`` and ``high``, its 95 % interval (Wilson's, of as many
            answers as questions, since raters share these); ``chance``, one in as many as there are choices;
            ``p_value`` of as many right ones by chance (one-sided, of the same number, rounded down); and ``alpha``,
            Krippendorff's, of the agreement between raters, with ``alpha_low`` and ``alpha_high`` (bootstrap over
            questions that several answered).
        """
        import pandas as pd

        methods = dict.fromkeys(question.method for question in self.questions)
        return pd.DataFrame([self._of_method(method) for method in methods])

    def _of_method(self, method: str) -> dict[str, Any]:
        from scipy.stats import binomtest

        mine = np.array([question.method == method for question in self.questions])
        chosen, right = self.chosen[:, mine], self.right[:, mine]
        answered = chosen >= 0
        choices = np.array([len(one.choices) for one in self.questions])[mine]
        asked = answered.any(0)
        questions, answers = int(asked.sum()), int(answered.sum())
        share = right.sum() / answers if answers else np.nan
        low, high = wilson(float(share) * questions if answers else 0, questions)
        count = int(right.sum()) * questions // max(answers, 1)  # whole, and no more than there were
        chance = float((1 / choices[asked if questions else slice(None)]).mean())
        alpha = alpha_interval(chosen)
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
            "alpha": alpha.value,
            "alpha_low": alpha.low,
            "alpha_high": alpha.high,
        }

    def by_label(self) -> "pd.DataFrame":
        """How often people chose each label that was asked about.

        Returns
        -------
        DataFrame
            A row a label of a unit that anybody was asked about and answered: ``layer``, ``unit``, ``method``,
            ``label``; ``answers``; ``right``, how many of them are the label; and ``low`` and ``high``, the 95 %
            interval of their share (Wilson's).
        """
        import pandas as pd

        found: dict[tuple[str, int, str, str], list[int]] = {}
        answers, right = (self.chosen >= 0).sum(0).tolist(), self.right.sum(0).tolist()
        for question, of_it, chose in zip(self.questions, answers, right, strict=True):
            key = question.layer, question.unit, question.method, question.choices[question.right]
            known = found.setdefault(key, [0, 0])
            found[key] = [known[0] + of_it, known[1] + chose]
        rows = [(*key, of_it, chose, *wilson(chose, of_it)) for key, (of_it, chose) in sorted(found.items()) if of_it]
        return pd.DataFrame(rows, columns=["layer", "unit", "method", "label", "answers", "right", "low", "high"])

    def __repr__(self) -> str:
        return (
            f"<Ratings by {counted(len(self.raters), 'person', 'people')}: {counted(self.answers, 'answer')} to "
            f"{counted(len(self.questions), 'question')}>"
        )

    def _repr_html_(self) -> str:
        return table_html(repr(self), self.table())
