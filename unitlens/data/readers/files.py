"""What the readers share: lists that may lie, files that may be missing, codes that may be unknown."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TextIO, TypeVar

import numpy as np
import numpy.typing as npt

from unitlens.data.images import EXTENSIONS, read_image
from unitlens.data.pixels.files import UnreadableError
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.files import check_readable, encoded

_LONGEST_NAME, _LONGEST_PATH = 255, 4000
"""Of a file, in bytes, and of the path to it: file systems have no longer ones."""


def inside(name: str, listed_in: Path) -> str:
    """Clean a path that a list gives, relative to the data set.

    Raises
    ------
    UnitlensError
        If it leads out of the folder: an absolute path, a drive, or one with ".."; or if no file can have such a name.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if len(name) > _LONGEST_PATH or any(
        len(part.encode(errors="surrogatepass")) > _LONGEST_NAME for part in path.parts
    ):
        raise UnitlensError(f"{listed_in} names the file {name[:40]}..., a name too long for a file: mend the list.")
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise UnitlensError(f"{listed_in} names the file {name!r}, which leads out of the data set: mend the list.")
    return path.as_posix()


def must_exist(path: Path) -> None:
    """Refuse a file that is named but not there; as an `UnreadableError`, so that only its image is left out."""
    if not path.is_file():
        raise UnreadableError(f"There is no file {path}, which the data set should have.")


def names_under(folder: Path, *, suffixes: Iterable[str] = EXTENSIONS) -> list[str]:
    """POSIX paths of the files in a folder and its subfolders, sorted, hidden ones left out."""
    suffixes = frozenset(suffixes)
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return sorted(
        path.as_posix()
        for path in paths
        if not any(part.startswith(".") for part in path.parts) and (folder / path).is_file()
    )


def image_names(folder: Path, stems: Iterable[str], *, usual: str = ".jpg") -> tuple[str, ...]:
    """POSIX paths of the images in a folder whose paths without their endings are known, sorted.

    Parameters
    ----------
    folder : Path
    stems : iterable of str
    usual : str
        The ending of the format's own images. It goes first where an image is there twice, and is the name of one that
        is not there at all, which shows when it is read.

    Returns
    -------
    tuple of str
        Images of other bands or depths have other endings, such as .tif and .npy.
    """
    there: dict[str, str] = {}
    for name in names_under(folder):
        stem = name.rpartition(".")[0]
        if name == stem + usual or stem not in there:
            there[stem] = name
    return tuple(sorted(there.get(stem, stem + usual) for stem in stems))


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, hidden ones left out; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def read_text(path: Path, *, errors: str = "strict") -> str:
    """The text of a file in UTF-8.

    Parameters
    ----------
    path : Path
    errors : str
        What becomes of other bytes, as for `open`: "surrogateescape" lets them through, as file names may have such.

    Raises
    ------
    UnitlensError
        If it is not there or in another encoding.
    """
    with _opened(path, errors=errors) as file:
        return file.read()


@contextmanager
def _opened(path: Path, *, errors: str) -> Iterator[TextIO]:
    """A file of text; whatever is raised because of it while it is read becomes a sentence."""
    check_readable(path)
    try:
        with path.open(encoding="utf-8-sig", errors=errors, newline="") as file:
            yield file
    except OSError as error:
        raise UnitlensError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UnitlensError(f"{path} is not UTF-8 text: save it in UTF-8.") from None


def read_json(path: Path, *, lossy: bool = False) -> Any:
    """The content of a JSON file, which may be nested to a bounded depth.

    Parameters
    ----------
    path : Path
    lossy : bool
        Whether characters that are not UTF-8 are replaced, as a release may have some.

    Raises
    ------
    UnitlensError
        If it is not there, or not such a file.
    """
    try:
        return json.loads(read_text(path, errors="replace" if lossy else "strict"))
    except (ValueError, RecursionError) as error:
        raise UnitlensError(f"{path} is not JSON that can be read: {error}.") from None


def read_rows(
    path: Path, columns: Sequence[str], *, filled: Sequence[str] = (), escaped: bool = False
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with their line numbers; without the blanks around cells.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        Those that it has to have.
    filled : sequence of str
        Those that are empty in no row.
    escaped : bool
        Whether what is not UTF-8 is let through, as names of files may be.

    Raises
    ------
    UnitlensError
        If a column is missing or a cell empty, or it is not CSV.
    """
    with _opened(path, errors="surrogateescape" if escaped else "strict") as file:
        yield from _rows(file, path, columns, filled)


def _rows(
    file: TextIO, path: Path, columns: Sequence[str], filled: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of an open CSV file, one after another: it may be of a million images."""
    reader = csv.DictReader(file, skipinitialspace=True)
    try:
        fields = [name.strip() for name in reader.fieldnames or ()]
        absent = [column for column in columns if column not in fields]
        if absent:
            raise UnitlensError(
                f"{path} has no column {', '.join(absent)}{did_you_mean(absent[0], fields)}; its first line names "
                f"{', '.join(fields) or 'nothing'}, and {','.join(columns)} are needed."
            )
        for row in reader:
            cells = {str(key).strip(): str(value or "").strip() for key, value in row.items() if key}
            empty = next((column for column in filled if not cells[column]), None)
            if empty is not None:
                of = f" of {cells['image']}" if empty != "image" and cells.get("image") else ""
                raise UnitlensError(f"{path}, line {reader.line_num}: {empty}{of} is empty.")
            yield reader.line_num, cells
    except csv.Error as error:
        raise UnitlensError(f"{path} is not a CSV file that can be read: {error}.") from None


def read_column(path: Path, column: str, *, filled: bool) -> dict[str, str]:
    """What a table says of each image in one of its columns, by the image's name.

    Parameters
    ----------
    path : Path
        A CSV file with a column ``image`` and others.
    column : str
    filled : bool
        Whether every row has to say something; else an image of which nothing is said is left out.

    Raises
    ------
    UnitlensError
        As for `read_rows`, and if it says two things of an image.
    """
    columns, of_image = ("image", column), dict[str, str]()
    for line, row in read_rows(path, columns, filled=columns if filled else (), escaped=True):
        if row["image"] and row[column]:
            say_once(of_image, row["image"], row[column], column=column, place=f"{path}, line {line}")
    return of_image


Value = TypeVar("Value")


def say_once(of_image: MutableMapping[str, Value], image: str, value: Value, *, column: str, place: str) -> None:
    """Add what a table says of an image in a column.

    Raises
    ------
    UnitlensError
        If it said another thing before.
    """
    known = of_image.setdefault(image, value)
    if known != value:
        raise UnitlensError(f"{place}: the {column} of {image} is {value}, before it was {known}.")


def whole_number(text: str, path: Path, line: int) -> int:
    """Read a number of a list.

    Raises
    ------
    UnitlensError
        If it is none.
    """
    try:
        return int(text)
    except ValueError:
        raise UnitlensError(f"{path}, line {line}: {text!r} is not a whole number.") from None


class Codes(NamedTuple):
    """A map of codes, and the SHA-256 of the file it was read from."""

    codes: npt.NDArray[np.int64]
    digest: str


def read_colors(path: Path, weights: tuple[int, int, int]) -> Codes:
    """Read a map that keeps its codes in the colours of an image.

    Parameters
    ----------
    path : Path
        An RGB image without loss (PNG).
    weights : three ints
        Of red, green and blue: the code is their weighted sum.

    Raises
    ------
    UnreadableError
        If it is missing or damaged.
    """
    must_exist(path)
    pixels, digest = read_image(path)
    return Codes(pixels.astype(np.int64) @ np.array(weights, np.int64), digest)


def relabelled(codes: npt.NDArray[Any], table: Mapping[int, int], source: Path | str, known_from: str) -> Any:
    """Turn the codes of a file into labels.

    Parameters
    ----------
    codes : integer array, (rows, columns)
        0 or more.
    table : mapping of int to int
        The label of each code; 0 for none, `NOT_JUDGED` where nobody judged.
    source : Path or str
        The file, for the sentence.
    known_from : str
        What says which codes there are, for the sentence.

    Returns
    -------
    uint16 array, (rows, columns)

    Raises
    ------
    UnitlensError
        If a code is not in the table.
    """
    stray = strange_codes(codes, table)
    if stray:
        raise UnitlensError(
            f"{source} holds the {'code' if len(stray) == 1 else 'codes'} {', '.join(map(str, stray[:5]))}"
            f"{', ...' if len(stray) > 5 else ''}, which {known_from} does not name: mend the one or the other."
        )
    known = np.array(sorted(table), np.int64)
    return np.array([table[code] for code in known.tolist()], np.uint16)[np.searchsorted(known, codes)]


def strange_codes(codes: npt.NDArray[Any], table: Mapping[int, int]) -> list[int]:
    """The codes that are not in the table, in their order."""
    known = np.array(sorted(table), np.int64)
    unknown = known[np.searchsorted(known, codes).clip(max=len(known) - 1)] != codes
    strange: list[int] = np.unique(np.asarray(codes)[unknown]).tolist()
    return strange


def layered(masks: Iterable[tuple[int, npt.NDArray[np.bool_]]]) -> list[npt.NDArray[np.uint16]]:
    """Put regions that may overlap into as few maps as their order allows.

    Parameters
    ----------
    masks : iterable of (int, bool array)
        The label of each region and where it is; regions of one label are one.

    Returns
    -------
    list of uint16 arrays
        Maps of each size that a mask has; 0 where no region is.
    """
    joined: dict[tuple[int, tuple[int, ...]], npt.NDArray[np.bool_]] = {}
    for label, mask in masks:
        key = (label, mask.shape)
        joined[key] = joined[key] | mask if key in joined else mask
    planes: list[npt.NDArray[np.uint16]] = []
    for (label, shape), mask in joined.items():
        free = next((plane for plane in planes if plane.shape == shape and not plane[mask].any()), None)
        if free is None:
            planes.append(free := np.zeros(shape, np.uint16))
        free[mask] = label
    return planes


def record_digest(record: Any) -> str:
    """SHA-256 of what a list says about one image."""
    return hashlib.sha256(encoded(json.dumps(record, sort_keys=True, ensure_ascii=False))).hexdigest()


def first_words(names: Iterable[str]) -> list[str]:
    """The first of several synonyms ("wall, partition"), or all of them where the first alone would not be unique."""
    names = [" ".join(name.split()) for name in names]
    short = [name.replace(";", ",").split(",")[0].strip() for name in names]
    count = Counter(short)
    return [s if count[s] == 1 else name for s, name in zip(short, names, strict=True)]
