"""Outcomes of detectors: the score of the best box of a class, and how many boxes there are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unitlens.ablation.outcomes.reading import Measured, Numbers, Read, Seen, class_number
from unitlens.ablation.replay.nests import ByImage, Output, describe
from unitlens.errors import UnitlensError

SCORE = 0.5
"""Boxes are counted above this score, unless another is given."""


def _check(outputs: Output, outcome: str) -> None:
    """Make sure that outputs are boxes."""
    keys = ("labels", "scores")
    if isinstance(outputs, ByImage) and all(isinstance(one, Mapping) and {*keys} <= one.keys() for one in outputs):
        return
    raise UnitlensError(
        f"{outcome} is of a detector, which returns a list with a dictionary for each image that has labels and scores "
        f"of boxes, and the network returns {describe(outputs)}: name another outcome."
    )


def _scores(outputs: Output, label: int | None) -> Iterator[Tensor]:
    """Scores of the boxes of a class, or of all, in each image."""
    for one in outputs:
        yield one["scores"] if label is None else one["scores"][one["labels"] == label]


@dataclass(frozen=True)
class BestBox:
    """The highest score of a box of a class; 0 where there is none.

    Attributes
    ----------
    class_ : str
        Its name, or its label.
    """

    class_: str

    @property
    def name(self) -> str:
        """What it is called."""
        return f"best_box:{self.class_}"

    def start(self, measured: Measured) -> Read:
        """Find the class."""
        _check(measured.outputs, self.name)
        label = class_number(self.class_, measured.net.classes, None, outcome=self.name)

        def read(outputs: Output, seen: Seen) -> Mapping[str, Numbers]:
            best = [float(scores.max()) if len(scores) else 0.0 for scores in _scores(outputs, label)]
            return {self.name: Numbers(torch.tensor(best, dtype=torch.float64))}

        return read


@dataclass(frozen=True)
class Boxes:
    """How many boxes there are, of a class or of all, whose score is above a level.

    Attributes
    ----------
    class_ : str, optional
    score : float
    """

    class_: str | None = None
    score: float = SCORE

    @property
    def name(self) -> str:
        """What it is called."""
        level = "" if self.score == SCORE else f"@{self.score:g}"
        return f"boxes{level}" + ("" if self.class_ is None else f":{self.class_}")

    def start(self, measured: Measured) -> Read:
        """Find the class."""
        _check(measured.outputs, self.name)
        names, label = measured.net.classes, None
        if self.class_ is not None:
            label = class_number(self.class_, names, None, outcome=self.name)

        def read(outputs: Output, seen: Seen) -> Mapping[str, Numbers]:
            counts = [int((scores > self.score).sum()) for scores in _scores(outputs, label)]
            return {self.name: Numbers(torch.tensor(counts, dtype=torch.float64))}

        return read
