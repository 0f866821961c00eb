"""A sheet for people: a page of questions about the labels of a run, and its key in the run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from torch import nn

from unitlens.data.concepts import Data
from unitlens.dissection.files import REPORT
from unitlens.dissection.provenance import versions
from unitlens.dissection.result import Dissection, open_run
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.work.run_pass import PassOptions, activations
from unitlens.errors import UnitlensError, argument
from unitlens.files import check_readable, json_text, make_folder, write_whole
from unitlens.journal import changing
from unitlens.labels.files import read_labels
from unitlens.labels.footing.references import dissection_labels
from unitlens.labels.people.key import KEY
from unitlens.labels.people.questions import Sheet, SheetSettings, make_sheet
from unitlens.models.network import Network
from unitlens.pages.document import document
from unitlens.records import write_record

_BEGINNING = 1 << 18
"""Bytes of a page within which its questions begin."""

_PLACES = ("excite it most", "second fifth", "third fifth", "fourth fifth", "excite it least")


def sheet(
    folder: str | Path,
    page: str | Path,
    *,
    net: Network | nn.Module | None = None,
    data: Data | str | Path | None = None,
    methods: Sequence[str] | None = None,
    units: int | Sequence[int] = 20,
    per_unit: int = 15,
    choices: int = 4,
    seed: int = 0,
    overwrite: bool = False,
    **passing: Unpack[PassOptions],
) -> Path:
    """Write a page on which people choose the label of units among others.

    The page stands alone and asks no network. It shows images from the whole range of a unit's activation, saves the
    answers as a CSV file, and does not hold the right ones: the run keeps the key, with which `read_answers` reads
    them.

    Parameters
    ----------
    folder : str or Path
        A run.
    page : str or Path
        The HTML file to write.
    net, data : optional
        Those of the run; needed where it did not keep its activations and images.
    methods : sequence of str, optional
        Whose labels are asked about; by default those of the dissection and of all methods in the run but trivial
        ones.
    units : int or sequence of int
        How many units of each layer are drawn, or which.
    per_unit : int
        Images of each unit, from five quantiles of its peaks; 5 or more.
    choices : int
        Labels to choose from, 2 to 9: the method's, and others by the same method, of other units.
    seed : int
        Of the units, images, distractors and places.
    overwrite : bool
        Whether a sheet that is there may be replaced, the page and the key: answers to it that are not saved in the
        run can then not be read. Other files are never replaced.
    **passing
        ``basis``, ``batch_size``, ``workers``, ``store_limit`` and ``progress``, as for `unitlens.activations`.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    UnitlensError
        If there is a sheet already, the page is the place of another file, or there are too few labels.
    """
    folder, page = Path(folder), Path(page)
    run = open_run(folder)
    check_sheet(folder, page, overwrite=overwrite)
    with activations(run, net, data, images=True, **passing) as stored:
        return write_sheet(
            folder, page, run, stored, methods=methods, units=units, per_unit=per_unit, choices=choices, seed=seed
        )


def write_sheet(
    folder: Path, page: Path, run: Dissection, stored: StoredPass, **settings: Unpack[SheetSettings]
) -> Path:
    """Do the same with activations that are open, where `check_sheet` found nothing; see `sheet`."""
    labels, saved = dissection_labels(run), read_labels(folder)
    made = make_sheet(run, labels if saved is None else labels.joined(saved), stored, **settings)
    text = render_sheet(made)
    with changing(folder) as change:
        change.write(KEY, json_text(write_record(made.key)))
        make_folder(page.absolute().parent)
        write_whole(page, text)
    return page


def check_sheet(folder: Path, page: Path, *, overwrite: bool) -> None:
    """Make sure that a sheet of a run may be written to a page.

    Raises
    ------
    UnitlensError
        If there is another file than a sheet, or a sheet already that may not be replaced.
    """
    if page.suffix.lower() not in (".html", ".htm"):
        raise UnitlensError(f"A sheet is a page: its name ends in .html, and {page} does not.")
    if page.name == REPORT and page.absolute().parent.resolve() == folder.resolve():
        raise UnitlensError(f"{page} is the page of the run itself: give the sheet another name.")
    if (page.exists() or page.is_symlink()) and not _is_sheet(page):
        raise UnitlensError(f"{page} is there already, and is no sheet: give the sheet another name.")
    there = next((path for path in (folder / KEY, page) if path.exists()), None)
    if there is not None and not overwrite:
        fact = f"{folder} has a sheet already" if there.name == KEY else f"{page} is a sheet already"
        replacing = argument("overwrite", True)
        raise UnitlensError(
            f"{fact}: {replacing} replaces it, and answers to it that are not saved can then not be read."
        )


def _is_sheet(page: Path) -> bool:
    """Whether a file is a sheet that `sheet` wrote."""
    try:
        check_readable(page)
        with page.open("rb") as file:
            start = file.read(_BEGINNING)
    except (OSError, UnitlensError):
        return False
    return b'<meta name="generator" content="unitlens ' in start and b'<form id="questions" data-sheet="' in start


def render_sheet(made: Sheet) -> str:
    """The page as text; labels are text, whatever they contain."""
    return document(
        "sheet.html",
        version=versions()["unitlens"],
        styles=("sheet.css",),
        scripts=("sheet.js",),
        sheet=made.key.sheet,
        questions=made.shown,
        places=_PLACES,
    )
