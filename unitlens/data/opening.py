"""What ``--data`` and ``--concepts`` take: annotated images by a path or a name, and what else marks them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unitlens.data.concepts import ConceptSource, Data
from unitlens.data.latent_sets import PREFIX as LATENTS
from unitlens.data.latent_sets import latents as latents_of
from unitlens.data.latent_sets import named_latents
from unitlens.data.readers.annotated import annotated
from unitlens.data.readers.formats import (
    DOWNLOADS,
    FORMATS,
    PREFIX,
    find_layout,
    images_only,
    open_format,
    open_torchvision,
)
from unitlens.data.sources import with_concepts
from unitlens.data.tags import check_names, folder_tags, tags
from unitlens.errors import UnitlensError, argument, did_you_mean, spelled

BUNDLED = ("bundled:scenes", "bundled:scenes-pairs", "bundled:scenes-shortcut", "bundled:scenes-infrared")
SEGMENTER = "bundled:scenes-segmenter"
NATIVE = "folder"
MASKS = "masks"
RUN = ("run.json", "units.csv")
"""Files by which the folder of a run is known; it is none of images."""

SOURCES = (MASKS, "colors", "folders", "tags:FILE.csv", "segmenter:NETWORK", SEGMENTER)
"""What ``--concepts`` takes, besides a `ConceptSource` in Python."""


def open_data(
    source: str | Path,
    *,
    format: str | None = None,
    split: str | None = None,
    concepts: Sequence[str | ConceptSource] = (MASKS,),
    segmenter_options: dict[str, Any] | None = None,
    root: str | Path | None = None,
    download: bool = False,
    images: int | None = None,
    latents: str | Path | None = None,
    seed: int = 0,
) -> Data:
    """Open annotated images.

    Parameters
    ----------
    source : str or Path
        An annotated folder, a data set in another format, a folder of images, ``bundled:scenes``,
        ``bundled:scenes-pairs`` (`unitlens.ScenePairs`) or ``bundled:scenes-shortcut`` (`unitlens.ShortcutScenes`), or
        a data set of torchvision's by name:
        ``torchvision:voc2012`` and others of `unitlens.data.readers.DOWNLOADS`. For generators,
        ``latents:100x1x1`` (the shape of one), ``latents:100x1x1,seed=3`` or ``latents:FILE.npy``.
    format : str, optional
        "folder" (the annotated folder) or a name of `unitlens.data.readers.FORMATS`; found by its layout
        otherwise.
    split : str, optional
        Of a data set that has several: "train", "val2017", ...
    concepts : sequence of str or ConceptSource
        What counts: "masks" is what the data set itself marks; "colors" the color of every pixel; "folders" the name of
        each image's folder; "tags:FILE.csv" words for whole images (`unitlens.data.tags.tags`);
        "segmenter:NETWORK" what a segmentation network finds (`unitlens.data.segmentation.segmenters.segmenter`);
        "bundled:scenes-segmenter" what the bundled one does, which knows the drawn scenes.
    segmenter_options : dict, optional
        Keywords for `unitlens.data.segmentation.segmenters.segmenter`: weights, labels, ious, confidence,
        category, size, device, cache.
    root : str or Path, optional
        Where a data set of torchvision's lies; ``unitlens/data/NAME`` in the user's cache folder.
    download : bool
        Whether torchvision may download it if it is not there; its size is announced first.
    images : int, optional
        How many bundled scenes, or latents; 1,000, or all of a file. Of pairs of scenes as many of each concept as
        take about so many images, or 24.
    latents : str or Path, optional
        A file of latents, one for each image, such as an encoder makes of photos: they take the place of the images,
        and what is marked in those is marked in what a generator draws. See `unitlens.latents`.
    seed : int
        Of bundled scenes, latents, and untrained weights.

    Returns
    -------
    Data

    Raises
    ------
    UnitlensError
        If there is no such folder, format, split, source or bundled data set, or the folder fits several formats.

    Examples
    --------
    >>> data = open_data("bundled:scenes", images=2, concepts=["colors"])
    >>> len(data), [concept.name for concept in data.concepts][:3]
    (2, ['black', 'blue', 'brown'])
    """
    _check_sources(concepts, segmenter_options or {})
    data = _named(str(source), format, split, images, seed)
    data = _by_name(str(source), format, split, root, download=download) if data is None else data
    data = _opened(Path(source), format, split) if data is None else data
    if latents is not None:
        data = latents_of(latents, masks=data)
    if list(concepts) == [MASKS]:
        return data
    further = open_sources(concepts, data, seed=seed, **(segmenter_options or {}))
    return with_concepts(data, *further, masks=MASKS in concepts)


def open_sources(concepts: Sequence[str | ConceptSource], data: Data, **options: Any) -> list[ConceptSource]:
    """Concept sources for some data, by their names or as they are; what the data mark themselves is left out."""
    return [_source(one, data, options) for one in concepts if one != MASKS]


def _check_sources(concepts: Sequence[str | ConceptSource], segmenter_options: dict[str, Any]) -> None:
    if isinstance(concepts, str) or not concepts:
        raise UnitlensError(f"concepts is {concepts!r}; it is a list of sources, such as ['masks', 'colors'].")
    if segmenter_options and all(isinstance(one, str) and not _takes_options(one) for one in concepts):
        names = ", ".join(map(_segmenter_option, segmenter_options))
        raise UnitlensError(
            f"{names} {'are' if len(segmenter_options) > 1 else 'is'} for a segmenter, and "
            "there is none: add "
            + spelled(python="concepts=['segmenter:NETWORK'].", shell="--concepts segmenter:NETWORK.")
        )


def _segmenter_option(name: str) -> str:
    return spelled(python=name, shell=f"--{name}" if name == "confidence" else f"--segmenter-{name}")


def _takes_options(concept: str) -> bool:
    """Whether a source is a segmenter that takes weights, labels and the like; the bundled one brings its own."""
    return concept.startswith("segmenter:") and not concept.endswith(SEGMENTER)


def _named(source: str, format: str | None, split: str | None, images: int | None, seed: int) -> Data | None:
    """The drawn scenes, or latents, if they were named."""
    if not source.startswith(("bundled:", LATENTS)):
        return None
    if format is not None or split is not None:
        raise UnitlensError(f"{source} has neither formats nor splits: leave them out.")
    if source.startswith(LATENTS):
        return named_latents(source, images, seed)
    if source not in BUNDLED:
        raise UnitlensError(f"There is no {source}{did_you_mean(source, BUNDLED)}; there is {', '.join(BUNDLED)}.")
    if source == BUNDLED[1]:
        from unitlens.data.scenes.pairs import ScenePairs

        return ScenePairs.of_images(images, seed=seed)
    if source == BUNDLED[2]:
        from unitlens.data.scenes.shortcut import ShortcutScenes

        return ShortcutScenes(1000 if images is None else images, seed=seed)
    from unitlens.data.scenes.world import Scenes

    return Scenes(1000 if images is None else images, seed=seed, infrared=source == BUNDLED[3])


def _by_name(
    source: str, format: str | None, split: str | None, root: str | Path | None, *, download: bool
) -> Data | None:
    """One of torchvision's data sets, if it was named."""
    if source.startswith(PREFIX):
        if format is not None:
            raise UnitlensError(
                f"{source} is read by torchvision: leave {argument('format', option='--data-format')} out."
            )
        return open_torchvision(source.removeprefix(PREFIX), root=root, split=split, download=download)
    if source in DOWNLOADS and not Path(source).exists():
        raise UnitlensError(f"There is no folder {source}; torchvision's data set is called {PREFIX}{source}.")
    if download or root is not None:
        given = argument("download", True) if download else argument("root", option="--data-root")
        raise UnitlensError(
            f"{given} is for data sets by name, such as {PREFIX}voc2012; {source} is opened where it is: leave it out."
        )
    return None


def _opened(root: Path, format: str | None, split: str | None) -> Data:
    if all((root / name).is_file() for name in RUN):
        raise UnitlensError(
            f"{root} is a run, which {' and '.join(RUN)} in it say, and holds no images: give the images that it was "
            "made of, or others."
        )
    if format not in (None, NATIVE):
        known = (NATIVE, *FORMATS)
        if format not in known:
            raise UnitlensError(
                f"There is no data format {format!r}{did_you_mean(str(format), known)}; there are {', '.join(known)}."
            )
        return open_format(root, str(format), split=split)
    native = (root / "images").is_dir() and ((root / "concepts.csv").is_file() or (root / "labels").is_dir())
    layout = None if format == NATIVE or native or not root.is_dir() else find_layout(root)
    if layout is not None:
        return open_format(layout.root, layout.format, split=split)
    if split is not None:
        raise UnitlensError(f"{root} has no splits to choose {split!r} from: leave {argument('split')} out.")
    if format is None and root.is_dir() and not (root / "images").is_dir():
        return images_only(root)
    return annotated(root)


def _source(one: str | ConceptSource, data: Data, options: dict[str, Any]) -> ConceptSource:
    """A source by its name; what is one already, as it is."""
    if not isinstance(one, str):
        return one
    kind, _, rest = one.partition(":")
    if one == "colors":
        from unitlens.data.colors import Colors

        return Colors()
    if one == "folders":
        return folder_tags(data)
    if kind == "tags" and rest:
        listed = tags(rest)
        check_names(listed, data)
        return listed
    if SEGMENTER in (one, rest):
        from unitlens.data.segmentation.scenes import SceneLabels

        return SceneLabels.bundled(device=options.get("device", "cpu"))
    if kind == "segmenter" and rest:
        from unitlens.data.segmentation.segmenters import segmenter

        return segmenter(rest, **options)
    raise UnitlensError(
        f"There is no concept source {one!r}{did_you_mean(kind, SOURCES)}; there are {', '.join(SOURCES)}."
    )
