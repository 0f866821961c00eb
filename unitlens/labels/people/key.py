"""The key to a sheet that people answer, as the run keeps it: its questions, and which choices are right."""

from dataclasses import dataclass
from pathlib import Path

from unitlens.errors import UnitlensError
from unitlens.files import read_json
from unitlens.journal import settle
from unitlens.records import check_types, read_versioned

KEY = "labels.sheet.json"
"""The key to the sheet of a run, in its folder."""

MOST_CHOICES = 9
"""Of a question: each has a key of its own."""

MOST_QUESTIONS = 10_000
"""Of a sheet, and of all whose answers are looked at together."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question and its answer, as the key in the run keeps it.

    Attributes
    ----------
    layer, method : str
    unit : int
    choices : tuple of str
        In their order on the sheet.
    right : int
        Place of the label that the method gives the unit, from 0.
    """

    layer: str
    unit: int
    method: str
    choices: tuple[str, ...]
    right: int

    def __post_init__(self) -> None:
        check_types(self)
        if not 2 <= len(self.choices) <= MOST_CHOICES:
            raise UnitlensError(f"a question has {len(self.choices)} choices; it has 2 to {MOST_CHOICES}")
        if not 0 <= self.right < len(self.choices):
            raise UnitlensError(f"right is {self.right}; it is the place of one of {len(self.choices)} choices")


@dataclass(frozen=True, kw_only=True)
class SheetKey:
    """The key to a sheet: labels.sheet.json.

    Attributes
    ----------
    schema : int
    sheet : str
        What the page and the answers call it.
    network, data : str
        SHA-256, as in run.json.
    seed : int
        Of all that was drawn.
    questions : tuple of Question
    """

    schema: int
    sheet: str
    network: str
    data: str
    seed: int
    questions: tuple[Question, ...]

    def __post_init__(self) -> None:
        check_types(self)
        if len(self.questions) > MOST_QUESTIONS:
            raise UnitlensError(f"a sheet has {len(self.questions)} questions; it has up to {MOST_QUESTIONS}")


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
