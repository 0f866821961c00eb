"""Dissect a network: match every unit of its layers against the concepts that are marked in images."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from unitlens.data.columns import NotJudged, Union
from unitlens.data.concepts import Data, described
from unitlens.data.groups import Groups, grouped
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.reading import Part
from unitlens.data.strata import Within, read_strata
from unitlens.dissection.forward import Resources
from unitlens.dissection.result import Dissection
from unitlens.dissection.settings import BasisRecord, DetectorRule, Settings, ThresholdOn, Unique, recorded_choice
from unitlens.dissection.work.concluding import conclude
from unitlens.dissection.work.kept import kept_activations
from unitlens.dissection.work.task import Asked, Checkpoint, Task
from unitlens.dissection.work.works import TemporaryWork, kept_work, make_passes
from unitlens.errors import UnitlensError, argument, spelled
from unitlens.files import given_folder
from unitlens.models.bases import BasisLike, as_basis
from unitlens.models.dictionaries.dictionary import Dictionary
from unitlens.models.fast.precision import Fast
from unitlens.models.hooks import Tap
from unitlens.models.layers import find_layers, listing_hint
from unitlens.models.layouts import Order
from unitlens.models.loading import classifier
from unitlens.models.network import Network
from unitlens.stats.masks import Upsampling


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
    basis: BasisLike | None = None,
    score: str = "iou",
    levels: bool = False,
    evidence: bool = True,
    fdr: float = 0.05,
    groups: Groups | None = None,
    within: Within | None = None,
    control: str | Sequence[str] = (),
    exemplars: int = 8,
    exemplar_size: int | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    strict: bool = False,
    fast: bool | Fast = False,
    store_limit: int | None = None,
    checkpoint: str | Path | Checkpoint | None = None,
    progress: bool = False,
) -> Dissection:
    """Match every unit of some layers against the concepts that are marked in images.

    The network runs once on every image, for all layers together. Activations and labels are kept on disk, so that
    memory does not grow with the number of images.

    Processes that ``torchrun`` started do not share the work of this function: each computes all of it. They do share
    that of ``unitlens dissect``.

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
    basis : matrix, (D, U), file of one, or Dictionary, optional
        Its rows are directions that take the place of the layers' units, see `unitlens.models.bases`; or features do,
        see `unitlens.features`.
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
    control : {"untrained", "untrained:8", "rotated"}, {"random-dictionary", "shuffled-dictionary"} or sequence of them
        Also dissect the network with fresh weights (once, or several times with other seeds), in a randomly rotated
        basis, or with another dictionary in place of the one that is given, for comparison; see
        `unitlens.dissection.controls`. Each takes further passes over the images.
    exemplars : int
        Images shown for each unit: those of its highest peaks, of images in one group the first; where no groups are
        known, of near copies (see `unitlens.data.copies`).
    exemplar_size : int, optional
        Side of each of them in pixels, a multiple of 16 up to 1024, such as 224, the input of most networks: what is
        smaller in the network's input is enlarged. By default as many as leave the page at 25 MB or less: 224 for 64
        units, 128 for 512.
    limit : int, optional
        Only so many images, spread evenly over the data set (by ``seed``).
    batch_size, workers : int
        Images at a time; processes that decode them.
    seed : int
        Of everything that is random.
    strict : bool
        Whether an image that cannot be read is an error; else it is left out, with a warning.
    fast : bool or {"float32", "bfloat16"}
        Whether a copy of the network runs in its place that computes faster, with other rounding: batch norms folded
        into convolutions, channels last, in float32 or bfloat16. How far the first images are off is in ``info``; see
        docs/speed.md.
    store_limit : int, optional
        Most bytes on disk; half of what is free.
    checkpoint : str or Path, optional
        A folder in which the passes over the images are kept: the same call goes on there after it was stopped, by
        whatever. It is removed by whoever needs it no more. Unless given, nothing is kept.
    progress : bool
        Whether progress is shown.

    Returns
    -------
    Dissection

    Raises
    ------
    UnitlensError
        If a layer does not exist, the data contradict themselves, or there are too few positions for the quantile; if
        the folder of checkpoints keeps another dissection, or another process is at work there.

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
        exemplar_size=exemplar_size,
        limit=limit,
        batch_size=batch_size,
        workers=workers,
        seed=seed,
        strict=strict,
        fast=fast,
        store_limit=store_limit,
        progress=progress,
    )
    asked = Asked.of(task)
    if checkpoint is None:
        return conclude(asked, TemporaryWork(task), show=progress)
    with kept_work(task, asked, as_checkpoint(checkpoint)) as work:
        dissection = conclude(asked, work, show=progress)
    return replace(dissection, activations=kept_activations(work.folder))


def dissect_part(
    net: Network | nn.Module,
    layers: str | Sequence[str] | None,
    data: Data | str | Path,
    *,
    shard: tuple[int, int],
    checkpoint: str | Path,
    **options: Any,
) -> None:
    """Make the passes of a dissection over a part of the images, and keep them for `unitlens.merge`.

    Parts may be made on machines that share nothing.

    Parameters
    ----------
    net, layers, data
        As for `dissect`: all images.
    shard : (int, int)
        Which part of how many: (1, 8) to (8, 8).
    checkpoint : str or Path
        The folder in which it is kept; the same call goes on there after it was stopped.
    **options
        Any other keyword of `dissect`, the same for all parts.

    Raises
    ------
    UnitlensError
        As for `dissect`, and if there is no such part.

    Examples
    --------
    >>> import tempfile
    >>> import unitlens as ul
    >>> net, few = ul.load("bundled:scenes"), {"limit": 32, "evidence": False, "exemplars": 0}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for part in (1, 2):
    ...         ul.dissect_part(net, None, "bundled:scenes", shard=(part, 2), checkpoint=f"{folder}/{part}", **few)
    ...     merged = ul.merge([f"{folder}/1", f"{folder}/2"])
    >>> len(merged.table()), merged.info["data"]["images"]
    (128, 32)
    """
    keep_part(task_of(net, layers, data, options), Part.of(shard), as_checkpoint(checkpoint))


def keep_part(task: Task, part: Part, checkpoint: Checkpoint, *, recorded: Mapping[str, Any] | None = None) -> None:
    """Make the passes of a task over a part of the images, and keep them.

    Parameters
    ----------
    task : Task
    part : Part
        Of the images, which is looked at here.
    checkpoint : Checkpoint
    recorded : mapping, optional
        What run.json is to say of how the data were opened.

    Raises
    ------
    UnitlensError
        As for `dissect`.
    """
    asked = Asked.of(task, part=part, recorded=recorded)
    with kept_work(task, asked, checkpoint) as work:
        make_passes(work)


def task_of(
    net: Network | nn.Module,
    layers: str | Sequence[str] | None,
    data: Data | str | Path,
    options: Mapping[str, Any],
) -> Task:
    """Return what a dissection with some keywords of `dissect` starts from; the others have their defaults.

    Raises
    ------
    UnitlensError
        As for `prepare`.
    """
    asked = inspect.signature(dissect).bind(net, layers, data, **options)
    asked.apply_defaults()
    return prepare(**{name: value for name, value in asked.arguments.items() if name != "checkpoint"})


def as_checkpoint(folder: str | Path | Checkpoint) -> Checkpoint:
    """Return a folder of checkpoints whose passes are not replaced, unless it says so itself."""
    return folder if isinstance(folder, Checkpoint) else Checkpoint(given_folder(folder, "checkpoint"))


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
    data = as_data(data)
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
    if isinstance(basis, Dictionary):
        check_one_layer(settings.layers)
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


def check_one_layer(layers: Sequence[str]) -> None:
    """Make sure that a dictionary is read from one layer, as its features are of that alone.

    Raises
    ------
    UnitlensError
        If there are several.
    """
    if len(layers) > 1:
        raise UnitlensError(
            f"A dictionary is of one layer, and {', '.join(layers)} were named: dissect each of them by itself, with "
            f"the features of its own ({argument('layers', layers[0], option='--layer')} for one of them)."
        )


def quarter_grid(net: Network) -> tuple[int, int]:
    """Return the default label grid of a network: a quarter of its input, rounded down, in rows and columns."""
    height, width = net.preprocessing.image_size
    return max(1, height // 4), max(1, width // 4)


def _layer_names(net: Network, layers: str | Sequence[str] | None) -> list[str]:
    layers = net.default_layer if layers is None else layers
    if not layers:
        raise UnitlensError(f"No layer was named, and the network has no default: name one ({listing_hint()}).")
    return [layer.given for layer in find_layers(net.model, layers)]
