"""Kinds of images that the user names: a column of classes.csv, a file, or a mapping of names."""

import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path

from unitlens.data.concepts import Data, described
from unitlens.errors import UnitlensError, argument, did_you_mean

Within = str | Path | Mapping[str, str]
"""What ``within=`` takes: see `read_strata`."""


def read_strata(within: Within | None, data: Data) -> Mapping[str, str] | None:
    """Read the stratum of each image, by the image's name.

    Parameters
    ----------
    within : str, Path, mapping or None
        A column of the data set's ``classes.csv``; a CSV file with the columns ``image`` and ``stratum``; or the
        strata by the images' names. None: as the data are.
    data : Data

    Returns
    -------
    mapping of str to str, or None
        Images that have none are not in it, and take no part in what goes by strata.

    Raises
    ------
    UnitlensError
        If there is no such column or file, or no image of the data set is named.
    """
    if within is None:
        return None
    if isinstance(within, Mapping):
        strata = {str(image): str(stratum) for image, stratum in within.items()}
    else:
        strata = _read(within, data)
    names = described(data).names
    if not strata or (names is not None and not strata.keys() & set(names)):
        first = next(iter(strata), None)
        which = "no image" if first is None else f"no image that is there; its first is {first}"
        near = did_you_mean(first, names) if first is not None and names is not None else ""
        raise UnitlensError(f"{argument('within', recorded_strata(within))} names {which}{near}.")
    return strata


def recorded_strata(within: Within | None) -> str | None:
    """What the settings record: what was typed, or a hash of what was given in memory."""
    if within is None or not isinstance(within, Mapping):
        return None if within is None else str(within)
    content = "\n".join(f"{image}\t{stratum}" for image, stratum in sorted(within.items()))
    return f"given {hashlib.sha256(content.encode()).hexdigest()[:16]}"


def _read(within: str | Path, data: Data) -> dict[str, str]:
    """Read a file, or a column of the data set's classes.csv."""
    path, column = Path(within), "stratum"
    classes = Path(described(data).source) / "classes.csv"
    if not path.is_file():
        if not classes.is_file():
            raise UnitlensError(
                f"{argument('within', str(within))} is no file, and {described(data).source} has no classes.csv of "
                "which it could be a column: give a CSV file with the columns image,stratum."
            )
        path, column = classes, str(within)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            for name in ("image", column):
                if name not in (reader.fieldnames or []):
                    near = did_you_mean(name, reader.fieldnames or [])
                    raise UnitlensError(
                        f"{path} has no column {name!r}{near}: it has {', '.join(reader.fieldnames or ['none'])}, and "
                        f"{argument('within')} takes a column of classes.csv or a file of image,stratum."
                    )
            return {row["image"].strip(): row[column].strip() for row in reader if row["image"] and row[column]}
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UnitlensError(f"{path} is not a CSV file in UTF-8 that can be read: {error}.") from None
