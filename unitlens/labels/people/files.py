"""The answers of people in the folder of a run: labels.answers.json, written, and read back and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unitlens.errors import UnitlensError, spelled
from unitlens.files import json_text, read_json
from unitlens.journal import FolderChange
from unitlens.labels.people.ratings import Ratings, SheetAnswers
from unitlens.records import check_types, read_versioned, write_record

ANSWERS = "labels.answers.json"

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class AnswersRecord:
    """labels.answers.json.

    Attributes
    ----------
    schema : int
    network, data : str
        SHA-256, as in run.json.
    sheets : tuple of SheetAnswers
        With their questions, so that answers outlive the key when another sheet is made.
    """

    schema: int
    network: str
    data: str
    sheets: tuple[SheetAnswers, ...]

    def __post_init__(self) -> None:
        check_types(self)


def write_ratings(change: FolderChange, ratings: Ratings) -> None:
    """Write the answers that a run has, in place of those that are there."""
    record = AnswersRecord(schema=SCHEMA, network=ratings.network, data=ratings.data, sheets=ratings.sheets)
    change.write(ANSWERS, json_text(write_record(record)))


def read_ratings(folder: Path, info: Mapping[str, Any] | None, *, overwrite: bool = False) -> Ratings | None:
    """Read the answers that a run has; None where there are none.

    Parameters
    ----------
    folder : Path
    info : mapping or None
        Its run.json.
    overwrite : bool
        Whether answers that cannot be read count as none.

    Raises
    ------
    UnitlensError
        If they are damaged, or of another run.
    """
    if not (folder / ANSWERS).exists():
        return None
    try:
        record = read_versioned(AnswersRecord, read_json(folder / ANSWERS), schema=SCHEMA, file=ANSWERS)
        if len({one.sheet for one in record.sheets}) < len(record.sheets):
            raise UnitlensError("a sheet is there twice")
        if info is not None and (record.network, record.data) != (info["network"]["sha256"], info["data"]["sha256"]):
            raise UnitlensError("the answers are of another network, or of other images, than the run")
        return Ratings(record.sheets, network=record.network, data=record.data)
    except UnitlensError as error:
        if overwrite:
            return None
        again = spelled(
            python="save them again with ul.report(..., overwrite=True)", shell="give --answers again with --overwrite"
        )
        fact = str(error).rstrip(".")
        raise UnitlensError(
            f"{folder / ANSWERS} is damaged, or of another run ({fact}): {again}, or remove the file."
        ) from None
