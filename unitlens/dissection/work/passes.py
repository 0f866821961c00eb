"""The passes of a dissection: over the images with the network, and with its controls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unitlens.data.reading import ALL, Part
from unitlens.dissection.controls import calibrate_once, control_dictionary, turned, untrained_copy
from unitlens.dissection.forward import observe
from unitlens.dissection.settings import ControlPass, Settings
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.limit import ALONE, PassesBeside
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.work.task import Task
from unitlens.files import make_folder
from unitlens.models.bases import Coding
from unitlens.models.dictionaries.dictionary import Dictionary
from unitlens.models.network import Network
from unitlens.processes import Processes


@dataclass(frozen=True)
class Pass:
    """One pass over the images.

    Attributes
    ----------
    number : int
        Passes are made in this order, from 0.
    settings : Settings
        Of the pass: its layers are those that are read.
    control : ControlPass or None
        Which network, in place of the one that is dissected.
    """

    number: int
    settings: Settings
    control: ControlPass | None = None

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.number}-{'network' if self.control is None else self.control.kind}"


def passes_of(settings: Settings) -> list[Pass]:
    """All passes of a dissection: the network's own, then those of its controls, those of units layer by layer."""
    passes = [Pass(0, settings)]
    for control in settings.control_passes:
        of_control = replace(settings, levels=False)
        layers = [settings.layers] if control.kind == "untrained" else [(layer,) for layer in settings.layers]
        for names in layers:
            passes.append(Pass(len(passes), replace(of_control, layers=names), control))
    return passes


def calibrate_copies(task: Task, folder: Path, processes: Processes) -> None:
    """Calibrate untrained copies that several processes will look with, each copy by one of them.

    Parameters
    ----------
    task : Task
    folder : Path
        In which each copy has a store of its own, for all processes.
    processes : Processes
    """
    untrained = [one for one in passes_of(task.settings) if one.control is not None and one.control.kind == "untrained"]
    for one in untrained[processes.rank :: processes.count]:
        with Store.going_on(make_folder(folder) / one.name) as store:
            if not store.manifest.complete and one.control is not None:
                net, _ = untrained_copy(task.net, seed=one.control.seed)
                calibrate_once(net, task.data, one.settings, store)
                store.commit(images=0, complete=True)


def look(
    task: Task,
    one: Pass,
    store: Store,
    units: Mapping[str, int],
    *,
    part: Part = ALL,
    beside: PassesBeside = ALONE,
    calibrated: Store | None = None,
) -> StoredPass:
    """Make a pass, or go on with it; its network is opened for it.

    Parameters
    ----------
    task : Task
    one : Pass
    store : Store
        Where it is kept.
    units : mapping of str to int
        How many each layer has, once the first pass was made; none where that had no images.
    part : Part
        Of the images.
    beside : PassesBeside
        That are on disk with it at the end.
    calibrated : Store, optional
        Where the statistics of an untrained copy are, if not in the store itself.

    Raises
    ------
    UnitlensError
        As for `observe`, and if no untrained copy can be made.
    """
    net, basis, notes = task.net, task.basis, list[str]()
    if one.control is not None and one.control.kind == "untrained":
        net, notes = untrained_copy(net, seed=one.control.seed)
        calibrate_once(net, task.data, one.settings, calibrated or store)
    elif one.control is None:
        notes += misfits(basis, net, one.settings.layers)
    else:
        (layer,) = one.settings.layers
        if isinstance(basis, Dictionary):
            basis = control_dictionary(one.control.kind, basis, net, task.data, one.settings, seed=one.control.seed)
        elif layer in units:
            basis = turned(units[layer], basis, one.control.seed)
    return observe(
        net,
        task.data,
        one.settings,
        store,
        basis=basis,
        resources=task.resources,
        thumbnails=one.control is None and one.settings.exemplars > 0,
        part=part,
        of_network=notes,
        beside=beside,
    )


def misfits(basis: Coding | None, net: Network, layers: Sequence[str]) -> list[str]:
    """Note that features were fitted to another layer or network than those that they are read from."""
    if not isinstance(basis, Dictionary) or basis.fitted_to is None:
        return []
    network = net.fingerprint()
    return [note for layer in layers if (note := basis.misfit(layer, network)) is not None]
