"""A sheet for people: a page of questions about the labels of a run, and its key in the run."""

from collections.abc import Sequence
from pathlib import Path

from unitlens.data.concepts import Data
from unitlens.dissection.provenance import versions
from unitlens.dissection.result import open_run
from unitlens.errors import UnitlensError
from unitlens.files import another_or_overwrite, json_text, make_folder, write_whole
from unitlens.journal import changing
from unitlens.labels.files import read_labels
from unitlens.labels.footing.references import dissection_labels
from unitlens.labels.people.answers import KEY
from unitlens.labels.people.questions import Sheet, make_sheet
from unitlens.labels.run_pass import activations
from unitlens.models.bases import BasisLike
from unitlens.models.network import Network
from unitlens.pages.document import document
from unitlens.records import write_record

_PLACES = ("excite it most", "second fifth", "third fifth", "fourth fifth", "excite it least")


def sheet(
    folder: str | Path,
    page: str | Path,
    *,
    net: Network | None = None,
    data: Data | str | Path | None = None,
    methods: Sequence[str] | None = None,
    units: int | Sequence[int] = 20,
    per_unit: int = 15,
    choices: int = 4,
    seed: int = 0,
    overwrite: bool = False,
    basis: BasisLike | None = None,
    batch_size: int = 32,
    workers: int = 0,
    store_limit: int | None = None,
    progress: bool = False,
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
        Whether a page and a key that are there may be replaced: answers to an older sheet can then not be read.
    basis, batch_size, workers, store_limit, progress
        As for `unitlens.activations`.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    UnitlensError
        If there is a sheet already, or there are too few labels.
    """
    folder, page = Path(folder), Path(page)
    run = open_run(folder)
    there = [path for path in (page, folder / KEY) if path.exists()]
    if there and not overwrite:
        raise UnitlensError(f"{there[0]} is there already: {another_or_overwrite()}.")
    labels = dissection_labels(run)
    saved = read_labels(folder)
    if saved is not None:
        labels = labels.joined(saved)
    with activations(
        run,
        net,
        data,
        images=True,
        basis=basis,
        batch_size=batch_size,
        workers=workers,
        store_limit=store_limit,
        progress=progress,
    ) as stored:
        made = make_sheet(
            run, labels, stored, methods=methods, units=units, per_unit=per_unit, choices=choices, seed=seed
        )
    text = render_sheet(made)
    with changing(folder) as change:
        change.write(KEY, json_text(write_record(made.key)))
        make_folder(page.absolute().parent)
        write_whole(page, text)
    return page


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
