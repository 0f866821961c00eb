"""Kinds of images that the user names: a column of classes.csv, a file, or a mapping of names."""

from collections.abc import Mapping
from pathlib import Path

from unitlens.data.concepts import Data, described
from unitlens.data.readers.files import read_column
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
        given = argument("within", None if isinstance(within, Mapping) else str(within))
        raise UnitlensError(f"{given} names {which}{near}.")
    return strata


def _read(within: str | Path, data: Data) -> dict[str, str]:
    """Read a file, or a column of the data set's classes.csv."""
    if Path(within).is_file():
        return read_column(Path(within), "stratum", filled=False)
    classes = Path(described(data).source) / "classes.csv"
    if classes.is_file():
        return read_column(classes, str(within), filled=False)
    raise UnitlensError(
        f"{argument('within', str(within))} is no file, and {described(data).source} has no classes.csv of which it "
        "could be a column: give a CSV file with the columns image,stratum."
    )
