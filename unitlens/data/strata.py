"""Kinds of images that the user names: a column of classes.csv, a file, or a mapping of names.

Strata are kinds within which labels may be exchanged; subgroups are kinds of which accuracy is taken one by one.
Neither are groups, which are images that belong together (`unitlens.data.groups`).
"""

from collections.abc import Mapping
from pathlib import Path

from unitlens.data.concepts import Data, described
from unitlens.data.readers.files import read_column
from unitlens.errors import UnitlensError, argument, did_you_mean

Named = str | Path | Mapping[str, str]

Within = Named
"""What ``within=`` takes: see `read_strata`."""

Subgroups = Named
"""What ``subgroups=`` takes: see `read_subgroups`."""


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
    return _read(within, data, column="stratum", given=_given("within", within))


def read_subgroups(subgroups: Subgroups | None, data: Data) -> Mapping[str, str]:
    """Read the subgroup of each image, by the image's name.

    Parameters
    ----------
    subgroups : str, Path, mapping or None
        A CSV file with the columns ``image`` and ``group``; a column of the data set's ``classes.csv``; or the
        subgroups by the images' names. None: those that the data set names itself.
    data : Data

    Returns
    -------
    mapping of str to str
        Images that have none are not in it, and are left out.

    Raises
    ------
    UnitlensError
        If there is no such column or file, no image of the data set is named, or only one subgroup is.

    Examples
    --------
    >>> read_subgroups({"a.png": "day", "b.png": "night"}, ())["b.png"]
    'night'
    """
    given = _given("subgroups", subgroups, option="--groups")
    if subgroups is None:
        found, source = described(data).subgroups, described(data).source
        if not found:
            raise UnitlensError(
                f"{source} names no subgroups of its images: give a file of image,group, or a column of its "
                f"classes.csv, as {given}."
            )
    else:
        found = _read(subgroups, data, column="group", given=given)
    if len(set(found.values())) == 1:
        raise UnitlensError(
            f"{given} names one subgroup, {next(iter(found.values()))}, and there is none to compare it with: name two "
            "or more."
        )
    return found


def _given(name: str, value: Named | None, *, option: str | None = None) -> str:
    return argument(name, None if value is None or isinstance(value, Mapping) else str(value), option=option)


def _read(kinds: Named, data: Data, *, column: str, given: str) -> Mapping[str, str]:
    """The kind of each image, of which one at least is there."""
    if isinstance(kinds, Mapping):
        found = {str(image): str(kind) for image, kind in kinds.items()}
    else:
        found = _read_file(kinds, data, column=column, given=given)
    names = described(data).names
    if not found or (names is not None and not found.keys() & set(names)):
        first = next(iter(found), None)
        which = "no image" if first is None else f"no image that is there; its first is {first}"
        near = did_you_mean(first, names) if first is not None and names is not None else ""
        raise UnitlensError(f"{given} names {which}{near}.")
    return found


def _read_file(kinds: str | Path, data: Data, *, column: str, given: str) -> dict[str, str]:
    """Read a file, or a column of the data set's classes.csv."""
    if Path(kinds).is_file():
        return read_column(Path(kinds), column, filled=False)
    classes = Path(described(data).source) / "classes.csv"
    if classes.is_file():
        return read_column(classes, str(kinds), filled=False)
    raise UnitlensError(
        f"{given} is no file, and {described(data).source} has no classes.csv of which it could be a column: give a "
        f"CSV file with the columns image,{column}."
    )
