"""Dissect a network: match every unit of its layers against the concepts that are marked in pictures."""

import dataclasses
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from unitlens.bases import Basis, as_basis
from unitlens.concepts import Data
from unitlens.counting import BlockCounts, block_size, count_block
from unitlens.counts import Counts
from unitlens.data import Columns, NotJudged, Union
from unitlens.errors import UnitlensError, UnitlensWarning
from unitlens.evidence import DRAWS, FoldTable, LabelEvidence, association, label_evidence, partners, presence_accuracy
from unitlens.exemplars import draw_strips, exemplar_table, find_exemplars
from unitlens.hooks import Tap
from unitlens.layers import find_layers
from unitlens.layouts import Order
from unitlens.masks import Upsampling
from unitlens.network import Network, classifier
from unitlens.observation import Reading, observe
from unitlens.observed import LayerMaps, Observed
from unitlens.presets import Definitions, ThresholdOn, Unique, definitions
from unitlens.progress import progress
from unitlens.provenance import describe_run
from unitlens.result import Dissection
from unitlens.scores import Floats, iou, score_function
from unitlens.sources import open_data
from unitlens.spool import spooling
from unitlens.sprites import strip_size
from unitlens.statistics import FOLDS, threshold_rank
from unitlens.table import unit_table

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
    evidence: bool = True,
    fdr: float = 0.05,
    exemplars: int = 8,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    strict: bool = False,
    fast: bool = False,
    spool_limit: int | None = None,
    progress: bool = False,
) -> Dissection:
    """Match every unit of some layers against the concepts that are marked in pictures.

    Every picture is shown to the network once, whatever the number of layers, and memory does not grow with the number
    of pictures: maps and labels wait on disk.

    Parameters
    ----------
    net : Network or torch.nn.Module
        See `load` and `classifier`.
    layers : str, sequence of str, or None
        Names of layers; None: the network's default layer.
    data : Data, str or Path
        Annotated pictures; a string is what ``--data`` takes.
    quantile : float, optional
        Share of all positions that may lie above a unit's threshold; 0.01.
    min_iou : float, optional
        The papers' rule: a unit matches where its best IoU is larger; 0.04.
    grid : int or (rows, columns), optional
        Label grid; a quarter of the network's input, rounded down.
    preset : {"unitlens", "pnas2020", "netdissect2017"}
        The choices that papers differ in; see `unitlens.presets`. What is given beside it overrides it.
    upsampling, threshold_on, union, not_judged, unique, tap : optional
        See `unitlens.presets.Definitions`.
    layout : {"channels_first", "channels_last", "tokens", "heads", "attention"}, optional
        How the layers' outputs are laid out; found by the rule of `unitlens.layouts`.
    basis : matrix, (D, U), or file of one, optional
        Its rows are directions that take the place of the layers' units; see `unitlens.bases`.
    score : str
        What chooses the label; a key of `unitlens.scores.SCORES`.
    evidence : bool
        Whether intervals, held-out checks and chance levels are computed.
    fdr : float
        False discovery rate of the verdict.
    exemplars : int
        Pictures shown for each unit.
    limit : int, optional
        Only so many pictures from the start.
    batch_size, workers : int
        Pictures at a time; processes that decode them.
    seed : int
        Of resamples and draws.
    strict : bool
        Whether a picture that cannot be read is an error; else it is left out and named.
    fast : bool
        Whether the network may compute faster at other rounding (channels last; bfloat16 on a GPU).
    spool_limit : int, optional
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
        *(batch_size, workers, limit, strict, fast, spool_limit, exemplars > 0, progress),
        layout=layout,
        basis=None if basis is None else as_basis(basis),
    )
    how = Judging(chosen, score, evidence, fdr, seed, exemplars, progress)
    return _dissect(net, _layer_names(net, layers), data, preset, reading, how)


@dataclass(frozen=True)
class Judging:
    """How labels are chosen and shown: the definitions, and what stands beside them in `dissect`."""

    definitions: Definitions
    score: str
    evidence: bool
    fdr: float
    seed: int
    exemplars: int
    show: bool

    def __post_init__(self) -> None:
        score_function(self.score)
        if not 0 < self.fdr < 1:
            raise UnitlensError(f"The false discovery rate is {self.fdr}; it must lie between 0 and 1, such as 0.05.")
        if self.exemplars < 0:
            raise UnitlensError(f"The number of exemplars is {self.exemplars}; it is 0 or more.")


def _dissect(net: Network, layers: list[str], data: Data, preset: str, reading: Reading, how: Judging) -> Dissection:
    import pandas as pd

    grid = how.definitions.grid or quarter_grid(net)
    if not len(data.concepts):
        raise UnitlensError(
            f"{getattr(data, 'source', data)} marks no concepts, so that units cannot be matched: add labels/ and "
            "concepts.csv (see the README)."
        )
    columns = Columns.of(data.concepts, not_judged=how.definitions.not_judged, union=how.definitions.union)
    start = time.perf_counter()
    with spooling() as spool:
        observed = observe(net, layers, data, columns, spool, grid=grid, tap=how.definitions.tap, reading=reading)
        done = [_judge(observed, layer, how) for layer in observed.layers.values()]
        shown, strips = _show(observed, done, how)
    for note in observed.notes:
        warnings.warn(note, UnitlensWarning, stacklevel=3)
    settings = {
        **dataclasses.asdict(how.definitions),
        **{"grid": list(grid), "preset": preset, "layers": layers, "score": how.score, "evidence": how.evidence},
        **{"fdr": how.fdr, "exemplars": how.exemplars, "seed": how.seed, "limit": reading.limit},
        **{"batch_size": reading.batch_size, "strict": reading.strict, "fast": reading.fast},
        **{"layout": reading.layout, "basis": reading.basis.describe() if reading.basis else None},
    }
    info = describe_run(net, data, observed, settings, seconds=time.perf_counter() - start)
    table = pd.concat([result.table for result in done], ignore_index=True)
    return Dissection(info, table, {result.name: result.counts for result in done}, shown, strips)


def quarter_grid(net: Network) -> tuple[int, int]:
    """The label grid of a network: a quarter of its input, rounded down, in rows and columns."""
    height, width = net.preprocessing.image_size
    return max(1, height // 4), max(1, width // 4)


def _layer_names(net: Network, layers: str | Sequence[str] | None) -> list[str]:
    layers = net.default_layer if layers is None else layers
    if not layers:
        raise UnitlensError(
            "No layer was named, and the network has no default: name one (`unitlens layers` lists them)."
        )
    return [place.given for place in find_layers(net.model, layers)]


class _Judged(NamedTuple):
    """One layer, done."""

    name: str
    table: "pd.DataFrame"
    counts: Counts
    threshold: npt.NDArray[np.float32]


def _judge(observed: Observed, layer: LayerMaps, how: Judging) -> _Judged:
    """Count a layer block by block, then choose labels and weigh them."""
    cells = observed.marked.grid[0] * observed.marked.grid[1] if layer.layer_grid else 1
    positions = observed.pictures * cells
    raw = how.definitions.threshold_on == "raw"
    rank = threshold_rank(
        how.definitions.quantile, observed.pictures * int(np.prod(layer.maps.shape[1:])) if raw else positions
    )
    others = partners(observed.hashes, observed.annotated, draws=DRAWS if how.evidence else 0, seed=how.seed)
    step = block_size(layer, positions, how.definitions.quantile)
    blocks = []
    with progress(layer.units, f"counting {layer.name}", unit="units", show=how.show) as bar:
        for first in range(0, layer.units, step):
            units = slice(first, min(first + step, layer.units))
            block = count_block(
                layer, units, observed.marked, observed.folds, how.definitions, rank=rank, partners=others
            )
            blocks.append(_weigh(block, layer, observed, how))
            bar.update(units.stop - units.start)
    threshold = np.concatenate([block.threshold for block in blocks])
    counts = _joined(blocks, layer, observed, positions)
    table = _tabulate(observed, layer, counts, threshold, blocks, how)
    return _Judged(layer.name, table, counts, threshold)


class _Block(NamedTuple):
    """A block of units, weighed: what is kept of counts by fold, which are never all there at once."""

    place: npt.NDArray[np.int64]
    value: npt.NDArray[np.int64]
    activated: npt.NDArray[np.int64]
    active: npt.NDArray[np.int64]
    threshold: npt.NDArray[np.float32]
    labels: LabelEvidence | None
    shifted: Floats


def _weigh(block: BlockCounts, layer: LayerMaps, observed: Observed, how: Judging) -> _Block:
    columns = observed.marked.columns
    concepts, category_of = len(columns.concepts), columns.category_of
    by_fold = observed.marked.by_fold(grid=layer.layer_grid is not None)
    intersection = block.by_fold[:, :, 1 : 1 + concepts]
    activated = block.active[:, :, None] - block.by_fold[:, :, 1 + concepts :]
    index = np.flatnonzero(intersection)
    labels = None
    if how.evidence:
        filled = np.unique(observed.folds)
        concept, judged = by_fold[:, 1 : 1 + concepts], observed.judged(grid=layer.layer_grid is not None)
        table = FoldTable(
            intersection[:, filled],
            activated[:, filled][:, :, category_of],
            concept[filled],
            judged[filled][:, category_of],
            filled,
        )
        labels = label_evidence(table, how.score, seed=how.seed)
    shifted = np.zeros((len(block.active), 0))
    if block.shifted.shape[1]:
        total = block.active.sum(1)[:, None, None] - block.shifted[:, :, 1 + concepts :]
        meet = block.shifted[:, :, 1 : 1 + concepts]
        shifted = iou(meet, total[:, :, category_of], by_fold[:, 1 : 1 + concepts].sum(0)).max(2)
    return _Block(index, intersection.ravel()[index], activated, block.active.sum(1), block.threshold, labels, shifted)


def _joined(blocks: list[_Block], layer: LayerMaps, observed: Observed, positions: int) -> Counts:
    """The counts of all blocks as one."""
    columns, on_grid = observed.marked.columns, layer.layer_grid is not None
    size = FOLDS * len(columns.concepts)
    firsts = np.cumsum([0, *(len(block.active) for block in blocks)])
    return Counts(
        category_of=columns.category_of,
        index=np.concatenate([block.place + first * size for first, block in zip(firsts, blocks, strict=False)]),
        value=np.concatenate([block.value for block in blocks]),
        activated_by_fold=np.concatenate([block.activated for block in blocks]),
        active=np.concatenate([block.active for block in blocks]),
        concept_by_fold=observed.marked.by_fold(grid=on_grid)[:, 1 : 1 + len(columns.concepts)],
        judged_by_fold=observed.judged(grid=on_grid),
        positions=positions,
    )


def _tabulate(
    observed: Observed,
    layer: LayerMaps,
    counts: Counts,
    threshold: npt.NDArray[np.float32],
    blocks: list[_Block],
    how: Judging,
) -> "pd.DataFrame":
    columns = observed.marked.columns
    score = score_function(how.score)(counts.overlap)
    mute = (counts.active == 0) | (layer.nonfinite > 0)
    labels = chance = presence = None
    if how.evidence:
        labels = LabelEvidence(
            *(np.concatenate(part) for part in zip(*(b.labels for b in blocks if b.labels), strict=True))
        )
        chance = association(counts.iou.max(1), np.concatenate([block.shifted for block in blocks]), mute)
        presence = _presence(observed, layer, score.argmax(1))
    return unit_table(
        layer.name,
        counts,
        columns.concepts,
        columns.names(),
        score=score,
        threshold=threshold,
        nonfinite=layer.nonfinite,
        min_iou=how.definitions.min_iou,
        fdr=how.fdr,
        judged_as="grid" if layer.layer_grid else "picture",
        labels=labels,
        chance=chance,
        presence=presence,
    )


def _presence(observed: Observed, layer: LayerMaps, label: npt.NDArray[np.int64]) -> Floats:
    """Balanced accuracy of each unit's peak as a test of whether its label is in a picture, (U,)."""
    columns, holds = observed.marked.columns, observed.marked.holds
    pictures, even = range(observed.pictures), observed.folds % 2 == 0
    out = np.full(layer.units, np.nan)
    for units, peaks in layer.peaks_by_unit():
        for concept in np.unique(label[units]):
            left_out = 1 + len(columns.concepts) + int(columns.category_of[concept])
            judged = holds.read(pictures, slice(left_out, left_out + 1))[:, 0] == 0
            present = holds.read(pictures, slice(1 + concept, 2 + concept))[judged, 0] > 0
            for unit in np.flatnonzero(label[units] == concept):
                out[units.start + unit] = presence_accuracy(peaks[unit, judged], present, even[judged])
    return out


def _show(observed: Observed, done: list[_Judged], how: Judging) -> tuple["pd.DataFrame", dict[tuple[str, int], bytes]]:
    """The exemplars of all units, as a table and as strips."""
    import pandas as pd

    tables = [exemplar_table("", None, [])]
    strips: dict[tuple[str, int], bytes] = {}
    units = sum(len(result.threshold) for result in done)
    size = strip_size(units, tiles=max(how.exemplars, 1))
    for result, layer in zip(done, observed.layers.values(), strict=True):
        if not how.exemplars:
            continue
        found = find_exemplars(layer, how.exemplars)
        tables.append(exemplar_table(layer.name, found, observed.names))
        drawn = draw_strips(observed, layer, found, result.threshold, size=size, strips=units)
        strips |= {(layer.name, unit): strip for unit, strip in enumerate(drawn)}
    return pd.concat(tables[1:] or tables, ignore_index=True), strips
