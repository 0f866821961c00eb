"""Write the page of a run into its folder."""

from pathlib import Path

from unitlens.result import Dissection
from unitlens.runs import REPORT, RunFiles, check_free, read_run, write_text


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
        check_free(folder, overwrite=overwrite)
        result.save(folder, overwrite=overwrite)
    return write_page(folder, read_run(folder))


def write_page(folder: Path, files: RunFiles) -> Path:
    """Write report.html of a saved run; its path."""
    from unitlens.report import render_report

    path = folder / REPORT
    write_text(path, render_report(info=files.info, units=files.units, exemplars=files.exemplars, strips=files.strips))
    return path
