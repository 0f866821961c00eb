"""Whether what was measured fits into a folder: that it holds no other files, and no run of another network."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unitlens.ablation.files import check_no_effects
from unitlens.ablation.outcomes.files import check_no_outcomes
from unitlens.ablation.validation import check_units_alike
from unitlens.dissection.files import RUN, RunFiles, check_free, read_run
from unitlens.dissection.result import Dissection
from unitlens.dissection.settings import BasisRecord
from unitlens.editing.saving.files import check_no_interventions
from unitlens.errors import UnitlensError
from unitlens.files import another_folder
from unitlens.models.bases import Coding
from unitlens.models.preprocessing import Preprocessing


def check_effects_fit(folder: Path, sha256: str, *, of_run: str | None = None, overwrite: bool) -> None:
    """Make sure that effects of a network may be written into a folder.

    Parameters
    ----------
    folder : Path
    sha256 : str
        Of the network whose effects they are.
    of_run : str, optional
        Of the network of a dissection that takes the place of one that is there.
    overwrite : bool
        Whether effects that are there may be replaced.

    Raises
    ------
    UnitlensError
        If there are effects already, or a run of another network, or other files.
    """
    check_no_effects(folder, overwrite=overwrite)
    _check_network(folder, sha256, of_run)


def check_interventions_fit(folder: Path, sha256: str, *, of_run: str | None = None, overwrite: bool) -> None:
    """Make sure that interventions in a network may be written into a folder; as `check_effects_fit`."""
    check_no_interventions(folder, overwrite=overwrite)
    _check_network(folder, sha256, of_run)


def check_outcomes_fit(folder: Path, sha256: str, *, of_run: str | None = None, overwrite: bool) -> None:
    """Make sure that outcomes of a network may be written into a folder; as `check_effects_fit`."""
    check_no_outcomes(folder, overwrite=overwrite)
    _check_network(folder, sha256, of_run)


def _check_network(folder: Path, sha256: str, of_run: str | None) -> None:
    """Make sure that a folder holds no other files, and no run of another network."""
    check_free(folder, overwrite=True)
    if of_run is None and (folder / RUN).is_file():
        of_run = read_run(folder).info["network"]["sha256"]
    if of_run not in (None, sha256):
        raise UnitlensError(
            f"{folder} holds a run of another network, or of other weights, than these effects: {another_folder()}."
        )


def check_prepared_alike(folder: Path, network: Mapping[str, Any], new: RunFiles | None = None) -> None:
    """Make sure that images were prepared as for the run in a folder, or one that takes its place.

    Parameters
    ----------
    folder : Path
    network : mapping
        What is recorded of the network whose effects are saved.
    new : RunFiles, optional
        The run that takes the place of one that is there.

    Raises
    ------
    UnitlensError
        If they were not: what was measured is then of other images than the run's.
    """
    if new is None and not (folder / RUN).is_file():
        return
    run = (read_run(folder) if new is None else new).info["network"]
    own, others = (Preprocessing.from_json(one["preprocessing"]) for one in (network, run))
    if differences := own.differences(others):
        raise UnitlensError(
            f"Images were prepared otherwise for these effects than for the run in {folder} ({differences}): measure "
            f"them with the network as it was dissected, or {another_folder()}."
        )


def check_one_kind(bases: Iterable[Coding | BasisRecord | None]) -> None:
    """Make sure that results that are saved together are of the same units: the layer's own, or of one coding.

    Raises
    ------
    UnitlensError
        If they are of several.
    """
    if len({None if basis is None else basis.sha256 for basis in bases}) > 1:
        raise UnitlensError(
            "Some of these results are of other units than the others (a layer's own, directions or features), which "
            "have the same numbers: save each kind into a folder of its own."
        )


def check_units(folder: Path, basis: Coding | BasisRecord | None, new: RunFiles | None = None) -> None:
    """Make sure that effects are of the units of the run in a folder, or of one that takes its place."""
    if new is not None or (folder / RUN).is_file():
        check_units_alike(folder, basis, Dissection.of(read_run(folder) if new is None else new).settings.basis)
