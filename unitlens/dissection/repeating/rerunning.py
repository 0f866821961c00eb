"""Repeat a run from its run.json, and compare the two bit for bit."""

import tempfile
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from unitlens.data.concepts import Data
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.strata import Within, read_strata
from unitlens.dissection.files import check_free
from unitlens.dissection.forward import Resources
from unitlens.dissection.reopening import Reopening, check_network, regrouped, run_basis
from unitlens.dissection.repeating.differences import FileDifference, compare_files, likely_reasons
from unitlens.dissection.result import Dissection, open_run
from unitlens.dissection.settings import Settings, recorded_choice
from unitlens.dissection.work.concluding import conclude
from unitlens.dissection.work.task import Asked, Task
from unitlens.dissection.work.works import TemporaryWork
from unitlens.errors import UnitlensError, UnitlensWarning, argument, spelled
from unitlens.models.bases import BasisLike
from unitlens.models.network import Network

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Rerun:
    """A run that was repeated, and how the two compare.

    Attributes
    ----------
    run : Path
        The folder of the run.
    out : Path or None
        That of the run that repeats it; None: it is gone.
    files : tuple of FileDifference
        Each file of a run, but its page.
    reasons : tuple of str
        Why they may differ, the likeliest first; none where they do not.
    """

    run: Path
    out: Path | None
    files: tuple[FileDifference, ...]
    reasons: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether every file is the same bit for bit, of run.json what is not of one run alone."""
        return all(file.same for file in self.files)

    def table(self) -> "pd.DataFrame":
        """One row a file, with the columns ``file``, ``same`` and ``difference``."""
        import pandas as pd

        rows = [(file.name, file.same, file.difference) for file in self.files]
        return pd.DataFrame(rows, columns=["file", "same", "difference"])

    def __repr__(self) -> str:
        differing = [file.name for file in self.files if not file.same]
        return f"<Rerun of {self.run}: {'the same' if self.same else ', '.join(differing) + ' differ'}>"


def rerun(
    folder: str | Path,
    net: Network | nn.Module | None = None,
    data: Data | str | Path | None = None,
    *,
    trust: bool = False,
    out: str | Path | None = None,
    basis: BasisLike | None = None,
    within: Within | None = None,
    device: str = "cpu",
    workers: int = 0,
    store_limit: int | None = None,
    progress: bool = False,
) -> Rerun:
    """Repeat a run from its run.json, and compare the two bit for bit.

    Parameters
    ----------
    folder : str or Path
        Of the run.
    net : Network or torch.nn.Module, optional
        The network that was dissected; by default it is loaded again as recorded in the run.
    data : Data, str or Path, optional
        The images of the run; by default they are opened again as recorded in the run.
    trust : bool
        Whether network and images may be opened again where that runs code that the run names, or downloads.
    out : str or Path, optional
        Folder for the run that repeats it, which is not there yet; by default it is removed once it was compared.
    basis : optional
        The directions that were the run's units, as for `unitlens.dissect`; read again from their file, by default.
    within : optional
        The kinds of images, as for `unitlens.dissect`, where the run was given them in memory.
    device : str
        Where a network runs that is loaded here.
    workers, store_limit, progress
        As for `unitlens.dissect`.

    Returns
    -------
    Rerun
        ``same`` tells whether units.csv, counts, exemplars, strips, controls and groups are the same bit for bit, and
        run.json but for what it says of one run alone (created, command, timings, versions, machine); ``files`` says
        what differs first.

    Raises
    ------
    UnitlensError
        If there is no run, its network, basis or kinds of images are others, or cannot be opened; or opening them would
        run code that the run names, or download, and ``trust`` is not set.

    Examples
    --------
    >>> import tempfile, unitlens as ul
    >>> d = ul.dissect(ul.load("bundled:scenes"), "relu6", "bundled:scenes", limit=16, exemplars=0, evidence=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ul.rerun(d.save(f"{folder}/run")).same
    True
    """
    run = open_run(folder)
    source, images = (data, None) if isinstance(data, str | Path) else (None, data)
    reopening = Reopening.of(run.info, source=source, groups=run.groups)
    reopening.check(trust=trust, network=net is None, data=images is None)
    return repeat(
        folder,
        run,
        reopening,
        net=net,
        data=images,
        trust=trust,
        out=out,
        basis=basis,
        within=within,
        device=device,
        resources=Resources(workers=workers, store_limit=store_limit, show=progress),
    )


def repeat(
    folder: str | Path,
    run: Dissection,
    reopening: Reopening,
    *,
    net: Network | nn.Module | None = None,
    data: Data | None = None,
    trust: bool = False,
    out: str | Path | None = None,
    basis: Any = None,
    within: Within | None = None,
    device: str = "cpu",
    resources: Resources,
) -> Rerun:
    """Repeat a run that is open already, as a reopening says.

    Parameters
    ----------
    folder, net, data, trust, out, basis, within, device
        As for `rerun`.
    run : Dissection
        The run in the folder.
    reopening : Reopening
        How network and images are opened that are not given.
    resources : Resources
    """
    if out is not None:
        check_free(out)
    recorded_data = data is None
    basis = run_basis(run.settings, basis)
    net = _network(run, reopening, trust=trust, device=device) if net is None else check_network(net, run.info)
    data = reopening.open_data(trust=trust) if data is None else regrouped(as_data(data), reopening.groups)
    task = Task(net, data, run.settings, basis, resources, _strata(run.settings, within, data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitlensWarning)  # the run has said them; new ones are a difference
        again = conclude(Asked.of(task), TemporaryWork(task), show=resources.show)
    if recorded_data:
        opened = {name: value for name, value in reopening.opened.items() if name != "download"}
        again.info["data"] |= {"source": reopening.source, "opened": opened}
    given = _said_otherwise(reopening, net=net.name != run.info["network"]["name"], data=not recorded_data)
    if (run.info["command"] is None) != (spelled(python="Python", shell="shell") == "Python"):
        given.add("warnings")  # they name Python's arguments, or the shell's options
    with ExitStack() as temporary:
        made = out or f"{temporary.enter_context(tempfile.TemporaryDirectory(prefix='unitlens-rerun-'))}/run"
        files = compare_files(Path(folder), again.save(made), leave_out=given)
    reasons = () if all(file.same for file in files) else likely_reasons(run.info, again.info)
    return Rerun(Path(folder), None if out is None else Path(out), files, reasons)


def _network(run: Dissection, reopening: Reopening, *, trust: bool, device: str) -> Network:
    """The network of the run, with the classes that it was given."""
    net, classes = reopening.open_network(trust=trust, device=device), run.info["network"]["classes"]
    return replace(net, classes=tuple(classes) if classes else None)


def _strata(settings: Settings, given: Within | None, data: Data) -> Mapping[str, str] | None:
    """The kinds of images of the run, as they were given again or as their file has them."""
    recorded = settings.within
    if given is None and recorded is not None and recorded.startswith("given:"):
        raise UnitlensError(
            "The kinds of images were given to the run in memory, and run.json does not contain them: give them with "
            f"{argument('within')}."
        )
    if isinstance(given, Mapping) and recorded_choice(given) != recorded:
        raise UnitlensError(f"The kinds of images in {argument('within')} are not those of the run ({recorded}).")
    return read_strata(recorded if given is None else given, data)


def _said_otherwise(reopening: Reopening, *, net: bool, data: bool) -> set[str]:
    """Fields of run.json that name what somebody named otherwise here."""
    found = {"network.name", "network.weights"} if net or reopening.given & {"network", "weights"} else set()
    if data or reopening.source != reopening.info["data"]["source"]:
        found.add("data.source")
    return found | ({"data.opened"} if data or reopening.given - {"network", "weights"} else set())
