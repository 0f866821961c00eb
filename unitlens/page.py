"""Write the page of a run into its folder."""

from pathlib import Path

from unitlens.result import Dissection
from unitlens.runs import REPORT, RunFiles, read_run, write_run, write_text


def report(folder: str | Path, *results: Dissection, overwrite: bool = False) -> Path:
    """Save results into a folder, and write the page that shows them.

    Parameters
    ----------
    folder : str or Path
        A run; made if it is not there.
    *results : Dissection
        What to save into it first. Without any, the page is made again from what is saved.
    overwrite : bool
        Whether a run that is there may be replaced.

    Returns
    -------
    Path
        The page: one HTML file, opened by double click.

    Raises
    ------
    UnitlensError
        If the folder holds another run, or, without results, none.
    """
    folder = Path(folder)
    for result in results:
        write_run(folder, result.files(), page=render_page(result.files()), overwrite=overwrite)
    return folder / REPORT if results else write_page(folder, read_run(folder))


def write_page(folder: Path, files: RunFiles) -> Path:
    """Write report.html of a saved run; its path."""
    path = folder / REPORT
    write_text(path, render_page(files))
    return path


def render_page(files: RunFiles) -> str:
    """The page of a run as text."""
    from unitlens.rendering import render_report

    return render_report(info=files.info, units=files.units, exemplars=files.exemplars, strips=files.strips)
