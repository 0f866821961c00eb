"""Dissect a network: match every unit of its layers against the concepts that are marked in images."""

import dataclasses
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from unitlens.data.batches import Columns, NotJudged, Union
from unitlens.data.concepts import Data
from unitlens.data.opening import open_data
from unitlens.dissection.controls import (
    ControlRun,
    check_controls,
    compared,
    compared_shifted,
    held_against,
    run_control,
)
from unitlens.dissection.definitions import ThresholdOn, Unique, definitions
from unitlens.dissection.exemplars import draw_strips, exemplar_table, find_exemplars
from unitlens.dissection.forward import Reading, observe
from unitlens.dissection.labelling import LabelledLayer, LabelSettings, label_units
from unitlens.dissection.provenance import describe_run
from unitlens.dissection.result import Dissection
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.temporary import temporary_store
from unitlens.drawing.strips import strip_size
from unitlens.errors import UnitlensError, UnitlensWarning, argument, spelled
from unitlens.models.bases import Basis, as_basis
from unitlens.models.hooks import Tap
from unitlens.models.layers import find_layers, listing_hint
from unitlens.models.layouts import Order
from unitlens.models.loading import classifier
from unitlens.models.network import Network
from unitlens.stats.folds import FEWEST_FOLDS
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

    Every image is shown to the network once, whatever the number of layers, and memory does not grow with the number
    of images: maps and labels wait on disk.

    Parameters
    ----------
    net : Network or torch.nn.Module
        See `load` and `classifier`.
    layers : str, sequence of str, or None
        Names of layers; None: the network's default layer.
    data : Data, str or Path
        Annotated images; a string is what ``--data`` takes.
    quantile : float, optional
        Share of all positions that may lie above a unit's threshold; 0.01.
    min_iou : float, optional
        The papers' rule: a unit matches where its best IoU is larger; 0.04.
    grid : int or (rows, columns), optional
        Label grid; a quarter of the network's input, rounded down.
    preset : {"unitlens", "pnas2020", "netdissect2017"}
        The choices that papers differ in; see `unitlens.dissection.definitions`. What is given beside it overrides it.
    upsampling, threshold_on, union, not_judged, unique, tap : optional
        See `unitlens.dissection.definitions.Definitions`.
    layout : {"channels_first", "channels_last", "tokens", "heads", "attention"}, optional
        How the layers' outputs are laid out; found by the rule of `unitlens.models.layouts`.
    basis : matrix, (D, U), or file of one, optional
        Its rows are directions that take the place of the layers' units; see `unitlens.models.bases`.
    score : str
        What chooses the label; a key of `unitlens.stats.scores.SCORES` or, with counts at several levels, of
        `unitlens.stats.scores.LEVEL_SCORES`.
    levels : bool
        Whether those are computed though another score chooses; they cost two more scans over all positions.
    evidence : bool
        Whether intervals, held-out checks and chance levels are computed.
    fdr : float
        False discovery rate of the verdict.
    control : {"untrained", "rotated"} or sequence of them
        What the same measurement finds in the network with fresh weights, or in a rotated basis; see
        `unitlens.dissection.controls`. Each costs a pass of its own.
    exemplars : int
        Images shown for each unit.
    limit : int, optional
        Only so many images from the start.
    batch_size, workers : int
        Images at a time; processes that decode them.
    seed : int
        Of resamples and draws.
    strict : bool
        Whether an image that cannot be read is an error; else it is left out and named.
    fast : bool
        Whether the network may compute faster at other rounding (channels last; bfloat16 on a GPU).
    store_limit : int, optional
        Bytes on disk; half of what is free.
    progress : bool
        Whether progress is shown.

    Returns
    -------
    Dissection

    Raises
    ------
    UnitlensError
        If a layer does not exist, the data contradict themselves, or there are too few positions for the quantile.

    References
    ----------
    Bau et al., "Understanding the role of individual units in a deep neural network", PNAS 117 (2020).
    """
    net = net if isinstance(net, Network) else classifier(net)
    data = open_data(data) if isinstance(data, str | Path) else data
    chosen = definitions(
        preset,
        quantile=quantile,
        min_iou=min_iou,
        grid=(grid, grid) if isinstance(grid, int) else grid,
        upsampling=upsampling,
        threshold_on=threshold_on,
        union=union,
        not_judged=not_judged,
        unique=unique,
        tap=tap,
    )
    reading = Reading(
        *(batch_size, workers, limit, strict, fast, store_limit, exemplars > 0, progress),
        layout=layout,
        basis=None if basis is None else as_basis(basis),
    )
    controls = check_controls(control)
    if controls and not evidence:
        raise UnitlensError(f"A control is compared with the evidence: leave out {argument('evidence', False)}.")
    how = LabelSettings(chosen, score, levels, evidence, fdr, seed, exemplars, progress)
    return _dissect(net, _layer_names(net, layers), data, preset, reading, how, controls)


def _dissect(
    net: Network,
    layers: list[str],
    data: Data,
    preset: str,
    reading: Reading,
    how: LabelSettings,
    control: tuple[str, ...],
) -> Dissection:
    import pandas as pd

    grid = how.definitions.grid or quarter_grid(net)
    if not len(data.concepts) or getattr(data, "categories", None) == ():  # a folder without label maps
        raise UnitlensError(
            f"{getattr(data, 'source', data)} marks no concepts, so that units cannot be matched: add labels/ and "
            "concepts.csv (see docs/data.md), or have them computed: "
            + spelled(python="ul.open_data(..., concepts=['colors']).", shell="--concepts colors.")
        )
    columns = Columns.of(data.concepts, not_judged=how.definitions.not_judged, union=how.definitions.union)
    start = time.perf_counter()
    with temporary_store() as store:
        stored = observe(
            *(net, layers, data, columns, store),
            grid=grid,
            tap=how.definitions.tap,
            reading=reading,
            quantile=how.definitions.quantile,
            draws=how.draws,
        )
        done = [label_units(stored, layer, how) for layer in stored.layers.values()]
        shown, strips = _show(stored, done, how)
    runs = [run_control(name, net, done, data, columns, grid=grid, reading=reading, how=how) for name in control]
    stored.notes += [note for run in runs for note in run.notes]
    for note in stored.notes:
        warnings.warn(note, UnitlensWarning, stacklevel=3)
    stored.notes += _few_folds(stored, how)
    settings = {
        **dataclasses.asdict(how.definitions),
        **{"grid": list(grid), "preset": preset, "layers": layers, "score": how.score, "evidence": how.evidence},
        **{"levels": how.at_levels, "control": list(control)},
        **{"fdr": how.fdr, "exemplars": how.exemplars, "seed": how.seed, "limit": reading.limit},
        **{"batch_size": reading.batch_size, "strict": reading.strict, "fast": reading.fast},
        **{"layout": reading.layout, "basis": reading.basis.describe() if reading.basis else None},
    }
    info = describe_run(net, data, stored, settings, seconds=time.perf_counter() - start)
    untrained = {layer: done for run in runs if run.name == "untrained" for layer, done in run.layers.items()}
    tables = {one.name: held_against(one, untrained[one.name]) if untrained else one.table for one in done}
    info["comparison"] = _compare(done, tables, runs, how)
    return Dissection(
        info,
        pd.concat(tables.values(), ignore_index=True),
        {one.name: one.counts for one in done},
        shown,
        strips,
        {f"{one.name}/{name}": score for one in done for name, score in one.at_levels.items()},
        _in_one_table(tables, runs) if runs else None,
    )


def _few_folds(stored: StoredPass, how: LabelSettings) -> list[str]:
    folds = len(np.unique(stored.folds))
    if not how.evidence or folds >= FEWEST_FOLDS:
        return []
    return [
        f"The {stored.images} images fill {folds} of 32 folds, fewer than {FEWEST_FOLDS}: there are no intervals "
        "(iou_low, iou_high and label_set are empty)."
    ]


def _compare(
    done: list[LabelledLayer], tables: dict[str, "pd.DataFrame"], runs: list[ControlRun], how: LabelSettings
) -> list[dict[str, Any]]:
    """What was found, layer by layer, in the network, its controls and with the labels of other images."""
    rows = []
    for one in done:
        rows.append(compared("as it is", one, tables[one.name]))
        rows += [compared(run.name, run.layers[one.name], run.layers[one.name].table) for run in runs]
        if how.evidence:
            rows.append(compared_shifted(one, how.definitions.min_iou))
    return rows


def _in_one_table(tables: dict[str, "pd.DataFrame"], runs: list[ControlRun]) -> "pd.DataFrame":
    """The rows of the network, whose ``control`` is none, and those of its controls."""
    import pandas as pd

    parts = [table.assign(control="none") for table in tables.values()]
    parts += [one.table.assign(control=run.name) for run in runs for one in run.layers.values()]
    whole = pd.concat(parts, ignore_index=True)
    return whole[["control", *(name for name in whole if name != "control")]]


def quarter_grid(net: Network) -> tuple[int, int]:
    """The label grid of a network: a quarter of its input, rounded down, in rows and columns."""
    height, width = net.preprocessing.image_size
    return max(1, height // 4), max(1, width // 4)


def _layer_names(net: Network, layers: str | Sequence[str] | None) -> list[str]:
    layers = net.default_layer if layers is None else layers
    if not layers:
        raise UnitlensError(f"No layer was named, and the network has no default: name one ({listing_hint()}).")
    return [place.given for place in find_layers(net.model, layers)]


def _show(
    stored: StoredPass, done: list[LabelledLayer], how: LabelSettings
) -> tuple["pd.DataFrame", dict[tuple[str, int], bytes]]:
    """The exemplars of all units, as a table and as strips."""
    import pandas as pd

    tables = [exemplar_table("", None, [])]
    strips: dict[tuple[str, int], bytes] = {}
    units = sum(len(result.threshold) for result in done)
    size = strip_size(units, tiles=max(how.exemplars, 1))
    for result, layer in zip(done, stored.layers.values(), strict=True):
        if not how.exemplars:
            continue
        found = find_exemplars(layer, how.exemplars)
        tables.append(exemplar_table(layer.name, found, stored.names))
        drawn = draw_strips(stored, layer, found, result.threshold, size=size, strips=units)
        strips |= {(layer.name, unit): strip for unit, strip in enumerate(drawn)}
    return pd.concat(tables[1:] or tables, ignore_index=True), strips
