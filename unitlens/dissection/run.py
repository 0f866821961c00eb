"""Dissect a network: match every unit of its layers against the concepts that are marked in images."""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from unitlens.data.columns import NotJudged, Union
from unitlens.data.concepts import Data, described
from unitlens.data.groups import Groups, grouped
from unitlens.data.opening import open_data
from unitlens.data.strata import Within, read_strata
from unitlens.dissection.controls import (
    ControlRun,
    chance_row,
    compare_with_untrained,
    comparison_row,
    run_control,
)
from unitlens.dissection.draws import alike_images, few_draws, few_folds, plan_draws
from unitlens.dissection.exemplars import draw_strips, exemplar_table, find_exemplars
from unitlens.dissection.forward import Resources, nonfinite_notes, observe
from unitlens.dissection.labelling import LabelledLayer, add_q_over_layers, label_units, layers_note
from unitlens.dissection.provenance import describe_run
from unitlens.dissection.result import Dissection
from unitlens.dissection.settings import BasisRecord, DetectorRule, Settings, ThresholdOn, Unique, recorded_choice
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.temporary import temporary_store
from unitlens.drawing.strips import strip_size
from unitlens.errors import UnitlensError, UnitlensWarning, spelled
from unitlens.models.bases import Basis, as_basis
from unitlens.models.hooks import Tap
from unitlens.models.layers import find_layers, listing_hint
from unitlens.models.layouts import Order
from unitlens.models.loading import classifier
from unitlens.models.network import Network
from unitlens.stats.masks import Upsampling

if TYPE_CHECKING:
    import pandas as pd


def dissect(
    net: Network | nn.Module,
    layers: str | Sequence[str] | None,
    data: Data | str | Path,
    *,
    quantile: float | None = None,
    min_iou: float | None = None,
    detector_rule: DetectorRule | None = None,
    grid: int | tuple[int, int] | None = None,
    preset: str = "unitlens",
    upsampling: Upsampling | None = None,
    threshold_on: ThresholdOn | None = None,
    union: Union | None = None,
    not_judged: NotJudged | None = None,
    unique: Unique | None = None,
    tap: Tap | None = None,
    layout: Order | None = None,
    basis: "Basis | npt.NDArray[np.floating] | Tensor | str | Path | None" = None,
    score: str = "iou",
    levels: bool = False,
    evidence: bool = True,
    fdr: float = 0.05,
    groups: Groups | None = None,
    within: Within | None = None,
    control: str | Sequence[str] = (),
    exemplars: int = 8,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    strict: bool = False,
    fast: bool = False,
    store_limit: int | None = None,
    progress: bool = False,
) -> Dissection:
    """Match every unit of some layers against the concepts that are marked in images.

    The network runs once on every image, for all layers together. Activations and labels are kept on disk, so that
    memory does not grow with the number of images.

    Parameters
    ----------
    net : Network or torch.nn.Module
        See `load` and `classifier`.
    layers : str, sequence of str, or None
        Names of layers; None: the network's default layer.
    data : Data, str or Path
        Annotated images; a string is opened by `unitlens.open_data`.
    quantile : float, optional
        Share of all positions that may lie above a unit's threshold; 0.01.
    min_iou : float, optional
        A unit matches a concept if its best IoU is larger (the papers' rule); 0.04.
    detector_rule : {"plain", "heldout", "lower"}, optional
        Whether in a detector the IoU alone is larger, or its held-out IoU, too, or the lower end of its interval.
    grid : int or (rows, columns), optional
        Label grid; a quarter of the network's input, rounded down.
    preset : {"unitlens", "pnas2020", "netdissect2017"}
        The choices that papers differ in; see `unitlens.dissection.settings.PRESETS`. What is given beside it
        overrides it.
    upsampling, threshold_on, union, not_judged, unique, tap : optional
        See `unitlens.dissection.settings.Settings`.
    layout : {"channels_first", "channels_last", "tokens", "heads", "attention"}, optional
        How the layers' outputs are laid out; found by the rule of `unitlens.models.layouts`.
    basis : matrix, (D, U), or file of one, optional
        Its rows are directions that take the place of the layers' units; see `unitlens.models.bases`.
    score : str
        What chooses each unit's concept; a key of `unitlens.stats.scores.SCORES` or, with counts at several levels, of
        `unitlens.stats.scores.LEVEL_SCORES`.
    levels : bool
        Whether scores at several levels are computed though another one chooses; they cost two more scans.
    evidence : bool
        Whether intervals, held-out checks and chance levels are computed.
    fdr : float
        False discovery rate of the verdict.
    groups : str, Path, mapping, sequence or None
        Images that belong together (frames of a video, images of one patient) are one draw in folds, intervals and
        chance levels: a file of ``image,group``, "folder", "re:PATTERN", "sequence:K" or "auto"; or groups by names, or
        one for each image. See `unitlens.data.groups.grouped`.
    within : str, Path or mapping, optional
        The kinds of images, for the verdict ``context``: a column of classes.csv, a file of ``image,stratum``, or kinds
        by the images' names; by default classes where they are known, else sets of concepts. See
        `unitlens.data.strata.read_strata`.
    control : {"untrained", "untrained:8", "rotated"} or sequence of them
        Also dissect the network with fresh weights (once, or several times with other seeds), or in a randomly rotated
        basis, for comparison; see `unitlens.dissection.controls`. Each takes further passes over the images.
    exemplars : int
        Images shown for each unit.
    limit : int, optional
        Only so many images, spread evenly over the data set (by ``seed``).
    batch_size, workers : int
        Images at a time; processes that decode them.
    seed : int
        Of everything that is random.
    strict : bool
        Whether an image that cannot be read is an error; else it is left out, with a warning.
    fast : bool
        Whether the network computes faster, with other rounding (channels last; bfloat16 on a GPU).
    store_limit : int, optional
        Most bytes on disk; half of what is free.
    progress : bool
        Whether progress is shown.

    Returns
    -------
    Dissection

    Raises
    ------
    UnitlensError
        If a layer does not exist, the data contradict themselves, or there are too few positions for the quantile.

    Examples
    --------
    >>> import unitlens as ul
    >>> d = ul.dissect(ul.load("bundled:scenes"), None, "bundled:scenes", limit=48, evidence=False, exemplars=0)
    >>> d.scores("iou").shape, d.settings.grid
    ((128, 120), (28, 28))

    References
    ----------
    Bau et al., "Understanding the role of individual units in a deep neural network", PNAS 117 (2020).
    """
    task = prepare(
        net,
        layers,
        data,
        quantile=quantile,
        min_iou=min_iou,
        detector_rule=detector_rule,
        grid=grid,
        preset=preset,
        upsampling=upsampling,
        threshold_on=threshold_on,
        union=union,
        not_judged=not_judged,
        unique=unique,
        tap=tap,
        layout=layout,
        basis=basis,
        score=score,
        levels=levels,
        evidence=evidence,
        fdr=fdr,
        groups=groups,
        within=within,
        control=control,
        exemplars=exemplars,
        limit=limit,
        batch_size=batch_size,
        workers=workers,
        seed=seed,
        strict=strict,
        fast=fast,
        store_limit=store_limit,
        progress=progress,
    )
    return _run(task)


@dataclass(frozen=True, eq=False)
class Task:
    """What a dissection starts from: the network, the images and the settings, all checked."""

    net: Network
    data: Data
    settings: Settings
    basis: Basis | None
    resources: Resources
    within: Mapping[str, str] | None = None


def prepare(
    net: Network | nn.Module,
    layers: str | Sequence[str] | None,
    data: Data | str | Path,
    *,
    preset: str,
    grid: int | tuple[int, int] | None,
    basis: Any,
    groups: Groups | None,
    within: Within | None,
    control: str | Sequence[str],
    workers: int,
    store_limit: int | None,
    progress: bool,
    **choices: Any,
) -> Task:
    """Open the network and data, and make the settings from the keywords of `dissect`.

    Parameters
    ----------
    net, layers, data, preset, grid, basis, groups, within, control, workers, store_limit, progress
        As for `dissect`.
    **choices
        Its other keywords, which are fields of `Settings`.

    Raises
    ------
    UnitlensError
        If something is not there, a value is not possible, or nothing is marked in the images.
    """
    net = net if isinstance(net, Network) else classifier(net)
    data = open_data(data) if isinstance(data, str | Path) else data
    basis = None if basis is None else as_basis(basis)
    settings = Settings.of_preset(
        preset,
        default_grid=quarter_grid(net),
        layers=_layer_names(net, layers),
        grid=(grid, grid) if isinstance(grid, int) else grid,
        basis=None if basis is None else BasisRecord(**basis.describe()),
        groups=recorded_choice(groups),
        within=recorded_choice(within),
        control=tuple(dict.fromkeys([control] if isinstance(control, str) else control)),
        **choices,
    )
    if not len(data.concepts) or described(data).categories == ():  # a folder without label maps
        if described(data).of_latents:
            raise UnitlensError(
                "Nothing says what is drawn from the latents, so that units cannot be matched: give a source of "
                "concepts that looks at the images, such as "
                + spelled(
                    python="ul.with_concepts(latents, ul.Colors()), or masks= of ul.latents.",
                    shell="--concepts colors or --concepts segmenter:NAME.",
                )
            )
        raise UnitlensError(
            f"{described(data).source} marks no concepts, so that units cannot be matched: add labels/ and "
            "concepts.csv (see docs/data.md), or have them computed: "
            + spelled(python="ul.open_data(..., concepts=['colors']).", shell="--concepts colors.")
        )
    data = grouped(data, groups, limit=settings.limit, seed=settings.seed)
    strata = read_strata(within, data)
    return Task(net, data, settings, basis, Resources(workers, store_limit, progress), strata)


def _run(task: Task) -> Dissection:
    import pandas as pd

    settings, show = task.settings, task.resources.show
    start = time.perf_counter()
    with temporary_store() as store:
        stored = observe(
            task.net,
            task.data,
            settings,
            store,
            basis=task.basis,
            resources=task.resources,
            thumbnails=settings.exemplars > 0,
        )
        stored.notes += [*stored.record.notes, *nonfinite_notes(stored)]
        if described(task.data).drawn_sources:
            stored.notes += _not_drawn(stored)
        draws = plan_draws(stored, settings, task.within)
        labelled = add_q_over_layers(
            [label_units(stored, layer, settings, draws, show=show) for layer in stored.layers.values()]
        )
        exemplars, strips = _draw_exemplars(stored, labelled, settings)
    controls = [
        run_control(
            control,
            task.net,
            labelled,
            task.data,
            settings,
            basis=task.basis,
            resources=task.resources,
            within=task.within,
        )
        for control in settings.control_passes
    ]
    stored.notes += dict.fromkeys(note for control in controls for note in control.notes)
    stored.notes += alike_images(stored, settings, drawn=described(task.data).of_latents)
    for note in stored.notes:
        warnings.warn(note, UnitlensWarning, stacklevel=3)
    stored.notes += few_folds(stored, settings)
    if settings.evidence:
        stored.notes += [
            *draws.notes(),
            *few_draws(stored, settings, len(draws.plain.partners)),
            *(note for layer in labelled for note in layer.notes),
            *layers_note(labelled, settings),
        ]
    info = describe_run(task.net, task.data, stored, settings, seconds=time.perf_counter() - start)
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
        groups=dict(zip(stored.record.names, stored.record.groups, strict=True)) if stored.record.grouped else None,
    )


def _not_drawn(stored: StoredPass) -> list[str]:
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


def quarter_grid(net: Network) -> tuple[int, int]:
    """Return the default label grid of a network: a quarter of its input, rounded down, in rows and columns."""
    height, width = net.preprocessing.image_size
    return max(1, height // 4), max(1, width // 4)


def _layer_names(net: Network, layers: str | Sequence[str] | None) -> list[str]:
    layers = net.default_layer if layers is None else layers
    if not layers:
        raise UnitlensError(f"No layer was named, and the network has no default: name one ({listing_hint()}).")
    return [layer.given for layer in find_layers(net.model, layers)]


def _draw_exemplars(
    stored: StoredPass, labelled: Sequence[LabelledLayer], settings: Settings
) -> tuple["pd.DataFrame", dict[tuple[str, int], bytes]]:
    """Find the exemplars of all units, as a table, and draw them as strips."""
    import pandas as pd

    if not settings.exemplars:
        return exemplar_table("", None, []), {}
    tables: list[pd.DataFrame] = []
    strips: dict[tuple[str, int], bytes] = {}
    units = sum(len(layer.threshold) for layer in labelled)
    size = strip_size(units, tiles=settings.exemplars)
    for layer, maps in zip(labelled, stored.layers.values(), strict=True):
        exemplars = find_exemplars(maps, settings.exemplars)
        tables.append(exemplar_table(maps.name, exemplars, stored.record.names))
        drawn = draw_strips(stored, maps, exemplars, layer.threshold, size=size, strips=units)
        strips |= {(maps.name, unit): strip for unit, strip in enumerate(drawn)}
    return pd.concat(tables, ignore_index=True), strips
