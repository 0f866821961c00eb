"""The activations of the units of a run: those that it kept, or else of one more pass over its images."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from torch import nn

from unitlens.data.concepts import Data, described
from unitlens.data.inmemory.dataset import as_data
from unitlens.dissection.forward import Resources, observe
from unitlens.dissection.reopening import check_data, check_network, regrouped, run_basis
from unitlens.dissection.result import Dissection
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.temporary import temporary_store
from unitlens.dissection.work.opened import keeps_images, opened_activations
from unitlens.errors import UnitlensError, argument, spelled
from unitlens.models.bases import BasisLike
from unitlens.models.network import Network
from unitlens.progress import tell

BATCH_SIZE = 32


class PassOptions(TypedDict, total=False):
    """Keywords of `activations` that functions which take them hand on: how the images are passed, where they are."""

    basis: BasisLike | None
    batch_size: int
    workers: int
    store_limit: int | None
    progress: bool


@contextmanager
def activations(
    run: Dissection,
    net: Network | nn.Module | None = None,
    data: Data | str | Path | None = None,
    *,
    images: bool = False,
    basis: BasisLike | None = None,
    batch_size: int = BATCH_SIZE,
    workers: int = 0,
    store_limit: int | None = None,
    progress: bool = False,
) -> Iterator[StoredPass]:
    """The activations of the units of a run, and what is marked in its images, for what is computed from them.

    They are those that the run kept (``unitlens dissect --keep-activations``, or a dissection made with
    ``checkpoint=``). Else they take one pass over the images, for which network and data are needed.

    Parameters
    ----------
    run : Dissection
    net, data : optional
        Those of the run; needed where it did not keep its activations.
    images : bool
        Whether the images are needed too, as the network saw them (``StoredPass.thumbnails``).
    basis : optional
        The directions that are its units, where run.json names no file of them.
    batch_size, workers, store_limit, progress
        As for `unitlens.dissect`.

    Yields
    ------
    StoredPass
        Open inside of the ``with``.

    Raises
    ------
    UnitlensError
        If the run did not keep its activations, and network or data are missing; if they, or what was kept, are not
        those of the run.

    Examples
    --------
    >>> import unitlens as ul
    >>> net, data = ul.load("bundled:scenes"), ul.Scenes(24)
    >>> run = ul.dissect(net, "relu6", data, evidence=False, exemplars=0)
    >>> with ul.activations(run, net, data) as stored:
    ...     stored.images, stored.layers["relu6"].units
    (24, 128)
    """
    resources = Resources(workers=workers, store_limit=store_limit, show=progress)
    with (
        _kept(run, net, data, images=images, basis=basis, batch_size=batch_size, resources=resources) as kept,
        opened_activations(kept) as stored,
    ):
        _check_of_run(stored, run, str(kept))
        yield stored


@contextmanager
def _kept(
    run: Dissection,
    net: Network | nn.Module | None,
    data: Data | str | Path | None,
    *,
    images: bool,
    basis: BasisLike | None,
    batch_size: int,
    resources: Resources,
) -> Iterator[Path]:
    """The folder of the activations: kept by the run, or made by one pass and there until the end of the ``with``."""
    missing = "did not keep its activations"
    if run.activations is not None:
        if not images or keeps_images(run.activations):
            yield run.activations
            return
        missing = "kept no images beside its activations, as it has no exemplars"
    if net is None or data is None:
        raise UnitlensError(
            f"This takes a pass over the images, as the run {missing}: "
            + spelled(
                python="give net= and data=, or dissect with checkpoint=FOLDER.",
                shell="dissect with --keep-activations, or see to it that its network and images can be opened.",
            )
        )
    net = check_network(net, run.info)
    given = regrouped(as_data(data), run.groups)
    settings = replace(run.settings, batch_size=batch_size, strict=False, control=(), exemplars=0)
    if resources.show:
        tell(f"the run {missing}: one more pass over its images")
    with temporary_store() as store:
        directions = run_basis(run.settings, basis)
        observed = observe(net, given, settings, store, basis=directions, resources=resources, thumbnails=images)
        check_data(observed.sha256, run.info, described(given).source)
        yield store.folder


def _check_of_run(stored: StoredPass, run: Dissection, source: str) -> None:
    """Make sure that a pass is of the images and layers of a run."""
    check_data(stored.sha256, run.info, source)
    missing = [layer for layer in run.layers if layer not in stored.layers]
    if missing or any(stored.layers[layer].units != len(run[layer].counts.active) for layer in run.layers):
        raise UnitlensError(
            f"The activations in {source} are not of the units of the run: leave them out, and give "
            f"{argument('net')} and {argument('data')}."
        )
