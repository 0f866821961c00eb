"""What is concluded from the passes of a dissection: concepts, evidence, comparisons and exemplars, without network."""

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.data.batches import reading_notes
from unitlens.dissection.controls import chance_row, compare_with_untrained, comparison_row
from unitlens.dissection.draws import alike_images, few_draws, few_folds, plan_draws
from unitlens.dissection.exemplars.pictured import pictured_units
from unitlens.dissection.exemplars.strongest import Variety, draw_strips, exemplar_table, find_exemplars
from unitlens.dissection.forward import nonfinite_notes
from unitlens.dissection.labelling import LabelledLayer, add_q_over_layers, label_layers, layers_note
from unitlens.dissection.provenance import describe_run
from unitlens.dissection.result import Dissection
from unitlens.dissection.settings import ControlPass, Settings
from unitlens.dissection.work.passes import passes_of
from unitlens.errors import UnitlensWarning
from unitlens.freed import give_back_freed_memory, keeping_freed_memory
from unitlens.processes import ALONE, Processes

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.dissection.store.passes import StoredPass
    from unitlens.dissection.work.task import Asked
    from unitlens.dissection.work.works import Work


class ControlRun(NamedTuple):
    """The layers of a control.

    Attributes
    ----------
    name : str
        As controls.csv has it.
    kind : str
        A key of `unitlens.dissection.settings.CONTROLS`.
    layers : dict of str to LabelledLayer
    notes : list of str
        What the user should know of its network.
    """

    name: str
    kind: str
    layers: dict[str, LabelledLayer]
    notes: list[str]


def conclude(asked: "Asked", work: "Work", *, show: bool = False) -> Dissection:
    """Count and label the units of a dissection, of whose passes each is asked for once, in their order.

    Parameters
    ----------
    asked : Asked
    work : Work
        Has the passes, or makes them.
    show : bool
        Whether progress is shown.

    Raises
    ------
    UnitlensError
        Whatever goes wrong in a pass; and if there are too few positions for the quantile.
    """
    concluded = conclude_together(asked, work, ALONE, show=show)
    assert concluded is not None
    return concluded


def conclude_together(asked: "Asked", work: "Work", processes: Processes, *, show: bool = False) -> Dissection | None:
    """Do the same with several processes, all of which have the passes: each counts its share of the units.

    Parameters
    ----------
    asked, work
        As for `conclude`.
    processes : Processes
    show : bool
        Whether progress is shown.

    Returns
    -------
    Dissection or None
        At the first process; None at the others.

    Raises
    ------
    UnitlensError
        Whatever goes wrong in a pass; and if there are too few positions for the quantile.
    """
    import pandas as pd

    settings, start = asked.settings, time.perf_counter()
    with keeping_freed_memory(), work.stored(passes_of(settings)[0], {}) as stored:
        stored.notes += reading_notes(stored.record, asked.classes, limited=settings.limit is not None)
        stored.notes += [*nonfinite_notes(stored), *stored.of_network]
        if asked.drawn:
            stored.notes += _not_drawn(stored)
        give_back_freed_memory()
        draws = plan_draws(stored, settings, asked.within)
        give_back_freed_memory()
        labelled = label_layers(stored, list(stored.layers.values()), settings, draws, processes, show=show)
        units = {layer.name: layer.units for layer in stored.layers.values()}
        if labelled is not None:
            labelled = add_q_over_layers(labelled)
            exemplars, strips = _draw_exemplars(stored, labelled, settings)
    controls = _controls(asked, work, units, processes, show=show)
    if labelled is None or controls is None:
        return None
    stored.notes += dict.fromkeys(note for control in controls for note in control.notes)
    stored.notes += alike_images(stored, settings, drawn=asked.of_latents)
    for note in stored.notes:
        warnings.warn(note, UnitlensWarning, stacklevel=4)
    stored.notes += few_folds(stored, settings)
    if settings.evidence:
        stored.notes += [
            *draws.notes(),
            *few_draws(stored, settings, len(draws.plain.partners)),
            *(note for layer in labelled for note in layer.notes),
            *layers_note(labelled, settings),
        ]
    seconds = time.perf_counter() - start
    info = describe_run(asked.network, asked.source, stored, settings, looked_on=asked.machine, seconds=seconds)
    tables = _tables(labelled, controls)
    info["comparison"] = _comparison(labelled, tables, controls, settings)
    return Dissection(
        info,
        pd.concat(tables.values(), ignore_index=True),
        {layer.name: layer.counts for layer in labelled},
        exemplars,
        strips,
        {f"{layer.name}/{name}": score for layer in labelled for name, score in layer.at_levels.items()},
        _control_table(tables, controls) if controls else None,
        groups=stored.record.group_of if stored.record.grouped else None,
    )


def _controls(
    asked: "Asked", work: "Work", units: Mapping[str, int], processes: Processes, *, show: bool
) -> list[ControlRun] | None:
    """Label the units of all controls with the same images, labels and settings; of a rotation, layer by layer."""
    labelled: dict[ControlPass, list[LabelledLayer]] = {}
    notes: dict[ControlPass, list[str]] = {}
    for one in passes_of(asked.settings):
        if one.control is None:
            continue
        with work.stored(one, units) as stored:
            draws = plan_draws(stored, one.settings, asked.within)
            layers = label_layers(stored, list(stored.layers.values()), one.settings, draws, processes, show=show)
        labelled.setdefault(one.control, []).extend(layers or [])
        notes[one.control] = stored.of_network
    if not processes.first:
        return None
    return [
        ControlRun(
            control.name, control.kind, {layer.name: layer for layer in add_q_over_layers(layers)}, notes[control]
        )
        for control, layers in labelled.items()
    ]


def _not_drawn(stored: "StoredPass") -> list[str]:
    """Note concepts that are in none of the images that a generator drew."""
    names, labels = stored.labels.columns.names(), stored.labels
    seen = labels.positions.sum(0)[1 : 1 + len(names)]
    missing = [name for name, positions in zip(names, seen, strict=True) if not positions]
    if not missing:
        return []
    listed = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
    return [
        f"Of the {len(names)} concepts, {len(missing)} can be seen in none of the {stored.images} images that were "
        f"drawn, and match no unit: {listed}."
    ]


def _tables(labelled: Sequence[LabelledLayer], controls: Sequence[ControlRun]) -> dict[str, "pd.DataFrame"]:
    """Make the rows of each layer; untrained copies add their columns and change verdicts."""
    untrained = [control.layers for control in controls if control.kind == "untrained"]
    if not untrained:
        return {layer.name: layer.table for layer in labelled}
    return {layer.name: compare_with_untrained(layer, [copy[layer.name] for copy in untrained]) for layer in labelled}


def _comparison(
    labelled: Sequence[LabelledLayer],
    tables: Mapping[str, "pd.DataFrame"],
    controls: Sequence[ControlRun],
    settings: Settings,
) -> list[dict[str, Any]]:
    """Count units and concepts layer by layer: in the network, in its controls, and with the labels of other images."""
    rows = []
    for layer in labelled:
        rows.append(comparison_row("as it is", layer.name, tables[layer.name]))
        rows += [comparison_row(control.name, layer.name, control.layers[layer.name].table) for control in controls]
        if settings.evidence:
            rows.append(chance_row(layer, settings.min_iou))
    return rows


def _control_table(tables: Mapping[str, "pd.DataFrame"], controls: Sequence[ControlRun]) -> "pd.DataFrame":
    """Join the rows of the network, whose ``control`` is none, and those of its controls."""
    import pandas as pd

    parts = [table.assign(control="none") for table in tables.values()]
    parts += [layer.table.assign(control=control.name) for control in controls for layer in control.layers.values()]
    joined = pd.concat(parts, ignore_index=True)
    return joined[["control", *(name for name in joined if name != "control")]]


def _draw_exemplars(
    stored: "StoredPass", labelled: Sequence[LabelledLayer], settings: Settings
) -> tuple["pd.DataFrame", dict[tuple[str, int], bytes]]:
    """Find the exemplars of all units, as a table, and draw them as strips: of thousands of units, those of some."""
    import pandas as pd

    if not settings.exemplars:
        return exemplar_table("", None, []), {}
    tables: list[pd.DataFrame] = []
    strips: dict[tuple[str, int], bytes] = {}
    units = pd.concat([layer.table for layer in labelled], ignore_index=True)
    pictured = pictured_units(units, exemplar_size=settings.exemplar_size)
    variety = Variety.of(stored)
    for layer, maps in zip(labelled, stored.layers.values(), strict=True):
        exemplars = find_exemplars(maps, settings.exemplars, variety)
        tables.append(exemplar_table(maps.name, exemplars, stored.record.names))
        chosen = [unit for unit in range(len(layer.threshold)) if (maps.name, unit) in pictured]
        drawn = draw_strips(stored, maps, exemplars, layer.threshold, settings, chosen=chosen, strips=len(units))
        strips |= {(maps.name, unit): strip for unit, strip in zip(chosen, drawn, strict=False)}
    return pd.concat(tables, ignore_index=True), strips
