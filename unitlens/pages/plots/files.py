"""Write the figures of a saved run as files, as wide as a column of a paper or two."""

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unitlens.dissection.files import read_run
from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.files import another_folder, another_or_overwrite, make_folder, write_whole
from unitlens.pages.plots.of_run import Redraw, UnitImages, figures_of
from unitlens.pages.writing import Contents

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Format = Literal["pdf", "svg", "png"]

COLUMN, TEXT = 3.5, 7.2
"""Inches of one column of a journal, and of its two columns."""

DPI = 300
"""Of a PNG, and of the images in a PDF or an SVG."""


def write_figures(
    run: Path,
    folder: Path,
    *,
    formats: Sequence[Format] = ("pdf",),
    columns: int | None = None,
    units: int = 8,
    images: int | None = None,
    redraw: Redraw | None = None,
    style: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write all figures of a saved run into a folder, each whole, once all are drawn; their paths.

    Parameters
    ----------
    run : Path
        Of a dissection, of effects, or of interventions.
    folder : Path
        Made if it is not there; other files in it stay.
    formats : sequence of {"pdf", "svg", "png"}
    columns : {1, 2}, optional
        How many columns of a paper each is wide; by default as wide as it is drawn, and two at most.
    units : int
        How many units of each layer are shown with their images.
    images : int, optional
        How many images of each; all that the run has.
    redraw : callable, optional
        Of a layer, some of its units and a size in pixels: the same layer, with their exemplars drawn again so large,
        such as from the original images (`unitlens.redrawn`).
    style : str, optional
        A style of matplotlib, such as ggplot.
    overwrite : bool
        Whether figures that are there may be replaced.

    Raises
    ------
    UnitlensError
        If there is no such run or style, it holds nothing that is drawn, or a figure is there already.
    """
    if not run.is_dir():
        read_run(run)  # there is none, and the error says so
    contents = Contents().with_saved(run)
    drawn: dict[str, bytes] = {}
    with _styled(style):
        width = TEXT if columns is None else (COLUMN, TEXT)[columns - 1]
        for one in figures_of(contents, UnitImages(units, images, redraw, width, DPI)):
            figure = one.draw()
            _widen(figure, columns)
            name = _free(one.name, drawn)
            for ending in dict.fromkeys(formats):
                drawn[f"{name}.{ending}"] = _content(figure, ending)
    if not drawn:
        read_run(run)
        raise UnitlensError(f"{run} holds nothing that is drawn: neither units, effects, nor interventions.")
    _check_free(folder, drawn, overwrite=overwrite)
    make_folder(folder)
    for name, content in drawn.items():
        write_whole(folder / name, content)
    return [folder / name for name in drawn]


def _check_free(folder: Path, names: Iterable[str], *, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UnitlensError(f"{folder} is a file; figures are written into a folder: {another_folder()}.")
    there = next((folder / name for name in names if (folder / name).exists()), None)
    if there is not None and not overwrite:
        raise UnitlensError(f"{there} is there already: {another_or_overwrite()}.")


@contextmanager
def _styled(style: str | None) -> Iterator[None]:
    """Draw in a style that matplotlib has, so that nothing is fetched; text of files can be edited."""
    from matplotlib import rc_context
    from matplotlib import style as styles

    if style is not None and style not in ("default", *styles.available):
        known = ("default", *styles.available)
        raise UnitlensError(
            f"{argument('style', style)} is no style of matplotlib{did_you_mean(style, known)}; there are "
            f"{', '.join(known)}."
        )
    plain = {"font.size": 8.0, "axes.linewidth": 0.6}
    with (
        styles.context(style or plain),
        rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "unitlens"}),
    ):
        yield


def _widen(figure: "Figure", columns: int | None) -> None:
    """Make a figure one or two columns wide; of images in rows the height goes with it, of charts less."""
    width, height = figure.get_size_inches()
    wanted = min(width, TEXT) if columns is None else (COLUMN, TEXT)[columns - 1]
    shrunk = wanted / width if _is_of_images(figure) else min(1.0, wanted / width) ** 0.5
    figure.set_size_inches(wanted, max(1.2, height * shrunk))


def _is_of_images(figure: "Figure") -> bool:
    """Whether there is nothing but images in it, without axes."""
    return all(axes.images and not axes.axison for axes in figure.axes)


def _free(name: str, drawn: dict[str, bytes]) -> str:
    """The name, with a number where another figure has it."""
    taken = {file.rpartition(".")[0] for file in drawn}
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return name if name not in taken else next(other for other in numbered if other not in taken)


def _content(figure: "Figure", ending: Format) -> bytes:
    """The figure as a file; the same for the same figure, whenever it is written."""
    file = io.BytesIO()
    of_kind: dict[Format, dict[str, Any]] = {
        "pdf": {"metadata": {"CreationDate": None}},
        "svg": {"metadata": {"Date": None}},
        "png": {"metadata": {}, "pil_kwargs": {"compress_level": 3}},  # a tenth larger than 6, in half the time
    }
    for axes in figure.axes if _is_of_images(figure) else ():
        for image in axes.images:  # as they are, where a file can hold them so: smaller, and five times as fast
            image.set_interpolation(None if ending == "png" else "none")
    figure.savefig(file, format=ending, dpi=DPI, **of_kind[ending])
    return file.getvalue()
